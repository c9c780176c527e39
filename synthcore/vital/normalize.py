"""Conversion between a value (a control's raw number) and a unit value (its label, on [0, 1]).

The scale is linear, `(value - low) / (high - low)`, whatever curve the synth draws the knob with: vita's own
`set_normalized` leaves the range of 13 exponential controls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthcore.vital.controls import Control


def to_units(controls: Sequence[Control], values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Turn values into the unit values that are stored.

    Parameters
    ----------
    controls : sequence of Control
        C controls.
    values : ndarray, shape (..., C), float64
        Raw values; clipped to the control's range, rounded where only whole numbers mean something.

    Returns
    -------
    ndarray, shape (..., C), float32
        Unit values on [0, 1].
    """
    low, high, whole = _ranges(controls)
    values = np.clip(np.where(whole, np.rint(values), values), low, high)
    return ((values - low) / (high - low)).astype(np.float32)


def to_values(controls: Sequence[Control], units: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turn stored unit values into the raw values that are played.

    Parameters
    ----------
    controls : sequence of Control
        C controls.
    units : ndarray, shape (..., C), float32
        Unit values on [0, 1].

    Returns
    -------
    ndarray, shape (..., C), float64
        Values in the synth's units; whole numbers exactly.
    """
    low, high, whole = _ranges(controls)
    values = low + units.astype(np.float64) * (high - low)
    return np.where(whole, np.rint(values), values)


def to_label(
    controls: Sequence[Control], values: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn values that anyone wrote into a label that gives back what the synth makes of them, bit for bit.

    The synth holds a value as float32, which is finer around 0 than unit values are there.

    Parameters
    ----------
    controls : sequence of Control
        C controls.
    values : ndarray, shape (..., C), float64
        Raw values; clipped and rounded as by `to_units`.

    Returns
    -------
    units : ndarray, shape (..., C), float32
        Unit values on [0, 1].
    exact_values : ndarray, shape (..., C), float32
        The value itself if the unit value only comes near it; otherwise NaN.
    """
    low, high, whole = _ranges(controls)
    held = np.clip(np.where(whole, np.rint(values), values), low, high).astype(np.float32)
    units = to_units(controls, values)
    units = np.where(_gives_back(controls, units, held), units, to_units(controls, held.astype(np.float64)))
    return units, np.where(_gives_back(controls, units, held), np.float32(np.nan), held)


def _gives_back(
    controls: Sequence[Control], units: NDArray[np.float32], held: NDArray[np.float32]
) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = to_values(controls, units).astype(np.float32) == held
    return same


def _ranges(
    controls: Sequence[Control],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    low = np.array([c.low for c in controls], dtype=np.float64)
    high = np.array([c.high for c in controls], dtype=np.float64)
    return low, high, np.array([c.is_whole for c in controls], dtype=bool)
