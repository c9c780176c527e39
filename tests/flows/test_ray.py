"""A Ray cluster: the dataset of one process, whatever is killed. Skipped without Ray, which no lock has."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import descendants, is_alive, kill_family
from tests.flows.test_operation import free_port

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),  # a cluster takes half a minute to start
    pytest.mark.skipif(
        importlib.util.find_spec("prefect_ray") is None, reason="there is no Ray here: pip install -e '.[ray]'"
    ),
]
FLAGS: tuple[object, ...] = ("generate", "-n", 120, "--data-dir", "data", "-o", "out.h5", "--rows-per-shard", 12)
FLAGS += ("--note-seconds", 1, "--render-seconds", 2)
SHARDS = 10


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, cli_in: Callable[[Path], Any]) -> str:
    """The digest of a run by threads of one process."""
    return str(cli_in(tmp_path_factory.mktemp("plain")).json(*FLAGS)["digest"])


def renders(pids: list[int]) -> list[int]:
    """The zygotes among the descendants of processes."""
    return [one for pid in pids for one, command in descendants(pid).items() if "synthcore.engine.zygote" in command]


def rendering(pid: int) -> list[int]:
    """The processes of Ray among the descendants of a process that have a zygote."""
    return [one for one, command in descendants(pid).items() if command.startswith("ray::") and renders([one])]


@pytest.fixture(autouse=True)
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What those who belong to a cluster know; else Ray draws one, and keeps it in this user's home."""
    (tmp_path / "token").write_text(secrets.token_hex(16))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))


def test_a_process_of_ray_that_is_killed_costs_what_it_was_rendering(cli: Any, plain: str) -> None:
    process = cli.start(*FLAGS, "--json", "--runner", "ray", "--workers", 2)
    cli.wait_until(lambda: len(rendering(process.pid)) == 2 or process.poll() is not None, seconds=240)
    assert process.poll() is None, process.communicate()[1]
    family = descendants(process.pid)
    assert len(renders(rendering(process.pid))) == 2  # as many as cores were asked for
    os.kill(rendering(process.pid)[0], signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["digest"], report["shards"]) == (plain, SHARDS)
    cli.wait_until(lambda: not any(map(is_alive, family)), seconds=60)
    again = cli.json(*FLAGS, "--runner", "ray", "--workers", 2)
    assert (again["digest"], again["shards_cached"]) == (plain, SHARDS)


@contextlib.contextmanager
def node(folder: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node of Ray with one core, which ends with its process."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", "1", *flags]
    with (folder / f"node{len(list(folder.glob('node*')))}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        kill_family(process.pid)
        process.wait()


def test_a_node_of_ray_that_is_killed_costs_what_it_was_rendering(cli: Any, plain: str) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    head = ("--head", "--port", str(port), "--include-dashboard", "false", "--node-ip-address", "127.0.0.1")
    with node(cli.folder, *head) as first, contextlib.ExitStack() as second_one:
        cli.wait_until(lambda: "--block" in (cli.folder / "node0.log").read_text(), seconds=120)
        second = second_one.enter_context(node(cli.folder, "--address", address))
        process = cli.start(*FLAGS, "--json", "--runner", "ray", "--runner-address", address)
        cli.wait_until(
            lambda: bool(rendering(first.pid) and rendering(second.pid)) or process.poll() is not None, seconds=240
        )
        assert process.poll() is None, process.communicate()[1]
        second_one.close()
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert json.loads(out)["digest"] == plain


@pytest.mark.parametrize("address", ["127.0.0.1:1", "http://127.0.0.1:80", "stranger"])
def test_an_address_without_a_head_costs_one_line(cli: Any, stranger: str, address: str) -> None:
    address = stranger if address == "stranger" else address
    done = cli.run(*FLAGS, "--runner", "ray", "--runner-address", address)
    assert done.returncode == 2, done.stderr
    assert f"no head of Ray answers at {address}: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(cli.folder.rglob("*.h5"))
