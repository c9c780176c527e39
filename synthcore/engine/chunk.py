"""A row as HDF5 stores it: shuffled, then a standard zlib stream. Numpy and isal only: the zygote imports this.

Shuffling puts the first bytes of all numbers together, then the second ones; a stream of that is a fifth smaller.
"""

from __future__ import annotations

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

#: A tenth of zlib's time at level 4, and 15 % fewer bytes than it makes without shuffling.
LEVEL = 1


def deflate(array: NDArray[np.float32]) -> bytes:
    """Compress an array of float32, of any shape, to one chunk."""
    return bytes(isal_zlib.compress(array.view(np.uint8).reshape(-1, 4).T.tobytes(), LEVEL))


def inflate(chunk: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Undo `deflate`: an array of float32 of the shape given."""
    array = np.empty(shape, "<f4")
    inflate_into(chunk, array)
    return array


def inflate_into(chunk: bytes, array: NDArray[np.float32]) -> None:
    """Undo `deflate` into an array that is there already, contiguous and of the size that was compressed.

    Raises
    ------
    isal.igzip_lib.IsalError
        The chunk is damaged.
    ValueError
        It holds more or fewer numbers than the array.
    """
    shuffled = np.frombuffer(isal_zlib.decompress(chunk, bufsize=array.nbytes), np.uint8).reshape(4, array.size)
    numbers = array.reshape(-1, copy=False).view(np.uint8).reshape(-1, 4)
    for place in range(4):  # twice as fast as a transposed copy
        numbers[:, place] = shuffled[place]
