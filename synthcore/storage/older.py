"""Columns that files written before schema 4.1.0 lack, made from what they do say."""

from __future__ import annotations

from collections.abc import Callable

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.quantities import ends
from synthcore.storage import schema
from synthcore.vital import tempo

Column = Callable[[str], h5py.Dataset]  #: gives a column that is there


def _note_seconds(column: Column, places: NDArray[np.intp]) -> NDArray[np.float64]:
    """As the spec says: it was the same for every row."""
    held = schema.read_spec(column("metadata/midi_note").file).audio.note_seconds
    return np.full(len(places), ends(held)[0])


def _bpm(column: Column, places: NDArray[np.intp]) -> NDArray[np.float64]:
    """As the label says."""
    units, exact = column("params/continuous"), column("params/exact_values")
    registry = schema.read_registry(units.file)
    first, stop = (places[0], places[-1] + 1) if len(places) else (0, 0)
    place = tempo.place_in(registry)
    found = tempo.to_bpm(units[first:stop, place], exact[first:stop, place], registry)  # little of it in memory
    return found[places - first]


MADE = {"metadata/note_seconds": _note_seconds, "metadata/bpm": _bpm}
