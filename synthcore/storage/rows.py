"""Reading rows of one column, in the way that its layout makes cheap.

Audio with a chunk to each row, as we write it, is read past HDF5: the chunk as it lies in the file, inflated by isal.
HDF5's own way takes half as long again for a single row, and fifteen times as long for a list of them. Features, whose
chunks aren't compressed, are read likewise: straight to where they are wanted.
"""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from synthcore.base.errors import DatasetError
from synthcore.base.memory import keep_large_blocks
from synthcore.engine.chunk import inflate_into
from synthcore.storage.opening import MAKE_AGAIN

#: What a chunk goes through when it is written, in HDF5's numbers.
OUR_FILTERS = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]


def read_rows(column: h5py.Dataset, rows: NDArray[np.intp], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Read rows of a column.

    Parameters
    ----------
    column : h5py.Dataset, shape (N, ...)
    rows : ndarray, shape (R,), ints from 0 to N - 1
        In rising order, each once.
    out : ndarray, shape (R, ...), optional
        Where to put them: contiguous, of the column's dtype.

    Returns
    -------
    ndarray, shape (R, ...)
        `out`, or a new array.

    Raises
    ------
    DatasetError
        The file is damaged where a row lies.
    """
    found = np.empty((len(rows), *column.shape[1:]), column.dtype) if out is None else out
    if has_our_chunks(column):
        keep_large_blocks()
        for place, row in enumerate(rows.tolist()):
            _read_chunk(column, row, found[place : place + 1])
    elif has_plain_chunks(column):
        keep_large_blocks()
        read, inside = column.id.read_direct_chunk, (0,) * (column.ndim - 1)  # asked once: each takes a while
        for place, row in enumerate(rows.tolist()):
            read((row, *inside), out=found[place].reshape(-1).view(np.uint8))
    elif len(rows):
        _read_runs(column, rows, found)
    return found


def has_our_chunks(column: h5py.Dataset) -> bool:
    """Whether each row is a chunk of its own, of float32, shuffled and deflated: what `inflate` undoes."""
    if column.chunks is None or column.dtype != "<f4" or column.chunks != (1, *column.shape[1:]):
        return False
    made = column.id.get_create_plist()
    return [made.get_filter(place)[0] for place in range(made.get_nfilters())] == OUR_FILTERS


def has_plain_chunks(column: h5py.Dataset) -> bool:
    """Whether each row is a chunk of its own as it is in memory: what features are stored as."""
    is_row = column.ndim > 1 and column.chunks == (1, *column.shape[1:])
    return is_row and column.dtype.isnative and not column.id.get_create_plist().get_nfilters()


def has_row_chunks(column: h5py.Dataset) -> bool:
    """Whether `read_rows` reads each row as a chunk of its own, past HDF5."""
    return has_our_chunks(column) or has_plain_chunks(column)


def require_written(column: h5py.Dataset) -> h5py.Dataset:
    """Refuse a column of which something was never written: HDF5 silently gives zeros for that.

    Returns
    -------
    h5py.Dataset
        The column.

    Raises
    ------
    DatasetError
    """
    if column.chunks is None:
        is_whole = not column.size or column.id.get_storage_size() > 0
    else:
        chunks = math.prod(-(-rows // high) for rows, high in zip(column.shape, column.chunks, strict=True))
        is_whole = column.id.get_num_chunks() >= chunks
    if not is_whole:
        raise never_written(column)
    return column


def never_written(column: h5py.Dataset) -> DatasetError:
    """What to say of a column of which HDF5 would give zeros."""
    return DatasetError(
        f"{column.file.filename} is damaged: a part of {column.name.lstrip('/')} was never written; {MAKE_AGAIN}"
    )


def _read_chunk(column: h5py.Dataset, row: int, target: NDArray[np.float32]) -> None:
    try:
        skipped_filters, chunk = column.id.read_direct_chunk((row, *(0,) * (column.ndim - 1)))
        if skipped_filters:  # HDF5 may leave a chunk as it is; we never do
            target[...] = column[row]
        else:
            inflate_into(chunk, target)
    except (OSError, RuntimeError, ValueError, IsalError) as error:  # type: ignore[misc]  # isal declares an instance
        raise DatasetError(
            f"{column.file.filename} is damaged: row {row} of {column.name.lstrip('/')} can't be read ({error}); "
            + MAKE_AGAIN
        ) from error


def _read_runs(column: h5py.Dataset, rows: NDArray[np.intp], found: NDArray[Any]) -> None:
    """Read from each chunk once, from its first row wanted to its last: HDF5 takes long for a list of rows."""
    height = column.chunks[0] if column.chunks else 1
    starts = np.flatnonzero(np.diff(rows // height, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        first, last = rows[start], rows[stop - 1]
        found[start:stop] = column[first : last + 1][rows[start:stop] - first]
