"""What files of earlier schemas lack or number otherwise, made from what they do say.

Before 4.1.0 there are no `note_seconds` and no `bpm`. In 3.0.0, the numbers of wavetables and extras are places in
`schema/assets`, -1 for the init preset's, and unit values are all there is of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import DatasetError
from synthcore.base.quantities import ends
from synthcore.storage import schema
from synthcore.storage.opening import MAKE_AGAIN
from synthcore.storage.rows import read_rows, require_written
from synthcore.vital import tempo
from synthcore.vital.classes import EXTRAS, Classes
from synthcore.vital.controls import Registry

Places = NDArray[np.intp]  # of rows, rising
WAVETABLES, EXTRA, EXACT = "params/wavetables", "params/extras", "params/exact_values"


class Older:
    """Makes columns of a file of an earlier schema, and its classes.

    Parameters
    ----------
    file : h5py.File
        Open as long as this is used.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    @property
    def is_version_3(self) -> bool:
        return str(self._file["schema"].attrs["version"]).startswith("3.")

    @cached_property
    def columns(self) -> Mapping[str, Callable[[Places], NDArray[Any]]]:
        """The columns that are made, by name: because the file has none, or numbers otherwise."""
        made: dict[str, Callable[[Places], NDArray[Any]]] = {}
        if "metadata/bpm" not in self._file:
            made |= {"metadata/note_seconds": self._note_seconds, "metadata/bpm": self._bpm}
        if self.is_version_3:
            made |= {WAVETABLES: self._wavetables, EXTRA: self._extras, EXACT: self._exact_values}
        return made

    def classes(self) -> Classes:
        """What the numbers in `params/wavetables` and `params/extras` mean, as they are made.

        A file of 3.0.0 doesn't hold its catalog, so its classes are what its rows play, and the numbers are its own.

        Raises
        ------
        DatasetError
            A number is no place of an asset.
        """
        names = schema.read_asset_names(self._file)
        called = self._file["schema/wavetable_names"].asstr()[:].tolist()
        wavetables, *extras = self._played
        numbers = np.concatenate(self._played)
        if numbers.min() < -1 or numbers.max() >= len(names) or -1 in wavetables:
            raise DatasetError(f"{self._file.filename} is damaged: a label refers to no asset; {MAKE_AGAIN}")
        return Classes(
            wavetables=tuple(names[place] for place in wavetables),
            wavetable_names=tuple(called[place] for place in wavetables),
            extras=tuple((None, *(names[place] for place in of[1:])) for of in extras),
            catalog_size=0,
        )

    @cached_property
    def _played(self) -> list[list[int]]:
        """The numbers that occur as wavetables and as each of the extras; -1 first, the init preset's."""
        wavetables, extras = self._column(WAVETABLES)[:], self._column(EXTRA)[:]
        return [
            np.unique(wavetables).tolist(),
            *(np.union1d([-1], extras[:, of]).tolist() for of in range(len(EXTRAS))),
        ]

    def _wavetables(self, places: Places) -> NDArray[np.int32]:
        return np.searchsorted(self._played[0], self._rows(WAVETABLES, places)).astype(np.int32)

    def _extras(self, places: Places) -> NDArray[np.int32]:
        parts = zip(self._played[1:], self._rows(EXTRA, places).T, strict=True)
        return np.stack([np.searchsorted(played, numbers) for played, numbers in parts], axis=1).astype(np.int32)

    def _exact_values(self, places: Places) -> NDArray[np.float32]:
        """None: the synth was given what the unit values say."""
        return np.full((len(places), *self._column("params/continuous").shape[1:]), np.nan, np.float32)

    def _note_seconds(self, places: Places) -> NDArray[np.float64]:
        return np.full(len(places), self._held)

    @cached_property
    def _held(self) -> float:
        """As the spec says: it was the same for every row."""
        return ends(schema.read_spec(self._file).audio.note_seconds)[0]

    def _bpm(self, places: Places) -> NDArray[np.float64]:
        """As the labels say."""
        units = self._rows("params/continuous", places)[:, self._tempo]
        exact = self._exact_values(places) if self.is_version_3 else self._rows(EXACT, places)
        return tempo.to_bpm(units, exact[:, self._tempo], self._registry)

    @cached_property
    def _registry(self) -> Registry:
        return schema.read_registry(self._file)

    @cached_property
    def _tempo(self) -> int:
        return tempo.place_in(self._registry)

    def _rows(self, name: str, places: Places) -> NDArray[Any]:
        return read_rows(self._column(name), places)

    def _column(self, name: str) -> h5py.Dataset:
        return require_written(self._file[name])


def has_exact_values(file: h5py.File) -> bool:
    """Whether rows have values that their unit values only come near; in 3.0.0 none has."""
    return not Older(file).is_version_3 and bool(file["schema"].attrs["exact_value_rows"] > 0)


def classes_of(file: h5py.File) -> Classes:
    """What the numbers in `params/wavetables` and `params/extras` mean, whatever the file's schema.

    Raises
    ------
    DatasetError
        A number of a file of 3.0.0 is no place of an asset.
    """
    older = Older(file)
    return older.classes() if older.is_version_3 else schema.read_classes(file)
