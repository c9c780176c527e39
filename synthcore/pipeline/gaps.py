"""Gaps: shards that failed for good. They fail alone; what is then merged, and what is refused, is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synthcore.base.counting import how_many
from synthcore.base.errors import IncompleteDataset, SynthcoreError
from synthcore.pipeline.shard import ShardPlan
from synthcore.storage.refs import Gap, ShardRef

#: When so many shards have failed and none was made, the cause is taken to affect all.
GIVE_UP_AFTER = 3


def as_gap(plan: ShardPlan, error: BaseException) -> Gap:
    """Write down that a shard could not be made.

    Raises
    ------
    BaseException
        `error` itself, where it affects every shard and not just this one: an interruption, a full disk.
    """
    if isinstance(error, SynthcoreError):
        affects_all, reason = error.affects_whole_run, str(error)
    else:
        affects_all, reason = not isinstance(error, Exception), f"{type(error).__name__}: {error}"
    if affects_all:
        raise error
    return Gap(source=plan.source, first_patch=plan.first_patch, patches=plan.patches, reason=reason)


def is_lost(made: ShardRef | Gap, data_dir: Path) -> bool:
    """Whether a shard was made, but its file is gone or changed."""
    return isinstance(made, ShardRef) and not made.is_intact(data_dir)


def stop_if_all_failed(made: Sequence[ShardRef | Gap]) -> None:
    """Refuse to go on where the first shards all failed.

    Raises
    ------
    IncompleteDataset
    """
    if len(made) >= GIVE_UP_AFTER and all(isinstance(one, Gap) for one in made):
        raise _incomplete("stopped", [one for one in made if isinstance(one, Gap)], len(made))


def split_outcomes(made: Sequence[ShardRef | Gap], *, allow_partial: bool) -> tuple[list[ShardRef], list[Gap]]:
    """Separate the shards that were made from those that failed.

    Raises
    ------
    IncompleteDataset
        A shard failed, and gaps are not allowed; or no synthetic shard is left, from which a merge learns the priors.
    """
    shards = [one for one in made if isinstance(one, ShardRef)]
    gaps = [one for one in made if isinstance(one, Gap)]
    if gaps and not (allow_partial and any(shard.source == "synthetic" for shard in shards)):
        raise _incomplete("nothing was merged", gaps, len(made))
    return shards, gaps


def _incomplete(what: str, gaps: Sequence[Gap], shards: int) -> IncompleteDataset:
    reasons = "; ".join(f"{gap.source} patches from {gap.first_patch}: {gap.reason}" for gap in gaps[:GIVE_UP_AFTER])
    more = f"; and {len(gaps) - GIVE_UP_AFTER} more" if len(gaps) > GIVE_UP_AFTER else ""
    return IncompleteDataset(
        f"{what}: {len(gaps)} of {how_many(shards, 'shard')} failed ({reasons}{more}). The others are kept: the same "
        "command again renders just those that are missing, and with --allow-partial merges without them"
    )
