"""Jobs of Slurm: a run goes on whatever Slurm does with them. Run by deployments/try-slurm, skipped without a Slurm."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT

NO_SLURM = ""
if not shutil.which("sbatch"):
    NO_SLURM = "there is no sbatch here: apt install slurm-wlm munge, then deployments/try-slurm"
elif subprocess.run(["scontrol", "ping"], capture_output=True, timeout=60).returncode:
    NO_SLURM = "no Slurm controller answers: deployments/try-slurm starts one"
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.long,
    pytest.mark.timeout(900),  # a minute is the least time that Slurm gives a job
    pytest.mark.skipif(bool(NO_SLURM), reason=NO_SLURM),
]

ROWS, SHARDS = 240, 20
#: Shards that take a job about two seconds.
FLAGS: tuple[object, ...] = ("generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", "--rows-per-shard", 12)
FLAGS += ("--note-seconds", 1, "--render-seconds", 2)
RUNNER = ("--runner", "slurm", "--workers", 2)


def slurm(*command: str) -> list[str]:
    """Run one of Slurm's commands; the words of its answer."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def jobs(state: str) -> list[str]:
    """The jobs of Dask workers in a state."""
    return slurm("squeue", "--me", "--name", "dask-worker", "--states", state, "--noheader", "--format", "%i")


def urgent(seconds: int) -> None:
    """Submit a job that needs the whole node and goes before all others."""
    slurm("sbatch", "--partition", "urgent", "--exclusive", "--output", "/dev/null", "--wrap", f"sleep {seconds}")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, cli_in: Callable[[Path], Any]) -> str:
    """The digest of a run by threads of one process."""
    return str(cli_in(tmp_path_factory.mktemp("plain")).json(*FLAGS)["digest"])


@pytest.fixture
def undrained() -> Iterator[str]:
    """The node, which gets new jobs again afterwards."""
    (node,) = slurm("sinfo", "--noheader", "--format", "%n", "--partition", "usual")
    yield node
    if "drain" in slurm("sinfo", "--noheader", "--format", "%T", "--partition", "usual")[0]:
        slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")


def finished(cli: Any) -> int:
    return len(list(cli.folder.rglob("shards/*/*.h5")))


def wait(cli: Any, process: subprocess.Popen[str], holds: Callable[[], bool], seconds: float) -> None:
    """Wait for something to come of a run. A run that ends without it has said why."""
    cli.wait_until(lambda: holds() or process.poll() is not None, seconds)
    assert process.poll() is None, process.communicate()[1]


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


def test_preempted_cancelled_and_kept_out_jobs_cost_only_what_they_were_rendering(
    cli: Any, plain: str, undrained: str
) -> None:
    process = cli.start(*FLAGS, "--json", *RUNNER)
    wait(cli, process, lambda: finished(cli) >= 4, seconds=300)

    before = jobs("RUNNING")
    assert len(before) == 2
    urgent(seconds=4)
    wait(cli, process, lambda: not jobs("RUNNING"), seconds=120)
    seen = finished(cli)
    wait(cli, process, lambda: finished(cli) >= seen + 4, seconds=300)

    slurm("scontrol", "update", f"NodeName={undrained}", "State=DRAIN", "Reason=test")
    slurm("scancel", *jobs("RUNNING"))
    wait(cli, process, lambda: not jobs("RUNNING") and bool(jobs("PENDING")), seconds=120)
    slurm("scontrol", "update", f"NodeName={undrained}", "State=RESUME")

    report = ended(process)
    assert (report["digest"], report["shards"]) == (plain, SHARDS)
    cli.wait_until(lambda: not jobs("RUNNING,PENDING"), seconds=120)  # none is left behind


def test_jobs_out_of_time_are_replaced(cli: Any, plain: str) -> None:
    process = cli.start(
        *FLAGS, "--json", "--runner", "slurm", "--workers", 1, env={"DASK_JOBQUEUE__SLURM__WALLTIME": "00:01:00"}
    )
    wait(cli, process, lambda: finished(cli) >= 2, seconds=300)
    (first,) = jobs("RUNNING")
    for one in psutil.process_iter():  # the least time is a minute, and the run shouldn't be over by then
        with contextlib.suppress(psutil.Error):
            if one.environ().get("SLURM_JOB_ID") == first:
                one.suspend()  # the worker has no word of Dask in its command line: only the one that started it has
    wait(cli, process, lambda: bool(jobs("RUNNING")) and first not in jobs("RUNNING"), seconds=300)
    assert "JobState=TIMEOUT" in slurm("scontrol", "show", "job", first)
    assert ended(process)["digest"] == plain


def test_a_cached_run_submits_no_job_and_a_refused_job_costs_one_line(cli: Any, plain: str) -> None:
    few = (*FLAGS[:2], 24, *FLAGS[3:])
    made = cli.json(*few)
    again = cli.json(*few, *RUNNER)
    assert (again["digest"], again["shards_cached"]) == (made["digest"], made["shards"])
    assert not list(cli.folder.glob("slurm-*.out"))
    refused = cli.run(*few, *RUNNER, env={"DASK_JOBQUEUE__SLURM__QUEUE": "nowhere"})
    assert refused.returncode == 2
    assert "Slurm takes no such job: " in refused.stderr.splitlines()[-1]
    assert "nvalid partition" in refused.stderr.splitlines()[-1]


def test_ctrl_c_ends_a_run_with_its_jobs_and_keys(cli: Any) -> None:
    home = cli.folder / "home"
    process = cli.start(*FLAGS, *RUNNER, env={"PREFECT_HOME": str(home)})
    wait(cli, process, lambda: finished(cli) >= 2, seconds=300)
    assert list(home.glob("synthcore/.dask-jobqueue*"))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "interrupted; run the same command again to continue" in err.splitlines()[-1]
    cli.wait_until(lambda: not jobs("RUNNING,PENDING"), seconds=120)
    assert not list(home.glob("synthcore/.dask-jobqueue*"))


def test_an_array_renders_without_a_server_and_a_last_job_merges(cli: Any, plain: str) -> None:
    scripts = ROOT / "deployments" / "slurm"
    words = ("--rows-per-shard", 12, "--note-seconds", 1, "--render-seconds", 2, "-n", ROWS)
    command = [scripts / "generate-parts", 4, *words, "--data-dir", cli.folder / "data", "-o", cli.folder / "out.h5"]
    small = {"SYNTHCORE_WORKERS": "1", "SBATCH_MEM_PER_NODE": "1G"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **small, "PATH": path, "PREFECT_API_URL": "http://nobody:1/api"}
    said = subprocess.run(
        [*map(str, command)], cwd=cli.folder, env=environment, capture_output=True, text=True, check=True
    )
    array, merge = re.findall(r"\d+", said.stdout)[:2]
    cli.wait_until(lambda: finished(cli) >= 4, seconds=300)
    slurm("scontrol", "requeue", f"{array}_1")
    slurm("scancel", f"{array}_4")
    cli.wait_until(lambda: "JobState=COMPLETED" in slurm("scontrol", "show", "job", merge), seconds=600)
    assert cli.json("inspect", "out.h5")["digest"] == plain
    parts = [file.read_text() for file in cli.folder.glob(f"slurm-{array}_*.out")]
    assert sum(f"/4: {SHARDS // 4} shards" in text for text in parts) == 3
    assert not any("server" in text for text in parts)
    (rendered,) = re.findall(r"(\d+) of \d+ shards rendered", (cli.folder / f"slurm-{merge}.out").read_text())
    assert int(rendered) <= SHARDS // 4  # what the cancelled job left; the others were found
