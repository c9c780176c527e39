"""Comparing a dataset with other sounds: what the others are, and what is sketched on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthcore.base.counting import how_many
from synthcore.base.errors import PresetError, SpecError
from synthcore.ingest.files import walk
from synthcore.ingest.recordings import AUDIO_ENDINGS, find_recordings
from synthcore.ingest.report import Report
from synthcore.pipeline.forms import Form
from synthcore.pipeline.nearness_report import Compared, Kind, LeftOut
from synthcore.pipeline.sounds import SketchPlan, plan_patches, plan_recordings, plan_rows
from synthcore.sources.collection import Collection
from synthcore.storage import collection as file_format
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named

PRESET_ENDINGS = (".vital", ".vitalbank")
ZIP_ENDING = ".zip"  #: of an archive that may hold presets
KINDS = "a dataset, a collection from synthcore ingest, or a folder of presets (.vital, .vitalbank) or recordings"


@dataclass(frozen=True, slots=True)
class Presets:
    """The presets to compare with, and the files that are not among them."""

    collection: Collection
    refused: tuple[LeftOut, ...] = ()
    repeated: int = 0  # files whose patch another one has

    @classmethod
    def of(cls, collection: Collection, report: Report) -> Presets:
        """A collection, and what became of each file that it was read from."""
        refused = [LeftOut(name=file.file, reason=file.reason) for file in report.of("refused")]
        why = "Vital plays it differently from vita; --approximate takes it"
        approximate = [LeftOut(name=file.file, reason=why) for file in report.of("approximate")]
        return cls(collection, (*refused, *approximate), len(report.of("duplicate")))


@dataclass(frozen=True, slots=True)
class Others:
    """The other sounds."""

    path: Path
    kind: Kind
    presets: Presets | None = None


@dataclass(frozen=True, slots=True)
class Sides:
    """What is sketched of a dataset, and of the other sounds."""

    compared: Compared
    ours: list[SketchPlan]
    theirs: list[SketchPlan]


def kind_of(other: Path) -> Kind:
    """Say what the other sounds are, by the endings in a folder, or by a file's own. Presets go before recordings.

    Raises
    ------
    SpecError
        They aren't there, or there is nothing to hear.
    """
    if not other.exists():
        raise SpecError(f"there is no {other}; name {KINDS}")
    try:
        names = [other.name] if other.is_file() else [file for file, _, _ in walk(other, _ENDINGS)]
    except PresetError as error:
        raise SpecError(f"{other} {error}") from error
    found = {ending for ending in _ENDINGS if any(name.lower().endswith(ending) for name in names)}
    if found & {*PRESET_ENDINGS} or found == {ZIP_ENDING}:
        return "presets"
    if found & {*AUDIO_ENDINGS}:
        return "recordings"
    if other.is_dir():
        raise SpecError(f"{other} holds neither presets ({', '.join(PRESET_ENDINGS)}) nor audio; name {KINDS}")
    return "presets" if file_format.digest_of(other) else "dataset"


def look(file: Path, other: Path, notes: Sequence[int]) -> None:
    """Refuse what can't be compared, before anything long begins.

    Raises
    ------
    DatasetError
        A file is not a dataset with audio and such rows.
    SpecError
        As `kind_of`.
    """
    datasets = [file, other] if kind_of(other) == "dataset" else [file]
    for one in datasets:
        with damage_named(one), Dataset(one) as dataset:
            plan_rows(dataset, Form.of(dataset), notes, limit=1)


def plan(file: Path, others: Others, data_dir: Path, *, notes: Sequence[int], sounds: int) -> Sides:
    """Plan what is sketched.

    Parameters
    ----------
    file : Path
        The dataset, all of whose rows are compared.
    others : Others
    data_dir : Path
    notes : sequence of int
        Only these notes, if there are any.
    sounds : int
        At most so many of the other sounds, evenly spaced.

    Raises
    ------
    DatasetError
        A file is not a dataset with audio and rows.
    """
    with damage_named(file), Dataset(file) as dataset:
        ours = plan_rows(dataset, Form.of(dataset), notes)
        theirs, remarks = _plan_others(others, dataset, data_dir, notes, sounds)
    compared = Compared(
        file=str(file.absolute()),
        other=str(others.path),
        kind=others.kind,
        refused=others.presets.refused if others.presets else (),
        remarks=tuple(remarks),
    )
    return Sides(compared, [*ours], theirs)


_ENDINGS = (*PRESET_ENDINGS, ZIP_ENDING, *AUDIO_ENDINGS)


def _plan_others(
    others: Others, dataset: Dataset, data_dir: Path, notes: Sequence[int], sounds: int
) -> tuple[list[SketchPlan], list[str]]:
    """Plan the sketching of the other sounds, and say what of them is left out and how they are played."""
    form = Form.of(dataset)
    theirs: Sequence[SketchPlan]
    if others.presets:
        collection = others.presets.collection
        theirs = plan_patches(_folder_of(others.path), collection, data_dir, dataset, notes=notes, limit=sounds)
        played = [performance.note for performance in theirs[0].played] if theirs else []
        remarks = [f"presets are played as the rows are, at note {', '.join(map(str, played))}"] if played else []
        if others.presets.repeated:
            remarks.append(
                f"a patch that several files hold is compared once: {how_many(others.presets.repeated, 'file')} less"
            )
        there = len(collection.presets) * len(played)
    elif others.kind == "recordings":
        files = find_recordings(others.path)
        theirs, there = plan_recordings(_folder_of(others.path), files, form, sounds), len(files)
        remarks = ["recordings are compared with rows of every note"]
    else:
        with damage_named(others.path), Dataset(others.path) as other:
            whole = plan_rows(other, form, notes)
            theirs, there = plan_rows(other, form, notes, sounds), sum(one.sounds for one in whole)
            remarks = _unlike_notes(dataset, other) if not notes else []
    taken = sum(one.sounds for one in theirs)
    if taken < there:
        remarks.append(
            f"compared: {taken} of {how_many(there, 'sound')} of {others.path.name}, evenly spaced; see --sounds"
        )
    return [*theirs], remarks


def _folder_of(other: Path) -> Path:
    return other if other.is_dir() else other.parent


def _unlike_notes(dataset: Dataset, other: Dataset) -> list[str]:
    """Say where pitch alone may tell two datasets apart."""
    notes = [np.unique(one.column("midi_note")).tolist() for one in (dataset, other)]
    if notes[0] == notes[1]:
        return []
    listed = [", ".join(map(str, some)) for some in notes]
    return [f"their notes differ ({listed[0]}; {listed[1]}), by which alone they may be told apart; --notes names some"]
