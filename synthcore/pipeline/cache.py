"""The cache: what lies in a data directory, what of it a run can still reach, and clearing away the rest.

A run reaches a shard by its record, which the workflow keeps, or a part. Datasets are never touched here.
"""

from __future__ import annotations

import contextlib
import glob
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from synthcore.analysis.inspection import new_table, text_of
from synthcore.base.atomic import is_being_written
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, NewerDataset, SynthcoreError
from synthcore.base.hashing import file_checksum
from synthcore.engine.machine import engine
from synthcore.pipeline.tally import duration
from synthcore.sources.priors import digest_of
from synthcore.sources.synthetic import drawn_with
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.refs import DatasetRef, ShardRef
from synthcore.storage.schema import is_newer

Kind = Literal[
    "shard",
    "record",
    "presets",
    "catalog",
    "priors",
    "weights",
    "sketches",
    "features",
    "scores",
    "published",
    "left over",
]
State = Literal["reachable", "in use", "other engine", "unreachable", "damaged"]
HOUR = 3600.0
NEWER = "by a newer synthcore"  #: what is said of shards that this one can't read


@dataclass(frozen=True)
class Records:
    """What the workflow and parts remember of earlier runs. The files are relative to the data directory."""

    shards: Mapping[str, ShardRef]  # by the record's file
    datasets: Mapping[str, DatasetRef]
    unreadable: Sequence[str] = ()
    collections: frozenset[str] = field(default_factory=frozenset)  # files that were ingested
    probes: frozenset[str] = field(default_factory=frozenset)  # files in which weights were measured
    sketches: frozenset[str] = field(default_factory=frozenset)  # files of sketches that were compared
    features: frozenset[str] = field(default_factory=frozenset)  # files of features that were computed
    scores: frozenset[str] = field(default_factory=frozenset)  # files of scores of answers
    published: frozenset[str] = field(default_factory=frozenset)  # files of publications that were made
    failures: Sequence[str] = ()  # records of errors with which tasks ended


class Entry(BaseModel):
    """One file of the cache."""

    model_config = ConfigDict(frozen=True)

    path: str  # relative to the data directory; absolute where it lies elsewhere
    kind: Kind
    state: State
    why: str = ""
    bytes: int
    hours: float  # since it was written
    spec: str = ""  # fingerprint of what it was made for
    what: str = ""  # the spec in a word
    foreign: str = ""  # of a shard: in what it was made otherwise than here, so that no run here asks for it


class Cache(BaseModel):
    """All files of the cache."""

    model_config = ConfigDict(frozen=True)

    data_dir: str
    entries: tuple[Entry, ...]

    def to_text(self) -> str:
        """Write it for a terminal: shards by spec and state, the rest by kind."""
        table = new_table("cache in " + self.data_dir, "what", "spec", "files", "MB", "newest", "oldest", "state")
        groups: dict[tuple[str, ...], list[Entry]] = {}
        for entry in self.entries:
            state = f"{entry.state}: {entry.why}" if entry.why else entry.state
            groups.setdefault((entry.kind, entry.what, entry.spec[:12], state), []).append(entry)
        for (kind, what, spec, state), entries in sorted(groups.items()):
            ages = [duration(entry.hours * HOUR) for entry in sorted(entries, key=lambda entry: entry.hours)]
            size = f"{sum(entry.bytes for entry in entries) / 1e6:.1f}"
            table.add_row(f"{kind} {what}".strip(), spec, str(len(entries)), size, ages[0], ages[-1], state)
        return text_of([table]) if self.entries else f"nothing is cached in {self.data_dir}\n"


class PruneResult(BaseModel):
    """What was cleared away."""

    model_config = ConfigDict(frozen=True)

    entries: tuple[Entry, ...]
    bytes: int
    dry_run: bool

    def to_text(self) -> str:
        """Write it for a terminal."""
        lines = [f"{entry.path} ({entry.bytes / 1e6:.1f} MB): {entry.why or entry.state}" for entry in self.entries]
        done = "would remove" if self.dry_run else "removed"
        return "\n".join([*lines, f"{done} {how_many(len(self.entries), 'file')}, {self.bytes / 1e6:.1f} MB"]) + "\n"


class VerifyResult(BaseModel):
    """Which shards are still as they were written."""

    model_config = ConfigDict(frozen=True)

    checked: int
    damaged: tuple[str, ...]

    def to_text(self) -> str:
        """Write it for a terminal."""
        mend = "" if not self.damaged else "; a run that needs one renders it again\n  " + "\n  ".join(self.damaged)
        return f"{how_many(self.checked, 'shard')} read, {len(self.damaged)} gone or damaged{mend}\n"


def survey(data_dir: Path, records: Records) -> Cache:
    """List what is cached, and whether a run would still find it."""
    shards = list(_shards(data_dir, records))
    needed = [entry for entry in shards if entry.state != "unreachable"]
    others = [*_sources(data_dir, records, needed), *_measured(data_dir, records), *_left_over(data_dir, records)]
    return Cache(data_dir=str(data_dir), entries=(*shards, *_records(data_dir, records), *others))


def prune(cache: Cache, *, older_than: float, spec: str, other_engines: bool, dry_run: bool) -> PruneResult:
    """Remove what no run would find, and what else is named.

    Parameters
    ----------
    older_than : float
        Hours. Younger files are spared: a run may be about to need them.
    spec : str
        Beginning of a spec's fingerprint, whose shards are removed even if a run would find them; "" for none.
    other_engines : bool
        Also what was rendered by another synth, type of machine or version, which may still be in use elsewhere.

    Raises
    ------
    SynthcoreError
        A file may not be removed.
    """
    states = {"unreachable", "damaged"} | ({"other engine"} if other_engines else set())
    gone = [
        entry
        for entry in cache.entries
        if entry.hours >= older_than
        and (entry.state in states or (spec and entry.spec.startswith(spec) and entry.state != "in use"))
    ]
    if not dry_run:
        for entry in gone:
            path = Path(cache.data_dir, entry.path)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise SynthcoreError(
                    f"can't remove {path}: {error.strerror}; what came before it is removed"
                ) from error
    return PruneResult(entries=tuple(gone), bytes=sum(entry.bytes for entry in gone), dry_run=dry_run)


def verify(data_dir: Path, records: Records) -> VerifyResult:
    """Read every byte of every shard that is remembered. One that a newer synthcore has replaced is not damaged."""
    shards = {ref.name: ref for ref in records.shards.values()}
    changed = [name for name, ref in sorted(shards.items()) if not is_whole(data_dir / name, ref)]
    damaged = [name for name in changed if not is_by_newer(data_dir / name)]
    return VerifyResult(checked=len(shards), damaged=tuple(damaged))


def is_whole(path: Path, ref: ShardRef) -> bool:
    """Whether a shard is there, and as it was written, to the last byte."""
    return path.is_file() and file_checksum(path) == ref.checksum


def is_by_newer(path: Path) -> bool:
    """Whether a file was written by a newer synthcore."""
    try:
        with Dataset(path) as shard:
            return is_newer(shard.version)
    except NewerDataset:
        return True
    except DatasetError:
        return False


def _shards(data_dir: Path, records: Records) -> Iterator[Entry]:
    known = {ref.name: ref for ref in records.shards.values()}
    used = {path.resolve() for ref in records.datasets.values() for path in _shards_of(Path(ref.path))}
    for path in sorted((data_dir / "shards").rglob("*.h5")):
        if path.name.startswith("."):
            continue
        name = path.relative_to(data_dir).as_posix()
        try:
            with Dataset(path) as shard:
                spec = shard.spec
                foreign = _what_differs(shard)
        except NewerDataset:
            state: State = "in use" if path.resolve() in used else "other engine"
            newer = _entry(data_dir, path, "shard", state, f"made {NEWER} than here")
            yield newer.model_copy(update={"foreign": NEWER})
            continue
        except DatasetError:
            yield _entry(data_dir, path, "shard", "damaged", "is not a whole file")
            continue
        found: tuple[State, str] = ("reachable", "")
        if path.resolve() in used:
            found = "in use", "a virtual dataset refers to it"
        elif name not in known:
            found = "unreachable", "no record of it"
        elif known[name].size != path.stat().st_size:
            found = "damaged", "has another size"
        elif foreign:
            found = "other engine", f"made {foreign} than here"
        yield _entry(data_dir, path, "shard", *found, spec=spec).model_copy(update={"foreign": foreign})


#: What a field of the engine says, in words.
_SAYS = {
    "vita": "with another synth",
    "build": "with another synth",
    "machine": "on another type of machine",
    "cpu_features": "on another type of machine",
    "version": "with another engine version",
}


def _what_differs(shard: Dataset) -> str:
    """Why a run here would not ask for this shard; "" if it would."""
    differing = [_SAYS[name] for name in shard.engine.differences(engine())]
    if shard.drawing.drawn_from.digest != digest_of(shard.spec.priors):
        differing.append("from other priors")
    if shard.drawing.drawn_with != drawn_with():
        differing.append("with other versions of what draws patches")
    return ", ".join(dict.fromkeys(differing))


def _shards_of(dataset: Path) -> list[Path]:
    """The shards that a virtual dataset refers to; none of one that is gone or copied."""
    with contextlib.suppress(DatasetError), Dataset(dataset) as opened:
        return opened.shard_files
    return []


def _is_dataset(path: Path) -> bool:
    """Whether a file is there and one of ours: a record may name any."""
    with contextlib.suppress(DatasetError), Dataset(path):
        return True
    return False


def _records(data_dir: Path, records: Records) -> Iterator[Entry]:
    for file, ref in records.shards.items():
        if not (data_dir / ref.name).exists():
            yield _entry(data_dir, data_dir / file, "record", "unreachable", "its shard is gone")
    for file, made in records.datasets.items():
        if not Path(made.path).exists():
            yield _entry(data_dir, data_dir / file, "record", "unreachable", "its dataset is gone")
    for file in records.unreadable:
        yield _entry(data_dir, data_dir / file, "record", "damaged", "can't be read")
    for file in records.failures:
        yield _entry(data_dir, data_dir / file, "record", "unreachable", "of a task that failed or was stopped")


def _sources(data_dir: Path, records: Records, shards: Sequence[Entry]) -> Iterator[Entry]:
    """Collections, catalogs and priors that shards were made from, by digest."""
    named = {digest for entry in shards for digest in _digests(data_dir, entry)}
    for path in _files(data_dir / "presets", r"([0-9a-f]{64}|from-[0-9a-f]{16})\.h5"):
        is_known = path.stem in named or str(path) in records.collections
        yield _entry(data_dir, path, "presets", *_known(is_known))
    for path in _files(data_dir / "catalogs", r"[0-9a-f]{64}\.json"):
        yield _entry(data_dir, path, "catalog", *_known(path.stem in named))
    for path in _files(data_dir / "priors", r"[0-9a-f]{64}\.json"):
        yield _entry(data_dir, path, "priors", *_known(path.stem in named))


def _measured(data_dir: Path, records: Records) -> Iterator[Entry]:
    """What was measured for importance weights, sketched to be compared, computed of rows, scored, and published."""
    kinds: tuple[tuple[Kind, str, frozenset[str]], ...] = (
        ("weights", "[0-9a-f]*.json", records.probes),
        ("sketches", "[0-9a-f]*.npz", records.sketches),
        ("features", "[0-9a-f]*.npy", records.features),
        ("scores", "[0-9a-f]*.npz", records.scores),
        ("published", "[0-9a-f]*.*", records.published),
        ("scores", "*.h5", frozenset()),  # answers of baselines, which are soon written again
    )
    for kind, name, known in kinds:
        for path in sorted((data_dir / kind).rglob(name)):
            is_known = path.relative_to(data_dir).as_posix() in known
            yield _entry(data_dir, path, kind, *_known(is_known, otherwise="no record of it"))


def _known(is_known: bool, otherwise: str = "no shard is made from it") -> tuple[State, str]:
    return ("reachable", "") if is_known else ("unreachable", otherwise)


def _digests(data_dir: Path, entry: Entry) -> Iterable[str]:
    with contextlib.suppress(DatasetError), Dataset(data_dir / entry.path) as shard:
        return (shard.spec.presets_digest, shard.spec.catalog_digest, shard.spec.priors)
    return ()


def _left_over(data_dir: Path, records: Records) -> Iterator[Entry]:
    """What killed runs left half-written. Younger files may still be being written by another machine.

    Datasets, which may lie anywhere, are half-written beside their final name.
    """
    outputs = {Path(made.path) for made in records.datasets.values() if _is_dataset(Path(made.path))}
    drawn = "[0-9a-f]" * 8
    beside = {path for output in outputs for path in output.parent.glob(f".{glob.escape(output.name)}.{drawn}.tmp")}
    for path in sorted({*data_dir.rglob(".*.tmp"), *data_dir.rglob(".*.claim"), *beside}):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # finished meanwhile, or another user's
            if not path.is_file() or is_being_written(path):
                continue
            yield _entry(data_dir, path, "left over", "unreachable", "half-written")


def _files(folder: Path, name: str) -> list[Path]:
    """The files that the library named, not those that people put beside them."""
    return sorted(path for path in folder.glob("*") if re.fullmatch(name, path.name))


def _entry(
    data_dir: Path, path: Path, kind: Kind, state: State, why: str = "", spec: DatasetSpec | None = None
) -> Entry:
    status = path.stat()
    return Entry(
        path=(path.relative_to(data_dir) if path.is_relative_to(data_dir) else path).as_posix(),
        kind=kind,
        state=state,
        why=why,
        bytes=status.st_size,
        hours=max(0.0, time.time() - status.st_mtime) / HOUR,
        spec=spec.fingerprint if spec else "",
        what=f"{spec.kind} seed {spec.seed}" if spec else "",
    )
