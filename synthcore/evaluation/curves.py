"""Curves: how the error follows one control, over the rows in which it can be heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.storage.dataset import Dataset

POINTS = 8  #: of a curve at most, each of about as many rows; rows with one value are in one point
ROWS = 5  #: to a point, at least


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
        points = [heard[within] for within in _points(own)]
        if len(points) < 2:  # nothing to follow
            continue
        drawn.append(
            Curve(
                control=control.name,
                values=tuple(float(values[some, place].mean()) for some in points),
                scores=tuple(float(scores[some].mean()) for some in points),
                rows=sum(map(len, points)),
            )
        )
    return tuple(sorted(drawn, key=lambda curve: -curve.spread))


def _points(values: NDArray[np.float32]) -> list[NDArray[np.intp]]:
    """Share values out among points, from low to high: equal ones are in one, and a point of too few is left out."""
    if not len(values):
        return []
    edges = np.unique(np.quantile(values, np.linspace(0, 1, POINTS + 1)[1:-1]))
    place = np.searchsorted(edges, values, side="right")
    points = [np.flatnonzero(place == number) for number in range(len(edges) + 1)]
    return [point for point in points if len(point) >= ROWS]
