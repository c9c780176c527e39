"""Finding wavetables on this machine: in presets, banks and files of their own, WAV files included.

Owns the way from folders to a catalog. The synth brings every table to its own version, in a child, so that equal
tables become equal bytes; what would kill it is refused beforehand. A bad file costs only that file.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from synthcore.base.counting import how_many
from synthcore.base.errors import PresetError, SpecError
from synthcore.base.hashing import canonical_json, content_hash, file_checksum
from synthcore.engine.machine import engine
from synthcore.engine.play import migrate
from synthcore.engine.stopping import interruptible
from synthcore.ingest.files import ENDINGS, WAV_ENDING, Found, Refused, find
from synthcore.ingest.wav import read_wavetable
from synthcore.vital import parsing, validation
from synthcore.vital.catalog import FORMAT, Catalog, Sighting, builtin, catalog_of
from synthcore.vital.controls import VITAL_VERSION
from synthcore.vital.patch import NO_SAMPLE, OSCILLATORS
from synthcore.vital.reading import READER_VERSION, clean
from synthcore.vital.wavetable import canonical_wavetable

BATCH = 2  #: files read ahead for each worker: a preset may have 64 MB
SAMPLES = "Samples"  #: the folder in which Vital keeps recordings, which aren't wavetables
SHOWN = 10  #: how many names and refusals the text shows


class Refusal(BaseModel):
    """A file whose wavetables are not in the catalog, and why."""

    model_config = ConfigDict(frozen=True)

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class SearchReport:
    """What a search met besides wavetables: how many files it read, and those it refused."""

    files: int
    refused: tuple[Refusal, ...]


class CatalogRef(BaseModel):
    """A catalog's file, and what a search found.

    Attributes
    ----------
    path : Path
        The JSON file, absolute.
    digest, checksum : str
        The catalog's digest, and the checksum of the file.
    wavetables, found : int
        How many the catalog has, and how many of them are not built in.
    files, seen : int
        How many files were read, and how many wavetables they have, equal ones included.
    names : tuple of (str, int)
        The most frequent names, and how often they were seen.
    refused : tuple of Refusal
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    digest: str
    checksum: str
    wavetables: int
    found: int
    files: int
    seen: int
    names: tuple[tuple[str, int], ...]
    refused: tuple[Refusal, ...]

    def is_intact(self) -> bool:
        """Whether the file is there, and is the one that was written."""
        try:
            return file_checksum(self.path) == self.checksum
        except OSError:
            return False

    def to_text(self) -> str:
        """Describe the catalog for people, and say what to do with it."""
        wavetables = how_many(self.wavetables, "wavetable")
        lines = [
            f"{self.path}: {wavetables}, {len(builtin())} of them built in, {self.found} found",
            f"read {how_many(self.files, 'file')} with {how_many(self.seen, 'wavetable')}, equal ones included",
        ]
        if self.names:
            lines.append("most frequent: " + ", ".join(f"{name or '(unnamed)'} {count}" for name, count in self.names))
        if self.refused:
            lines.append(f"left out {how_many(len(self.refused), 'file')}:")
            lines += [f"  {refusal.file}: {refusal.reason}" for refusal in self.refused[:SHOWN]]
        if len(self.refused) > SHOWN:
            lines.append(f"  and {len(self.refused) - SHOWN} more; --json lists them all")
        lines.append(f"next: synthcore generate --catalog {self.path}")
        return "\n".join(lines) + "\n"


def places_to_search(known: Sequence[Path], requested: Sequence[Path]) -> list[Path]:
    """Sort folders and files, each once, without those that lie in another.

    Raises
    ------
    SpecError
        A requested one isn't there. Some of the known ones never are.
    """
    for path in requested:
        if not path.exists():
            raise SpecError(f"there is no {path} to search; name a folder or file that exists")
    places = sorted({path.resolve() for path in (*known, *requested)})
    return [place for place in places if not any(other in place.parents for other in places)]


def contents_fingerprint(places: Sequence[Path]) -> str:
    """Give the SHA-256 in hex of everything that a search would find, and of what would read it."""
    found = sorted(_describe(file) for file in _find(places))
    key_parts = [FORMAT, READER_VERSION, builtin().digest, engine().fingerprint, found]
    return content_hash(key_parts)


def discover(places: Sequence[Path], workers: int) -> tuple[Catalog, SearchReport]:
    """Search folders and files: the catalog of what was found, without what is built in, and a report.

    Raises
    ------
    Accident, Interrupted
        As `client.migrate`.
    """
    files = 0
    refused: list[Refusal] = []

    def sightings() -> Iterator[Sighting]:
        nonlocal files
        for seen in _read_all(places, workers):
            files += 1
            if isinstance(seen, Refusal):
                refused.append(seen)
            else:
                yield from seen

    found = catalog_of(sightings())
    return found, SearchReport(files, tuple(sorted(refused, key=lambda refusal: (refusal.file, refusal.reason))))


def catalog_wavetables(places: Sequence[Path], output: Path, workers: int) -> CatalogRef:
    """Search folders and files, and write the catalog of what is built in and what was found.

    Raises
    ------
    Accident, Interrupted
        As `client.migrate`.
    SynthcoreError
        The output can't be written.
    """
    found, survey = discover(places, workers)
    catalog = builtin().merged(found)
    catalog.save(output)
    names = sum((Counter(entry.names) for entry in found.entries), Counter[str]())
    return CatalogRef(
        path=output,
        digest=catalog.digest,
        checksum=file_checksum(output),
        wavetables=len(catalog),
        found=len(catalog) - len(builtin()),
        files=survey.files,
        seen=names.total(),
        names=tuple(sorted(names.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]),
        refused=survey.refused,
    )


def _read_all(places: Sequence[Path], workers: int) -> Iterator[list[Sighting] | Refusal]:
    """Read every file, several at a time but never all."""
    found = _find(places)
    with ThreadPoolExecutor(workers) as pool, interruptible():
        while batch := list(islice(found, BATCH * workers)):
            yield from pool.map(_read, batch)


def _find(places: Sequence[Path]) -> Iterator[Found | Refused]:
    found = chain.from_iterable(find(place, (*ENDINGS, WAV_ENDING)) for place in places)
    return (file for file in found if not _is_sample(file))


def _is_sample(file: Found | Refused) -> bool:
    path = PurePosixPath(file.file.replace("!", "/"))
    return path.suffix.lower() == WAV_ENDING and SAMPLES in path.parts


def _describe(file: Found | Refused) -> tuple[str, str]:
    return clean(file.file), file.reason if isinstance(file, Refused) else hashlib.sha256(file.content).hexdigest()


def _read(file: Found | Refused) -> list[Sighting] | Refusal:
    place = clean(file.file)
    if isinstance(file, Refused):
        return Refusal(file=place, reason=file.reason)
    try:
        tables = _wavetables(file)
        migrated = _migrate(tables)
    except PresetError as error:
        return Refusal(file=place, reason=str(error))
    pairs = zip(migrated, tables, strict=True)
    return [Sighting(canonical_wavetable(table, own), clean(table["name"]), place) for table, own in pairs]


def _wavetables(file: Found) -> list[Any]:
    if file.kind == "wav":
        return [read_wavetable(file.content, PurePosixPath(file.file.replace("!", "/")).stem)]
    document = parsing.load(file.content)
    tables = [document] if file.kind == "wavetable" else document["settings"].get("wavetables") or []
    if not isinstance(tables, list) or len(tables) > OSCILLATORS:
        raise PresetError(f"its wavetables are not a list of at most {OSCILLATORS}")
    for table in tables:
        validation.require_wavetable(table)
    return tables


def _migrate(tables: list[Any]) -> list[Any]:
    """Let the synth read wavetables and write them again; the rest of their preset may be as broken as it likes."""
    settings = {"sample": json.loads(NO_SAMPLE), "wavetables": tables}
    document = migrate(canonical_json({"synth_version": VITAL_VERSION, "settings": settings}).encode())
    if document is None:
        raise PresetError("the synth refuses its wavetables, or dies of them")
    migrated: list[Any] = json.loads(document)["settings"]["wavetables"][: len(tables)]
    return migrated
