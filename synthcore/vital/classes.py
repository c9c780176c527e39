"""Classes: the whole numbers that stand for wavetables, LFO shapes, samples and curves in a label.

Their order belongs to the spec: its catalog comes first, in the catalog's order, then the init preset's wavetable. So a
number below `catalog_size` means the same wavetable in all files made with one catalog. What presets add follows, in
the order in which rows first refer to it. Class 0 of LFO shapes, samples and curves is the init preset's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthcore.vital.catalog import Catalog, builtin
from synthcore.vital.controls import Registry, installed
from synthcore.vital.wavetable import init_names


class Extras(NamedTuple):
    """What a patch can hold besides numbers and wavetables: the SHA-256 of each asset, None for the init preset's."""

    lfos: str | None = None  #: the shapes of all LFOs
    sample: str | None = None
    curves: str | None = None  #: those drawn for modulation, by slot


EXTRAS = Extras._fields
INIT_EXTRAS = Extras()


@dataclass(frozen=True)
class Classes:
    """What the numbers in `params/wavetables` and `params/extras` mean.

    Attributes
    ----------
    wavetables : tuple of str
        The SHA-256 of each class's wavetable.
    wavetable_names : tuple of str
        What people call each; names aren't unique.
    extras : tuple of tuple of (str or None)
        For each of `EXTRAS`, the SHA-256 of each class; None, the init preset's, comes first.
    catalog_size : int
        How many wavetables are the catalog's; these come first.
    """

    wavetables: tuple[str, ...]
    wavetable_names: tuple[str, ...]
    extras: tuple[tuple[str | None, ...], ...]
    catalog_size: int

    @classmethod
    def of(cls, catalog: Catalog, registry: Registry) -> Classes:
        """The classes of every file that is made with a catalog."""
        names = {entry.digest: entry.name for entry in catalog.entries}
        names = {**names, **{w: name for w, name in init_names(registry).items() if w not in names}}
        return cls(tuple(names), tuple(names.values()), ((None,),) * len(EXTRAS), len(catalog))

    def named(self, wavetables: Sequence[int], extras: Sequence[int]) -> tuple[tuple[str, ...], Extras]:
        """Give what the numbers of one label stand for.

        Raises
        ------
        IndexError
            There is no such class.
        """
        if min(*wavetables, *extras) < 0:
            raise IndexError(f"classes count from 0; a label has {min(*wavetables, *extras)}")
        of_extras = Extras(*(of[number] for of, number in zip(self.extras, extras, strict=True)))
        return tuple(self.wavetables[number] for number in wavetables), of_extras

    def played(self, wavetables: NDArray[np.int32], extras: NDArray[np.int32]) -> set[str]:
        """The assets that the labels of rows refer to.

        Parameters
        ----------
        wavetables, extras : ndarray, shape (rows, 3), int32
        """
        columns = [(wavetables.ravel(), self.wavetables), *zip(extras.T, self.extras, strict=True)]
        return {name for numbers, of in columns for i in np.unique(numbers).tolist() if (name := of[i]) is not None}


@lru_cache(maxsize=1)
def builtin_classes() -> Classes:
    """The classes of patches that play only the built-in catalog and the init preset."""
    return Classes.of(builtin(), installed())


class Numbering:
    """Numbers what patches play while a file is being made.

    Parameters
    ----------
    first : Classes
        The classes before any row.
    """

    def __init__(self, first: Classes) -> None:
        self._first = first
        self._names = dict(zip(first.wavetables, first.wavetable_names, strict=True))
        self._wavetables: dict[str | None, int] = {name: place for place, name in enumerate(first.wavetables)}
        self._extras = [{name: place for place, name in enumerate(names)} for names in first.extras]

    def of(self, wavetables: Sequence[str], extras: Sequence[str | None]) -> tuple[list[int], list[int]]:
        """The numbers of what one patch plays."""
        return (
            [self._wavetables.setdefault(name, len(self._wavetables)) for name in wavetables],
            [of.setdefault(name, len(of)) for of, name in zip(self._extras, extras, strict=True)],
        )

    def renumbered(
        self, wavetables: NDArray[np.int32], extras: NDArray[np.int32], of: Classes
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Bring the labels of another file to these numbers; only classes that occur get one.

        Parameters
        ----------
        wavetables, extras : ndarray, shape (rows, 3), int32
        of : Classes
            The other file's.
        """
        columns = [_renumbered(wavetables, of.wavetables, self._wavetables)]
        columns += [
            _renumbered(column, names, places)
            for column, names, places in zip(extras.T, of.extras, self._extras, strict=True)
        ]
        return columns[0], np.stack(columns[1:], axis=1)

    def classes(self, wavetable_names: Mapping[str, str]) -> Classes:
        """All classes so far; `wavetable_names` names the wavetables that the catalog lacks."""
        wavetables = tuple(name for name in self._wavetables if name is not None)
        return Classes(
            wavetables=wavetables,
            wavetable_names=tuple(self._names.get(w, wavetable_names.get(w, "")) for w in wavetables),
            extras=tuple(map(tuple, self._extras)),
            catalog_size=self._first.catalog_size,
        )


def _renumbered(
    numbers: NDArray[np.int32], names: Sequence[str | None], places: dict[str | None, int]
) -> NDArray[np.int32]:
    to_place = np.full(len(names), -1, dtype=np.int32)
    for number in np.unique(numbers).tolist():
        to_place[number] = places.setdefault(names[number], len(places))
    return to_place[numbers]
