"""A run whose renders are sleeps: the real flow code, Prefect and Dask, and how long they take to hand out shards.

What differs from a run on Dask is one function: on the workers, `shard.render_shard` sleeps. The cluster is on this
machine, a few processes with many threads. Costs are CPU seconds, by process: this one has the flow and
Dask's scheduler, its children are Dask's workers, and Prefect's server is the one that `synthcore up` started.

Run as `python -m benchmarks.sleeping SHARDS SECONDS SLOTS`, with PREFECT_API_URL naming that server; prints a JSON
report.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from distributed import Worker, WorkerPlugin
from prefect import flow

from synthcore.flows.running import environment
from synthcore.flows.running.cluster import ShardRunner
from synthcore.flows.running.runners import hand_out
from synthcore.pipeline import shard
from synthcore.pipeline.shard import ShardPlan, plan_shards
from synthcore.spec import DatasetSpec
from synthcore.storage.refs import ShardRef
from synthcore.tasks.shards import render_shard

PROCESSES = 2


class Asleep(WorkerPlugin):
    """Lets a worker sleep where it would render."""

    def setup(self, worker: Worker) -> None:  # noqa: ARG002  the signature is Dask's
        shard.render_shard = sleep


def sleep(plan: ShardPlan, data_dir: Path, timeout_seconds: float) -> ShardRef:  # noqa: ARG001  as `render_shard`
    """Take the place of a render; `timeout_seconds` says how long."""
    time.sleep(timeout_seconds)
    made = {"size": 0, "checksum": "", "digest": "", "rows": plan.rows, "candidates": plan.patches, "faults": {}}
    return ShardRef(name=plan.name, source=plan.source, seconds=timeout_seconds, synth_cpu_seconds=0, **made)


@flow
def sleeping(shards: int, seconds: float, slots: int, folder: Path) -> dict[str, Any]:
    """Hand out shards; say what it took from the first to the last."""
    spec = DatasetSpec(n_samples=shards * 3)
    plans = plan_shards(spec, 3)
    processes = min(PROCESSES, slots)
    shape = {"n_workers": processes, "threads_per_worker": slots // processes, "dashboard_address": None}
    task: Any = render_shard.with_options(result_storage=folder)
    with ShardRunner(cluster_kwargs=shape) as runner:
        runner.client.register_plugin(Asleep())
        warm = plan_shards(spec.model_copy(update={"seed": 1}), 3)[:slots]
        finish(warm, runner, task, folder, 0.0)  # every process has then met the server
        workers = set(runner.client.run(os.getpid).values())
        before, started = cpu_seconds(workers), time.monotonic()
        finish(plans, runner, task, folder, seconds)
        took = time.monotonic() - started
        after = cpu_seconds(workers)
    return {"tasks": shards, "seconds": took, **{who: (after[who] - before[who]) / shards for who in after}}


def finish(plans: list[ShardPlan], runner: ShardRunner, task: Any, folder: Path, seconds: float) -> None:
    """Hand out shards and wait for all."""
    for _, future in hand_out(plans, runner, task, data_dir=folder, render_timeout=seconds):
        future.result()


def cpu_seconds(workers: set[int]) -> dict[str, float]:
    """CPU seconds so far, of this process, of Dask's workers, and of Prefect's server."""
    started = json.loads(environment.started_file().read_text())["programs"]
    server = {program["pid"] for program in started if program["name"] == "server"}
    who = {"flow": {os.getpid()}, "worker": workers, "api": server}
    return {name: sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids) for name, pids in who.items()}


def main() -> None:
    """Run the flow in a folder of its own."""
    shards, seconds, slots = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="synthcore-sleeping-") as folder:
        report = sleeping(shards, seconds, slots, Path(folder))
    print(json.dumps(report))


if __name__ == "__main__":
    from benchmarks import sleeping as this  # workers know `sleep` by this name

    this.main()
