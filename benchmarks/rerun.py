"""What it costs to ask for a dataset that is there: against a Prefect flow that does nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measure, generate, run_python

ROWS = 2000
PAIRS = 3
FORMAT = ("--sample-rate", 22050, "--note-seconds", 0.4, "--render-seconds", 0.5)
EMPTY_FLOW = """
from synthcore.flows.running import environment
environment.prepare()
from prefect import flow, task

@flow
def nothing():
    pass

nothing()
"""


def run(folder: Path) -> Iterator[Measure]:
    """Alternate the two, and compare their medians."""
    generate(folder, "-n", ROWS, *FORMAT)
    again, empty = [], []
    for _ in range(PAIRS):
        again.append(generate(folder, "-n", ROWS, *FORMAT).seconds)
        empty.append(run_python("-c", EMPTY_FLOW).seconds)
    yield Measure(
        "rerun against an empty flow", statistics.median(again) / statistics.median(empty), 2.0, at_least=False
    )
    yield Measure("rerun of 2,000 rows", statistics.median(again), unit="s")
