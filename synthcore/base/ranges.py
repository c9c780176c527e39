"""A file behind an address, read by ranges as if it were here: few requests, each of them tried again if that can heal.

Small reads, of which HDF5 makes dozens to find a row, come from blocks that are kept. Large ones are fetched as they
are, without the bytes around them; those that are known in advance are fetched side by side.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from synthcore.base.addresses import Address
from synthcore.base.remote import connect, no_ranges, trying

BLOCK = 1 << 18  #: bytes; a request that brings fewer is not answered sooner
BLOCKS = 128  #: blocks kept: 32 MB
LARGE = 1 << 14  #: bytes; no node of HDF5's index is as large, and a row's audio is
APART = 1 << 16  #: bytes between two ranges, up to which one request for both costs less than two
AT_MOST = 1 << 23  #: bytes of one such request
AT_A_TIME = 8  #: requests


class Range(NamedTuple):
    """Bytes of a file: from `start` on, up to `stop`."""

    start: int
    stop: int


class RemoteFile(io.RawIOBase):
    """A file behind an address, open for reading.

    Raises
    ------
    DatasetError
        There is no such file. Reading raises it as well, where the file has been replaced since.
    FileUnavailable
        It may not be read, or its server gives no parts of files; or, as while reading, no answer.
    SpecError
        The libraries for it aren't installed.
    """

    def __init__(self, address: Address) -> None:
        super().__init__()
        self.address, self._opened_by = address, os.getpid()
        self._opened = trying(address, lambda: _open(address), is_open=False)
        self.size = int(self._opened.size or 0)  # none of an empty file
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._ready: dict[Range, memoryview] = {}
        self._gathered = threading.local()
        self._threads = ThreadPoolExecutor(AT_A_TIME)

    def __repr__(self) -> str:  # what HDF5 calls the file
        return str(self.address)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read what lies at this place."""
        wanted = memoryview(buffer).cast("B")
        asked = Range(self._place, min(self._place + len(wanted), self.size))
        with _no_collecting():
            found = self._bytes(asked)
        wanted[: len(found)] = found
        self._place = asked.stop
        return len(found)

    def close(self) -> None:
        if not self.closed and self._opened_by == os.getpid():  # a child of a fork has none of the threads
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._opened.close()
        super().close()

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """In this thread, note what large reads ask for, giving zeros; at the end of the block, fetch all of it."""
        self._gathered.ranges = gathered = list[Range]()
        try:
            yield
        finally:
            del self._gathered.ranges
        self.fetch(gathered)

    def fetch(self, ranges: Iterable[Range]) -> None:
        """Fetch ranges side by side, each to be read once, soon."""
        self._ready.clear()
        groups = list(_joined(sorted({*ranges})))
        spans = [Range(group[0].start, max(one.stop for one in group)) for group in groups]
        for group, span, content in zip(groups, spans, self._threads.map(self._request, spans), strict=True):
            for one in group:
                self._ready[one] = memoryview(content)[one.start - span.start : one.stop - span.start]

    def hold(self, ranges: Iterable[Range]) -> None:
        """Fetch the blocks in which ranges lie, side by side, and keep them."""
        needed = {number for one in ranges for number in range(one.start // BLOCK, (one.stop - 1) // BLOCK + 1)}
        missing = [Range(n * BLOCK, min((n + 1) * BLOCK, self.size)) for n in sorted(needed - self._blocks.keys())]
        spans = [Range(group[0].start, group[-1].stop) for group in _joined(missing)]
        for span, content in zip(spans, self._threads.map(self._request, spans), strict=True):
            for place in range(span.start, span.stop, BLOCK):
                self._blocks[place // BLOCK] = content[place - span.start : place - span.start + BLOCK]
        for number in needed & self._blocks.keys():
            self._blocks.move_to_end(number)

    def _bytes(self, asked: Range) -> bytes | memoryview:
        if asked.stop <= asked.start:
            return b""
        if (ready := self._ready.pop(asked, None)) is not None:
            return ready
        numbers = range(asked.start // BLOCK, (asked.stop - 1) // BLOCK + 1)
        if asked.stop - asked.start >= LARGE and not self._blocks.keys() >= {*numbers}:
            if (gathered := getattr(self._gathered, "ranges", None)) is not None:
                gathered.append(asked)
                return bytes(asked.stop - asked.start)
            return self._request(asked)
        first = numbers[0] * BLOCK
        return b"".join(self._held(numbers))[asked.start - first : asked.stop - first]

    def _held(self, numbers: range) -> list[bytes]:
        """Blocks, those that are missing fetched with one request."""
        if missing := [number for number in numbers if number not in self._blocks]:
            start, stop = missing[0] * BLOCK, min((missing[-1] + 1) * BLOCK, self.size)
            content = self._request(Range(start, stop))
            for number in range(missing[0], missing[-1] + 1):
                self._blocks[number] = content[number * BLOCK - start : (number + 1) * BLOCK - start]
        for number in numbers:
            self._blocks.move_to_end(number)
        found = [self._blocks[number] for number in numbers]
        while len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return found

    def _request(self, asked: Range) -> bytes:
        return trying(self.address, lambda: self._requested(asked))

    def _requested(self, asked: Range) -> bytes:
        content = bytes(self._opened._fetch_range(*asked))
        if len(content) != asked.stop - asked.start:
            raise ConnectionError(f"{len(content)} of {asked.stop - asked.start} bytes came")
        return content


def _open(address: Address) -> Any:
    """Open a file so that it fetches ranges, and keeps nothing itself."""
    system, name = connect(address)
    if address.scheme == "s3":
        system.invalidate_cache(name)
        return system.open(name, "rb", cache_type="none")
    info = system.info(name)
    if info.get("size") is None or info.get("partial") is False:
        raise no_ranges(address)
    mark = str(info.get("ETag", ""))
    # Of another file than this one, a server that keeps such marks gives nothing. A weak mark (W/) can't be used so.
    same = {"headers": {"If-Match": mark}} if mark.startswith('"') else {}
    return system.open(name, "rb", cache_type="none", size=info["size"], **same)


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    """Keep garbage, whichever thread comes upon it, for the length of a block.

    HDF5 asks for bytes while it holds h5py's one lock, so one thread at a time comes here. Were garbage with an object
    of h5py in it collected in a thread that fetches these bytes, that thread would wait for the lock for ever.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _joined(ranges: list[Range]) -> Iterator[list[Range]]:
    """Group rising ranges that nearly touch."""
    group: list[Range] = []
    for one in ranges:
        if group and (one.start - group[-1].stop > APART or one.stop - group[0].start > AT_MOST):
            yield group
            group = []
        group.append(one)
    if group:
        yield group
