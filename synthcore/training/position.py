"""Where a training stands in its epochs: the state to save, and whether a saved one fits. Knows nothing of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthcore.base.counting import how_many
from synthcore.base.errors import SpecError
from synthcore.training.batches import Examples, Order

#: What a state holds besides the position, which must be as in the loader; and the words for it.
_MUST_AGREE = {
    "dataset": "the dataset with the digest",
    "batch_size": "batch_size",
    "seed": "seed",
    "mixed_chunks": "mixed_chunks",
    "drop_last": "drop_last",
    "ranks": "a number of ranks of",
    "rows": "rows and an order with the digest",
}


@dataclass(frozen=True, slots=True)
class Position:
    """The batch that comes next: its epoch, and its number among those that a rank takes in it, both from 0."""

    epoch: int = 0
    batch: int = 0

    def after_batch(self, count: int) -> Position:
        """Move on by one batch, into the next epoch after the last of `count`."""
        return Position(self.epoch, self.batch + 1) if self.batch + 1 < count else Position(self.epoch + 1)


State = dict[str, int | str | bool]


def identity_of(examples: Examples, order: Order) -> State:
    """Name what decides which rows each batch has.

    The rank isn't in it: ranks that train together take equally many batches and are at the same one, so the state that
    one of them saves is the state of all.
    """
    return {
        "dataset": examples.dataset.digest,
        "batch_size": order.batch_size,
        "seed": order.seed,
        "mixed_chunks": order.mixed_chunks,
        "drop_last": order.drop_last,
        "ranks": order.ranks,
        # Of the rows as they are shuffled: another selection, or a numpy that shuffles differently, gives another.
        "rows": hashlib.sha256(order.shuffled(examples.rows, 0).astype("<i8").tobytes()).hexdigest(),
    }


def position_of(state: Any, identity: State, count: int) -> Position:
    """Read the position that a state was saved at.

    Parameters
    ----------
    state : mapping
        What `state_dict` returned.
    identity : dict
        Of the loader that it is loaded into.
    count : int
        The batches of an epoch.

    Raises
    ------
    SpecError
        It is not such a state, or it is of another dataset, selection of rows, order or number of ranks.
    """
    held = state if isinstance(state, Mapping) else {}
    if lacking := [name for name in (*_MUST_AGREE, "epoch", "batch") if name not in held]:
        raise SpecError(
            f"this is not the state of a loader, it lacks {', '.join(lacking)}; load what state_dict returned"
        )
    for name, words in _MUST_AGREE.items():
        if state[name] != identity[name]:
            raise SpecError(
                f"the state was saved with {words} {_short(state[name])}, this loader has {_short(identity[name])}: "
                "load it into a loader like the one that saved it, or begin without it"
            )
    epoch, batch = state["epoch"], state["batch"]
    if not (isinstance(epoch, int) and isinstance(batch, int) and epoch >= 0 and 0 <= batch < count):
        raise SpecError(f"there is no batch {batch} of epoch {epoch}; an epoch has {how_many(count, 'batch', 'es')}")
    return Position(epoch, batch)


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)
