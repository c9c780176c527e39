"""What each way to render costs beside threads: seconds until it begins, and seconds a shard.

Each makes a dataset of few shards and one of many, of one short row each, so that nearly all of the time is the way's
own. The time between the two, by the shards between them, is what a shard costs; what the few take beyond their shards
is what the beginning costs. One Prefect server and as many renders at a time for all; the digests must be equal.

Run as `python -m benchmarks.runners [WAY ...]`, of dask, slurm, ray, parts and pool:NAME; by default the first.
Slurm must be here (`deployments/try-slurm` starts one), and a pool must have a worker, on the server that
PREFECT_API_URL names. Parts are rendered by as many processes at a time, each with one renderer, as jobs of an array
would, and merged by one more. Prints a JSON report.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.costs import WORKERS
from benchmarks.database import ROWS
from benchmarks.measure import Finished, generate, where
from benchmarks.processes import Server

FEW, MANY = 20, 120  #: shards
ROUNDS = 2  #: of all ways, the faster of which counts


def measure(folder: Path, ways: list[str]) -> dict[str, Any]:
    """Say what each way costs beyond threads, the first of them."""
    seconds: dict[tuple[str, int], float] = {}
    digests: dict[int, set[str]] = {FEW: set(), MANY: set()}
    for turn in range(ROUNDS):
        for way in ways:
            for shards in (FEW, MANY):
                made = _make(folder / f"{way}-{shards}-{turn}", way, shards)
                seconds[way, shards] = min(made.seconds, seconds.get((way, shards), made.seconds))
                digests[shards].add(made.report["digest"])
                print(f"{way}, {shards} shards: {made.seconds:.1f} s", file=sys.stderr, flush=True)
    if any(len(found) > 1 for found in digests.values()):
        raise RuntimeError(f"digests differ: {digests}")
    a_shard = {way: (seconds[way, MANY] - seconds[way, FEW]) / (MANY - FEW) for way in ways}
    beginning = {way: seconds[way, FEW] - FEW * a_shard[way] for way in ways}
    return {
        **where(),
        "seconds": {f"{way}, {shards} shards": round(found, 1) for (way, shards), found in seconds.items()},
        "a_shard_beyond_threads": {way: round(a_shard[way] - a_shard["threads"], 3) for way in ways[1:]},
        "beginning_beyond_threads": {way: round(beginning[way] - beginning["threads"], 1) for way in ways[1:]},
    }


def _make(folder: Path, way: str, shards: int) -> Finished:
    """Make a dataset in one of the ways."""
    rows = ("-n", shards, *ROWS)
    if way.startswith("pool:"):
        return generate(folder, *rows, "--distribute", way)
    if way != "parts":
        return generate(folder, *rows, "--runner", way, "--workers", WORKERS)
    started = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as at_once:
        parts = [f"{part}/{WORKERS}" for part in range(1, WORKERS + 1)]
        list(at_once.map(lambda part: generate(folder, *rows, "--part", part, "--workers", 1), parts))
    merged = generate(folder, *rows, "--workers", WORKERS)
    return Finished(merged.report, time.monotonic() - started)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name) / "home")
        if "PREFECT_API_URL" not in os.environ:
            server.start()
            os.environ |= {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.home)}
        try:
            print(json.dumps(measure(Path(name), ["threads", *(sys.argv[1:] or ["dask"])]), indent=2))
        finally:
            server.kill()
