"""A file that is hashed while it is written has the hashes of its bytes, however they came."""

from __future__ import annotations

import hashlib
from pathlib import Path

from synthcore.base.hashing import HashedFile, file_checksum


def test_a_file_hashed_while_it_is_written_has_the_hashes_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a longer file that was there")
    with HashedFile(path) as file:
        for part in (b"", b"ab", memoryview(b"c" * 100_000), bytearray(b"d")):
            assert file.write(part) == len(part)
        assert file.tell() == 100_003
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.checksum == file_checksum(path)
