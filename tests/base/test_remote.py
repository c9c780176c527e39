"""Files in S3: read as here, uploaded whole, and every failure one line without a secret."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthcore.base import remote
from synthcore.base.addresses import Address
from synthcore.base.errors import DatasetError, FileUnavailable, SpecError
from synthcore.storage.dataset import Dataset
from tests.servers import S3Server, s3_serving, serving

pytest.importorskip("s3fs")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_serving(monkeypatch) as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "part.tar"
    path.write_bytes(b"published" * 1000)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_dataset_in_a_bucket_is_read_as_here_with_few_requests(tier_1: Any, s3: S3Server) -> None:
    remote.put(tier_1.path, address := Address("s3://bucket/a/demo.h5"), "")
    with s3.counting() as asked, Dataset(address) as there, Dataset(tier_1.path) as here:
        assert there.digest == here.digest
        for name, values in there[[3, 9]].items():
            assert values.tobytes() == here[[3, 9]][name].tobytes()
    assert len(asked) <= 8


@pytest.mark.slow
def test_a_file_is_there_once_it_is_there_whole(file: Path, s3: S3Server) -> None:
    address = Address("s3://bucket/folder/part.tar")
    size = file.stat().st_size
    assert not remote.holds(address, size, sha256(file))
    remote.put(file, address, sha256(file))
    assert remote.holds(address, size, sha256(file))
    assert not remote.holds(address, size, "0" * 64)
    assert not remote.holds(address, size + 1, sha256(file))


@pytest.mark.slow
def test_what_is_not_there_costs_one_line(s3: S3Server) -> None:
    with pytest.raises(DatasetError, match=r"^there is no file s3://bucket/none.h5; name another$"):
        Dataset("s3://bucket/none.h5")
    with pytest.raises(DatasetError, match=r"^there is no file s3://other-bucket/none.h5; name another$"):
        Dataset("s3://other-bucket/none.h5")


@pytest.mark.slow
def test_a_bucket_that_is_not_there_gets_nothing(file: Path, s3: S3Server) -> None:
    with pytest.raises(DatasetError, match=r"^there is no bucket of s3://other-bucket/part.tar; name another$"):
        remote.put(file, Address("s3://other-bucket/part.tar"), sha256(file))


@pytest.mark.slow
def test_a_forbidden_bucket_costs_one_line(file: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(file.parent) as forbidding:
        forbidding.refuses = 403
        s3.use(f"http://127.0.0.1:{forbidding.port}")
        says = r"its server forbids it \(403\); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        with pytest.raises(FileUnavailable, match=rf"^can't read s3://bucket/demo.h5: {says}"):
            Dataset("s3://bucket/demo.h5")
        with pytest.raises(FileUnavailable, match=rf"^can't write s3://bucket/part.tar: {says}"):
            remote.put(file, Address("s3://bucket/part.tar"), sha256(file))


@pytest.mark.slow
def test_an_upload_goes_on_when_its_server_is_back(file: Path, s3: S3Server) -> None:
    address = Address("s3://bucket/part.tar")
    s3.stop()

    def back() -> None:
        time.sleep(1)
        s3.start()

    thread = threading.Thread(target=back)
    thread.start()
    remote.put(file, address, sha256(file))
    thread.join()
    assert remote.holds(address, file.stat().st_size, sha256(file))


@pytest.mark.slow
def test_a_server_that_stays_away_costs_one_line(file: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WAITS", (0.01,))
    s3.stop()
    with pytest.raises(FileUnavailable, match=r"^can't write s3://bucket/part.tar: Could not connect .*tried 2 times"):
        remote.put(file, Address("s3://bucket/part.tar"), sha256(file))


def test_only_buckets_can_be_written_to(file: Path) -> None:
    with pytest.raises(SpecError, match=r"^can't write to https://example.org/part.tar: only to s3:// and to folders"):
        remote.put(file, Address("https://example.org/part.tar"), sha256(file))
