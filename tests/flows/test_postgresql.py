"""A Prefect server on PostgreSQL: `up --database`, with a real one, which may refuse, and may go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from synthcore.storage.dataset import Dataset
from tests.flows.test_operation import AUDIO, FLAGS, Shell, free_port
from tests.postgresql import IS_HERE, PASSWORD, Cluster, cluster

pytestmark = [pytest.mark.long, pytest.mark.skipif(not IS_HERE, reason="PostgreSQL isn't installed here")]


@dataclass(frozen=True)
class Operated:
    """What `up` has started on a database, and what it said."""

    shell: Shell
    postgresql: Cluster
    started: dict[str, Any]
    said: str

    @property
    def pids(self) -> dict[str, int]:
        return {program["name"]: program["pid"] for program in self.started["programs"]}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Cluster]:
    with cluster() as started:
        started.ask(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
        started.ask("REVOKE CREATE ON SCHEMA public FROM public")  # as it is since PostgreSQL 15
        yield started


def folder_for(shell: Shell) -> Shell:
    for name in ("tmp", "of worker"):
        (shell.folder / name).mkdir()
    return shell


@pytest.fixture(scope="module")
def operated(postgresql: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    shell = folder_for(Shell(tmp_path_factory.mktemp("operated"), free_port()))
    try:
        done = shell.run("synthcore", "up", "--port", shell.port, "--database", postgresql.url(), "--json")
        assert done.returncode == 0, done.stderr
        yield Operated(shell, postgresql, json.loads(done.stdout), done.stdout + done.stderr)
    finally:
        shell.down()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"password": f"not-{PASSWORD}"}, "password authentication failed"),
        ({"name": "nope"}, 'database "nope" does not exist'),
        ({"user": "guest"}, "its user may not create tables in it"),
    ],
)
def test_a_database_that_cannot_be_used_costs_one_line(
    wrong: dict[str, str], says: str, postgresql: Cluster, tmp_path: Path
) -> None:
    shell = folder_for(Shell(tmp_path, free_port()))
    done = shell.run("synthcore", "up", "--port", shell.port, "--database", postgresql.url(**wrong))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"synthcore: the database postgresql://127.0.0.1:{postgresql.port}/")
    assert says in line
    assert PASSWORD not in line
    assert shell.down() == []


def test_runs_of_commands_and_of_workers_are_kept_in_the_database(operated: Operated) -> None:
    shell = operated.shell
    here = shell.run("synthcore", "generate", "-n", 6, "-o", "here.h5", *FLAGS)
    assert here.returncode == 0, here.stderr
    wishes = {"n_samples": 6, "seed": 3, "audio": AUDIO, "output": str(shell.folder / "there.h5")}
    there = shell.start("generate/tier1-1k", "--watch", **wishes)
    assert there.returncode == 0, there.stdout + there.stderr
    for name in ("here.h5", "there.h5"):
        with Dataset(shell.folder / name) as dataset:
            assert len(dataset) == 6
    of_generate = "flow_run JOIN flow ON flow.id = flow_id WHERE flow.name = 'generate'"
    assert operated.postgresql.ask(f"SELECT state_type, deployment_id IS NULL FROM {of_generate} ORDER BY 2") == [
        "COMPLETED|f",
        "COMPLETED|t",
    ]
    assert not (shell.folder / "home" / "prefect.db").exists()


def test_up_says_where_the_database_is_and_only_the_server_gets_its_password(operated: Operated) -> None:
    assert operated.started["database"] == operated.postgresql.place
    assert PASSWORD not in operated.said
    for file in (operated.shell.folder / "home").rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file
    known = {name: PASSWORD in str(psutil.Process(pid).environ()) for name, pid in operated.pids.items()}
    assert known == {"server": True, "worker": False, "render-worker": False}
    assert not any(PASSWORD in " ".join(psutil.Process(pid).cmdline()) for pid in operated.pids.values())

    shell = operated.shell
    again = shell.run("synthcore", "up", "--port", shell.port)
    assert again.returncode == 0, again.stderr
    assert f"\ndatabase        {operated.postgresql.place}\n" in again.stdout
    another = shell.run("synthcore", "up", "--port", shell.port, "--database", "postgresql://db.example.org/x")
    assert another.returncode == 2
    assert f"uses {operated.postgresql.place}" in another.stderr


def test_a_server_that_was_killed_is_told_its_database_again(operated: Operated) -> None:
    shell = operated.shell
    server = psutil.Process(operated.pids["server"])
    server.kill()
    psutil.wait_procs([server], timeout=60)
    forgotten = shell.run("synthcore", "up", "--port", shell.port)
    assert forgotten.returncode == 2
    assert f"uses {operated.postgresql.place}: name the same" in forgotten.stderr
    again = shell.run("synthcore", "up", "--port", shell.port, "--database", operated.postgresql.url(), "--json")
    assert again.returncode == 0, again.stderr
    pids = {program["name"]: program["pid"] for program in json.loads(again.stdout)["programs"]}
    assert [name for name in pids if pids[name] != operated.pids[name]] == ["server"]


def test_down_ends_everything_even_when_the_database_has_gone(operated: Operated) -> None:
    """Last: it ends what the tests above use."""
    operated.postgresql.stop()
    found = json.loads(operated.shell.run("synthcore", "doctor", "--json").stdout)["findings"]
    assert "doesn't answer" in " ".join(f["what"] for f in found if f["state"] == "problem" and f["check"] == "server")
    again = operated.shell.run("synthcore", "up", "--port", operated.shell.port)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert operated.shell.down() == ["worker", "render-worker", "server"]
