"""Statistics of scores: median, mean and how sure the mean is, over all rows and over groups of them.

Rows of a family are alike: they are of one preset and its variations, or notes of one patch. So not rows but families
are drawn by the bootstrap, or an interval would be too narrow (Davison and Hinkley, "Bootstrap methods and their
application", 1997, section 3.8; Field and Welsh, Journal of the Royal Statistical Society B 69, 2007).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthcore.base.errors import SynthcoreError

RESAMPLES = 2_000
CONFIDENCE = 0.95
MOST_NOTES = 12  #: that have a group each
OCTAVE = 12  #: semitones
SEED = 0  #: of every bootstrap, so that a group's interval depends on its own rows alone


@dataclass(frozen=True, slots=True)
class Summary:
    """What some scores are like. A number that doesn't exist is NaN.

    Attributes
    ----------
    rows : int
        Rows with a score.
    without : int
        Rows without: NaN, to which the metric doesn't apply. They are in no other number.
    families : int
        Of the rows with a score.
    mean, median : float
    low, high : float
        The 95 % interval of the mean; NaN with fewer than two families.
    """

    rows: int
    without: int
    families: int
    mean: float
    median: float
    low: float
    high: float


def summarise(scores: ArrayLike, families: ArrayLike) -> Summary:
    """Sum up the scores of rows.

    The interval is a percentile interval of a cluster bootstrap. Let the rows with a score be of F families.
    `RESAMPLES` times F families are drawn with replacement, by `numpy.random.default_rng(SEED)`; a drawn family brings
    all its rows, as often as it is drawn; and the mean of the rows drawn is taken. From the 2.5th to the 97.5th
    percentile of these means (linear interpolation) is the interval.

    Parameters
    ----------
    scores : array_like, shape (n,), float
        One a row; NaN where the metric doesn't apply.
    families : array_like, shape (n,)
        Each row's family: numbers or names.

    Raises
    ------
    SynthcoreError
        The arrays differ in length, or a score is infinite.
    """
    scores, families = np.asarray(scores, dtype=np.float64), np.asarray(families)
    if scores.ndim != 1 or scores.shape != families.shape:
        raise SynthcoreError(f"scores of shape {scores.shape} need a family each, but families are {families.shape}")
    if np.isinf(scores).any():
        raise SynthcoreError(f"{int(np.isinf(scores).sum())} scores are infinite; give a number or NaN")
    scored = ~np.isnan(scores)
    found = scores[scored]
    names, members = np.unique(families[scored], return_inverse=True)
    low, high = _interval(found, members, len(names))
    return Summary(
        rows=len(found),
        without=len(scores) - len(found),
        families=len(names),
        mean=float(found.mean()) if len(found) else math.nan,
        median=float(np.median(found)) if len(found) else math.nan,
        low=low,
        high=high,
    )


def summarise_groups(
    scores: ArrayLike, families: ArrayLike, groups: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Summary]:
    """Sum up the scores of groups of rows, which may overlap: a row has several modules, but one tier.

    Parameters
    ----------
    scores, families : array_like, shape (n,)
        See `summarise`.
    groups : mapping of str to ndarray, shape (n,), bool
        Which rows are in each group; see `group_by`.

    Raises
    ------
    SynthcoreError
        See `summarise`; or a group isn't a mask of the rows.
    """
    scores, families = np.asarray(scores, dtype=np.float64), np.asarray(families)
    for name, rows in groups.items():
        if rows.dtype != np.bool_ or rows.shape != scores.shape:
            raise SynthcoreError(
                f"group {name} is {rows.dtype} {rows.shape}; give a bool for each of {len(scores)} rows"
            )
    return {name: summarise(scores[rows], families[rows]) for name, rows in groups.items()}


def group_by(labels: ArrayLike) -> dict[str, NDArray[np.bool_]]:
    """Groups of the rows that have the same label, in the labels' order.

    >>> {name: rows.tolist() for name, rows in group_by([60, 48, 60]).items()}
    {'48': [False, True, False], '60': [True, False, True]}
    """
    labels = np.asarray(labels)
    return {_text(label): labels == label for label in np.unique(labels)}


def group_by_note(notes: NDArray[np.integer[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Groups of the rows by MIDI note; of many different notes, by the octaves from one C to the next.

    >>> list(group_by_note(np.array([36, 60, 59]))), list(group_by_note(np.arange(45, 61)))
    (['36', '59', '60'], ['45 to 47', '48 to 59', '60'])
    """
    if len(np.unique(notes)) <= MOST_NOTES:
        return group_by(notes)
    groups = {}
    for octave in np.unique(notes // OCTAVE):
        rows = notes // OCTAVE == octave
        groups[" to ".join(map(str, np.unique([notes[rows].min(), notes[rows].max()])))] = rows
    return groups


def _text(label: object) -> str:
    return label.decode() if isinstance(label, bytes) else str(label)


def _interval(scores: NDArray[np.float64], members: NDArray[np.intp], families: int) -> tuple[float, float]:
    """The interval of the mean, see `summarise`; `members` says which family each score is of."""
    if families < 2:
        return math.nan, math.nan
    chance = np.random.default_rng(SEED)
    sums, counts = np.bincount(members, weights=scores), np.bincount(members)
    means = np.empty(RESAMPLES)
    for resample in range(RESAMPLES):
        drawn = chance.integers(families, size=families)
        means[resample] = sums[drawn].sum() / counts[drawn].sum()
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)
