"""Curves: how the error follows one control, over the rows in which it can be heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.storage.dataset import Dataset

POINTS = 8  #: of a curve, each of as many rows
ROWS = 5  #: to a point, at least: a control that is heard in fewer rows has no curve


class Curve(BaseModel):
    """The mean score of rows by the unit value of one control, from low to high."""

    model_config = ConfigDict(frozen=True)

    control: str
    values: tuple[float, ...]  # mean unit value of each point's rows
    scores: tuple[float, ...]  # mean score of each point's rows
    rows: int  # of all points

    @property
    def spread(self) -> float:
        """How far the highest point lies above the lowest."""
        return max(self.scores) - min(self.scores)


def find_curves(scores: NDArray[np.float64], dataset: Dataset, rows: NDArray[np.int64]) -> tuple[Curve, ...]:
    """Draw a curve for each continuous control that varies enough, those that the scores follow most first.

    Parameters
    ----------
    scores : ndarray, shape (rows,), float64
        One a row; NaN where the metric says nothing.
    dataset : Dataset
        Whose labels say where the controls are. In a file without masks of activity, all controls count as active.
    rows : ndarray, shape (rows,), int
        Which rows these are, rising.
    """
    values, scored = dataset.column("continuous", rows), ~np.isnan(scores)
    active = np.ones(values.shape, bool)
    if "active" in dataset.column_names:
        active = dataset.column("active", rows)[:, : values.shape[1]]
    drawn = []
    for place, control in enumerate(dataset.registry.continuous):
        heard = np.flatnonzero(active[:, place] & scored)
        own = values[heard, place]
        if len(heard) < POINTS * ROWS or own.min() == own.max():
            continue
        points = np.array_split(heard[np.argsort(own, kind="stable")], POINTS)
        drawn.append(
            Curve(
                control=control.name,
                values=tuple(float(values[some, place].mean()) for some in points),
                scores=tuple(float(scores[some].mean()) for some in points),
                rows=len(heard),
            )
        )
    return tuple(sorted(drawn, key=lambda curve: -curve.spread))
