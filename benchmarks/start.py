"""How long a run takes to its first task, with a server running: against a flow of one task that does nothing."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx

from benchmarks.measure import Measure, generate, run_python, synthcore

PAIRS = 11  # single times differ by a third
FORMAT = ("-n", 12, "--rows-per-shard", 12, "--sample-rate", 22050, "--note-seconds", 0.4, "--render-seconds", 0.5)
EMPTY_TASK = """
from flows import environment
environment.prepare()
from prefect import flow, task

@task
def nothing():
    pass

@flow
def hardly_anything():
    nothing()

hardly_anything()
"""


def run(folder: Path) -> Iterator[Measure]:
    """Alternate the two, and compare their medians."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ["PREFECT_HOME"] = str(folder / "home")
    try:
        api = synthcore("up", "--port", port).report["api"]
        ours, empty = [], []
        for seed in range(PAIRS):
            started = time.time()
            generate(folder, "--seed", seed, "--overwrite", *FORMAT)
            ours.append(_first_task(api, started))
            started = time.time()
            run_python("-c", EMPTY_TASK)
            empty.append(_first_task(api, started))
    finally:
        synthcore("down")
        del os.environ["PREFECT_HOME"]
    ratio = statistics.median(ours) / statistics.median(empty)
    yield Measure("time to the first task against an empty flow", ratio, 1.5, at_least=False)
    yield Measure("time to the first task", statistics.median(ours), unit="s")


def _first_task(api: str, since: float) -> float:
    """Seconds from a moment to the start of the first task after it."""
    after = {"start_time": {"after_": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))}}
    asked = {"task_runs": after, "limit": 200}
    runs = httpx.post(f"{api}/task_runs/filter", json=asked).raise_for_status().json()
    starts = [datetime.fromisoformat(run["start_time"]).timestamp() for run in runs]
    return min(start for start in starts if start >= since) - since
