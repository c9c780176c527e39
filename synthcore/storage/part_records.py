"""Records of the shards that parts have made: what each held when it was written. The workflow keeps its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

from synthcore.base.atomic import atomic_path
from synthcore.storage.refs import ShardRef

FOLDER = "parts"  #: where in a data directory they are


def write(ref: ShardRef, data_dir: Path) -> None:
    """Record a shard that has just been made."""
    with atomic_path(_path(ref.name, data_dir)) as temporary:
        temporary.write_text(ref.model_dump_json())


def find(name: str, data_dir: Path) -> ShardRef | None:
    """The shard of a name; None if no part made it, or it is gone or of another size since. A run reads every byte."""
    ref = read(_path(name, data_dir))
    return ref.model_copy(update={"tries": 0}) if ref and ref.is_there(data_dir) else None


def read(path: Path) -> ShardRef | None:
    """What a record says; None if there is none, or one that isn't ours."""
    with contextlib.suppress(OSError, ValueError):
        ref = ShardRef.model_validate_json(path.read_bytes())
        return ref if Path(ref.name).stem == path.stem else None
    return None


def forget(name: str, data_dir: Path) -> None:
    """Have a shard rendered again when a run asks for it next."""
    _path(name, data_dir).unlink(missing_ok=True)


def _path(name: str, data_dir: Path) -> Path:
    return data_dir / FOLDER / f"{Path(name).stem}.json"
