"""What this process does with large blocks that are freed: keep them for the next one, or return them to the system."""

from __future__ import annotations

import contextlib
import ctypes
from functools import lru_cache

M_MMAP_THRESHOLD, LARGE_BYTES = -3, 1 << 17  #: an option of glibc's `mallopt`, and its default


@lru_cache(maxsize=1)
def keep_large_blocks() -> None:
    """Keep blocks as large as a row: for who reads row after row, which then takes two thirds of the time.

    glibc gives them back to the system at once, and the next row costs 250 page faults. Once it has seen a larger block
    freed, it keeps them, unless `return_large_blocks` was called before.
    """
    bytes(30_000_000)


@lru_cache(maxsize=1)
def return_large_blocks() -> None:
    """Return what a row took: for who renders, in threads that come and go with shards.

    glibc would soon keep blocks of that size, in one heap for each thread: 1.3 GB after 8,000 rows.
    """
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
