"""Core-hours and bytes of large datasets, from what smaller ones took here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WORKERS = 2  #: of the runs that the figures are of
SIZES = (100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a row takes, and of which run that was measured."""

    what: str
    core_seconds: float
    row_bytes: float
    is_scaled: bool = False


def measured(latest: list[dict[str, Any]], runs: list[dict[str, Any]]) -> Iterator[Cost]:
    """The costs of a row: of `make bench`'s runs of 1,000 rows, and of the large runs that were recorded."""
    figures = {measure["name"]: measure["value"] for measure in latest}
    for tier in (1, 2, 3):
        if {f"1,000 rows tier {tier}", f"bytes per row tier {tier}"} <= figures.keys():
            seconds, size = figures[f"1,000 rows tier {tier}"], figures[f"bytes per row tier {tier}"]
            base = Cost(f"tier {tier}, 44,100 Hz, 2 s", WORKERS * seconds / 1000, size)
            yield base
            # A synth's work and a row's bytes go by the sample; what doesn't (loading, forks) makes this too small.
            yield Cost(f"tier {tier}, 22,050 Hz, 2 s", base.core_seconds / 2, base.row_bytes / 2, is_scaled=True)
    for run in runs:
        what = f"tier {run['tier']}, {run['sample_rate']:,} Hz, {run['render_seconds']:g} s"
        size = run["shard_bytes"] / run["rows"]
        yield Cost(f"{what} (run of {run['rows']:,} rows)", run["workers"] * run["seconds"] / run["rows"], size)


def table(latest: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str:
    """The table of core-hours and gigabytes."""
    heads = "".join(f" {rows:,} rows: core-hours | GB |" for rows in SIZES)
    lines = [f"| dataset |{heads}\n| --- |{' --- |' * 2 * len(SIZES)}\n"]
    for cost in measured(latest, runs):
        cells = "".join(
            f" {rows * cost.core_seconds / 3600:,.1f} | {rows * cost.row_bytes / 1e9:,.1f} |" for rows in SIZES
        )
        lines.append(f"| {cost.what}{', half of the line above' if cost.is_scaled else ''} |{cells}\n")
    return "".join(lines)
