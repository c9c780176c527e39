"""Operating as people do: up, deployments run by hand and by a schedule, workers, down; real servers and workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest

from benchmarks.processes import descendants, is_alive
from synthcore.flows.running.environment import is_healthy
from synthcore.flows.running.programs import ROOT
from synthcore.storage.dataset import Dataset
from tests.api import ask

pytestmark = pytest.mark.long

AUDIO = {"sample_rate": 22050, "notes": [48, 60, 72], "note_seconds": 0.25, "render_seconds": 0.4}
FLAGS: tuple[object, ...] = (
    "--notes",
    48,
    "--notes",
    60,
    "--notes",
    72,
    "--sample-rate",
    22050,
    "--note-seconds",
    0.25,
)
FLAGS += ("--render-seconds", 0.4, "--rows-per-shard", 12)
DEPLOYMENTS = {
    "generate/tier1-1k",
    "generate/tier2-20k",
    "generate/tier3-100k",
    "generate/grow-nightly",
    "download-presets/download-weekly",
    "discover-wavetables/wavetables-of-this-machine",
    "ingest-presets/ingest-community",
    "compute-weights/weights-of-500-rows",
    "features/log-mel-features",
    "compare/compare-community",
    "evaluate/evaluate-oracle",
    "verify/verify-sample",
    "inspect/inspect-dataset",
    "render-shards/shards-for-render",
}
WAITING = "another synthcore up or down is at work: waiting for it"


@dataclass(frozen=True)
class Shell:
    """A terminal of someone who has a Prefect home of their own, and a data directory."""

    folder: Path
    port: int

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        ours = {
            "PREFECT_HOME": str(self.folder / "home"),
            "SYNTHCORE_DATA_DIR": str(self.folder / "data"),
            "TMPDIR": str(self.folder / "tmp"),
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",  # instead of a minute
        }
        return {**{k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}, **ours}

    @property
    def of_worker(self) -> dict[str, str]:
        """Of a worker that is started by hand: it needs a temporary place in which nobody else's worker runs."""
        return self.environment | {"TMPDIR": str(self.folder / "of worker")}

    def run(self, command: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        module = {"synthcore": "synthcore.flows.cli", "prefect": "prefect"}[command]
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=cwd or self.folder,
            env=self.of_worker if command == "prefect" else self.environment,
            capture_output=True,
            text=True,
        )

    def run_twice(self, *arguments: object) -> list[Any]:
        """Run a command at two terminals at once; give what they print, the one that does the work first."""
        with ThreadPoolExecutor(2) as two:
            done = [*two.map(lambda _: self.run("synthcore", *arguments, "--json"), range(2))]
        assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
        done.sort(key=lambda one: WAITING in one.stderr)
        return [json.loads(one.stdout) for one in done]

    def up(self) -> dict[str, Any]:
        done = self.run("synthcore", "up", "--port", self.port, "--json")
        assert done.returncode == 0, done.stderr
        started: dict[str, Any] = json.loads(done.stdout)
        return started

    def down(self) -> list[str]:
        done = self.run("synthcore", "down", "--json")
        assert done.returncode == 0, done.stderr
        ended: list[str] = json.loads(done.stdout)["ended"]
        return ended

    def start(self, deployment: str, *flags: str, **parameters: Any) -> subprocess.CompletedProcess[str]:
        """Run a deployment the way its page in the documents says."""
        wishes = [word for name, value in parameters.items() for word in ("-p", f"{name}={json.dumps(value)}")]
        return self.run("prefect", "deployment", "run", deployment, *wishes, *flags)

    def ask(self, path: str, question: Any = None, method: str = "POST") -> Any:
        """Ask the server."""
        return ask(f"{self.api}/{path}", question, method)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Everything is up, and was started by the one command, given at two terminals at once."""
    shell = Shell(tmp_path_factory.mktemp("operation"), free_port())
    for name in ("tmp", "of worker"):
        (shell.folder / name).mkdir()
    (shell.folder / "tmp" / "runner_storage").touch()  # as if it were another user's: a worker can't use it
    try:
        first, second = shell.run_twice("up", "--port", shell.port)
        assert first == second
        yield shell
    finally:
        shell.down()


def test_up_deploys_every_flow_with_a_description_and_tags(shell: Shell) -> None:
    flows = {flow["id"]: flow["name"] for flow in shell.ask("flows/filter")}
    deployments = {f"{flows[d['flow_id']]}/{d['name']}": d for d in shell.ask("deployments/filter")}
    assert deployments.keys() == DEPLOYMENTS
    for name, deployment in deployments.items():
        assert deployment["description"]
        assert deployment["tags"]
        assert deployment["work_pool_name"] == ("render" if "render-shards" in name else "local")
        described = deployment["parameter_openapi_schema"]["properties"].values()
        assert all(
            parameter.get("description") or "allOf" in parameter or "$ref" in parameter for parameter in described
        )
    for name in DEPLOYMENTS - {"verify/verify-sample", "inspect/inspect-dataset", "render-shards/shards-for-render"}:
        limit = deployments[name]["global_concurrency_limit"]["limit"]
        assert (limit, deployments[name]["concurrency_options"]["collision_strategy"]) == (1, "ENQUEUE")
    assert not any(schedule["active"] for d in deployments.values() for schedule in d["schedules"])


def test_two_that_start_everything_at_once_start_it_once(shell: Shell) -> None:
    for pool in ("local", "render"):
        assert len(shell.ask(f"work_pools/{pool}/workers/filter")) == 1


def test_the_worker_has_a_place_of_its_own_for_temporary_files(shell: Shell) -> None:
    own = shell.folder / "home" / "synthcore" / "tmp"
    for place in (own, own / "worker", own / "render-worker"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    kept = json.loads((shell.folder / "home" / "synthcore" / "started.json").read_text())
    pids = {program["name"]: program["pid"] for program in kept["programs"]}
    assert psutil.Process(pids["worker"]).environ()["TMPDIR"] == str(own / "worker")


def test_a_deployment_is_run_and_shares_its_shards_with_the_command(shell: Shell) -> None:
    run = shell.start("generate/tier1-1k", "--watch", n_samples=36, audio=AUDIO, run={"rows_per_shard": 12})
    assert run.returncode == 0, run.stdout
    with Dataset(shell.folder / "data" / "tier1-seed0.h5") as made:
        assert (len(made), made.spec.tier) == (36, 1)
        digest = made.digest
    again = shell.run("synthcore", "generate", "-n", 36, "-o", "again.h5", *FLAGS, "--json")
    assert f"Prefect server: {shell.api.removesuffix('/api')}\n" in again.stderr  # found without being told
    report = json.loads(again.stdout)
    assert (report["shards_cached"], report["digest"]) == (3, digest)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"tier": 9}, "'tier'. Failure reason: 9 is not one of [1, 2, 3]"),
        ({"n_samples": 0}, "'n_samples'. Failure reason: 0 is less than the minimum of 1"),
        ({"n_samples": "many"}, "'n_samples'. Failure reason: 'many' is not of type 'integer'"),
        ({"workers": 5000}, "'workers'. Failure reason: 5000 is greater than the maximum of 1024"),
        ({"audio": {"velocity": 0}}, "'audio.velocity'. Failure reason: 0 is less than the minimum of 1"),
        ({"rows": 9}, "not found on the deployment: 'rows'"),
    ],
)
def test_wrong_parameters_are_refused_by_name(shell: Shell, parameters: dict[str, Any], says: str) -> None:
    refused = shell.start("generate/tier1-1k", **parameters)
    assert refused.returncode == 1
    assert says in " ".join((refused.stdout + refused.stderr).split())


def test_checks_of_a_dataset_leave_their_findings_in_the_ui(shell: Shell, tier_1: Any) -> None:
    for deployment, key, says in (
        ("verify/verify-sample", "verdict", "verified"),
        ("inspect/inspect-dataset", "inspection", "tier"),
    ):
        run = shell.start(deployment, "--watch", file=str(tier_1.path))
        assert run.returncode == 0, run.stdout
        page = shell.ask("artifacts/latest/filter", {"artifacts": {"key": {"any_": [key]}}})[0]
        assert says in page["data"]
        assert page["description"] == str(tier_1.path)


def test_a_deployment_that_is_told_nothing_works_in_the_workers_data_directory(shell: Shell, tier_1: Any) -> None:
    data = shell.folder / "data"
    data.mkdir(exist_ok=True)
    (data / "tier1-seed0.h5").write_bytes(tier_1.path.read_bytes())
    for deployment in ("discover-wavetables/wavetables-of-this-machine", "verify/verify-sample"):
        run = shell.start(deployment, "--watch")
        assert run.returncode == 0, run.stdout
    assert (data / "catalog.json").is_file()
    page = shell.ask("artifacts/latest/filter", {"artifacts": {"key": {"any_": ["verdict"]}}})[0]
    assert page["description"] == str(data / "tier1-seed0.h5")


def test_a_dataset_that_does_not_verify_fails_the_run(shell: Shell, tier_1: Any, forge: Any) -> None:
    forged = forge(tier_1)
    with h5py.File(forged, "r+") as file:
        file["audio/waveforms"][2, 0, 100] += 1e-3
    run = shell.start("verify/verify-sample", "--watch", file=str(forged), all=True)
    assert run.returncode == 1
    failed = runs(shell, "verify/verify-sample")[-1]
    assert (failed["state_type"], "differing rows: 2" in failed["state"]["message"]) == ("FAILED", True)


def test_a_scheduled_run_appears_and_grows_its_dataset(shell: Shell) -> None:
    nightly = shell.ask("deployments/name/generate/grow-nightly", method="GET")
    soon = (datetime.now(UTC) + timedelta(seconds=6)).isoformat()
    wishes = {"n_samples": 12, "grow_by": 12, "audio": AUDIO, "run": {"rows_per_shard": 12}}
    hourly = {"interval": 3600, "anchor_date": soon}
    made = shell.ask(
        f"deployments/{nightly['id']}/schedules", [{"schedule": hourly, "active": True, "parameters": wishes}]
    )
    wait_for(lambda: states(shell, "generate/grow-nightly") == ["COMPLETED"], seconds=120)
    shell.ask(f"deployments/{nightly['id']}/schedules/{made[0]['id']}", method="DELETE")
    output = shell.folder / "data" / "tier2-seed1.h5"
    with Dataset(output) as dataset:
        assert len(dataset) == 12

    assert shell.start("generate/grow-nightly", "--watch", **wishes).returncode == 0
    with Dataset(output) as dataset:
        assert len(dataset) == 24
    tasks = shell.ask("task_runs/filter", {"task_runs": {"name": {"any_": ["shard 0000", "shard 0001"]}}})
    grown = [t for t in tasks if t["flow_run_id"] == runs(shell, "generate/grow-nightly")[-1]["id"]]
    assert sorted((t["name"], t["state"]["name"]) for t in grown) == [
        ("shard 0000", "Cached"),
        ("shard 0001", "Completed"),
    ]


def runs(shell: Shell, deployment: str) -> list[dict[str, Any]]:
    """The runs of a deployment that are over, running or due, oldest first."""
    known = shell.ask(f"deployments/name/{deployment}", method="GET")["id"]
    found = shell.ask("flow_runs/filter", {"deployments": {"id": {"any_": [known]}}, "sort": "EXPECTED_START_TIME_ASC"})
    now = datetime.now(UTC).isoformat()
    return [run for run in found if run["expected_start_time"] <= now]


def states(shell: Shell, deployment: str) -> list[str]:
    return [run["state_type"] for run in runs(shell, deployment)]


def wait_for(holds: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.5)


def test_up_again_starts_nothing_and_leaves_schedules_as_they_are(shell: Shell) -> None:
    before = json.loads((shell.folder / "home" / "synthcore" / "started.json").read_text())
    nightly = shell.ask("deployments/name/generate/grow-nightly", method="GET")
    schedule = nightly["schedules"][0]
    shell.ask(f"deployments/{nightly['id']}/schedules/{schedule['id']}", {"active": True}, "PATCH")
    assert shell.up() == before
    after = shell.ask("deployments/name/generate/grow-nightly", method="GET")
    assert [(s["schedule"]["cron"], s["active"]) for s in after["schedules"]] == [("0 2 * * *", True)]
    assert len(shell.ask("deployments/filter")) == len(DEPLOYMENTS)
    assert [a["name"] for a in shell.ask("automations/filter")] == ["mark killed runs as crashed"]


def test_every_pool_has_a_worker_and_takes_a_distributed_run(shell: Shell) -> None:
    pools = {pool["name"]: pool["status"] for pool in shell.ask("work_pools/filter")}
    assert (pools["local"], pools["render"]) == ("READY", "READY")
    flags = ("--distribute", "pool:render", "--batch", 2, "--seed", 5)
    made = shell.run("synthcore", "generate", "-n", 36, "-o", "distributed.h5", *FLAGS, *flags, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["rows"] == 36
    assert states(shell, "render-shards/shards-for-render") == ["COMPLETED", "COMPLETED"]


def test_a_worker_can_be_started_to_run_what_is_due_and_end(shell: Shell) -> None:
    template = json.loads((ROOT / "deployments" / "process.json").read_text())
    shell.ask("work_pools/", {"name": "once", "type": "process", "base_job_template": template})
    deploy = ("--no-prompt", "deploy", "flows/generate.py:generate", "--name", "once", "--pool", "once")
    assert shell.run("prefect", *deploy, cwd=ROOT).returncode == 0
    output = shell.folder / "once.h5"
    wishes = {"n_samples": 6, "audio": AUDIO, "output": str(output)}
    once = shell.ask("deployments/name/generate/once", method="GET")["id"]
    shell.ask(f"deployments/{once}/create_flow_run", {"parameters": wishes, "state": {"type": "SCHEDULED"}})
    worker = shell.run("prefect", "worker", "start", "--pool", "once", "--run-once")
    assert worker.returncode == 0, worker.stderr
    assert states(shell, "generate/once") == ["COMPLETED"]
    with Dataset(output) as dataset:
        assert len(dataset) == 6


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
def test_the_server_takes_the_templates_of_the_pools(shell: Shell, kind: str) -> None:
    template = json.loads((ROOT / "deployments" / f"{kind}.json").read_text())
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])
    made = shell.ask("work_pools/", {"name": f"a-{kind}", "type": kind, "base_job_template": template})
    assert made["base_job_template"] == template


def test_a_port_that_is_taken_costs_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = Shell(tmp_path, taken.getsockname()[1])
        done = refused.run("synthcore", "up", "--port", refused.port)
    assert done.returncode == 2
    assert "is already in use" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert refused.down() == []


def test_down_ends_what_up_started_and_nothing_else(shell: Shell, prefect_api: str) -> None:
    """Last, and in one piece: a run under way, an old export of the address, a server that died by itself."""
    home = shell.folder / "home"
    started = {p["name"]: p["pid"] for p in json.loads((home / "synthcore" / "started.json").read_text())["programs"]}
    assert shell.start("generate/tier1-1k", n_samples=3000, seed=5).returncode == 0
    wait_for(lambda: "zygote" in " ".join(descendants(started["worker"]).values()), seconds=120)
    everything = [pid for name in ("worker", "server") for pid in (started[name], *descendants(started[name]))]
    assert len(everything) >= 4  # the server, the worker, its run and that run's first zygote

    first, second = shell.run_twice("down")
    assert (first["ended"], second["ended"]) == (["worker", "render-worker", "server"], [])
    assert not (home / "synthcore" / "tmp").exists()
    with sqlite3.connect(home / "prefect.db") as books:
        ended = dict(books.execute("SELECT state_type, count(*) FROM flow_run GROUP BY state_type"))
    assert ended.get("CANCELLED") == 1, ended
    assert not ended.keys() & {"RUNNING", "PENDING", "CANCELLING"}
    assert not [path for path in (shell.folder / "data").rglob("*") if path.suffix in (".claim", ".tmp")]
    assert not [pid for pid in everything if is_alive(pid)]
    assert is_healthy(prefect_api)
    assert not is_healthy(shell.api)
    assert "PREFECT_API_URL" not in (home / "profiles.toml").read_text()

    started = {p["name"]: p["pid"] for p in shell.up()["programs"]}
    assert shell.run("synthcore", "up", "--port", shell.port + 1).returncode == 2
    for pid in started.values():
        os.kill(pid, signal.SIGKILL)
    done = shell.run("synthcore", "generate", "-n", 36, "-o", "again.h5", *FLAGS, "--json")
    assert done.returncode == 0, done.stderr  # on a server of its own
    assert "just started: for this run alone" in done.stderr
    assert shell.down() == []
