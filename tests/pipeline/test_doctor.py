"""What the doctor finds, in installations and data directories that really are broken, and what it removes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest

from tests.flows.test_flow import SHORT, shard_files

FLAGS = ("generate", "-n", 48, "--data-dir", "data", "-o", "out.h5", *SHORT)


def states(report: dict[str, Any]) -> dict[str, str]:
    """The worst state of each check."""
    order = ("ok", "warning", "problem")
    found: dict[str, str] = {}
    for finding in report["findings"]:
        found[finding["check"]] = max(found.get(finding["check"], "ok"), finding["state"], key=order.index)
    return found


def said(report: dict[str, Any], check: str) -> str:
    return " ".join(f"{f['what']} {f['todo']}" for f in report["findings"] if f["check"] == check)


def visit(cli: Any, *arguments: object, code: int, **how: Any) -> dict[str, Any]:
    done = cli.run("doctor", "--data-dir", "data", "--json", *arguments, **how)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.long
def test_a_healthy_place_is_called_so(cli: Any, prefect_api: str) -> None:
    report = visit(cli, code=0)
    assert {check for check, state in states(report).items() if state != "ok"} <= {"server"}  # others' servers
    assert f"answers at {prefect_api}" in said(report, "server")
    assert "bit for bit" in said(report, "synth")
    assert "not there yet" in said(report, "data")
    assert not (cli.folder / "data").exists()
    told = cli.run("doctor", "--data-dir", "data").stdout
    assert all(len(line) <= 80 for line in told.splitlines())


@pytest.mark.long
def test_what_is_stale_is_found_and_removed_and_nothing_else(cli: Any) -> None:
    made = cli.json(*FLAGS)
    cut, flipped, *whole = sorted(shard_files(cli.folder))
    cut.write_bytes(cut.read_bytes()[:1000])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    shards = cut.parent.parent
    old, young, held = (shards / f".{name}.h5.0a1b2c3d.tmp" for name in ("old", "young", "held"))
    for path in (old, young, held):
        path.write_bytes(b"half")
    for path in (old, held, cut):
        os.utime(path, (time.time() - 7200,) * 2)
    (cli.folder / "data" / "results" / "stray").write_text("{")
    os.utime(cli.folder / "data" / "results" / "stray", (time.time() - 7200,) * 2)

    with held.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        report = visit(cli, code=1)
        assert (states(report)["shards"], states(report)["left over"]) == ("problem", "warning")
        assert "2 of " in said(report, "shards")
        assert all(path.exists() for path in (cut, flipped, old, young, held))  # it only looked
        report = visit(cli, "--repair", code=1)
    removed = {(cli.folder / "data" / name) for name in report["repaired"]}
    assert removed == {cut, flipped, old, cli.folder / "data" / "results" / "stray"}
    assert not any(path.exists() for path in removed)
    assert all(path.exists() for path in (young, held, *whole))

    (cli.folder / "out.h5").unlink()
    assert cli.json(*FLAGS)["digest"] == made["digest"]
    assert states(visit(cli, code=0))["shards"] == "ok"


@pytest.mark.long
def test_servers_that_do_not_answer_are_named(cli: Any, tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9/api"
    for address, shown in (
        (dead, dead),
        ("http://me:hunter2@127.0.0.1:9/api", "http://***@127.0.0.1:9/api"),
        ("nonsense", "nonsense"),
    ):
        named = visit(cli, code=1, env={"PREFECT_API_URL": address})
        assert states(named)["server"] == "problem"
        assert f"nothing answers at {shown}, which PREFECT_API_URL names start it" in said(named, "server")
    kept = tmp_path / "home" / "synthcore" / "started.json"
    kept.parent.mkdir(parents=True)
    program = {"name": "worker", "pid": 99_999_999, "command": ["prefect", "worker", "start"]}
    kept.write_text(json.dumps({"api": dead, "programs": [program]}))
    left = visit(cli, code=0, env={"PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path / "home")})
    assert states(left)["server"] == "warning"
    assert "synthcore down" in said(left, "server")
    assert "the worker ended by itself" in said(left, "server")


@pytest.mark.long
def test_a_data_directory_that_is_a_file_is_a_problem(cli: Any) -> None:
    (cli.folder / "data").write_text("")
    assert states(visit(cli, code=1))["data"] == "problem"
    assert (cli.folder / "data").read_text() == ""


@pytest.fixture
def interpreter(tmp_path: Path) -> tuple[Path, Path]:
    """Python in a virtual environment that sees our packages, and the folder of what it sees before them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
    return tmp_path / "venv" / "bin" / "python", packages


def visit_with(python: Path, folder: Path) -> dict[str, Any]:
    command = [str(python), "-m", "synthcore.flows.cli", "doctor", "--json", "--data-dir", str(folder / "data")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.long
@pytest.mark.parametrize(("missing", "problems"), [("vita", {"controls", "synth"}), ("prefect", {"Prefect", "shards"})])
def test_it_answers_where_the_synth_or_prefect_cannot_be_imported(
    interpreter: tuple[Path, Path], tmp_path: Path, missing: str, problems: set[str]
) -> None:
    python, packages = interpreter
    (packages / "broken.pth").write_text(f"import sys; sys.modules[{missing!r}] = None\n")
    (tmp_path / "data").mkdir()
    report = visit_with(python, tmp_path)
    found = {check for check, state in states(report).items() if state == "problem"}
    assert found == problems


@pytest.mark.slow
@pytest.mark.parametrize("command", [["doctor"], ["inspect", "out.h5"], ["generate", "-n", "12"]])
def test_where_a_library_cannot_be_imported_every_command_says_so_in_a_line(
    interpreter: tuple[Path, Path], tmp_path: Path, command: list[str]
) -> None:
    python, packages = interpreter
    (packages / "broken.pth").write_text("import sys; sys.modules['h5py'] = None\n")
    done = subprocess.run([python, "-m", "synthcore.flows.cli", *command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("synthcore: the installation is damaged: import of h5py halted")
    assert done.stderr.endswith("; make setup installs it again\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.long
def test_another_version_of_the_synth_is_a_problem(interpreter: tuple[Path, Path], tmp_path: Path) -> None:
    python, packages = interpreter
    (packages / "vita-0.2.0.dist-info").mkdir()
    (packages / "vita-0.2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: vita\nVersion: 0.2.0\n")
    report = visit_with(python, tmp_path)
    assert "vita is 0.2.0, and must be ==0.1.0" in said(report, "packages")
