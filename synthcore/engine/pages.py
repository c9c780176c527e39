"""Pages that every render writes to: given back before a fork while they hold zeros, and asked for in bulk after it.

A child gets its pages one fault at a time, and a fault costs more than filling the page. At every render the synth
clears 13 MB of delay lines, whatever it plays. Nothing here changes what memory holds, only when pages come and go.
Linux only; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from numpy import diff, flatnonzero, frombuffer, logical_or

#: From one address to another, both multiples of a page.
Span = tuple[int, int]

PAGE = mmap.PAGESIZE
BLOCK = 4 * PAGE  #: in which zeros are looked for
SHORTEST = 8 * PAGE  #: that is worth a call of its own
#: Since Linux 5.14; an older one answers that it doesn't know it.
MADV_POPULATE_WRITE = 23
#: Flags of a page in /proc/self/pagemap: it is there, and no other process has it.
PRESENT, EXCLUSIVE = 63, 56

_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@dataclass(frozen=True)
class Pages:
    """What is known of a zygote's memory: the same addresses in all of its children."""

    written: Sequence[Span] = ()  #: by every render
    zeros: Sequence[Span] = ()  #: the part of it that held only zeros, and often does again afterwards

    @classmethod
    def of(cls, written: list[Span], released: list[Span]) -> Pages:
        """Put together what was seen."""
        both = ((max(a, c), min(b, d)) for a, b in written for c, d in released)
        return cls(written, [(start, stop) for start, stop in both if start < stop])

    def obtain(self) -> None:
        """Ask for the pages that a render will write, before it stumbles over each."""
        for start, stop in self.written:
            _libc.madvise(start, stop - start, MADV_POPULATE_WRITE)

    def give_back(self) -> None:
        """Give back zeros, of which each child would make a copy; where there is sound by now, it stays."""
        for span in self.zeros:
            release(span)


def release_zeros() -> list[Span]:
    """Give back memory that holds only zeros: two thirds of what the synth has.

    A child that writes there gets a new page where it would have copied one, and a fork has fewer pages to list. Only
    blocks between two others of zeros go: what the allocators may be writing to meanwhile lies at the edge of what is
    in use.
    """
    released = []
    for first, end in _memory():
        count = (end - first) // BLOCK
        memory = memoryview((ctypes.c_char * (count * BLOCK)).from_address(first)).cast("B")
        is_used = logical_or.reduce(frombuffer(memory, dtype="u8").reshape(count, BLOCK // 8), axis=1)
        # In one call for each run of blocks: only a huge page that goes as a whole can come back as one.
        edges = pairwise([-1, *flatnonzero(is_used).tolist(), count])
        runs = [(first + (used + 2) * BLOCK, first + (next_used - 1) * BLOCK) for used, next_used in edges]
        released += [(start, stop) for start, stop in runs if start < stop and release((start, stop))]
    return released


def release(span: Span) -> bool:
    """Give back a part of memory if it is still there and holds only zeros, and say so."""
    start, size = span[0], span[1] - span[0]
    if _libc.mincore(start, size, (ctypes.c_ubyte * (size // PAGE))()):
        return False  # some of it is not there
    is_zero = not ctypes.c_uint64.from_address(start).value and not _libc.memcmp(start, start + 8, size - 8)
    return is_zero and not _libc.madvise(start, size, mmap.MADV_DONTNEED)


def written() -> list[Span]:
    """Find the pages that this process has written since it was forked: it alone has them."""
    pagemap = Path("/proc/self/pagemap")
    if not os.access(pagemap, os.R_OK):  # another system, or a container that hides it
        return []
    spans = []
    with pagemap.open("rb", buffering=0) as flags_of:
        for first, end in _memory():
            flags_of.seek(first // PAGE * 8)
            flags = frombuffer(flags_of.read((end - first) // PAGE * 8), dtype="u8")
            is_own = (flags >> PRESENT) & (flags >> EXCLUSIVE) & 1
            edges = flatnonzero(diff(is_own, prepend=0, append=0))
            spans += [(first + PAGE * start, first + PAGE * stop) for start, stop in edges.reshape(-1, 2).tolist()]
    return [(start, stop) for start, stop in spans if stop - start >= SHORTEST]


def _memory() -> list[Span]:
    """List what is private, anonymous and writable: only there does MADV_DONTNEED bring zeros back."""
    maps = Path("/proc/self/maps")
    text = maps.read_text() if maps.is_file() else ""
    found = re.findall(r"^(\w+)-(\w+) rw-p \w+ 00:00 0 *(?:\[heap\])?$", text, re.MULTILINE)
    return [(int(start, 16), int(end, 16)) for start, end in found]
