"""Reading rows of a file behind an address: what HDF5 would fetch piece after piece is fetched side by side first.

What is read, and what is refused, is the same as of a file on this machine: then `rows.read_rows` reads it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.ranges import BLOCKS, Range, RemoteFile
from synthcore.storage.rows import has_row_chunks, never_written, read_rows, require_written

FEW = 3  #: chunks, up to which each is looked for alone: the index of a whole column lies all over a large file
AHEAD_BYTES = 1 << 26  #: of chunks that are fetched before they are read


class Afar:
    """The columns of one file behind an address."""

    def __init__(self, remote: RemoteFile) -> None:
        self.remote = remote
        self._indexes: dict[str, dict[int, Range]] = {}

    def read(self, column: h5py.Dataset, rows: NDArray[np.intp], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read rows as `rows.read_rows` does.

        Raises
        ------
        DatasetError
            The file is damaged where a row lies, or has been replaced.
        FileUnavailable
            Its server no longer answers, or forbids it.
        """
        if column.chunks is None:
            return read_rows(require_written(column), rows, out)
        found = np.empty((len(rows), *column.shape[1:]), column.dtype) if out is None else out
        owners = rows // column.chunks[0]
        bytes_of_one = max(1, int(np.prod(column.chunks)) * column.dtype.itemsize)
        pieces = owners // np.clip(AHEAD_BYTES // bytes_of_one, 1, BLOCKS // 2)
        begins = np.flatnonzero(np.diff(pieces, prepend=-1)).tolist()
        for begin, end in pairwise([*begins, len(rows)]):
            self._fetch(column, np.unique(owners[begin:end]).tolist())
            read_rows(column, rows[begin:end], found[begin:end])
        return found

    def _fetch(self, column: h5py.Dataset, numbers: list[int]) -> None:
        """Fetch chunks, by their numbers."""
        if has_row_chunks(column) or len(numbers) <= FEW:
            with self.remote.gathering():
                for number in numbers:
                    _look_for(column, number)
            return
        index = self._index(column)
        self.remote.hold(index[number] for number in numbers)

    def _index(self, column: h5py.Dataset) -> dict[int, Range]:
        """Where each chunk of a column lies, by its number."""
        if column.name not in self._indexes:
            require_written(column)
            found: dict[int, Range] = {}

            def note(chunk: Any) -> None:
                place = chunk.byte_offset
                found[chunk.chunk_offset[0] // column.chunks[0]] = Range(place, place + chunk.size)

            column.id.chunk_iter(note)
            self._indexes[column.name] = found
        return self._indexes[column.name]


def _look_for(column: h5py.Dataset, number: int) -> None:
    """Have HDF5 find a chunk, and ask for its bytes."""
    try:
        column.id.read_direct_chunk((number * column.chunks[0], *(0,) * (column.ndim - 1)))
    except (OSError, RuntimeError, ValueError, MemoryError) as error:  # the last where there is no such chunk
        if not has_row_chunks(column):  # of a row, it is said when it is read
            raise never_written(column) from error
