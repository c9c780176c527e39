"""Places without write permission are found before anything long begins, and what helps is named."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from synthcore.base import places
from synthcore.base.errors import SpecError
from synthcore.flows.cli import main
from synthcore.flows.running import environment
from tests.conftest import MAY_BE_KEPT_OUT, UNPRIVILEGED
from tests.flows.test_flow import SHORT

#: What each command that writes to a data directory is asked for.
COMMANDS = {
    "generate": ("-o", "out.h5"),
    "ingest": ("presets",),
    "discover-wt": ("-o", "catalog.json"),
    "download-presets": ("-o", "community", "--sources", "http://127.0.0.1:9/x.zip"),
    "compute-weights": ("x.h5",),
    "compare": ("x.h5", "y.h5"),
}
kept_out = pytest.mark.skipif(not MAY_BE_KEPT_OUT, reason="root can't be kept out without setpriv")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command is run, with a file in the place of a folder."""
    (tmp_path / "FILE").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_data_directory_that_cannot_be_made_costs_one_line_before_a_server_is_asked(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # were it asked, that would be the complaint
    before = everything(folder)
    assert main([command, *COMMANDS[command], "--data-dir", "FILE/data"]) == 2
    output = capsys.readouterr().err
    assert re.fullmatch(r"synthcore: can't write in \S+/FILE: Not a directory; .*SYNTHCORE_DATA_DIR\n", output)
    assert everything(folder) == before


@pytest.mark.parametrize("name", places.WRITTEN)
def test_a_folder_of_the_data_directory_that_is_a_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(SpecError, match=rf"can't write in .*/{name}: Not a directory; make it writable"):
        places.require_places(tmp_path)


def test_a_link_that_leads_nowhere_is_not_taken_for_a_folder_to_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path / "unmounted")
    with pytest.raises(SpecError, match=r"can't write in .*/data: No such file or directory"):
        places.require_places(tmp_path / "data")


def test_trying_a_place_leaves_nothing_there(tmp_path: Path) -> None:
    places.require_places(tmp_path / "a" / "b")
    assert everything(tmp_path) == []


def test_where_no_temporary_file_can_be_written_tmpdir_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(folder / "FILE")])
    with pytest.raises(SpecError, match=r"can't write temporary files: .*; name a folder .* in TMPDIR"):
        places.require_places(folder / "data")


def test_a_named_folder_for_temporary_files_that_is_passed_over_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(folder / "nowhere"))
    (obstacle,) = places.of_named_temporary_folder()
    assert "nowhere: No such file or directory, which TMPDIR names" in obstacle.what
    monkeypatch.setenv("TMPDIR", str(folder))
    assert not [*places.of_named_temporary_folder()]


@pytest.mark.slow
def test_a_user_without_a_home_is_told_so(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    code = "import pwd; pwd.getpwuid = {}.__getitem__\n"
    code += "from synthcore.flows.running import environment; environment.prepare()"
    done = fresh(code, check=False)
    assert "SpecError: this user has no home folder; name one in HOME" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("named", ["PREFECT_HOME", "HOME"])
def test_a_prefect_home_that_cannot_be_written_is_an_obstacle_only_to_a_server_of_the_runs_own(
    named: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_HOME")
    monkeypatch.setenv(named, str(folder / "FILE"))
    assert not [*environment.home_obstacles(brings_server=False)]
    (obstacle,) = environment.home_obstacles(brings_server=True)
    assert re.search(r"can't write in \S+/FILE: Not a directory", obstacle.what)
    assert "PREFECT_HOME, or in HOME" in obstacle.todo


@pytest.mark.slow
@kept_out
@pytest.mark.parametrize("variable", ["PREFECT_HOME", "HOME"])
def test_a_home_that_cannot_be_written_costs_a_run_without_a_server_one_line(
    variable: str, cli: Any, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir(mode=0o500)
    surroundings = {"PREFECT_API_URL": "", "PREFECT_HOME": "", variable: str(tmp_path / "home")}
    done = cli.run("generate", "-n", 6, "--data-dir", "data", *SHORT, env=surroundings, within=UNPRIVILEGED)
    assert done.returncode == 2
    assert re.search(r"^synthcore: can't write in .*home: Permission denied, .*PREFECT_HOME", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "shards").exists()


@pytest.mark.slow
@kept_out
def test_a_home_that_cannot_be_read_costs_one_line_and_the_doctor_names_it(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o000)
    how = {"env": {"PREFECT_HOME": "", "HOME": str(tmp_path / "home")}, "within": UNPRIVILEGED}
    done = cli.run("generate", "-n", 6, "--data-dir", "data", *SHORT, **how)
    assert done.returncode == 2
    assert re.search(r"^synthcore: can't read Prefect's home \S+: Permission denied; .*HOME", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    visit = cli.run("doctor", "--data-dir", "data", "--json", **how)
    assert visit.returncode == 1, visit.stderr
    problems = {f["check"]: f["what"] for f in json.loads(visit.stdout)["findings"] if f["state"] == "problem"}
    assert problems.keys() == {"Prefect home"}
    assert "can't read Prefect's home" in problems["Prefect home"]


@pytest.mark.long
@kept_out
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_the_doctor_finds_a_data_directory_that_cannot_be_written_or_made(mode: int, cli: Any, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    for data_dir in ("locked", "locked/data"):
        (tmp_path / "locked").chmod(mode)
        visit = cli.run("doctor", "--data-dir", data_dir, "--json", within=UNPRIVILEGED)
        assert visit.returncode == 1, visit.stderr
        (problem,) = [f for f in json.loads(visit.stdout)["findings"] if f["state"] == "problem"]
        assert problem["check"] == "data"
        assert re.fullmatch(r"can't write in \S+/locked: Permission denied", problem["what"])
        assert "--data-dir or SYNTHCORE_DATA_DIR" in problem["todo"]
