"""Many processes, one dataset: Dask workers, pools of workers, one data directory at several places."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import descendants, is_alive, kill_family
from synthcore.base.errors import EngineMismatch, SpecError
from synthcore.flows.running import runners
from synthcore.pipeline.batch import MARK, Batch, cut, find, mark
from synthcore.pipeline.shard import plan_shards, render_shard
from synthcore.settings.command import RunnerSettings
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.dataset import Dataset
from tests.api import ask
from tests.conftest import CAN_MOUNT, ROOT

#: Renders of a tenth of the usual length, in shards of four patches.
SHORT: tuple[object, ...] = ("--notes", 48, "--notes", 60, "--notes", 72, "--sample-rate", 22050)
SHORT += ("--note-seconds", 0.25, "--render-seconds", 0.4, "--rows-per-shard", 12)
ROWS, SHARDS, BATCH, BATCHES = 180, 15, 4, 4


# ---------------------------------------------------------------------------------------------------- without a server


@pytest.fixture
def spec(short: AudioSpec) -> DatasetSpec:
    return DatasetSpec(n_samples=40, audio=short)


def test_batches_hold_every_shard_once_and_stay_the_same_when_a_dataset_grows(
    spec: DatasetSpec, tmp_path: Path
) -> None:
    plans = plan_shards(spec, 4)
    batches = cut(plans, spec, 4, 3)
    assert [batch.shards for batch in batches] == [3, 3, 3, 1]
    assert [plan for batch in batches for plan in batch.plans(tmp_path)] == plans
    larger = spec.model_copy(update={"n_samples": 80})
    assert [b.key for b in cut(plan_shards(larger, 4), larger, 4, 3)][:3] == [b.key for b in batches][:3]


def test_a_batch_that_would_become_other_shards_here_is_refused(spec: DatasetSpec, tmp_path: Path) -> None:
    batch = cut(plan_shards(spec, 4), spec, 4, 3)[1]
    travelled = Batch.model_validate_json(batch.model_dump_json())
    assert travelled == batch
    with pytest.raises(EngineMismatch, match="shards 0003 to 0005: this worker would make other shards"):
        travelled.model_copy(update={"key": "0" * 64}).plans(tmp_path)


def test_a_shard_planned_on_another_type_of_machine_is_refused(spec: DatasetSpec, tmp_path: Path) -> None:
    plan = plan_shards(spec, 4)[0].model_copy(update={"origin": "0" * 64})
    with pytest.raises(EngineMismatch, match="shard 0 was planned where other rows would be made"):
        render_shard(plan, tmp_path, 60)
    assert not list(tmp_path.iterdir())


def test_a_data_directory_is_known_by_its_mark_wherever_it_is_mounted(tmp_path: Path) -> None:
    data, other, link = tmp_path / "data", tmp_path / "other", tmp_path / "mounted" / "here"
    marked = mark(data)
    assert (mark(data), len(marked)) == (marked, 32)
    assert mark(other) != marked
    link.parent.mkdir()
    link.symlink_to(data)
    assert find(marked, [other, link]) == link
    with pytest.raises(SpecError, match=r"can't find .* at .*other or .*gone; mount it here, .*SYNTHCORE_DATA_DIR"):
        find(marked, [other, tmp_path / "gone"])
    assert [path.name for path in data.iterdir()] == [MARK]


class Counting:
    """A runner that finishes what it has when it can take no more, and remembers how many futures lived at once."""

    def __init__(self, shards: int) -> None:
        self.left, self.most = shards, 0
        self._live: list[Future[None]] = []

    def submit(self, task: Any, parameters: dict[str, Any]) -> Future[None]:
        future: Future[None] = Future()
        self._live.append(future)
        self.left -= 1
        self.most = max(self.most, len(self._live))
        if len(self._live) == runners.AHEAD or not self.left:
            for live in self._live:
                live.set_result(None)
            self._live.clear()
        return future


def test_ten_thousand_shards_are_never_ten_thousand_futures() -> None:
    plans: Any = list(range(10_000))
    runner: Any = Counting(len(plans))
    task: Any = None
    given: Any = [plan for plan, _ in runners.hand_out(plans, runner, task)]
    assert sorted(given) == plans
    assert runner.most == runners.AHEAD < 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runner", "message"),
    [
        ("slurm", "there is no sbatch here"),
        ("ray", r"ray is not installed; do so with: pip install 'synthcore\[ray\]'"),
    ],
)
def test_a_runner_that_is_not_here_is_said_in_one_line(
    runner: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "prefect_ray", None)
    monkeypatch.delitem(sys.modules, "synthcore.flows.running.ray_cluster", raising=False)
    with pytest.raises(SpecError, match=message):
        runners.task_runner(RunnerSettings(runner=runner), 2)


# --------------------------------------------------------------------------------------------------------- with servers


def generate(cli: Any, *flags: object, data: object = "data", rows: int = ROWS) -> dict[str, Any]:
    return cli.json("generate", "-n", rows, "--data-dir", data, "-o", "out.h5", *SHORT, *flags)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, cli_in: Callable[[Path], Any]) -> tuple[Path, dict[str, Any]]:
    """A run by threads of one process: its folder, and what it reported."""
    cli = cli_in(tmp_path_factory.mktemp("local"))
    return cli.folder, generate(cli)


@pytest.mark.long
def test_two_processes_of_dask_make_the_dataset_of_one_and_find_it_cached(cli: Any, local: tuple[Path, Any]) -> None:
    first = generate(cli, "--runner", "dask", "--workers", 2, "--features", "sketch")
    assert (first["digest"], first["shards_cached"]) == (local[1]["digest"], 0)
    newest = {"flows": {"name": {"any_": ["features"]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": 1}
    (added,) = ask(f"{cli.api}/flow_runs/filter", newest)
    assert added["parameters"]["run"] == {"runner": "dask", "runner_address": None}
    again = generate(cli, "--runner", "dask", "--workers", 2)
    assert (again["digest"], again["shards_cached"]) == (first["digest"], SHARDS)
    here = generate(cli)
    assert (here["digest"], here["shards_cached"]) == (first["digest"], SHARDS)


@contextlib.contextmanager
def running(command: list[str], folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program beside the test, with a log of its own; in the end all of its family is killed."""
    named = "-".join(word.strip("/").replace("/", "_")[:20] for word in command[1:4])
    with (folder / f"{named}.{len(list(folder.glob('*.log')))}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command] if command[0] != "unshare" else command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill_family(process.pid)
            process.wait()


def renders(pid: int) -> list[int]:
    """The zygotes among a process's descendants."""
    return [member for member, command in descendants(pid).items() if "synthcore.engine.zygote" in command]


@pytest.mark.long
def test_a_crash_inside_of_a_render_never_reaches_a_worker_of_dask(
    cli: Any, local: tuple[Path, Any], tmp_path: Path
) -> None:
    with running_cluster(cli) as (address, workers):
        process = cli.start(
            "generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT, "--json",
            "--runner", "dask", "--runner-address", address,
        )  # fmt: skip
        before = {worker.pid: set(descendants(worker.pid)) for worker in workers}
        for worker in workers:
            cli.wait_until(lambda worker=worker: bool(renders(worker.pid)), seconds=120)
            for zygote in renders(worker.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(zygote, signal.SIGSEGV)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert json.loads(out)["digest"] == local[1]["digest"]
        for worker in workers:  # the nanny and the worker are those that there were
            assert before[worker.pid] <= set(descendants(worker.pid))
            assert len(renders(worker.pid)) == 1  # as many as Dask gave it threads


@contextlib.contextmanager
def running_cluster(cli: Any) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask cluster as one would start it: a scheduler, and two workers of one thread."""
    address = cli.folder / "scheduler.json"
    common = ("--scheduler-file", str(address), "--no-dashboard")
    with contextlib.ExitStack() as stack:
        scheduler = ["dask", "scheduler", *common, "--port", "0", "--host", "127.0.0.1"]
        stack.enter_context(running(scheduler, cli.folder))
        cli.wait_until(address.is_file, seconds=60)
        workers = [
            stack.enter_context(running(["dask", "worker", *common, "--nthreads", "1", "--name", name], cli.folder))
            for name in ("one", "two")
        ]
        for worker in workers:
            cli.wait_until(lambda worker=worker: bool(descendants(worker.pid)), seconds=60)
        yield json.loads(address.read_text())["address"], workers


@pytest.mark.long
def test_a_worker_of_dask_that_is_killed_costs_what_it_was_rendering(cli: Any, local: tuple[Path, Any]) -> None:
    with running_cluster(cli) as (address, workers):
        process = cli.start(
            "generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT, "--json",
            "--runner", "dask", "--runner-address", address,
        )  # fmt: skip
        cli.wait_until(lambda: bool(renders(workers[0].pid)), seconds=120)
        kill_family(workers[0].pid)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert json.loads(out)["digest"] == local[1]["digest"]


@pytest.mark.long
def test_ctrl_c_ends_a_run_on_dask_with_its_cluster_and_it_is_continued(cli: Any, local: tuple[Path, Any]) -> None:
    flags = ("generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT, "--runner", "dask", "--workers", 2)
    process = cli.start(*flags)
    cli.wait_until(lambda: len(list(cli.folder.rglob("shards/*/*.h5"))) >= 2, seconds=120)
    family = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    cli.wait_until(lambda: not any(is_alive(pid) for pid in family), seconds=60)
    report = generate(cli)
    assert report["shards_cached"] >= 1
    assert report["digest"] == local[1]["digest"]


@pytest.mark.long
def test_a_runner_without_a_cluster_or_a_pool_without_a_deployment_is_said_in_one_line(cli: Any) -> None:
    flags = ("generate", "-n", 12, "--data-dir", "data", "-o", "out.h5", *SHORT)
    for wish, code, message in (
        (("--distribute", "pool:none"), 2, "has no deployment render-shards/shards-for-none, which --distribute needs"),
        (("--distribute", "render"), 2, "distribute"),
        (("--runner-address", "tcp://127.0.0.1:1"), 2, "set --runner to one"),
        (("--runner", "dask", "--distribute", "pool:x"), 2, "leave out --runner"),
        (("--refresh", "render", "--distribute", "pool:x"), 2, "leave it out to render all again"),
    ):
        done = cli.run(*flags, *wish)
        assert (done.returncode, message in done.stderr.splitlines()[-1]) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:1", "(Connection refused|no connection in 5 s)"),  # the last try may be cut short
        ("tcp://nohost.invalid:8786", "[A-Z].* (known|resolution)"),
        ("http://127.0.0.1:80", "unknown address scheme 'http'"),
        ("stranger", "what listens there said nothing in 8 s"),
    ],
)
def test_an_address_without_a_scheduler_costs_one_line(cli: Any, stranger: str, address: str, reason: str) -> None:
    address = stranger if address == "stranger" else address
    flags = ("-n", 12, "--data-dir", "data", "-o", "out.h5", *SHORT, "--runner", "dask", "--runner-address", address)
    done = cli.run("generate", *flags)
    assert done.returncode == 2, done.stderr
    assert re.search(f"no Dask scheduler answers at {address}: {reason}.*; name in", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
    assert not list(cli.folder.rglob("*.h5"))


def runs_of(cli: Any, pool: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(f"{cli.api}/flow_runs/filter", {"work_pools": {"name": {"any_": [pool]}}})
    return found


def kinds_of(cli: Any, pool: str) -> set[str]:
    """How a pool's runs stand."""
    return {run["state"]["type"] for run in runs_of(cli, pool)}


@pytest.fixture
def deploy(cli: Any) -> Callable[[str], None]:
    """Make a work pool of processes, and the deployment that renders on it."""

    def make(pool: str) -> None:
        code = f"""
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from synthcore.flows.render_shards import render_shards
with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name={pool!r}, type="process"))
stored = render_shards.from_source({str(ROOT)!r}, "flows/render_shards.py:render_shards")
stored.to_deployment({f"shards-for-{pool}"!r}, work_pool_name={pool!r}).apply()
"""
        environment = {**os.environ, "PREFECT_API_URL": cli.api}
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=cli.folder, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    return make


def worker(cli: Any, pool: str, name: str, wrapper: tuple[str, ...] = (), **environment: str) -> Any:
    """A worker of a pool, which takes one run at a time."""
    command = ["prefect", "worker", "start", "--pool", pool, "--type", "process", "--limit", "1", "--name", name]
    quick = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_API_URL": cli.api}
    if wrapper:
        command = [*wrapper, sys.executable, "-m", *command]
    return running(command, cli.folder, **{**quick, **environment})


@pytest.mark.long
def test_workers_of_a_pool_share_a_run_that_is_killed_and_restarted_while_one_of_them_dies(
    cli: Any, local: tuple[Path, Any], deploy: Callable[[str], None]
) -> None:
    deploy("shared")
    command = ("generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT, "--json", "--batch", BATCH)
    command += ("--distribute", "pool:shared", "--lost-after", 40, "--retries", 5)

    first = cli.start(*command)
    cli.wait_until(lambda: len(runs_of(cli, "shared")) == BATCHES, seconds=120)
    kill_family(first.pid)
    first.kill()
    first.communicate()

    second = cli.start(*command)  # attaches to the runs that the first has submitted
    with worker(cli, "shared", "doomed") as doomed:
        cli.wait_until(lambda: bool(renders(doomed.pid)), seconds=180)
        kill_family(doomed.pid)
    with worker(cli, "shared", "steady"):  # only now: it could have left nothing for the other
        out, err = second.communicate(timeout=280)
        assert second.returncode == 0, err
        # A run that this machine kept waiting for too long was submitted again, and then it ended after all.
        cli.wait_until(lambda: not kinds_of(cli, "shared") - {"COMPLETED", "CRASHED"}, seconds=60)
    report = json.loads(out)
    assert (report["digest"], report["shards"]) == (local[1]["digest"], SHARDS)
    assert kinds_of(cli, "shared") == {"COMPLETED", "CRASHED"}
    assert len(runs_of(cli, "shared")) >= BATCHES
    assert not renders(second.pid)

    again = generate(cli, "--distribute", "pool:shared", "--batch", BATCH)  # without any worker
    assert (again["digest"], again["shards_cached"]) == (local[1]["digest"], SHARDS)


@pytest.mark.long
def test_a_run_of_a_pool_that_fails_or_is_cancelled_or_deleted_ends_the_run_that_asked_with_the_reason(
    cli: Any, deploy: Callable[[str], None]
) -> None:
    deploy("ill")
    command = ("generate", "-n", 24, "--data-dir", "data", "-o", "out.h5", *SHORT, "--distribute", "pool:ill")
    for times, (kind, message) in enumerate(
        (("FAILED", "failed on the pool ill: bad luck"), ("CANCELLED", "cancelled on the pool ill"))
    ):
        process = cli.start(*command)
        cli.wait_until(lambda times=times: len(runs_of(cli, "ill")) == times + 1, seconds=120)
        (run,) = (run for run in runs_of(cli, "ill") if run["state"]["type"] == "SCHEDULED")
        ask(
            f"{cli.api}/flow_runs/{run['id']}/set_state",
            {"state": {"type": kind, "message": "bad luck"}, "force": True},
        )
        _, err = process.communicate()
        assert process.returncode == 1
        assert f"shards 0000 to 0001 {message}" in err.splitlines()[-1]
        assert "no worker serves the pool ill; start one: prefect worker start --pool ill" in " ".join(err.split())
        assert "Traceback" not in err

    process = cli.start(*command, "--retries", 0)
    cli.wait_until(lambda: len(runs_of(cli, "ill")) == 3, seconds=120)
    (run,) = (run for run in runs_of(cli, "ill") if run["state"]["type"] == "SCHEDULED")
    ask(f"{cli.api}/flow_runs/{run['id']}", method="DELETE")
    _, err = process.communicate()
    assert process.returncode == 1
    assert "lost 1 time on the pool ill; last: the server no longer knows it" in err.splitlines()[-1]


@pytest.mark.long
def test_a_run_that_made_every_shard_and_then_fell_silent_is_written_down_as_lost(
    cli: Any, deploy: Callable[[str], None]
) -> None:
    deploy("silent")
    command = ("generate", "-n", 12, "--data-dir", "data", *SHORT)
    process = cli.start(*command, "-o", "out.h5", "--distribute", "pool:silent", "--lost-after", 5)
    cli.wait_until(lambda: len(runs_of(cli, "silent")) == 1, seconds=120)
    (run,) = runs_of(cli, "silent")
    made = cli.json(*command, "-o", "same.h5")
    ask(f"{cli.api}/flow_runs/{run['id']}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert made["shards"] == 1
    assert "12 rows of tier 1 in out.h5: 1 of 1 shard rendered" in out
    assert kinds_of(cli, "silent") == {"CRASHED"}


@pytest.mark.long
def test_a_batch_of_which_shards_fail_is_tried_again_by_the_run_that_asked(
    cli: Any, deploy: Callable[[str], None]
) -> None:
    deploy("partly")
    command = ("generate", "-n", 24, "--data-dir", "data", "-o", "out.h5", *SHORT, "--distribute", "pool:partly")
    process = cli.start(*command)
    cli.wait_until(lambda: len(runs_of(cli, "partly")) == 1, seconds=120)
    incomplete = {"type": "FAILED", "name": "Incomplete", "message": "2 of 2 shards failed"}
    ask(
        f"{cli.api}/flow_runs/{runs_of(cli, 'partly')[0]['id']}/set_state",
        {"state": incomplete, "force": True},
    )
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "2 of 2 shards failed" in err
    assert "24 rows of tier 1 in out.h5: 2 of 2 shards rendered, 0 cached" in out


BATCH_THAT_FAILS_IN_PART = """
import sys
from pathlib import Path
from synthcore.pipeline import shard
from synthcore.base.errors import LowAcceptance
render = shard.render_shard

def failing(plan, *arguments):
    if plan.first_patch == 4:
        raise LowAcceptance("made to fail")
    return render(plan, *arguments)

shard.render_shard = failing
from synthcore.flows.running import environment
environment.prepare()
from synthcore.flows.render_shards import render_shards
from synthcore.pipeline.batch import cut, mark
from synthcore.settings.generate import RunSettings
from synthcore.spec import AudioSpec, DatasetSpec
spec = DatasetSpec(n_samples=36, audio=AudioSpec(sample_rate=22050, note_seconds=0.25, render_seconds=0.4))
(batch,) = cut(shard.plan_shards(spec, 12), spec, 12, 8)
data = Path("data")
data.mkdir()
state = render_shards(batch, data, mark(data), RunSettings(), return_state=True)
print(state.type.name, state.name, state.message)
"""


@pytest.mark.long
def test_shards_of_a_batch_fail_alone(cli: Any) -> None:
    environment = {**os.environ, "PREFECT_API_URL": cli.api}
    command = [sys.executable, "-c", BATCH_THAT_FAILS_IN_PART]
    done = subprocess.run(command, cwd=cli.folder, env=environment, capture_output=True, text=True)
    assert "FAILED Incomplete nothing was merged: 1 of 3 shards failed" in done.stdout, done.stderr
    assert "made to fail" in done.stdout
    assert len(list((cli.folder / "data" / "shards").rglob("*.h5"))) == 2


@pytest.mark.long
@pytest.mark.skipif(not CAN_MOUNT, reason="needs to be allowed to mount")
def test_a_worker_that_mounts_the_data_directory_elsewhere_works_on_the_same_data(
    cli: Any, local: tuple[Path, Any], deploy: Callable[[str], None]
) -> None:
    deploy("elsewhere")
    mounted, data = cli.folder / "mounted", cli.folder / "data"
    for folder in (mounted, data, cli.folder / "nothing"):
        folder.mkdir()
    # In the worker's own view of the disk the data is elsewhere, and where the run has it there is something else.
    script = f'mount --bind {data} {mounted} && mount --bind {cli.folder / "nothing"} {data} && exec "$@"'
    wrapper = ("unshare", "-m", "sh", "-ec", script, "sh")
    with worker(cli, "elsewhere", "other", wrapper, SYNTHCORE_DATA_DIR=str(mounted)):
        report = generate(cli, "--distribute", "pool:elsewhere", "--batch", 8, rows=60)
    assert (report["rows"], report["shards_cached"]) == (60, 0)
    assert not list((cli.folder / "nothing").iterdir())
    with Dataset(cli.folder / "out.h5") as some, Dataset(local[0] / "out.h5") as all_rows:
        assert (some.column("audio_sha256") == all_rows.column("audio_sha256", slice(0, 60))).all()


@pytest.mark.long
def test_two_runs_at_once_share_one_data_directory_under_two_paths(cli: Any, local: tuple[Path, Any]) -> None:
    (cli.folder / "data").mkdir()
    (cli.folder / "link").symlink_to(cli.folder / "data")
    command = ("generate", "-n", ROWS, *SHORT, "--json", "--workers", 1)
    both = [cli.start(*command, "--data-dir", data, "-o", f"{data}.h5") for data in ("data", "link")]
    reports = []
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0, err
        reports.append(json.loads(out))
    assert [report["digest"] for report in reports] == [local[1]["digest"]] * 2
    assert reports[0]["data_dir"] != reports[1]["data_dir"]
    assert len(list((cli.folder / "data" / "shards").rglob("*.h5"))) == SHARDS
    assert not list(cli.folder.rglob("*.tmp"))
    assert generate(cli, data="link")["shards_cached"] == SHARDS
