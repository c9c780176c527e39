"""What files of earlier schemas lack or number otherwise, made from what they do say.

Before 4.1.0 there are no `note_seconds` and no `bpm`. In 3.0.0, the numbers of wavetables and extras are places in
`schema/assets`, -1 for the init preset's, and unit values are all there is of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.quantities import ends
from synthcore.storage import schema
from synthcore.vital import tempo
from synthcore.vital.classes import Classes

Column = Callable[[str], h5py.Dataset]  #: gives a column that is there
Make = Callable[[Column, NDArray[np.intp]], NDArray[Any]]  #: makes rows of a column, rising


def _note_seconds(column: Column, places: NDArray[np.intp]) -> NDArray[np.float64]:
    """As the spec says: it was the same for every row."""
    held = schema.read_spec(column("metadata/midi_note").file).audio.note_seconds
    return np.full(len(places), ends(held)[0])


def _bpm(column: Column, places: NDArray[np.intp]) -> NDArray[np.float64]:
    """As the label says."""
    registry = schema.read_registry(column("metadata/midi_note").file)
    place = tempo.place_in(registry)
    units = _rows(column("params/continuous"), places)[:, place]
    if "params/exact_values" in column("metadata/midi_note").file:
        exact = _rows(column("params/exact_values"), places)[:, place]
    else:
        exact = np.full(len(places), np.nan, np.float32)
    return tempo.to_bpm(units, exact, registry)


def _exact_values(column: Column, places: NDArray[np.intp]) -> NDArray[np.float32]:
    """None: the synth was given what the unit values say."""
    return np.full((len(places), *column("params/continuous").shape[1:]), np.nan, np.float32)


def _wavetables(column: Column, places: NDArray[np.intp]) -> NDArray[np.int32]:
    stored = column("params/wavetables")
    return np.searchsorted(np.unique(stored[:]), _rows(stored, places)).astype(np.int32)


def _extras(column: Column, places: NDArray[np.intp]) -> NDArray[np.int32]:
    stored = column("params/extras")
    parts = zip(_played_extras(stored), _rows(stored, places).T, strict=True)
    return np.stack([np.searchsorted(played, numbers) for played, numbers in parts], axis=1).astype(np.int32)


_BEFORE_4_1: Mapping[str, Make] = {"metadata/note_seconds": _note_seconds, "metadata/bpm": _bpm}
_BEFORE_4: Mapping[str, Make] = {
    "params/wavetables": _wavetables,
    "params/extras": _extras,
    "params/exact_values": _exact_values,
}


def made_columns(file: h5py.File) -> Mapping[str, Make]:
    """The columns of a file that are made, by name: because it has none, or numbers otherwise."""
    made = {} if "metadata/bpm" in file else _BEFORE_4_1
    return made if schema.CLASSES in file else {**made, **_BEFORE_4}


def classes_of(file: h5py.File) -> Classes:
    """What the numbers in `params/wavetables` and `params/extras` mean, as they are read.

    A file of 3.0.0 doesn't hold its catalog, so its classes are what its rows play, and the numbers are its own.
    """
    if schema.CLASSES in file:
        return schema.read_classes(file)
    names = schema.read_asset_names(file)
    called = file["schema/wavetable_names"].asstr()[:].tolist()
    played = np.unique(file["params/wavetables"][:]).tolist()
    return Classes(
        wavetables=tuple(names[place] for place in played),
        wavetable_names=tuple(called[place] for place in played),
        extras=tuple((None, *(names[place] for place in of[1:])) for of in _played_extras(file["params/extras"])),
        catalog_size=0,
    )


def _played_extras(stored: h5py.Dataset) -> list[list[int]]:
    """The numbers that occur of each of the extras; -1, the init preset's, comes first."""
    return [np.union1d([-1], numbers).tolist() for numbers in stored[:].T]


def _rows(column: h5py.Dataset, places: NDArray[np.intp]) -> NDArray[Any]:
    """Rows in rising order, by what lies between the first and the last: label columns are small."""
    first, stop = (places[0], places[-1] + 1) if len(places) else (0, 0)
    found: NDArray[Any] = column[first:stop][places - first]
    return found
