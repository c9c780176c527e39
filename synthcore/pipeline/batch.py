"""Batches: shards that are handed to a worker together, and the data directory in which it finds what they need.

A batch names a dataset and some of its shards. A worker plans the dataset again, and the key shows whether it would
render the same.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import EngineMismatch, SpecError
from synthcore.base.hashing import content_hash
from synthcore.pipeline import library
from synthcore.pipeline.shard import ShardPlan, plan_shards
from synthcore.spec import DatasetSpec

MARK = "synthcore-mark"  #: the file in a data directory that says which one it is


class Batch(BaseModel):
    """Some shards of a dataset, one after the other."""

    model_config = ConfigDict(frozen=True)

    spec: DatasetSpec
    rows_per_shard: int
    first: int
    shards: int
    key: str  # SHA-256 in hex over the shards' keys

    @property
    def name(self) -> str:
        """Its shards, in words."""
        if self.shards == 1:
            return f"shard {self.first:04d}"
        return f"shards {self.first:04d} to {self.first + self.shards - 1:04d}"

    def plans(self, data_dir: Path) -> list[ShardPlan]:
        """Plan these shards once more.

        Raises
        ------
        EngineMismatch
            This machine would make other shards.
        SpecError
            The presets aren't kept in the data directory.
        """
        presets = library.collection(self.spec.presets_digest, data_dir) if self.spec.presets_digest else None
        every = plan_shards(self.spec, self.rows_per_shard, presets)
        mine = every[self.first : self.first + self.shards]
        if _key(mine) != self.key:
            raise EngineMismatch(
                f"{self.name}: this worker would make other shards than the run that asks for them. Give both the same "
                "version of synthcore and its dependencies, on one type of machine"
            )
        return mine


def cut(plans: list[ShardPlan], spec: DatasetSpec, rows_per_shard: int, size: int) -> list[Batch]:
    """Cut a dataset's shards into batches of `size`, also those that are there already: so the next run cuts alike."""
    starts = range(0, len(plans), size)
    parts = {start: plans[start : start + size] for start in starts}
    return [
        Batch(spec=spec, rows_per_shard=rows_per_shard, first=first, shards=len(part), key=_key(part))
        for first, part in parts.items()
    ]


def _key(plans: list[ShardPlan]) -> str:
    return content_hash([plan.key for plan in plans])


def mark(data_dir: Path) -> str:
    """What a data directory is known by on every machine that mounts it, under any path; drawn on first use."""
    path = data_dir / MARK
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(secrets.token_hex(16))
    return path.read_text()


def find(marked: str, places: list[Path]) -> Path:
    """Which of these places is the data directory with this mark.

    Raises
    ------
    SpecError
        None of them.
    """
    for place in places:
        if (place / MARK).is_file() and mark(place) == marked:
            return place
    tried = " or ".join(str(place) for place in dict.fromkeys(places))
    raise SpecError(
        f"this worker can't find the data directory of the run at {tried}; mount it here, and name its place in "
        "SYNTHCORE_DATA_DIR, set for the worker"
    )
