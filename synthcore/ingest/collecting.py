"""Ingesting folders of presets: from files to one collection, and a report that loses no file.

Owns which of several files of the same sound is kept, and the measurement of how faithful patches are. A file that
can't be read is one line of the report; the synth sees each preset in a child process of its own, so a broken preset
costs only that child.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.errors import PresetError, SpecError
from synthcore.base.hashing import canonical_json, content_hash
from synthcore.base.masking import masked
from synthcore.engine.machine import engine
from synthcore.engine.stopping import interruptible
from synthcore.ingest.download import STATEMENT
from synthcore.ingest.fidelity import Fidelity, measure
from synthcore.ingest.files import Found, Refused, find
from synthcore.ingest.report import FileReport, IngestResult, Report, Verdict
from synthcore.sources.base import Source
from synthcore.sources.collection import Collection, Preset
from synthcore.spec import AudioSpec
from synthcore.storage import collection as file_format
from synthcore.vital.controls import Registry, installed
from synthcore.vital.folders import factory_folders, is_factory
from synthcore.vital.parsing import parse
from synthcore.vital.reading import READER_VERSION, ReadPreset, clean, read_document
from synthcore.vital.versions import version_table

UNKNOWN = "unknown"
IN_ARCHIVE = re.compile(r"(?<=\.vitalbank)!|(?<=\.zip)!", re.IGNORECASE)  #: between an archive and what it contains
STATEMENT_BYTES = 1 << 16  #: a larger file isn't a statement that we wrote
CHECKED = AudioSpec()  #: what fidelity is measured at


class Origin(BaseModel):
    """Where the presets of a folder come from, and under which licence."""

    model_config = ConfigDict(frozen=True)

    source: Source
    repository: str = ""
    commit: str = ""
    licence: str = UNKNOWN


def make_collection(
    folders: Sequence[Path],
    output: Path,
    registry: Registry,
    *,
    check: bool,
    workers: int,
    approximate: bool = False,
) -> IngestResult:
    """Ingest folders into a collection file, with the report as JSON beside it. See `ingest`.

    Raises
    ------
    SpecError
        A folder isn't there; or the output is there and isn't a collection.
    SynthcoreError
        The files can't be written.
    Accident, Interrupted
        As `ingest`.
    """
    if output.exists() and file_format.digest_of(output) is None:
        raise SpecError(f"{output} exists and isn't a collection of presets; name another file with -o")
    collection, report = ingest(folders, registry, check=check, workers=workers, approximate=approximate)
    file_format.write_collection(output, collection)
    report_file = report_path(output)
    with atomic_path(report_file) as temporary:
        temporary.write_text(report.model_dump_json(indent=1) + "\n")
    return IngestResult(collection=str(output), digest=collection.digest, report_file=str(report_file), report=report)


def report_path(output: Path) -> Path:
    """Say where the report of a collection lies: beside it."""
    return output.with_suffix(".report.json")


def ingest(
    folders: Sequence[Path],
    registry: Registry,
    *,
    check: bool,
    workers: int,
    audio: AudioSpec = CHECKED,
    approximate: bool = False,
) -> tuple[Collection, Report]:
    """Read every preset in folders, archives and files.

    Parameters
    ----------
    folders : sequence of Path
        Their order changes only the report's.
    registry : Registry
        The installed synth's.
    check : bool
        Whether to render each original and its patch, and compare.
    workers : int
        How many presets are read and rendered at a time.
    audio : AudioSpec
        What `check` renders.
    approximate : bool
        Whether to keep presets that Vital plays differently as well.

    Returns
    -------
    Collection
        Each patch once.
    Report
        What became of each file.

    Raises
    ------
    SpecError
        A folder isn't there.
    Accident, Interrupted
        As `Renderer.receive`.
    """
    work = _Ingest(registry, audio if check else None, approximate)
    with ThreadPoolExecutor(workers) as pool, interruptible():
        try:
            work.read(find_in(folders), pool, ahead=2 * workers)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # before `interruptible` stops those under way
            raise
    return work.finish()


def find_in(folders: Sequence[Path]) -> Iterator[tuple[Origin, Found | Refused]]:
    """Find what is a preset or claims to be one, with its origin. A folder given twice is searched once.

    Raises
    ------
    SpecError
        A folder isn't there.
    """
    require_folders(folders)
    factory = factory_folders()
    for folder in {folder.resolve(): folder for folder in folders}.values():
        origin = lru_cache(maxsize=None)(_OriginOf(folder, factory))
        for found in find(folder):
            if isinstance(found, Refused) or found.kind == "preset":
                # What is inside an archive comes from where the archive does.
                yield origin(PurePosixPath(IN_ARCHIVE.split(found.file)[0]).parent), found


def require_folders(folders: Sequence[Path]) -> None:
    """Refuse folders that don't exist.

    Raises
    ------
    SpecError
        Names the first of them.
    """
    for folder in folders:
        if not folder.exists():
            raise SpecError(f"there is no {folder}; name folders, .vitalbank or .vital files that exist")


class _OriginOf:
    """Knows the origin of the folders below a root: the nearest statement, up to the root, holds."""

    def __init__(self, root: Path, factory: Sequence[Path]) -> None:
        self.root = root if root.is_dir() else root.parent
        self.factory = factory

    def __call__(self, folder: PurePosixPath) -> Origin:
        source: Source = "factory" if is_factory(self.root / folder, self.factory) else "community"
        for place in (folder, *folder.parents):
            statement = _read_statement(self.root / place / STATEMENT)
            if statement is not None:
                repository, commit, licence = (
                    masked(clean(statement.get(name))) for name in ("repository", "commit", "licence")
                )
                return Origin(source=source, repository=repository, commit=commit, licence=licence or UNKNOWN)
        return Origin(source=source)


def _read_statement(path: Path) -> dict[str, Any] | None:
    """Read a folder's statement of its origin; None if it can't be read."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > STATEMENT_BYTES:
            return None
        statement = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return statement if isinstance(statement, dict) else None


@dataclass(frozen=True)
class Survey:
    """What there is to ingest, found without the synth: how many files, and a fingerprint of all that matters."""

    files: int
    fingerprint: str


def survey(folders: Sequence[Path]) -> Survey:
    """Look through folders, hashing each file without interpreting it.

    Raises
    ------
    SpecError
        A folder isn't there.
    """
    found = []
    for origin, item in find_in(folders):
        content = item.reason if isinstance(item, Refused) else hashlib.sha256(item.content).hexdigest()
        found.append(canonical_json([str(item.root), item.file, content, origin.model_dump()]))
    readers = [
        READER_VERSION,
        version_table().digest,
        file_format.VERSION,
        installed().fingerprint,
        engine().fingerprint,
    ]
    fingerprint = content_hash([readers, sorted(found)])
    return Survey(len(found), fingerprint)


@dataclass(frozen=True)
class _Read:
    """What was read of a content, or why it couldn't be. `preset` holds no assets: those are shared."""

    preset: ReadPreset | None
    reason: str = ""
    version: str = ""
    fidelity: Fidelity | None = None


@dataclass(frozen=True)
class _Entry:
    """One file, and what was read from it."""

    origin: Origin
    root: Path
    file: str
    read: _Read

    @property
    def preset(self) -> Preset | None:
        """The file as a preset of a collection, if it was read."""
        read = self.read.preset
        if read is None:
            return None
        return Preset(
            patch=read.patch,
            name=read.name or clean(PurePosixPath(IN_ARCHIVE.split(self.file)[-1]).stem),
            file=self.file,
            author=read.author,
            macros=read.macros,
            source=self.origin.source,
            repository=self.origin.repository,
            commit=self.origin.commit,
            licence=self.origin.licence,
        )


class _Ingest:
    """One run: each content is read once, however many files hold it."""

    def __init__(self, registry: Registry, audio: AudioSpec | None, approximate: bool) -> None:
        self.registry, self.audio, self.approximate = registry, audio, approximate
        self.assets: dict[str, bytes] = {}
        self._entries: list[_Entry] = []
        self._reads: dict[str, Future[_Read]] = {}

    def read(self, items: Iterable[tuple[Origin, Found | Refused]], pool: ThreadPoolExecutor, ahead: int) -> None:
        """Read everything; at most `ahead` contents wait in memory."""
        waiting: deque[tuple[Origin, Found | Refused, Future[_Read]]] = deque()
        for origin, item in items:
            waiting.append((origin, item, self._start(item, pool)))
            if len(waiting) >= ahead:
                self._take(*waiting.popleft())
        while waiting:
            self._take(*waiting.popleft())

    def _start(self, item: Found | Refused, pool: ThreadPoolExecutor) -> Future[_Read]:
        if isinstance(item, Refused):
            done: Future[_Read] = Future()
            done.set_result(_Read(None, item.reason))
            return done
        content = hashlib.sha256(item.content).hexdigest()
        if content not in self._reads:
            self._reads[content] = pool.submit(self._read, item.content)
        return self._reads[content]

    def _read(self, content: bytes) -> _Read:
        version = ""
        try:
            document = parse(content)
            version = clean(document.get("synth_version"))
            preset = read_document(document, self.registry)
        except PresetError as error:
            return _Read(None, str(error), version)
        fidelity = measure(content, preset, self.registry, self.audio) if self.audio else None
        for name, text in preset.assets.items():
            self.assets.setdefault(name, text)
        return _Read(replace(preset, assets={}), version=version, fidelity=fidelity)

    def _take(self, origin: Origin, item: Found | Refused, future: Future[_Read]) -> None:
        read = future.result()
        self._entries.append(_Entry(origin, item.root, item.file, read))
        progress.publish(progress.Progress(rows=int(not read.reason), fault="refused" if read.reason else None))

    def finish(self) -> tuple[Collection, Report]:
        """Choose one file for each patch, and say what became of the others."""
        same: defaultdict[str, list[_Entry]] = defaultdict(list)
        for entry in self._entries:
            if entry.read.preset and (self.approximate or not entry.read.preset.otherwise):
                same[entry.read.preset.patch.hash].append(entry)
        kept = {patch: min(entries, key=_precedence) for patch, entries in sorted(same.items())}
        presets = tuple(preset for entry in kept.values() if (preset := entry.preset))
        used = {name for preset in presets for name in (*preset.patch.wavetables, *preset.patch.extras) if name}
        collection = Collection(
            presets=presets,
            assets={name: self.assets[name] for name in sorted(used)},
            wavetable_names=_most_frequent(e.read.preset.wavetable_names for e in kept.values() if e.read.preset),
        )
        files = tuple(self._report(entry, kept) for entry in self._entries)
        performances = self.audio.performances if self.audio else ()
        return collection, Report(files=files, notes=tuple(one.note for one in performances))

    def _report(self, entry: _Entry, kept: dict[str, _Entry]) -> FileReport:
        folder, version, read = clean(str(entry.root)), entry.read.version, entry.read.preset
        if read is None:
            return FileReport(
                folder=folder, file=entry.file, version=version, verdict="refused", reason=entry.read.reason
            )
        verdict, winner = self._judged(entry, kept.get(read.patch.hash))
        return FileReport(
            folder=folder,
            file=entry.file,
            version=version,
            verdict=verdict,
            duplicate_of=winner.file if verdict == "duplicate" and winner else "",
            is_changed=read.is_changed,
            only_after_changes=verdict == "duplicate" and _differed(entry, winner),
            patch=read.patch.hash,
            changes=dict(sorted(read.changes.items())),
            unknown=read.unknown,
            otherwise=read.otherwise,
            fidelity=entry.read.fidelity,
        )

    def _judged(self, entry: _Entry, winner: _Entry | None) -> tuple[Verdict, _Entry | None]:
        """Say what became of a file that could be read, and which file stands for its patch, if one does."""
        if entry.read.preset and entry.read.preset.otherwise and not self.approximate:
            return "approximate", None
        return ("accepted" if winner is entry else "duplicate"), winner


def _differed(one: _Entry, other: _Entry | None) -> bool:
    """Whether two files of one patch may differ, because of what was changed on the way to it."""
    if other is None or one.read is other.read:  # the very same bytes
        return False
    presets = [entry.read.preset for entry in (one, other) if entry.read.preset]
    return any(preset.is_changed or preset.otherwise for preset in presets)


def _precedence(entry: _Entry) -> tuple[Any, ...]:
    """Order files of one patch: what sounds the same in Vital, factory presets before copies, known origins."""
    origin, preset = entry.origin, entry.preset
    known = (origin.source != "factory", not origin.repository, origin.repository, origin.commit, origin.licence)
    read = entry.read.preset
    return (
        bool(read and read.otherwise),
        *known,
        bool(read and read.is_changed),
        entry.file,
        preset and (preset.name, preset.author, preset.macros),
    )


def _most_frequent(of_presets: Iterable[dict[str, str]]) -> dict[str, str]:
    """Name each wavetable as most presets do; of equally frequent names, take the first in the alphabet."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for names in of_presets:
        for wavetable, name in names.items():
            counts[wavetable].update([name] if name else [])
    return {w: min(c, key=lambda name: (-c[name], name)) for w, c in sorted(counts.items()) if c}
