"""What a benchmark yields, and how it runs the command line."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


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

    @classmethod
    def of(cls, said: str, seconds: float = 0.0) -> Finished:
        """Take its stdout, one JSON document or nothing."""
        return cls(json.loads(said or "{}"), seconds)


def synthcore(*arguments: object) -> Finished:
    """Run a command of synthcore with --json, in a process of its own."""
    return run_python("-m", "synthcore.flows.cli", *map(str, arguments), "--json")


def run_python(*arguments: str) -> Finished:
    """Run python; its stdout is one JSON document, or nothing."""
    started = time.monotonic()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE) as process:
        said, _ = process.communicate()
    seconds = time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} exited with {process.returncode}")
    return Finished.of(said.decode(), seconds)


def generate(folder: Path, *arguments: object) -> Finished:
    """Make a dataset in a data directory of its own."""
    return synthcore("generate", "--data-dir", folder / "data", "-o", folder / "out.h5", *arguments)


def cpu_seconds() -> float:
    """What the commands that have ended took of all cores so far, with every process of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def where() -> dict[str, str]:
    """What figures depend on: the machine, and the day."""
    return {"machine": describe_machine(), "date": datetime.now(UTC).date().isoformat()}


def describe_machine() -> str:
    """Name what the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.*)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    return f"{os.cpu_count()} cores, {model[1] if model else platform.processor()}, {platform.system()}"


def read_result(name: str) -> Any:
    """What a benchmark wrote down, or None."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def write_result(name: str, result: Any) -> None:
    """Write down what a page is made of."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
