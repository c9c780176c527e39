"""Where every core-second of a run goes, at each tier, as shares of cores times wall seconds.

Measured by the thread or the process that spends it: render and settle (inside the synth), patches and their JSON,
our end of the pipe, writing shards, merging, Prefect (its server, and the flow's process besides all of that), the
zygotes' own processes (forking, their end of the pipe). What render children do besides is told apart by an
operation's own cost on rows and presets of the run, times its count: loading, and compressing with measuring and
hashing. The rest of their time is forks, exits and copies of pages. Copies that happen inside a render are counted
there; "system time of render children" says what all of them cost, wherever. Idle is what is left. It needs a machine
with nothing else on it, and no server of `synthcore up`: that would be one of the other programs.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vita

from benchmarks.measure import Measure, run_python
from synthcore.engine import faults
from synthcore.engine.chunk import deflate
from synthcore.storage.dataset import Dataset

WORKERS = 2
ROWS, SHARD = 1152, 192
SAMPLES = 48  #: rows and presets that an operation's cost is measured on


def run(folder: Path, share: float = 1.0) -> Iterator[Measure]:
    """Account for each tier."""
    shard = max(12, round(SHARD * share) // 12 * 12)
    for tier in (1, 2, 3):
        place = folder / str(tier)
        flags = ("--data-dir", place / "data", "-o", place / "out.h5", "--tier", tier, "--workers", WORKERS)
        size = ("-n", shard * ROWS // SHARD, "--rows-per-shard", shard)
        done = run_python("-m", "benchmarks.accounting", *map(str, (*flags, *size)))
        for item, seconds in settle_account(done.report["account"], place / "out.h5").items():
            whole = (os.cpu_count() or 1) * done.report["account"]["wall"]
            yield Measure(f"account tier {tier}: {item}", 100 * seconds / whole, unit="%")


def settle_account(booked: dict[str, float], made: Path) -> dict[str, float]:
    """Turn what was booked into core-seconds by stage, idle included."""
    loading, closing = cost_of_loading(made), cost_of_closing(made)
    ours = ("patches and their JSON", "pipe, our end", "shard write", "merge")
    items: dict[str, Any] = {name: booked.get(name, 0.0) for name in ("render", "settle")}
    items["load"] = loading * booked["candidates"]
    items["measure, hash, compress"] = closing * booked["rows"]
    children = booked["children: user"] + booked["children: system"]
    items["forks, exits, copies of pages"] = children - sum(items.values())
    items["zygotes themselves: forking, pipe, warming up"] = booked["zygote: user"] + booked["zygote: system"]
    items |= {name: booked.get(name, 0.0) for name in ours}
    items["Prefect: server"] = booked["server"]
    items["Prefect and all else in the flow's process"] = booked["flow"] - sum(booked.get(name, 0.0) for name in ours)
    spent = sum(items.values())
    items["other programs"] = max(0.0, booked["machine"] - spent)
    items["idle"] = (os.cpu_count() or 1) * booked["wall"] - spent - items["other programs"]
    items["(of it, system time of render children)"] = booked["children: system"]
    return items


def cost_of_loading(made: Path) -> float:
    """CPU seconds of loading one preset of a dataset into a synth."""
    synth = vita.Synth()
    with Dataset(made) as dataset:
        rows = range(0, len(dataset), max(1, len(dataset) // SAMPLES))
        documents = [dataset.patch(row).to_json(dataset.registry, dataset.assets) for row in rows]
    return statistics.mean(thread_seconds(synth.load_json, document) for document in documents)


def cost_of_closing(made: Path) -> float:
    """CPU seconds of what happens to a row after its render, in a process that has touched its memory before."""

    def close(sound: Any) -> None:
        faults.measure(sound)
        hashlib.sha256(sound.data).hexdigest()
        deflate(sound)

    with Dataset(made) as dataset:
        step = max(1, len(dataset) // SAMPLES)
        return statistics.mean(thread_seconds(close, row) for row in dataset.column("audio", slice(None, None, step)))


def thread_seconds(work: Any, given: Any) -> float:
    """CPU seconds of one call."""
    started = time.thread_time()
    work(given)
    return time.thread_time() - started
