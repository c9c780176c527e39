"""How a run scales: one and two workers here, a model of the measured stages for more, and a simulation to check it.

The curve is held against raw loops: as many processes that only load and render the same presets. The model is
`scale_model`; the simulation (`sleeping`) hands out sleeps through the real flow code to 64 slots of a real Dask
cluster. One run of it calibrates what a task costs; others, of other lengths, are then predicted and simulated.
Writes `results/scale.json`, and docs/scale.md of it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import scale_page
from benchmarks.baselines import write_presets
from benchmarks.measure import Finished, Measure, generate, run_python, synthcore, where, write_result
from benchmarks.scale_model import Stages, sleeping_seconds
from benchmarks.sleeping import PROCESSES
from benchmarks.storage import known_shards, seconds
from synthcore.pipeline import library
from synthcore.settings.generate import RunSettings
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage import MergeMode
from synthcore.storage.dataset import Dataset
from synthcore.storage.merge import merge_shards

ROWS = 1152
SLOTS = 64
CALIBRATION = 512  #: tasks that don't sleep
WAVES = 6  #: of sleeping tasks
WRITTEN = 1 << 29  #: bytes
REPEATS = 3


def run(folder: Path, share: float = 1.0) -> Iterator[Measure]:
    """Measure, model, simulate."""
    shard = RunSettings().rows_per_shard if share == 1 else max(12, round(192 * share) // 12 * 12)
    one, two, raw = yield from measure_curve(folder, round(ROWS * share) // shard * shard, shard)
    stages, checks = measure_stages(folder, one, shard, share)
    for check in checks:
        error = check["predicted"] / check["simulated"] - 1
        yield Measure(f"scale: error of the model, {check['name']}", error)
    yield Measure("scale: rows a second that the model predicts for 8 workers", stages.rate(8))
    curve = {"one": pace(one), "two": pace(two), "raw": raw}
    result = {"stages": asdict(stages), "curve": curve, "checks": checks, **where()}
    if share == 1:
        write_result("scale", result)
    else:
        print(scale_page.text(result, [], []))


def measure_curve(folder: Path, rows: int, shard: int) -> Any:
    """One worker and two, and raw loops of the same presets."""
    made: dict[int, Finished] = {}
    for workers in (1, 2):
        place = folder / str(workers)
        made[workers] = generate(place, "-n", rows, "--workers", workers, "--rows-per-shard", shard)
    presets = write_presets(folder / "1" / "out.h5", folder / "presets")
    raw = {loops: sum(raw_loops(presets, loops)) for loops in (1, 2)}
    gain, raw_gain = pace(made[2]) / pace(made[1]), raw[2] / raw[1]
    yield Measure("scale: rows a second, 1 worker", pace(made[1]), unit="rows/s")
    yield Measure("scale: rows a second, 2 workers", pace(made[2]), unit="rows/s")
    yield Measure("scale: 2 workers against 1", gain)
    yield Measure("scale: 2 raw loops against 1", raw_gain)
    yield Measure("scale: gain of the second worker, of a second raw loop's", gain / raw_gain, 0.9)
    return made[1], made[2], raw_gain


def raw_loops(presets: Path, loops: int) -> list[float]:
    """Rows a second of each of so many loops side by side."""
    command = [sys.executable, "-m", "benchmarks.raw", str(presets), AudioSpec().model_dump_json()]
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(loops)
        ]
        for loop in running:
            if not (loop.stdout and loop.stdin and loop.stdout.readline()):
                raise RuntimeError("a raw loop ended before it began")
        for loop in running:
            assert loop.stdin
            loop.stdin.write("begin\n")
            loop.stdin.flush()
        reports = [Finished.of(loop.communicate()[0]).report for loop in running]
    return [report["rows"] / report["seconds"] for report in reports]


def measure_stages(folder: Path, one: Finished, shard: int, share: float) -> tuple[Stages, list[dict[str, Any]]]:
    """Measure what the model needs, and check it."""
    merging = {mode: merge_rate(folder, shard, mode) for mode in ("copy", "virtual")}
    tasks = max(2 * SLOTS, round(CALIBRATION * share))
    with server(folder / "home"):
        single = sleep_run(max(20, tasks // 16), 0.0, 1)
        busy = sleep_run(tasks, 0.0, SLOTS)
        stages = Stages(
            row_seconds=one.report["seconds"] / one.report["rows"],
            rows_per_shard=shard,
            row_bytes=one.report["bytes"] / one.report["rows"],
            flow_cpu=busy["flow"],
            api_cpu=busy["api"],
            worker_cpu=busy["worker"],
            latency=single["seconds"] / single["tasks"],
            write_rate=write_rate(folder, round(WRITTEN * share)),
            merge_rate=merging["copy"],
            view_rate=merging["virtual"],
            start=one.seconds - one.report["seconds"],
        )
        length = stages.rows_per_shard * stages.row_seconds
        cases = {"shards of the measured length": (length, WAVES), "shards of a twentieth of it": (length / 20, WAVES)}
        checks = [check(stages, name, SLOTS * waves, sleep) for name, (sleep, waves) in cases.items()]
    return stages, checks


def check(stages: Stages, name: str, tasks: int, sleep: float) -> dict[str, Any]:
    """Predict a simulation, and run it."""
    predicted = sleeping_seconds(stages, tasks, sleep, SLOTS, os.cpu_count() or 1, PROCESSES)
    simulated = sleep_run(tasks, sleep, SLOTS)["seconds"]
    ideal = tasks / SLOTS * sleep
    return {
        "name": name,
        "tasks": tasks,
        "sleep": sleep,
        "ideal": ideal,
        "predicted": predicted,
        "simulated": simulated,
    }


def sleep_run(tasks: int, sleep: float, slots: int) -> dict[str, Any]:
    """Hand out sleeps."""
    return run_python("-m", "benchmarks.sleeping", str(tasks), str(sleep), str(slots)).report


def merge_rate(folder: Path, shard: int, mode: MergeMode) -> float:
    """Bytes a second of merging the shards of the run with one worker, checked and flushed to the disk."""
    with Dataset(folder / "1" / "out.h5") as made:
        spec: DatasetSpec = made.spec
    data, output = folder / "1" / "data", folder / f"{mode}.h5"
    shards = known_shards(spec, data, shard)

    def merge() -> None:
        output.unlink(missing_ok=True)
        merge_shards(shards, output, library.merge_context(spec, data), mode=mode)

    return sum(s.size for s in shards) / min(seconds(merge) for _ in range(REPEATS))


def write_rate(folder: Path, size: int) -> float:
    """Bytes a second that reach the disk, from one process."""
    block = os.urandom(1 << 20)
    started = time.perf_counter()
    with (folder / "written").open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return size // len(block) * len(block) / (time.perf_counter() - started)


@contextlib.contextmanager
def server(home: Path) -> Iterator[None]:
    """Keep a Prefect server of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before = dict(os.environ)
    os.environ["PREFECT_HOME"] = str(home)
    try:
        api = synthcore("up", "--port", port).report["api"]
        os.environ["PREFECT_API_URL"] = api
        yield
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        synthcore("down")
        os.environ.clear()
        os.environ.update(before)


def pace(done: Finished) -> float:
    """Rows a second."""
    return float(done.report["rows"] / done.report["seconds"])
