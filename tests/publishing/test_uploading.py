"""A publication in a bucket: whole before it says so, continued where it stopped, never in the way of anything else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synthcore.base import remote
from synthcore.base.addresses import Address
from synthcore.base.errors import FileUnavailable, SpecError
from synthcore.publishing import planning
from synthcore.publishing.folder import publication_of
from synthcore.publishing.planning import Form
from synthcore.publishing.publication import MANIFEST, Publication
from synthcore.publishing.uploading import FOLDER, require_free, upload
from tests.servers import S3Server, s3_serving, serving

pytestmark = pytest.mark.slow


pytest.importorskip("s3fs")
pytest.importorskip("pyarrow")
OUT = Address("s3://bucket/out")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_serving(monkeypatch) as server:
        yield server


@pytest.fixture
def upload_to(tier_1: Any, tmp_path: Path) -> Callable[[Address], str]:
    """Make the files of a publication once, and upload them."""
    form = Form(format="parquet", audio="flac", licence="MIT", recipe=False, file_bytes=10**6)
    planned = planning.plan(tier_1.path, form, workers=2)
    refs = [planning.make(plan, tmp_path / "data") for plan in planned.plans]
    publication = publication_of(planned, refs)
    return lambda address: upload(publication, refs, tier_1.path, tmp_path / "data", address)


def test_a_publication_is_uploaded_once_and_mended(
    upload_to: Callable[[Address], str], s3: S3Server, tmp_path: Path
) -> None:
    assert upload_to(OUT) == "published"
    names = remote.names_in(OUT)
    publication = Publication.model_validate_json(remote.read_small(OUT.joined(MANIFEST)))
    assert {MANIFEST, "README.md", "croissant.json", *(file.path for file in publication.files)} <= names
    for file in publication.files:
        assert remote.holds(OUT.joined(file.path), file.bytes, file.sha256)
    with s3.counting() as asked:
        assert upload_to(OUT) == "there already"
    assert [line for line in asked if line.startswith("PUT")] == []
    (lost, *_) = publication.files
    (tmp_path / "other").write_text("other")
    remote.put(tmp_path / "other", OUT.joined(lost.path), "0" * 64)
    remote.put(tmp_path / "other", OUT.joined("README.md"), "0" * 64)  # as if it had been edited there
    with s3.counting() as asked:
        assert upload_to(OUT) == "mended"
    assert [line.partition("?")[0] for line in asked if line.startswith("PUT")] == [f"PUT /bucket/out/{lost.path}"]
    assert list((tmp_path / "data" / FOLDER).iterdir()) == []


def test_an_upload_that_dies_midway_is_no_publication_and_is_continued(
    upload_to: Callable[[Address], str], s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, done = remote.put, list[str]()

    def dying(local: Path, address: Address, sha256: str) -> None:
        if len(done) == 2:
            s3.stop()
        put(local, address, sha256)
        done.append(str(address))

    with monkeypatch.context() as patched:
        patched.setattr(remote, "put", dying)
        patched.setattr(remote, "WAITS", (0.01,))
        with pytest.raises(FileUnavailable, match=r"^can't (read|write) s3://bucket/out/.* \(tried 2 times\)"):
            upload_to(OUT)
    s3.start()
    assert MANIFEST not in remote.names_in(OUT)
    require_free(OUT)
    with s3.counting() as asked:
        assert upload_to(OUT) == "published"
    again = {f"s3:/{line.split()[1].partition('?')[0]}" for line in asked if line.startswith("PUT")}
    assert again.isdisjoint(done)
    assert MANIFEST in remote.names_in(OUT)


def test_a_bucket_that_holds_something_else_is_left_alone(
    upload_to: Callable[[Address], str], s3: S3Server, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    remote.put(tmp_path / "notes.txt", OUT.joined("notes.txt"), "")
    with pytest.raises(SpecError, match=r"^s3://bucket/out isn't empty, and holds no publication \(notes.txt\)"):
        upload_to(OUT)
    assert remote.names_in(OUT) == {"notes.txt"}
    other = Address("s3://bucket/other")
    (tmp_path / MANIFEST).write_text(json.dumps({"version": "1.0"}))
    remote.put(tmp_path / MANIFEST, other.joined(MANIFEST), "")
    with pytest.raises(SpecError, match="^s3://bucket/other holds another publication; name a new folder with -o"):
        upload_to(other)


def test_only_buckets_that_may_be_written_are_begun(s3: S3Server, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^can't write to https://example.org/out: only to s3://"):
        require_free(Address("https://example.org/out"))
    with serving(tmp_path) as forbidding:
        forbidding.refuses = 403
        s3.use(forbidding.url(""))
        with pytest.raises(FileUnavailable, match=r"^can't read s3://bucket/out: its server forbids it \(403\)"):
            require_free(OUT)


@pytest.mark.long
def test_the_command_publishes_to_a_bucket(cli: Any, tier_1: Any, s3: S3Server) -> None:
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    words = ("publish", "x.h5", "-o", "s3://bucket/out", "--licence", "CC0-1.0", "--data-dir", "data")
    first = cli.json(*words, env=dict(os.environ))
    assert (first["folder"], first["state"], first["rows"]) == ("s3://bucket/out", "published", 15)
    assert MANIFEST in remote.names_in(OUT)
    assert cli.json(*words, env=dict(os.environ))["state"] == "there already"
    refused = cli.run(*words[:3], "s3://nobucket/out", *words[4:], env=dict(os.environ))
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
