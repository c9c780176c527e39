"""Between a value (the knob's raw number) and a unit value (the label, on [0, 1]).

The scale is linear, `(value - low) / (high - low)`, whatever curve the synth draws the knob with: vita's own
`set_normalized` leaves the range of 13 exponential controls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthcore.controls import Control


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


def _ranges(
    controls: Sequence[Control],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    low = np.array([c.low for c in controls], dtype=np.float64)
    high = np.array([c.high for c in controls], dtype=np.float64)
    return low, high, np.array([c.is_whole for c in controls], dtype=bool)
