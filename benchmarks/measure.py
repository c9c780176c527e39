"""What a benchmark yields, and how it runs the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure, and the bar it is held against, if there is one."""

    name: str
    value: float
    bar: float | None = None
    at_least: bool = True
    unit: str = ""

    @property
    def holds(self) -> bool:
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "value": round(self.value, 5), "holds": self.holds}


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended: what it said, and how long it took."""

    report: dict[str, Any]
    seconds: float


def synthcore(*arguments: object) -> Finished:
    """Run a command of synthcore with --json, in a process of its own."""
    return run_python("-m", "flows.cli", *map(str, arguments), "--json")


def run_python(*arguments: str) -> Finished:
    """Run python; its stdout is one JSON document, or nothing."""
    started = time.monotonic()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE) as process:
        said, _ = process.communicate()
    seconds = time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} exited with {process.returncode}")
    return Finished(json.loads(said or "{}"), seconds)


def generate(folder: Path, *arguments: object) -> Finished:
    """Make a dataset in a data directory of its own."""
    return synthcore("generate", "--data-dir", folder / "data", "-o", folder / "out.h5", *arguments)
