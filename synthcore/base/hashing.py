"""Hashing: equal values give equal bytes, and bytes give names."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    from typing_extensions import Buffer


def canonical_json(value: Any) -> str:
    """Serialise with sorted keys and no spaces, so that equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_hash(value: Any) -> str:
    """SHA-256 in hex of a value's canonical JSON: the name of an asset."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def checksum(content: mmap.mmap) -> str:
    """XXH3-128 of bytes, in hex: finds damage ten times faster than SHA-256, which would take half of a merge."""
    return xxhash.xxh3_128_hexdigest(content)


class HashedFile(io.BufferedWriter):
    """A new file that is hashed while it is written, from its beginning to its end: it needn't be read again for that.

    Parameters
    ----------
    path : Path
        Replaced if it is there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self._sha256, self._checksum = hashlib.sha256(), xxhash.xxh3_128()

    def write(self, content: Buffer, /) -> int:
        """Write behind what is there."""
        written = super().write(content)
        self._sha256.update(content)
        self._checksum.update(content)
        return written

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of what was written."""
        return self._sha256.hexdigest()

    @property
    def checksum(self) -> str:
        """The `file_checksum` of what was written."""
        return self._checksum.hexdigest()


def file_checksum(path: Path) -> str:
    """`checksum` of a file's bytes."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):  # by blocks: a memory-mapped shard would count as this process's memory
            digest.update(block)
    return digest.hexdigest()
