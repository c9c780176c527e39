"""Baselines: answers that need no model, so that every table has a floor and a ceiling.

`mean`, `nearest` and `search` learn from a training split, which may be another dataset's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthcore.analysis.nearness import find_nearest
from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError, SpecError
from synthcore.base.hashing import content_hash
from synthcore.evaluation.answers import Answers, Origin, given_answers, rows_of
from synthcore.evaluation.choices import Choice
from synthcore.evaluation.frames import require_libraries
from synthcore.evaluation.search import require_cma
from synthcore.evaluation.sound_answers import given_answers_to_sounds, look_at_sounds
from synthcore.evaluation.sounds import SoundFolder
from synthcore.pipeline.forms import Form
from synthcore.pipeline.sketching import StoredSketches
from synthcore.pipeline.sounds import RecordingPlan, RowPlan, SketchPlan, plan_recordings, row_plans
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.storage.predictions import Predictions, is_predictions
from synthcore.vital.controls import installed
from synthcore.vital.patch import EMPTY_SLOT, SlotField

ROWS = 4_096  #: whose labels are in memory at a time


def look(choice: Choice) -> None:
    """Refuse what can't be evaluated, before anything long begins.

    Raises
    ------
    SpecError, DatasetError, EngineMismatch
        As `answers_of` and `answers_of_nearest`.
    """
    require_libraries()
    if choice.baseline == "search":
        require_cma()
    if choice.against.is_dir():
        look_at_sounds(choice)
        if choice.baseline:
            _training(choice)
    elif choice.note is not None:
        raise SpecError(f"--note is for a folder of sounds; the rows of {choice.against} have their own notes")
    elif choice.answers and choice.train != choice.against:
        raise SpecError("--train is for a baseline that learns, or for presets that answer sounds; leave it out")
    elif choice.baseline in ("nearest", "search"):
        plan_nearest(choice)
    elif choice.baseline == "mean":
        _rows_and_training(choice)
    else:
        answers_of(choice, Path())


def answers_of(choice: Choice, data_dir: Path) -> Answers:
    """The answers of a file, or of a baseline that needs no sketches.

    Parameters
    ----------
    choice : Choice
    data_dir : Path
        Where the answers of `mean` are written.

    Raises
    ------
    SpecError
        The file's answers are to other rows; or there is no other row to answer with.
    DatasetError
        A file is not a dataset with audio and such rows, or neither that nor predictions.
    EngineMismatch
        A dataset was made with another synth than the installed one.
    """
    if choice.baseline == "mean":
        return _mean(choice, *_rows_and_training(choice), data_dir)
    with damage_named(choice.against), Dataset(choice.against) as dataset:
        if choice.answers:
            return given_answers(choice.answers, dataset, choice.split)
        installed().require_same(dataset.registry, str(dataset.path))
        rows = rows_of(dataset, choice.split)
        places = _other_rows(dataset, rows, choice) if choice.baseline == "random" else rows
        return _by_rows(str(choice.baseline), rows, dataset.local_path, places)


def answers_to_sounds(choice: Choice, sounds: SoundFolder, data_dir: Path, workers: int) -> Answers:
    """The answers to the sounds of a folder, of a file, a folder of presets, or the baseline `mean`.

    Raises
    ------
    SpecError, DatasetError, EngineMismatch
        As `answers_of`.
    """
    if choice.baseline:
        return _mean(choice, sounds.numbers, _training(choice), data_dir)
    return given_answers_to_sounds(choice, sounds, data_dir, workers)


def plan_nearest(
    choice: Choice, sounds: SoundFolder | None = None
) -> tuple[list[RowPlan] | list[RecordingPlan], list[RowPlan]]:
    """Plan the sketching of the rows or sounds that are answered, and of the rows that answer them.

    Raises
    ------
    SpecError, DatasetError, EngineMismatch
        As `answers_of`.
    """
    if sounds is not None:
        training, files = _training(choice), [one.file for one in sounds.sounds]
        with damage_named(choice.train), Dataset(choice.train) as train:
            form = Form.of(train)
            return plan_recordings(Path(sounds.folder), files, form, len(files)), row_plans(train, form, training)
    rows, training = _rows_and_training(choice)
    with damage_named(choice.against), Dataset(choice.against) as dataset:
        form = Form.of(dataset)
        asked = row_plans(dataset, form, rows)
    with damage_named(choice.train), Dataset(choice.train) as train:
        return asked, row_plans(train, form, training)


def answers_of_nearest(
    choice: Choice,
    asked: Sequence[RowPlan] | Sequence[RecordingPlan],
    known: Sequence[RowPlan],
    data_dir: Path,
    sounds: SoundFolder | None = None,
) -> Answers:
    """Answer each row with the training row whose sketch is nearest, loudness included; all are sketched already.

    Raises
    ------
    SynthcoreError
        All rows of a side are silent.
    """
    sides = StoredSketches(asked, data_dir), StoredSketches(known, data_dir)
    found = find_nearest(sides[1], sides[0].whole(), matched=False)
    rows = sounds.numbers if sounds else _rows_of(asked)
    training = _rows_of(known)
    answers = _by_rows("nearest", rows[sides[0].places], choice.train, training[sides[1].places[found.row]])
    return answers.model_copy(update={"unanswered": len(rows) - len(answers.rows)})


def _rows_of(plans: Sequence[SketchPlan]) -> NDArray[np.intp]:
    return np.array([row for plan in plans if isinstance(plan, RowPlan) for row in plan.rows], np.intp)


def _training(choice: Choice) -> NDArray[np.intp]:
    """The rows that are learned from."""
    with damage_named(choice.train), Dataset(choice.train) as train:
        installed().require_same(train.registry, str(choice.train))
        if train.missing_assets:
            raise DatasetError(f"{choice.train} is a recipe; make it again with synthcore render")
        return rows_of(train, "train")


def _rows_and_training(choice: Choice) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows that are answered, and those that are learned from."""
    with damage_named(choice.against), Dataset(choice.against) as dataset:
        rows = rows_of(dataset, choice.split)
        installed().require_same(dataset.registry, str(choice.against))
        digest, tier = dataset.digest, dataset.spec.tier
    with damage_named(choice.train), Dataset(choice.train) as train:
        if train.digest == digest and choice.split in ("train", "all"):
            raise SpecError(
                f"{choice.baseline} learns from the training split of {choice.train}, which must not be among the "
                "rows that are answered: answer --split test or val, or name another dataset with --train"
            )
        if train.spec.tier != tier:
            raise SpecError(f"{choice.train} is of tier {train.spec.tier}, {choice.against} of tier {tier}")
    return rows, _training(choice)


def _other_rows(dataset: Dataset, rows: NDArray[np.intp], choice: Choice) -> NDArray[np.intp]:
    """For each row, another patch's, drawn with the seed."""
    patches = np.unique(dataset.column("preset_hash", rows), return_inverse=True)[1]
    if not patches.any():
        raise SpecError(f"{dataset.path} ({choice.split}) has rows of one patch alone, and none to answer them with")
    chance = np.random.default_rng(choice.seed)
    drawn = chance.integers(len(rows), size=len(rows))
    while (own := patches[drawn] == patches).any():
        drawn[own] = chance.integers(len(rows), size=int(own.sum()))
    return rows[drawn]


def _by_rows(name: str, rows: NDArray[np.intp], file: Path, places: NDArray[np.intp]) -> Answers:
    """Answer rows with rows of a dataset."""
    origin = Origin(file=str(file), assets=str(file))
    return Answers(name=name, origin=origin, rows=tuple(rows.tolist()), places=tuple(places.tolist()))


def _mean(choice: Choice, rows: NDArray[np.intp], training: NDArray[np.intp], data_dir: Path) -> Answers:
    """Answer every row with one patch, the mean of the training split, which is written as predictions."""
    with damage_named(choice.train), Dataset(choice.train) as train:
        file = data_dir / "scores" / f"mean-{content_hash([train.digest, training.tolist()])[:16]}.h5"
        origin = written(file, train, training[:1], lambda: mean_label(train, training))
    return Answers(name="mean", origin=origin, rows=tuple(rows.tolist()), places=(0,) * len(rows))


def written(file: Path, train: Dataset, rows: ArrayLike, label: Callable[[], Mapping[str, NDArray[Any]]]) -> Origin:
    """Write answers into a file of their own, as a whole, unless it is there.

    Parameters
    ----------
    file : Path
        Named by content.
    train : Dataset
        Where they are from, and whose assets they play.
    rows : array_like, shape (n,), int
        Of that dataset.
    label : callable
        Gives the parts of `LABELS`, shape (n, ...).
    """
    if not is_predictions(file):
        with atomic_path(file) as temporary:  # other runs look for the same file, and must find it whole
            temporary.unlink()  # `create` begins only new files
            Predictions.create(temporary, train, several=True).append(rows, **label())
    return Origin(file=str(file), assets=str(train.path))


def mean_label(dataset: Dataset, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """The mean of the labels of some rows, as one answer.

    Returns
    -------
    dict of str to ndarray, shape (1, ...)
        The mean of unit values, and the most frequent option, wavetable and extra. A modulation slot connects what it
        connects most often (or nothing), with the mean of those rows' settings.
    """
    sums = np.zeros(dataset.shapes["params/continuous"][1])
    for start in range(0, len(rows), ROWS):
        sums += dataset.column("continuous", rows[start : start + ROWS]).sum(axis=0, dtype=np.float64)
    label: dict[str, Any] = {"continuous": sums / len(rows)}
    for name in ("categorical", "wavetables", "extras"):
        label[name] = np.apply_along_axis(_most_frequent, 0, dataset.column(name, rows))
    slots = dataset.column("modulation_slots", rows)
    label["modulation_slots"] = np.stack([_usual_slot(slots[:, place]) for place in range(slots.shape[1])])
    return {name: value[None] for name, value in label.items()}


def _most_frequent(values: NDArray[np.int32]) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _usual_slot(slots: NDArray[np.float32]) -> NDArray[np.float32]:
    """The usual connection of one slot, shape (7,), of those in all rows, shape (rows, 7)."""
    ends, member, counts = np.unique(slots[:, : SlotField.AMOUNT], axis=0, return_inverse=True, return_counts=True)
    usual = counts.argmax()
    if ends[usual, SlotField.SOURCE] < 0:
        return EMPTY_SLOT
    mean: NDArray[np.float32] = slots[member.ravel() == usual].mean(axis=0)
    return mean
