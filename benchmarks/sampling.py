"""Whether the priors give what they promise, on 1,000 rows a kind: acceptance, ranges reached, no row twice.

Musical priors, the default, are held against uniform ones made in the same run: distinct rows for each second of a
core. It doubles as the recorded run of 1,000 rows: time, refusals by reason, size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure, cpu_seconds, generate, synthcore

ROWS = 1000
MOST_REPEATED = 0.02  #: of the rows may be another bit for bit
MUSICAL = ("--priors", "musical")
UNIFORM = ("--priors", "uniform")
#: What is made, and the least share of candidates that must be accepted.
KINDS: dict[str, tuple[tuple[object, ...], float]] = {
    "tier 1": (("--tier", 1, *MUSICAL), 0.90),
    "tier 2": (("--tier", 2, *MUSICAL), 0.85),
    "tier 2 fixed modulation": (("--tier", 2, "--fixed-modulation", *MUSICAL), 0.80),
    "tier 3": (("--tier", 3, *MUSICAL), 0.82),
    "tier 1 uniform": (("--tier", 1, *UNIFORM), 0.75),
    "tier 2 uniform": (("--tier", 2, *UNIFORM), 0.60),
    "tier 2 fixed modulation uniform": (("--tier", 2, "--fixed-modulation", *UNIFORM), 0.60),
    "tier 3 uniform": (("--tier", 3, *UNIFORM), 0.60),
}
#: Distinct rows of musical priors in the time of one of uniform priors.
GAINS = {"tier 1": 1.3, "tier 2": 1.2, "tier 3": 1.2}


def run(folder: Path) -> Iterator[Measure]:
    """Measure each kind."""
    paces = {}
    for kind, (flags, bar) in KINDS.items():
        place = folder / kind.replace(" ", "-")
        before = cpu_seconds()
        made = generate(place, "-n", ROWS, *flags)
        spent = cpu_seconds() - before
        found = synthcore("inspect", place / "out.h5").report
        paces[kind] = ROWS * (1 - found["duplicates"]["repeats"]) / spent
        yield Measure(f"acceptance {kind}", found["acceptance"], bar)
        yield from _spread(kind, found)
        yield Measure(f"1,000 rows {kind}", made.report["seconds"], unit="s")
        yield Measure(f"bytes per row {kind}", found["bytes"] / ROWS)
        for reason, count in found["faults"].items():
            yield Measure(f"refused as {reason} {kind}", count)
    for kind, bar in GAINS.items():
        gain = paces[kind] / paces[f"{kind} uniform"]
        yield Measure(f"distinct rows per core-second {kind}, musical to uniform", gain, bar)


def _spread(kind: str, found: dict[str, Any]) -> Iterator[Measure]:
    """How far the controls go, and how often a row is another one."""
    coverage = found["coverage"]
    missing = sum(map(len, coverage["missing_options"].values()))
    yield Measure(f"lowest span of a prior {kind}", coverage["lowest_span"], 0.90)
    yield Measure(f"options that never occur {kind}", missing, 0, at_least=False)
    most = None if "uniform" in kind else MOST_REPEATED
    repeated = found["duplicates"]["repeats"]
    yield Measure(f"rows that repeat another bit for bit {kind}", repeated, most, at_least=False)
