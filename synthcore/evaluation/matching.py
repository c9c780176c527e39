"""Matching: from one sound to the patches of a dataset that come nearest, and from there, by rendering, nearer still.

Rows are found by their sketches, with loudness matched, as `synthcore compare` finds them; they are then held against
the target by `distances.distance`, which counts loudness too, and so is what a search finds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthcore.analysis.distances import distance
from synthcore.analysis.nearness import distances_from
from synthcore.base.errors import DatasetError, SpecError
from synthcore.base.places import default_data_dir
from synthcore.engine.capacity import RENDERERS
from synthcore.evaluation.search import Budget, Found, Played, Watch, ignore, require_cma, search
from synthcore.pipeline.forms import Form
from synthcore.pipeline.sketching import StoredSketches, sketch_missing
from synthcore.pipeline.sounds import RowPlan, plan_rows, require_rows
from synthcore.pipeline.target import Target, read_target, to_target
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch

TOP = 5  #: how many patches are found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be found: so many patches; renders of a search, if any; by which note, if by one."""

    top: int = TOP
    search: int = 0
    note: int | None = None
    workers: int = RENDERERS


@dataclass(frozen=True, slots=True)
class Answer:
    """One patch that sounds like the target.

    Attributes
    ----------
    played : Played
        The patch, how it is played, its audio, and how far that is from the target.
    row : int
        Of the dataset: that plays it, or from which it was searched.
    sketch_db : float or None
        How far the row's sketch is from the target's; None of one that was searched.
    renders : int
        Of its search; 0 of a row.
    """

    played: Played
    row: int
    sketch_db: float | None
    renders: int = 0

    @property
    def is_searched(self) -> bool:
        """Whether a search found it."""
        return self.renders > 0


@dataclass(frozen=True, slots=True)
class Match:
    """What was found for a target, the nearest first.

    Attributes
    ----------
    target : Target
        The sound, in the form of the dataset's rows.
    answers : tuple of Answer
    note : int or None
        Of the rows that were considered; None for all.
    renders : int
        Candidates that a search rendered.
    is_interrupted : bool
        Whether Ctrl-C ended the search.
    """

    target: Target
    answers: tuple[Answer, ...]
    note: int | None = None
    renders: int = 0
    is_interrupted: bool = False

    @property
    def patches(self) -> tuple[Patch, ...]:
        """The patches."""
        return tuple(answer.played.patch for answer in self.answers)

    @property
    def rows(self) -> tuple[int, ...]:
        """The row of each, or the one from which it was searched."""
        return tuple(answer.row for answer in self.answers)

    @property
    def distances_db(self) -> tuple[float, ...]:
        """How far each is from the target, as `synthcore.distance` says it."""
        return tuple(answer.played.distance_db for answer in self.answers)


def match(
    audio: ArrayLike, sample_rate: int, dataset: str | Path, top: int = TOP, search: int = 0, note: int | None = None
) -> Match:
    """Find the patches of a dataset that sound most like a sound. `synthcore match` is the same, and writes presets.

    The first call sketches the dataset's rows, which takes some 10 ms each; the sketches stay in the data directory.

    Parameters
    ----------
    audio : array_like, shape (samples,) or (channels, samples)
        Full scale 1. It is resampled, cut or padded to the form of the rows.
    sample_rate : int
        In Hz.
    dataset : str or Path
        The file.
    top : int
        How many patches to find.
    search : int
        How many candidates to render around the nearest; 0 for none. Needs `pip install 'synthcore[match]'`.
    note : int, optional
        Only rows of this MIDI note, or the nearest that there are; by default of all.

    Returns
    -------
    Match
        Its `patches`, `rows` and `distances_db`, the nearest first.

    Raises
    ------
    SpecError
        The sound can't be matched, or a number is out of range.
    DatasetError
        The file isn't a dataset with audio and rows.
    EngineMismatch
        A search is asked for, and the synth here has other controls.
    Accident
        A render met with accident after accident.
    """
    if top < 1 or search < 0 or (note is not None and not 0 <= note <= 127):
        raise SpecError(f"top={top}, search={search}, note={note}: give at least 1, at least 0, and 0 to 127")
    path, wanted, data_dir = Path(dataset), Wanted(top, search, note), default_data_dir()
    with damage_named(path), Dataset(path) as opened:
        require_possible(opened, wanted)
        target = to_target(audio, sample_rate, Form.of(opened))
        plans = plan_rows(opened, Form.of(opened), ())
        sketch_missing(plans, data_dir, wanted.workers)
        return find(target, opened, StoredSketches(plans, data_dir), wanted)


def look(sound: Path, file: Path, wanted: Wanted) -> None:
    """Refuse what can't be matched, before anything long begins.

    Raises
    ------
    SpecError, DatasetError, EngineMismatch
        As `match`.
    """
    with damage_named(file), Dataset(file) as dataset:
        require_possible(dataset, wanted)
        read_target(sound, Form.of(dataset))


def plan(file: Path) -> list[RowPlan]:
    """Plan the sketches of all rows of a dataset.

    Raises
    ------
    DatasetError
        It isn't a dataset with audio and rows.
    """
    with damage_named(file), Dataset(file) as dataset:
        return plan_rows(dataset, Form.of(dataset), ())


def require_possible(dataset: Dataset, wanted: Wanted) -> None:
    """Refuse a dataset that can't be heard, or a search that this machine can't do.

    Raises
    ------
    SynthcoreError, DatasetError, EngineMismatch
    """
    require_rows(dataset)
    if wanted.search:
        require_cma()
        installed().require_same(dataset.registry, str(dataset.path))


def find(
    target: Target,
    dataset: Dataset,
    stored: StoredSketches,
    wanted: Wanted,
    watch: Watch = ignore,
) -> Match:
    """Find the nearest patches, and search around the nearest of them if wanted; Ctrl-C then ends only the search.

    Raises
    ------
    DatasetError
        No row can be compared.
    SynthcoreError, Accident
        As `search`.
    """
    note = None if wanted.note is None else _nearest_note(dataset, wanted.note)
    rows, apart_db = _nearest_rows(target, dataset, stored, note, wanted)
    answers = [_answer(target, dataset, row, db) for row, db in zip(rows.tolist(), apart_db.tolist(), strict=True)]
    answers.sort(key=lambda answer: answer.played.distance_db)
    if not wanted.search:
        return Match(target, tuple(answers), note)
    start = answers[0]
    assets = dataset.assets_of(start.played.patch)
    budget = Budget(wanted.search, wanted.workers)
    found = search(target.audio, start.played, assets, dataset.spec.audio, budget, watch)
    return _with_found(Match(target, tuple(answers), note, found.renders, found.is_interrupted), found)


def _with_found(match: Match, found: Found) -> Match:
    """Put what was found in front, if it is nearer."""
    first = match.answers[0]
    if found.best is first.played:
        return match
    return replace(match, answers=(Answer(found.best, first.row, None, found.renders), *match.answers))


def _nearest_note(dataset: Dataset, note: int) -> int:
    """The note of the dataset's rows that is nearest to one; of two, the lower."""
    there = np.unique(dataset.column("midi_note")).astype(int)
    return int(there[np.abs(there - note).argmin()])


def _nearest_rows(
    target: Target, dataset: Dataset, stored: StoredSketches, note: int | None, wanted: Wanted
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The row of each of the nearest patches, and how far its sketch is, the nearest first."""
    apart_db = distances_from(target.sketch, stored, workers=wanted.workers)
    rows = stored.places  # plans of all rows, in order
    if note is not None:
        is_played = dataset.column("midi_note")[rows] == note
        rows, apart_db = rows[is_played], apart_db[is_played]
    if not len(rows):
        raise DatasetError(f"{dataset.path} has no row that can be heard to match; generate some first")
    order = np.argsort(apart_db, kind="stable")
    _, first = np.unique(dataset.column("preset_hash")[rows[order]], return_index=True)
    chosen = order[np.sort(first)[: wanted.top]]
    return rows[chosen], apart_db[chosen]


def _answer(target: Target, dataset: Dataset, row: int, sketch_db: float) -> Answer:
    audio, (performance,) = dataset.column("audio", [row])[0], dataset.performances([row])
    apart_db = distance(target.audio, audio, target.sample_rate)
    return Answer(Played(dataset.patch(row), performance, audio, apart_db), row, sketch_db)
