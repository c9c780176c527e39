"""Run benchmarks, print a table, and write `benchmarks/results/latest.json`: a list of {name, value, bar, holds}."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import efficiency, memory, rerun, sampling, storage
from benchmarks.measure import Measure

RESULTS = Path(__file__).parent / "results"
BENCHMARKS: dict[str, Callable[[Path], Iterator[Measure]]] = {
    "efficiency": efficiency.run,
    "sampling": sampling.run,
    "storage": storage.run,
    "rerun": rerun.run,
    "memory": memory.run,
}


def main() -> int:
    """Run the benchmarks named, all of them by default; exit with 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which to run, of {', '.join(BENCHMARKS)} (default: all)")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [n for n in names if n not in BENCHMARKS]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    measures = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="synthcore-bench-") as folder:
            for measure in BENCHMARKS[name](Path(folder)):
                print(f"{measure.name}: {measure.value:.4g} {measure.unit}", file=sys.stderr, flush=True)
                measures.append(measure)
    show(measures)
    save(measures)
    return 0 if all(m.holds for m in measures) else 1


def show(measures: list[Measure]) -> None:
    """Print the table."""
    table = Table("measure", "value", "bar", "holds")
    for m in measures:
        bar = "" if m.bar is None else f"{'>=' if m.at_least else '<='} {m.bar:g}"
        table.add_row(m.name, f"{m.value:.4g} {m.unit}".strip(), bar, "yes" if m.holds else "NO")
    Console().print(table)


def save(measures: list[Measure]) -> None:
    """Write the results, replacing the measures of the same names and keeping the others."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "latest.json"
    kept = {m["name"]: m for m in json.loads(path.read_text())} if path.is_file() else {}
    where = {"machine": f"{platform.system()} {platform.machine()}", "date": datetime.now(UTC).date().isoformat()}
    kept.update({m.name: {**m.to_dict(), **where} for m in measures})
    path.write_text(json.dumps(list(kept.values()), indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
