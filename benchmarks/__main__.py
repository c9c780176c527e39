"""Run benchmarks, print a table, and write `benchmarks/results/latest.json`: a list of {name, value, bar, holds}."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import (
    account,
    activity,
    baselines,
    efficiency,
    loading,
    loading_features,
    memory,
    nearness,
    publishing,
    rerun,
    sampling,
    scale,
    scale_page,
    setup,
    start,
    storage,
)
from benchmarks.measure import Measure, read_result, where, write_result

PAGE = Path(__file__).parent.parent / "docs" / "measurements.md"
PREFACE = """# Measurements

Written by `make bench`; do not edit. Each figure is explained in its module in `benchmarks/`. Ratios are taken within
one run, because machines differ; seconds and sizes only give an idea. The entries for 1,000 rows are recorded runs of
the default format: three notes of 2 s at 44.1 kHz. [Another page](scale.md) says how it scales.

| measure | value | bar | holds | date | machine |
| --- | --- | --- | --- | --- | --- |
"""
BENCHMARKS: dict[str, Callable[..., Iterator[Measure]]] = {
    "efficiency": efficiency.run,
    "account": account.run,
    "baselines": baselines.run,
    "samplers": baselines.run_samplers,
    "scale": scale.run,
    "sampling": sampling.run,
    "nearness": nearness.run,
    "activity": activity.run,
    "storage": storage.run,
    "loading": loading.run,
    "features": loading_features.run,
    "publishing": publishing.run,
    "rerun": rerun.run,
    "setup": setup.run,
    "start": start.run,
    "memory": memory.run,
}
#: Those that can be tried at a share of their size.
SIZED = {"account", "baselines", "samplers", "scale", "publishing"}


def main() -> int:
    """Run the benchmarks named, all of them by default; exit with 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which to run, of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--share", type=float, help="try it with this share of the rows, and record nothing")
    given = parser.parse_args()
    names = given.names or list(BENCHMARKS)
    if unknown := [n for n in names if n not in BENCHMARKS]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if given.share is not None and (not 0 < given.share < 1 or set(names) - SIZED):
        parser.error(f"--share is for {', '.join(sorted(SIZED))}, and a number between 0 and 1")
    sized = {} if given.share is None else {"share": given.share}
    measures = []
    for name in names:
        found = []
        with tempfile.TemporaryDirectory(prefix="synthcore-bench-") as folder:
            for measure in BENCHMARKS[name](Path(folder), **sized):
                print(f"{measure.name}: {measure.value:.4g} {measure.unit}", file=sys.stderr, flush=True)
                found.append(measure)
        if given.share is None:
            save(found)  # now: the next may take an hour, or fail
        measures += found
    show(measures)
    return 0 if all(m.holds for m in measures) else 1


def show(measures: list[Measure]) -> None:
    """Print the table."""
    table = Table("measure", "value", "bar", "holds")
    for m in measures:
        bar = "" if m.bar is None else f"{'>=' if m.at_least else '<='} {m.bar:g}"
        table.add_row(m.name, f"{m.value:.4g} {m.unit}".strip(), bar, "yes" if m.holds else "NO")
    Console().print(table)


def save(measures: list[Measure]) -> None:
    """Write the results and the page made of them, replacing measures of the same names and keeping the others."""
    kept = {m["name"]: m for m in read_result("latest") or ()}
    kept.update({m.name: {**m.to_dict(), **where()} for m in measures})
    write_result("latest", list(kept.values()))
    scale_page.write()
    PAGE.write_text(PREFACE + "".join(map(to_line, kept.values())))


def to_line(m: dict[str, Any]) -> str:
    """Write one line of the page's table."""
    bar = "" if m["bar"] is None else f"{'at least' if m['at_least'] else 'at most'} {m['bar']:g}"
    holds = "" if m["bar"] is None else "yes" if m["holds"] else "**no**"
    return f"| {m['name']} | {m['value']:.4g} {m['unit']} | {bar} | {holds} | {m['date']} | {m['machine']} |\n"


if __name__ == "__main__":
    raise SystemExit(main())
