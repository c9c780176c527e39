"""Tempo: a patch has one like any other control, `beats_per_minute`, in beats per second in spite of its name.

What the synth is told by `set_bpm` is undone when it loads a document. So a tempo is played by putting it into the
patch, whose label then says it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthcore.base.quantities import TEMPO_DIGITS
from synthcore.vital.controls import Control, Registry
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.patch import Patch

CONTROL = "beats_per_minute"


def place_in(registry: Registry) -> int:
    """The place of the tempo among the continuous controls."""
    return registry.continuous.index(registry.by_name[CONTROL])


def to_bpm(units: NDArray[np.float32], exact_values: NDArray[np.float32], registry: Registry) -> NDArray[np.float64]:
    """Tempos in BPM, rounded to hundredths.

    Parameters
    ----------
    units, exact_values : ndarray, shape (N,), float32
        What labels hold of the control.
    registry : Registry

    Returns
    -------
    ndarray, shape (N,), float64
    """
    values = to_values([registry.by_name[CONTROL]], units[:, None])[:, 0]
    exact = exact_values.astype(np.float64)
    return np.round(60 * np.where(np.isnan(exact), values, exact), TEMPO_DIGITS)


def bpm_of(patch: Patch, registry: Registry) -> float:
    """The tempo of a patch in BPM, rounded to hundredths."""
    place = place_in(registry)
    return float(to_bpm(patch.continuous[[place]], patch.exact[[place]], registry)[0])


def at_bpm(patch: Patch, bpm: float, registry: Registry) -> Patch:
    """The patch at another tempo; itself if it has that tempo, to the hundredth of a BPM."""
    if bpm_of(patch, registry) == bpm:
        return patch
    units = patch.continuous.copy()
    units[place_in(registry)] = to_units([registry.by_name[CONTROL]], np.array([bpm / 60]))[0]
    return patch.moved(continuous=units)


def with_tempos_named(registry: Registry) -> Registry:
    """Name the delay's tempos by what they are: files of 3.0.0 call its slowest one by the slowest there is at all."""
    every = max((c.options for c in registry.controls if c.name.endswith("_tempo")), key=len, default=())

    def named(control: Control) -> Control:
        misnamed = control.options and control.low > 0 and control.options == every[: len(control.options)]
        return replace(control, options=every[int(control.low) :]) if misnamed else control

    return replace(registry, controls=tuple(map(named, registry.controls)))
