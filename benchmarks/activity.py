"""Whether the rules of activity hold: controls moved one at a time, in rows of every kind.

No control that a file calls inactive may change a bit; of the active ones, at most a quarter may change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measure, generate, synthcore
from benchmarks.sampling import KINDS

ROWS, MOVED = 24, 15
MAX_IDLE = 0.25


def run(folder: Path) -> Iterator[Measure]:
    """Measure each kind."""
    for kind, (flags, _) in KINDS.items():
        made = folder / kind.replace(" ", "-")
        generate(made, "-n", 48, *flags)
        found = synthcore("verify", made / "out.h5", "--activity", "--rows", ROWS, "--controls", MOVED).report
        yield Measure(f"inactive controls moved {kind}", found["inactive_moved"])
        yield Measure(f"inactive controls that changed a bit {kind}", len(found["wrong"]), 0, at_least=False)
        idle = found["active_unchanged"] / found["active_moved"]
        yield Measure(f"active controls that changed nothing {kind}", idle, MAX_IDLE, at_least=False)
