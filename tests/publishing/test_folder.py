"""The folder of a publication: whole under its name, whatever was there before."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from synthcore.base.errors import DiskError, SpecError
from synthcore.publishing import planning
from synthcore.publishing.folder import assemble, publication_of, require_free
from synthcore.publishing.planning import Form
from synthcore.publishing.publication import MANIFEST

pytestmark = pytest.mark.slow


@pytest.fixture
def assemble_in(tier_1, tmp_path):
    """Make the files of a publication once, and put them into folders."""
    form = Form(format="parquet", audio="flac", licence="MIT", recipe=False, file_bytes=10**6)
    planned = planning.plan(tier_1.path, form, workers=2)
    refs = [planning.make(plan, tmp_path / "data") for plan in planned.plans]
    publication = publication_of(planned, refs)
    return lambda folder: assemble(publication, refs, tier_1.path, tmp_path / "data", folder)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


WHOLE = {"README.md", "assets", "croissant.json", "data", "images", MANIFEST}


def test_an_empty_folder_is_filled_and_stays_the_one_it_was(assemble_in, tmp_path):
    """It may be mounted, or where a shell is."""
    there, link = tmp_path / "there", tmp_path / "link"
    there.mkdir()
    link.symlink_to(there)
    number = there.stat().st_ino
    assert assemble_in(link) == "published"
    assert names(there) == WHOLE
    assert there.stat().st_ino == number
    assert assemble_in(there) == "there already"


def test_what_a_killed_run_left_is_in_nobodys_way(assemble_in, tmp_path):
    there = tmp_path / "there"
    (there / ".0123abcd.tmp" / "data").mkdir(parents=True)
    require_free(there)
    assert assemble_in(there) == "published"
    (there / ".0123abcd.tmp").rename(there / "mine.tmp")
    (there / MANIFEST).unlink()
    with pytest.raises(SpecError, match="holds no publication"):
        require_free(there)


def test_mending_on_a_full_disk_can_be_done_again(assemble_in, tmp_path, monkeypatch):
    there = tmp_path / "out"
    assemble_in(there)
    (there / "assets" / "sources.parquet").unlink()
    (there / "data" / next(iter(names(there / "data")))).unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("os.link", full)
        patched.setattr("shutil.copyfile", full)
        with pytest.raises(DiskError, match="No space left"):
            assemble_in(there)
    assert assemble_in(there) == "mended"
    assert names(there) == WHOLE


def test_of_two_runs_at_once_one_publishes_and_the_other_finds_it_done(assemble_in, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        states = list(pool.map(assemble_in, [tmp_path / "out"] * 2))
    assert sorted(states) == ["published", "there already"]
    assert names(tmp_path / "out") == WHOLE
    assert names(tmp_path) == {"data", "out"}
