"""Hashing: equal values give equal bytes, and bytes give names."""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any

import xxhash


def canonical_json(value: Any) -> str:
    """Serialise with sorted keys and no spaces, so that equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_hash(value: Any) -> str:
    """SHA-256 in hex of a value's canonical JSON: the name of an asset."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def checksum(content: mmap.mmap) -> str:
    """XXH3-128 of bytes, in hex: finds damage ten times faster than SHA-256, which would take half of a merge."""
    return xxhash.xxh3_128_hexdigest(content)


def file_checksum(path: Path) -> str:
    """`checksum` of a file's bytes."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):  # by blocks: a memory-mapped shard would count as this process's memory
            digest.update(block)
    return digest.hexdigest()
