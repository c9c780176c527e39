"""References: what flows pass around instead of rows, and whether what they name is still there, and whole."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints

from synthcore.base.errors import FileUnavailable
from synthcore.base.hashing import file_checksum
from synthcore.sources.base import Source
from synthcore.storage import schema
from synthcore.storage.opening import open_file


class ResultRef(BaseModel):
    """A finished file of the data directory that holds what a task computed. Of what, the subclasses say."""

    model_config = ConfigDict(frozen=True)

    name: str  # relative to the data directory
    checksum: str  # of the file's bytes

    def is_intact(self, data_dir: Path) -> bool:
        """Whether the file is there, and holds what was written."""
        path = data_dir / self.name
        return path.is_file() and file_checksum(path) == self.checksum


class ShardRef(BaseModel):
    """A finished shard: enough to find it, to know that it is whole, and to report on it."""

    model_config = ConfigDict(frozen=True)

    #: Relative to the data directory, which may be mounted elsewhere on another machine; a record leads nowhere else.
    name: Annotated[str, StringConstraints(pattern=r"^shards/[0-9a-f]{2}/[0-9a-f]{64}\.h5$")]
    size: int
    checksum: str  # of the file's bytes
    digest: str
    source: Source
    rows: int
    candidates: int
    faults: dict[str, int]
    seconds: float
    synth_cpu_seconds: float
    worker: str = ""  # machine and process that rendered it
    tries: int = 1  # how often it was begun, until no accident befell it; 0: it was made by another

    def is_there(self, data_dir: Path) -> bool:
        """Whether a file of its size is there. What it holds isn't looked at."""
        path = data_dir / self.name
        return path.is_file() and path.stat().st_size == self.size

    def is_intact(self, data_dir: Path) -> bool:
        """Whether the file is there, of its size, and states its digest. `merge` also reads every byte."""
        return is_intact(data_dir / self.name, self.size, self.digest)

    @classmethod
    def of(cls, data_dir: Path, name: str, source: Source) -> ShardRef:
        """Refer to a shard that another run has just made; how long that took isn't known.

        Raises
        ------
        OSError
            It is gone.
        """
        path = data_dir / name
        with open_file(path) as file:
            reasons = Counter(reason.decode() for reason in file["rejections/reason"][:].tolist())
            patches = np.unique(file["metadata/patch_index"][:])
            return cls(
                name=name,
                size=path.stat().st_size,
                checksum=file_checksum(path),
                digest=file["schema"].attrs["content_digest"],
                source=source,
                rows=len(file["metadata/patch_index"]),
                candidates=len(patches) + reasons.total(),
                faults=dict(sorted(reasons.items())),
                seconds=0.0,
                synth_cpu_seconds=0.0,
                tries=0,
            )


class DatasetRef(BaseModel):
    """A merged dataset: where it is, and that it is whole. Features that were added since have made it larger."""

    model_config = ConfigDict(frozen=True)

    path: str
    size: int
    digest: str
    rows: int

    def is_intact(self) -> bool:
        """Whether the file is there, of its size or larger, and states its digest."""
        return is_intact(Path(self.path), self.size, self.digest, or_larger=True)


class Gap(BaseModel):
    """Patches that a dataset lacks, because their shard could not be made."""

    model_config = ConfigDict(frozen=True)

    source: Source
    first_patch: int
    patches: int
    reason: str


class StoredBytes(NamedTuple):
    """What a shard's parts take on the disk."""

    row: float  # the audio of one row
    assets: int


def stored_bytes(shard: Path) -> StoredBytes | None:
    """What a shard's parts take; None if it can't be read, or has no rows."""
    with contextlib.suppress(FileUnavailable, *schema.UNREADABLE), open_file(shard) as file:
        audio, assets = file[schema.AUDIO], file["assets"]
        held = sum(assets[name].id.get_storage_size() for name in assets)
        return StoredBytes(audio.id.get_storage_size() / len(audio), held) if len(audio) else None
    return None


def is_intact(path: Path, size: int, digest: str, *, or_larger: bool = False) -> bool:
    """Whether a file is there, of this size, and states this content digest.

    Raises
    ------
    FileUnavailable
        That can't be known now: another program is writing it, or it may not be read.
    """
    try:
        found = path.stat().st_size
        if found < size or (found > size and not or_larger):
            return False
        with open_file(path) as file:
            return bool(file["schema"].attrs["content_digest"] == digest)
    except schema.UNREADABLE:
        return False
