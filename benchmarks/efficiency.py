"""How much of the cores' time goes into the synth's own render, over a whole run.

Thread CPU seconds of `Synth.render` and of getting the pages it writes to (kept, refused and settling renders), divided
by the rendering processes times the wall seconds from the first shard's start to the output's final name. The number of
rows fills whole shards, so that none is rendered that doesn't count.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measure, generate

WORKERS = 2
ROWS = 2304  # twelve shards
BARS = {1: 0.87, 2: 0.93, 3: 0.93}


def run(folder: Path) -> Iterator[Measure]:
    """Measure each tier."""
    for tier, bar in BARS.items():
        done = generate(folder / str(tier), "--tier", tier, "-n", ROWS, "--workers", WORKERS)
        report = done.report
        share = report["synth_cpu_seconds"] / (WORKERS * report["seconds"])
        yield Measure(f"efficiency tier {tier}", share, bar)
        yield Measure(f"rows per second tier {tier}", report["rows"] / report["seconds"], unit="rows/s")
        yield Measure(f"start-up of Prefect tier {tier}", done.seconds - report["seconds"], unit="s")
