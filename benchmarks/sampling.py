"""Whether the priors give what they promise, on 1,000 rows a kind: acceptance, ranges reached, no row twice.

It doubles as the recorded run of 1,000 rows: time, refusals by reason, size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measure, generate, synthcore

ROWS = 1000
#: The most rows that may repeat another; None while the default priors keep patches whose notes are one sound.
MOST_REPEATED: float | None = None
KINDS: dict[str, tuple[tuple[object, ...], float]] = {
    "tier 1": (("--tier", 1), 0.75),
    "tier 2": (("--tier", 2), 0.60),
    "tier 2 fixed modulation": (("--tier", 2, "--fixed-modulation"), 0.60),
    "tier 3": (("--tier", 3), 0.60),
}


def run(folder: Path) -> Iterator[Measure]:
    """Measure each kind."""
    for kind, (flags, bar) in KINDS.items():
        place = folder / kind.replace(" ", "-")
        made = generate(place, "-n", ROWS, *flags)
        found = synthcore("inspect", place / "out.h5").report
        coverage = found["coverage"]
        yield Measure(f"acceptance {kind}", found["acceptance"], bar)
        yield Measure(f"lowest span of a prior {kind}", coverage["lowest_span"], 0.90)
        missing = sum(map(len, coverage["missing_options"].values()))
        yield Measure(f"options that never occur {kind}", missing, 0, at_least=False)
        repeated = found["duplicates"]["repeats"]
        yield Measure(f"rows that repeat another bit for bit {kind}", repeated, MOST_REPEATED, at_least=False)
        yield Measure(f"1,000 rows {kind}", made.report["seconds"], unit="s")
        yield Measure(f"bytes per row {kind}", found["bytes"] / ROWS)
        for reason, count in found["faults"].items():
            yield Measure(f"refused as {reason} {kind}", count)
