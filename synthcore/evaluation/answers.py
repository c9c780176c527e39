"""Answers: which patch answers which row, and where it is read. What people give, and what the baselines give instead.

Owns the rule by which the rows of a dataset answer those of another: as many rows, each played alike, at one tier and
with one synth. Then row i answers row i.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, SpecError
from synthcore.evaluation.choices import ALL, Part
from synthcore.sources.collection import Collection
from synthcore.storage.collection import digest_of, read_collection
from synthcore.storage.dataset import Dataset
from synthcore.storage.predictions import Predictions, is_predictions
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch


class Origin(BaseModel):
    """Where the patches of answers are read."""

    model_config = ConfigDict(frozen=True)

    file: str  # predictions, a collection of presets, or a dataset whose rows they are
    assets: str  # the dataset that holds what they play, or the predictions or the collection themselves

    def patches(self, places: Sequence[int]) -> list[Patch]:
        """The patches of some answers, by their numbers in the file."""
        path = Path(self.file)
        if is_predictions(path):
            return Predictions(path).patches(places)
        if digest_of(path):
            return [_collection(path).presets[place].patch for place in places]
        with Dataset(path) as dataset:
            return [dataset.patch(place) for place in places]

    def hashes(self, places: Sequence[int]) -> list[str]:
        """The hashes of the patches of some answers, by their numbers in the file."""
        path = Path(self.file)
        if is_predictions(path):
            hashes = Predictions(path).patch_hashes
            return [hashes[place] for place in places]
        if digest_of(path):
            presets = _collection(path).presets
            return [presets[place].patch.hash for place in places]
        with Dataset(path) as dataset:
            return [name.decode() for name in dataset.column("preset_hash", list(places)).tolist()]

    def assets_of(self, patches: Sequence[Patch]) -> Mapping[str, bytes]:
        """What patches play."""
        path = Path(self.assets)
        if is_predictions(path):
            return Predictions(path).assets_of(patches)
        if digest_of(path):
            return _collection(path).assets
        with Dataset(path) as dataset:
            return {name: content for patch in patches for name, content in dataset.assets_of(patch).items()}


@lru_cache(maxsize=2)
def _collection(path: Path) -> Collection:
    return read_collection(path)


class Answers(BaseModel):
    """Which answers are scored.

    Attributes
    ----------
    name : str
        What they are called: a file, or a baseline.
    origin : Origin
    rows : tuple of int
        The row that each answers.
    places : tuple of int
        The number of each in its file.
    unanswered : int
        Rows of the split without an answer.
    others : int
        Answers to rows outside the split, or to sounds that can't be used.
    remarks : tuple of str
        What else one should know of them, in sentences.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    origin: Origin
    rows: tuple[int, ...]
    places: tuple[int, ...]
    unanswered: int = 0
    others: int = 0
    remarks: tuple[str, ...] = ()


def rows_of(dataset: Dataset, split: Part) -> NDArray[np.intp]:
    """The rows that are to be answered.

    Raises
    ------
    DatasetError
        It is a recipe, or has no such rows.
    """
    if dataset.is_recipe:
        raise DatasetError(f"{dataset.path} is a recipe, without audio; make it again with synthcore render")
    if split != ALL and "split" not in dataset.column_names:
        raise DatasetError(f"{dataset.path} has no splits: it is a shard; take every row of it with --split {ALL}")
    rows = np.arange(len(dataset)) if split == ALL else dataset.split(split).rows
    if not len(rows):
        has = f" in its split {split}; take every row with --split {ALL}" * (split != ALL)
        raise DatasetError(f"{dataset.path} has no rows{has}" + "; generate some first" * (split == ALL))
    return rows


def given_answers(file: Path, dataset: Dataset, split: Part) -> Answers:
    """The answers that a file gives to rows of a dataset.

    Parameters
    ----------
    file : Path
        Predictions, or a dataset.
    dataset : Dataset
        Whose rows are answered.
    split : str
        Which of them.

    Raises
    ------
    SpecError
        The file's answers are to other rows.
    DatasetError
        As `rows_of`; or the file is neither, or damaged.
    EngineMismatch
        The dataset was made with another synth than the installed one.
    """
    rows = rows_of(dataset, split)
    installed().require_same(dataset.registry, str(dataset.path))
    if is_predictions(file):
        predictions = Predictions(file)
        predictions.require_of(dataset)
        answered, assets = predictions.rows, dataset.path
    else:
        with Dataset(file) as other:
            _require_alike(other, dataset)
            answered, assets = np.arange(len(other)), other.path
    origin = Origin(file=str(file.absolute()), assets=str(assets))
    return chosen_answers(str(file), origin, answered, rows, f"a row of {dataset.path} ({split})")


def chosen_answers(
    name: str, origin: Origin, answered: NDArray[np.integer[Any]], rows: NDArray[np.intp], wanted: str
) -> Answers:
    """Those of a file's answers that are to some rows; the others, and rows without any, are counted.

    Raises
    ------
    SpecError
        There are none.
    """
    is_wanted = np.isin(answered, rows)
    if not is_wanted.any():
        raise SpecError(
            f"{name} has {how_many(len(answered), 'answer')}, none of them to {wanted}; "
            "name another split, or predict these rows"
        )
    return Answers(
        name=name,
        origin=origin,
        rows=tuple(answered[is_wanted].tolist()),
        places=tuple(np.flatnonzero(is_wanted).tolist()),
        unanswered=len(np.setdiff1d(rows, answered)),
        others=int((~is_wanted).sum()),
    )


def _require_alike(answers: Dataset, dataset: Dataset) -> None:
    """Refuse a dataset whose rows can't be those that answer another's, number by number."""
    installed().require_same(answers.registry, str(answers.path))
    rule = "the rows of a dataset answer those of another of as many rows, of its tier, each played alike"
    if answers.missing_assets:
        raise DatasetError(
            f"{answers.path} is a recipe, and lacks what its patches play; make it with synthcore render"
        )
    for what, own, other in (
        ("tier", answers.spec.tier, dataset.spec.tier),
        ("number of rows", len(answers), len(dataset)),
    ):
        if own != other:
            raise SpecError(f"{answers.path} can't answer {dataset.path}: its {what} is {own:,}, not {other:,}; {rule}")
    played = zip(answers.performances(slice(None)), dataset.performances(slice(None)), strict=True)
    for row, (there, here) in enumerate(played):
        if there != here:
            raise SpecError(
                f"{answers.path} can't answer {dataset.path}: row {row} is played at note {there.note}, velocity "
                f"{there.velocity}, for {there.note_seconds:g} s there, and at note {here.note}, velocity "
                f"{here.velocity}, for {here.note_seconds:g} s here; {rule}"
            )
