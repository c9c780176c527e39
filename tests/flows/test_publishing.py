"""`synthcore publish` and `import`: one command makes a whole folder, nothing twice; what can't be costs one line."""

from __future__ import annotations

import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from synthcore.flows.cli import main
from synthcore.flows.running.form import settings_from
from synthcore.publishing.publication import read_publication
from synthcore.settings.publishing import Publish

#: A command that is killed once two files are there: of its files, each holds a few rows.
KILLED = """
import os, signal, sys
from synthcore.publishing import planning
make, made = planning.make, []
def counted(plan, data_dir):
    if len(made) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    made.append(make(plan, data_dir))
    return made[-1]
planning.make = counted
from synthcore.flows.cli import main
main(sys.argv[1:])
"""
PUBLISH = ("publish", "x.h5", "-o", "out", "--licence", "CC0-1.0", "--audio", "wav", "--data-dir", "data")


def written(folder: Path) -> dict[Path, int]:
    """The finished files, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "data" / "published").rglob("[0-9a-f]*.*")}


@pytest.mark.long
def test_a_run_that_is_killed_leaves_no_folder_and_is_continued(cli: Any, tier_1: Any) -> None:
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    killed = cli.run(*PUBLISH, "--workers", 1, program=("-c", KILLED))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (cli.folder / "out").exists()
    before = written(cli.folder)
    assert len(before) >= 2
    first = cli.json(*PUBLISH)
    assert (first["state"], first["rows"], first["digest"]) == ("published", 15, tier_1.ref.digest)
    after = written(cli.folder)
    assert len(before.items() & after.items()) >= len(before) - 1  # of one, the record may not have been there yet
    again = cli.json(*PUBLISH)
    assert again == {**first, "state": "there already"}
    assert written(cli.folder) == after
    entries = cli.json("cache", "list", "--data-dir", "data")["entries"]
    assert {entry["state"] for entry in entries if entry["kind"] == "published"} == {"reachable"}  # others: left over
    imported = cli.json("import", "out", "-o", "again.h5", "--data-dir", "data")
    assert (imported["digest"], imported["rows"]) == (tier_1.ref.digest, 15)
    assert "verified" in cli.run("verify", "again.h5", "--rows", 2).stdout


@pytest.mark.long
def test_a_file_that_is_gone_from_cache_and_folder_is_made_again(cli: Any, tier_1: Any) -> None:
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    cli.json(*PUBLISH)
    file = read_publication(cli.folder / "out").files[0]
    gone = cli.folder / "out" / file.path
    inode = gone.stat().st_ino
    for path in (path for path in written(cli.folder) if path.stat().st_ino == inode):
        path.unlink()
    gone.unlink()
    assert cli.json(*PUBLISH)["state"] == "mended"
    assert gone.stat().st_size == file.bytes


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_nothing_under_a_final_name(cli: Any, tier_1: Any) -> None:
    shutil.copy(tier_1.path, cli.folder / "x.h5")

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    full = cli.run(*PUBLISH, preexec_fn=fill)
    assert full.returncode == 2, full.stderr
    assert "can't write" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    assert not (cli.folder / "out").exists()
    assert not list(cli.folder.rglob("*.tmp"))


@pytest.mark.slow
def test_what_cant_be_published_or_imported_costs_one_line_and_no_server(
    tier_1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.chdir(tmp_path)
    shutil.copy(tier_1.path, "x.h5")
    Path("mine").mkdir()
    Path("mine/diary.txt").write_text("dear diary")
    shard = tier_1.data_dir / tier_1.shards[0].name

    def refused(*words: object) -> str:
        assert main([*map(str, words), "--data-dir", "data"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    own = ("--licence", "CC0-1.0")
    assert "name the licence" in refused("publish", "x.h5", "-o", "out")
    assert "'mine' is not an SPDX licence" in refused("publish", "x.h5", "-o", "out", "--licence", "mine")
    assert "is a shard" in refused("publish", shard, "-o", "out", *own)
    assert "there is no file" in refused("publish", "none.h5", "-o", "out", *own)
    assert "holds no publication" in refused("publish", "x.h5", "-o", "mine", *own)
    assert "has no audio" in refused("publish", "x.h5", "-o", "out", *own, "--recipe", "--audio", "wav")
    assert "is not a size" in refused("publish", "x.h5", "-o", "out", *own, "--file-bytes", "many")
    assert "has no synthcore.json" in refused("import", "mine", "-o", "y.h5")
    assert "is not a folder" in refused("import", "x.h5", "-o", "y.h5")
    assert "exists" in refused("import", "mine", "-o", "x.h5")
    assert {path.name for path in tmp_path.iterdir()} <= {"x.h5", "mine", "data"}


def test_a_recipe_is_asked_for_with_every_parameter_as_prefect_passes_them() -> None:
    given = {"file": "x.h5", "output": "out", "format": "parquet", "audio": "flac", "recipe": True}
    assert settings_from(Publish, given).recipe
