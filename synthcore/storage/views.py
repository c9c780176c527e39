"""Views: the columns of a virtual dataset, whose rows lie in its shards.

HDF5 silently reads zeros for what lies in a shard that it can't open: one that is gone, forbidden, damaged, or one open
file too many. So a view is never read through HDF5. Its rows are read from the shards themselves, of which a few are
open at a time, each of them only after it was found to be the right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.addresses import Address, Place
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, FileUnavailable
from synthcore.storage.dense import DENSE
from synthcore.storage.opening import MAKE_AGAIN, open_file, reason_of
from synthcore.storage.rows import read_rows
from synthcore.storage.schema import AUDIO, UNREADABLE

#: Shards that a dataset holds open. Batches shuffled by chunk come from about as many; many systems allow a process 256
#: files, and several datasets may be open.
OPEN = 32
HASHES = "metadata/audio_sha256"


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive rows, `start` to `stop` of a view, and where they lie: from row `first` of a shard."""

    start: int
    stop: int
    shard: str
    first: int


class _Shards:
    """The shards of one dataset.

    What falls out of the cache is closed when the last reader lets go of it, so threads can share them.
    """

    def __init__(self, path: Path, hashes: h5py.Dataset) -> None:
        # Relative to where the file really is: HDF5 follows a link to it as well.
        self.folder = path.resolve().parent
        self._open = lru_cache(maxsize=OPEN)(partial(_open, path, self.folder, hashes))

    def open(self, part: _Part) -> h5py.File:
        """Open a shard, or find it open."""
        try:
            return self._open(part)
        except FileUnavailable:  # the program may have so many other files open that ours are too many
            self._open.cache_clear()
            return self._open(part)


class View:
    """One column of a virtual dataset.

    Raises
    ------
    DatasetError
        It refers to a shard that is gone, or to rows in a way that merging doesn't.
    """

    def __init__(self, path: Path, column: h5py.Dataset, shards: _Shards) -> None:
        self._path, self._shards, self._name = path, shards, column.name.lstrip("/")
        self._row, self._dtype = column.shape[1:], column.dtype
        self._parts = sorted((self._part(source) for source in column.virtual_sources()), key=lambda part: part.start)
        self._starts = np.array([part.start for part in self._parts], dtype=np.intp)
        for part in self._parts:
            if not (shards.folder / part.shard).is_file():
                raise DatasetError(f"{path} refers to the shard {part.shard}, which is gone; {MAKE_AGAIN}")

    @property
    def shard_files(self) -> list[Path]:
        """The shards in which its rows lie."""
        return [self._shards.folder / part.shard for part in self._parts]

    def read(self, rows: NDArray[np.intp], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read rows as `rows.read_rows` does.

        Raises
        ------
        DatasetError
            No shard holds a row; or the shard that did is gone, damaged, or another one by now.
        FileUnavailable
            A shard can't be opened now.
        """
        found = np.empty((len(rows), *self._row), self._dtype) if out is None else out
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        begins = np.flatnonzero(np.diff(owners, prepend=-2)).tolist()
        for begin, end in pairwise([*begins, len(rows)]):
            part = self._parts[owners[begin]] if owners[begin] >= 0 else None
            if part is None or rows[end - 1] >= part.stop:
                lost = next(row for row in rows[begin:end].tolist() if part is None or row >= part.stop)
                raise DatasetError(f"{self._path} is damaged: no shard holds row {lost} of {self._name}; {MAKE_AGAIN}")
            column = self._column(self._shards.open(part), part)
            try:
                read_rows(column, rows[begin:end] - part.start + part.first, found[begin:end])
            except DatasetError as error:
                raise DatasetError(f"{self._path} refers to a damaged shard: {error}") from error
        return found

    def _column(self, shard: h5py.File, part: _Part) -> h5py.Dataset:
        column = shard.get(self._name)
        needed = part.first + part.stop - part.start
        if (
            not isinstance(column, h5py.Dataset)
            or column.is_virtual
            or (column.shape[1:], column.dtype) != (self._row, self._dtype)
            or column.shape[0] < needed
        ):
            rows = how_many(needed, "row")
            raise _wrong(self._path, part, f"has fewer than {rows} of {self._name} of the right shape")
        return column

    def _part(self, source: Any) -> _Part:
        """Where the rows of one of HDF5's virtual sources lie."""
        (start, *_), (last, *_) = source.vspace.get_select_bounds()
        (first, *_), (_, *ends) = source.src_space.get_select_bounds()
        part = _Part(start, last + 1, source.file_name, first)
        whole = (part.stop - start) * int(np.prod(self._row))
        if (
            source.dset_name.lstrip("/") != self._name
            or tuple(end + 1 for end in ends) != self._row
            or not whole == source.vspace.get_select_npoints() == source.src_space.get_select_npoints()
        ):
            raise DatasetError(f"{self._path} refers to {part.shard} in a way that merging doesn't; {MAKE_AGAIN}")
        return part


def views_of(path: Place, file: h5py.File) -> Mapping[str, View]:
    """The columns of a file that are views, by name; none if it holds its audio itself.

    Raises
    ------
    DatasetError
        As `View`.
    """
    virtual = [name for name in (AUDIO, DENSE) if name in file and file[name].is_virtual]
    if virtual and isinstance(path, Address):
        raise DatasetError(
            f"{path} only refers to its shards, which aren't read from there; merge it with --merge copy"
        )
    if not virtual or isinstance(path, Address):
        return {}
    shards = _Shards(path, file[HASHES])
    return {name: View(path, file[name], shards) for name in virtual}


def _open(path: Path, folder: Path, hashes: h5py.Dataset, part: _Part) -> h5py.File:
    """Open a shard, and make sure that it holds the rows that it held when it was merged."""
    shard = folder / part.shard
    if not shard.is_file():
        raise _wrong(path, part, "is gone")
    try:
        opened = open_file(shard)
        holds = opened[HASHES][part.first : part.first + part.stop - part.start]
    except UNREADABLE as error:
        raise _wrong(path, part, f"is damaged ({reason_of(error)})") from error
    if not np.array_equal(holds, hashes[part.start : part.stop]):
        raise _wrong(path, part, "holds other rows: it has been replaced")
    return opened


def _wrong(path: Path, part: _Part, what: str) -> DatasetError:
    return DatasetError(f"{path} refers to the shard {part.shard}, which {what}; {MAKE_AGAIN}")
