"""Sounds to be compared: rows of a dataset, patches of a collection that are played, recordings.

The unit of work is a plan: some sounds of one kind. Its key says what is heard by content (hashes of audio, patches and
files, and what they are brought to), never where it lies, so equal sounds are sketched once. What can't be read or
played is left out with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.audio import evenly_spaced
from synthcore.base import shell
from synthcore.base.errors import DatasetError, PresetError, SpecError, SynthcoreError
from synthcore.base.hashing import content_hash, file_checksum
from synthcore.engine.faults import REASONS
from synthcore.engine.machine import engine
from synthcore.engine.rendering import Fault, Performance
from synthcore.pipeline import library
from synthcore.pipeline.forms import Form
from synthcore.playback import render_many
from synthcore.sources.collection import Collection
from synthcore.spec import AudioSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.vital.controls import installed

#: Raise it when a sound that was sketched would get another sketch.
VERSION = 1
ROWS = 1_024  #: in a plan: some ten seconds of work
PATCHES = 16  #: likewise, at three notes
RECORDINGS = 64  #: likewise
READ = 32  #: rows whose audio is in memory at a time


@dataclass(frozen=True, slots=True)
class Heard:
    """One sound of a plan: its audio in the plan's form, or why there is none; the number that stands for its patch."""

    audio: NDArray[np.float32] | None
    patch: int
    reason: str = ""
    changes: tuple[str, ...] = ()


class NamedSound(BaseModel):
    """What one sound is called, and how to listen to it. Names are people's: anything can be in them."""

    model_config = ConfigDict(frozen=True)

    name: str
    note: int | None  # MIDI; None of a recording
    row: int | None  # of a dataset's row
    number: int  # counted over the sounds of its side
    listen: str  # the command that exports it, or the file to play

    def to_text(self) -> str:
        """Say it in a few words."""
        row = "" if self.row is None else f"row {self.row}: "
        return f"{row}{self.name}" + ("" if self.note is None else f", note {self.note}")


class SketchPlan(BaseModel):
    """Some sounds to be sketched. Where they are is not part of the key."""

    model_config = ConfigDict(frozen=True)

    index: int
    key: str  # SHA-256 in hex of what is sketched; names the file and the cache entry
    form: Form

    @property
    def name(self) -> str:
        """Where the sketches lie, relative to the data directory."""
        return f"sketches/{self.key[:2]}/{self.key}.npz"

    @property
    def sounds(self) -> int:
        """How many sounds there are, those that will be left out included."""
        raise NotImplementedError

    def hear(self, places: Sequence[int] | None = None) -> Iterator[Heard]:
        """Read or render each sound, or those at some places."""
        raise NotImplementedError

    def audio_at(self, place: int) -> NDArray[np.float32]:
        """Read or render one sound.

        Raises
        ------
        SynthcoreError
            It can't be heard now.
        """
        (heard,) = self.hear([place])
        if heard.audio is None:
            raise SynthcoreError(f"{self.named(place).name} can no longer be heard: {heard.reason}; compare again")
        return heard.audio

    def named(self, place: int) -> NamedSound:
        """Name the sound at a place."""
        raise NotImplementedError


class RowPlan(SketchPlan):
    """Some rows of a dataset."""

    file: str
    rows: tuple[int, ...]

    @property
    def sounds(self) -> int:
        return len(self.rows)

    def hear(self, places: Sequence[int] | None = None) -> Iterator[Heard]:
        """Read the rows.

        Raises
        ------
        DatasetError
            The file is gone or damaged, or has been replaced since this was planned.
        """
        chosen = self.rows if places is None else [self.rows[place] for place in places]
        with damage_named(Path(self.file)), Dataset(self.file) as dataset:
            if max(self.rows) >= len(dataset) or _key_of(dataset, self.form, self.rows) != self.key:
                raise DatasetError(f"{self.file} has been replaced meanwhile; run the same command again")
            rate = dataset.spec.audio.sample_rate
            for start in range(0, len(chosen), READ):
                rows = chosen[start : start + READ]
                sounds, patches = dataset.column("audio", rows), dataset.column("preset_hash", rows)
                for audio, patch in zip(sounds, patches, strict=True):
                    fitted, changes = self.form.fit(audio, rate)
                    yield Heard(fitted, number_of(patch.decode()), changes=changes)

    def named(self, place: int) -> NamedSound:
        """Name a row by its preset, or by where its patch is from."""
        row = self.rows[place]
        with damage_named(Path(self.file)), Dataset(self.file) as dataset:
            name, note = (dataset.column(column, [row])[0] for column in ("preset_name", "midi_note"))
        return NamedSound(
            name=name.decode(errors="replace"),
            note=int(note),
            row=row,
            number=place,
            listen=shell.command("export", Path(self.file), str(row), "-o", "out"),
        )


class PatchPlan(SketchPlan):
    """Some patches of a collection, each played as some of the dataset's rows are."""

    folder: str  # in which the presets' files are
    digest: str  # of the collection, which is kept in the data directory
    data_dir: str
    patches: tuple[int, ...]  # of the collection
    played: tuple[Performance, ...]
    audio: AudioSpec

    @property
    def sounds(self) -> int:
        return len(self.patches) * len(self.played)

    def hear(self, places: Sequence[int] | None = None) -> Iterator[Heard]:
        """Play the patches; one that can't be played costs its own sounds.

        Raises
        ------
        SpecError, DatasetError
            The collection is gone or damaged.
        Accident, Interrupted
            As `render_many`.
        """
        collection = library.collection(self.digest, Path(self.data_dir))
        chosen = [self._preset_and_performance(place) for place in (range(self.sounds) if places is None else places)]
        patches = [collection.presets[preset].patch for preset, _ in chosen]
        played = render_many(
            patches,
            [performance for _, performance in chosen],
            audio=self.audio,
            assets=collection.assets,
            workers=1,  # batches are played side by side
        )
        for patch, sound in zip(patches, played, strict=True):
            if isinstance(sound, Fault):
                yield Heard(None, number_of(patch.hash), reason=REASONS[sound.reason])
            else:
                yield Heard(sound, number_of(patch.hash))

    def named(self, place: int) -> NamedSound:
        """Name a preset."""
        preset, performance = self._preset_and_performance(place)
        found = library.collection(self.digest, Path(self.data_dir)).presets[preset]
        path = Path(self.folder) / found.file
        listen = shell.typed(path) if path.is_file() else found.file  # in an archive, or of a collection alone
        return NamedSound(name=found.name, note=performance.note, row=None, number=place, listen=listen)

    def _preset_and_performance(self, place: int) -> tuple[int, Performance]:
        preset, performance = divmod(place, len(self.played))
        return self.patches[preset], self.played[performance]


class RecordingPlan(SketchPlan):
    """Some audio files of a folder."""

    folder: str
    files: tuple[str, ...]
    checksums: tuple[str, ...]  # of the files' bytes; empty where they can't be read

    @property
    def sounds(self) -> int:
        return len(self.files)

    def hear(self, places: Sequence[int] | None = None) -> Iterator[Heard]:
        """Read the beginning of each file; one that can't be read is left out.

        Raises
        ------
        SpecError
            A file has changed since this was planned, or is gone.
        """
        for place in range(self.sounds) if places is None else places:
            path = Path(self.folder) / self.files[place]
            if _checksum_of(path) != self.checksums[place]:
                raise SpecError(f"{path} has changed meanwhile, or is gone; run the same command again")
            patch = number_of(self.checksums[place] or "0")
            try:
                fitted, changes = self.form.read(path)
            except PresetError as error:
                yield Heard(None, patch, reason=str(error))
                continue
            yield Heard(fitted, patch, changes=changes)

    def named(self, place: int) -> NamedSound:
        """Name a file."""
        path = Path(self.folder) / self.files[place]
        return NamedSound(name=self.files[place], note=None, row=None, number=place, listen=shell.typed(path))


def find(plans: Sequence[SketchPlan], number: int) -> tuple[SketchPlan, int]:
    """The plan of a sound that is counted over all plans, and its place in it."""
    for plan in plans:
        if number < plan.sounds:
            return plan, number
        number -= plan.sounds
    raise IndexError(number)


def number_of(digest: str) -> int:
    """The number that stands for a patch or a file: the beginning of its hash in hex."""
    return int(digest[:15], 16)


def require_rows(dataset: Dataset) -> None:
    """Refuse a dataset that can't be heard.

    Raises
    ------
    DatasetError
        It is a recipe, or has no rows.
    """
    if dataset.is_recipe:
        raise DatasetError(f"{dataset.path} is a recipe, without audio; make it again with synthcore render")
    if not len(dataset):
        raise DatasetError(f"{dataset.path} has no rows, so there is nothing to compare; generate some first")


def plan_rows(dataset: Dataset, form: Form, notes: Sequence[int], limit: int | None = None) -> list[RowPlan]:
    """Plan the sketching of a dataset's rows.

    Parameters
    ----------
    dataset : Dataset
    form : Form
    notes : sequence of int
        Only rows of these notes; of all if there are none.
    limit : int, optional
        At most so many rows, evenly spaced.

    Raises
    ------
    DatasetError
        It is a recipe, or has no such rows.
    """
    require_rows(dataset)
    there = dataset.column("midi_note")
    chosen = np.flatnonzero(np.isin(there, notes)) if notes else np.arange(len(there))
    if not len(chosen):
        has = ", ".join(map(str, np.unique(there).tolist()))
        raise DatasetError(f"{dataset.path} has no row of note {', '.join(map(str, notes))}; it has {has}")
    return row_plans(dataset, form, chosen[evenly_spaced(len(chosen), limit or len(chosen))])


def row_plans(dataset: Dataset, form: Form, chosen: NDArray[np.intp]) -> list[RowPlan]:
    """Plan the sketching of some rows of a dataset, by their numbers in rising order."""
    plans: list[RowPlan] = []
    for start in range(0, len(chosen), ROWS):
        rows = tuple(chosen[start : start + ROWS].tolist())
        key = _key_of(dataset, form, rows)
        plans.append(RowPlan(index=len(plans), key=key, form=form, file=str(dataset.path), rows=rows))
    return plans


def _key_of(dataset: Dataset, form: Form, rows: Sequence[int]) -> str:
    content = [dataset.column(name, list(rows)).tolist() for name in ("audio_sha256", "preset_hash")]
    return content_hash(["rows", VERSION, form.model_dump(), dataset.spec.audio.sample_rate, *_texts(content)])


def plan_patches(
    folder: Path, collection: Collection, data_dir: Path, dataset: Dataset, *, notes: Sequence[int], limit: int
) -> list[PatchPlan]:
    """Plan the sketching of a collection's patches, played as the dataset's rows are.

    Parameters
    ----------
    folder : Path
        Where the presets' files are.
    collection : Collection
        Kept in the data directory.
    data_dir : Path
    dataset : Dataset
    notes : sequence of int
        At which each is played, of those of the dataset; if there are none, at all of them.
    limit : int
        At most so many sounds, of evenly spaced patches.
    """
    played = _performances(dataset, notes)
    chosen = evenly_spaced(len(collection.presets), max(1, limit // len(played)))
    form = Form.of(dataset)
    key_parts = [VERSION, engine().fingerprint, installed().fingerprint, form.model_dump(), list(map(asdict, played))]
    plans: list[PatchPlan] = []
    for start in range(0, len(chosen), PATCHES):
        patches = chosen[start : start + PATCHES].tolist()
        hashes = [collection.presets[patch].patch.hash for patch in patches]
        plans.append(
            PatchPlan(
                index=len(plans),
                key=content_hash(["patches", *key_parts, hashes]),
                form=form,
                folder=str(folder),
                digest=collection.digest,
                data_dir=str(data_dir),
                patches=tuple(patches),
                played=played,
                audio=dataset.spec.audio,
            )
        )
    return plans


def _performances(dataset: Dataset, notes: Sequence[int]) -> tuple[Performance, ...]:
    """How some rows are played, one of each note; of notes that were drawn, as many as a patch has."""
    there, first = np.unique(dataset.column("midi_note"), return_index=True)
    rows = first[np.isin(there, notes)] if notes else first
    if not notes and not dataset.spec.audio.performances:
        rows = rows[evenly_spaced(len(rows), dataset.spec.audio.rows_per_patch)]
    return dataset.performances(rows)


def plan_recordings(folder: Path, files: Sequence[str], form: Form, limit: int) -> list[RecordingPlan]:
    """Plan the sketching of audio files, at most so many, evenly spaced."""
    chosen = [files[place] for place in evenly_spaced(len(files), limit).tolist()]
    plans: list[RecordingPlan] = []
    for start in range(0, len(chosen), RECORDINGS):
        some = chosen[start : start + RECORDINGS]
        checksums = tuple(_checksum_of(folder / file) for file in some)
        plans.append(
            RecordingPlan(
                index=len(plans),
                key=content_hash(["recordings", VERSION, form.model_dump(), checksums]),
                form=form,
                folder=str(folder),
                files=tuple(some),
                checksums=checksums,
            )
        )
    return plans


def _checksum_of(path: Path) -> str:
    """A file's checksum; what can't be read has none, and reading it will say why."""
    try:
        return file_checksum(path) if path.is_file() else ""
    except OSError:
        return ""


def _texts(columns: Sequence[Sequence[bytes]]) -> list[list[str]]:
    return [[text.decode() for text in column] for column in columns]
