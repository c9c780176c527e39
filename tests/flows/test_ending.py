"""How runs end that don't end by themselves, and how two on one machine share it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import descendants, is_alive
from tests.api import ask
from tests.conftest import ROOT, wait_until
from tests.flows.test_flow import SHORT, shard_files

pytestmark = pytest.mark.slow

AUDIO = {"sample_rate": 22050, "note_seconds": 0.25, "render_seconds": 0.4}


def prefect(api: str, *arguments: str) -> None:
    environment = {**os.environ, "PREFECT_API_URL": api}
    subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=environment,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )


def state_of(api: str, run: str) -> str:
    return str(ask(f"{api}/flow_runs/{run}", method="GET")["state"]["name"])


def newest_run(api: str, name: str) -> str | None:
    runs = ask(
        f"{api}/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1, "flow_runs": {"name": {"any_": [name]}}}
    )
    return str(runs[0]["id"]) if runs else None


@pytest.fixture
def worker(prefect_api: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of a process pool, as `prefect worker start` runs it."""
    prefect(prefect_api, "work-pool", "create", "ending", "--type", "process", "--overwrite")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "ending", "--type", "process"]
    environment = {**os.environ, "PREFECT_API_URL": prefect_api}
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.mark.long
def test_cancelling_a_workers_run_leaves_no_process(
    prefect_api: str, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    flow = ask(f"{prefect_api}/flows/", {"name": "generate"})["id"]
    deployment = {
        "name": "ending",
        "flow_id": flow,
        "entrypoint": "flows/generate.py:generate",
        "work_pool_name": "ending",
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
    }
    made = ask(f"{prefect_api}/deployments/", deployment)["id"]
    wishes = {"n_samples": 2000, "audio": AUDIO, "data_dir": str(tmp_path / "data"), "run": {"rows_per_shard": 12}}
    run = ask(f"{prefect_api}/deployments/{made}/create_flow_run", {"parameters": wishes})["id"]
    wait_until(lambda: len(shard_files(tmp_path)) >= 2, seconds=200)
    family = descendants(worker.pid)
    assert any("synthcore.engine.zygote" in command for command in family.values())
    ask(f"{prefect_api}/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})  # what the page does
    wait_until(lambda: not any(is_alive(pid) for pid in family), seconds=90)
    wait_until(lambda: state_of(prefect_api, run) == "Cancelled", seconds=60)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.long
@pytest.mark.parametrize("who", ["the whole group", "the server first"])
@pytest.mark.parametrize("command", ["generate", "compute-weights"])
def test_a_run_that_is_ended_with_the_server_it_brought_says_so_in_one_line(
    cli: Any, tier_1: Any, command: str, who: str
) -> None:
    """Process managers end both; `timeout` ends the run's group, in which the server is not."""
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    arguments: dict[str, tuple[object, ...]] = {
        "generate": ("-n", 6000, "-o", "out.h5", *SHORT),
        "compute-weights": ("x.h5", "--n-base", 9),
    }
    process = cli.start(command, *arguments[command], "--data-dir", "data", env={"PREFECT_API_URL": ""})

    def running(what: str) -> list[int]:
        return [pid for pid, line in descendants(process.pid).items() if what in line]

    is_under_way = {
        "generate": lambda: shard_files(cli.folder),
        "compute-weights": lambda: running("synthcore.engine.zygote"),
    }
    cli.wait_until(is_under_way[command], seconds=150)
    family, (server, *_) = descendants(process.pid), running("-m synthcore.flows.running.serve")
    if who == "the whole group":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        os.kill(server, signal.SIGTERM)
    _, output = process.communicate(timeout=60)
    assert process.returncode in (1, 130)
    assert "Traceback" not in output
    last = [line for line in output.splitlines() if line.startswith("synthcore: ")]
    assert len(last) == 1
    assert re.search("the Prefect server of this run was ended|interrupted", last[0])
    cli.wait_until(lambda: not any(is_alive(pid) for pid in family), seconds=60)


@pytest.mark.long
def test_a_run_whose_process_was_killed_is_marked_crashed(cli: Any, prefect_api: str) -> None:
    shipped = (ROOT / "deployments" / "zombies.yaml").read_text()
    assert "within: 560\n" in shipped
    quick = cli.folder / "zombies.yaml"
    quick.write_text(shipped.replace("within: 560", "within: 40"))
    prefect(prefect_api, "automation", "create", "--from-file", str(quick))
    flags = ("generate", "-n", 1999, "--seed", 77, "--data-dir", "data", *SHORT)
    process = cli.start(*flags, env={"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"})
    cli.wait_until(lambda: len(shard_files(cli.folder)) >= 2, seconds=120)
    run = newest_run(prefect_api, "tier1 1999 seed 77")
    assert run is not None
    process.kill()
    process.communicate()
    assert state_of(prefect_api, run) == "Running"
    wait_until(lambda: state_of(prefect_api, run) == "Crashed", seconds=200)


@pytest.mark.long
def test_two_runs_on_one_machine_share_its_concurrency_limit(cli: Any, prefect_api: str) -> None:
    name = f"render-{socket.gethostname()}"
    ask(f"{prefect_api}/v2/concurrency_limits/", {"name": name, "limit": 1})
    runs = [
        cli.start("generate", "-n", 24, "--seed", seed, "--data-dir", f"{seed}", *SHORT, "--json") for seed in (1, 2)
    ]
    seen: set[int] = set()
    while any(run.poll() is None for run in runs):
        seen.add(ask(f"{prefect_api}/v2/concurrency_limits/{name}", method="GET")["active_slots"])
    ask(f"{prefect_api}/v2/concurrency_limits/{name}", method="DELETE")
    assert [json.loads(run.communicate()[0])["rows"] for run in runs] == [24, 24]
    assert 1 in seen <= {0, 1}
