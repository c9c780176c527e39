"""Generate a dataset of candidates that are known to be good: what a run costs besides those it refuses.

The whole of `synthcore generate`, but a patch begins with the attempt that another run kept.

Run as `python -m benchmarks.known DATASET ARGUMENTS...`, the arguments being those of `synthcore generate`.
"""

from __future__ import annotations

import sys
from typing import Any

from synthcore.flows.cli import main
from synthcore.pipeline import shard
from synthcore.sources.base import Candidate
from synthcore.storage.dataset import Dataset


class Known:
    """A supply that only has the candidates kept."""

    def __init__(self, supply: Any, kept: dict[int, int]) -> None:
        self._supply, self._kept = supply, kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._supply, name)

    def candidate(self, index: int, attempt: int) -> Candidate:  # noqa: ARG002  it is known
        """The candidate of this patch that was kept."""
        return self._supply.candidate(index, self._kept[index])


def kept_attempts(path: str) -> dict[int, int]:
    """Which attempt of each patch a dataset holds."""
    with Dataset(path) as dataset:
        return dict(zip(dataset.column("patch_index").tolist(), dataset.column("attempt").tolist(), strict=True))


if __name__ == "__main__":
    attempts, drawn = kept_attempts(sys.argv[1]), shard.supply
    shard.supply = lambda plan, *made_from: Known(drawn(plan, *made_from), attempts)
    sys.exit(main(["generate", *sys.argv[2:]]))
