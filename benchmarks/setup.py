"""How long set-up takes with uv, against the same with pip: in fresh clones, from the same lock, in turns.

Both have a cache of their own, which their first set-up fills: only that one downloads, and depends on the index.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measure

ROOT = Path(__file__).parent.parent
PAIRS = 2  #: after the first: each takes minutes, and they differ by a tenth
BAR = 0.4


def run(folder: Path) -> Iterator[Measure]:
    """Alternate the two, and compare their medians."""
    caches = {"PIP_CACHE_DIR": str(folder / "of-pip"), "UV_CACHE_DIR": str(folder / "of-uv")}
    seconds: dict[str, list[float]] = {"pip": [], "uv": []}
    for _ in range(1 + PAIRS):
        for installer, taken in seconds.items():
            taken.append(_set_up(folder / "clone", installer, caches))
    again = {installer: statistics.median(taken[1:]) for installer, taken in seconds.items()}
    yield Measure("set-up with uv against pip, all downloaded", again["uv"] / again["pip"], BAR, at_least=False)
    yield Measure("set-up with uv against pip, with downloads", seconds["uv"][0] / seconds["pip"][0])
    yield Measure("set-up with uv", again["uv"], unit="s")


def _set_up(clone: Path, installer: str, caches: dict[str, str]) -> float:
    """Seconds that `make setup` takes in a fresh clone of what is committed here."""
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "VIRTUAL_ENV")}
    started = time.monotonic()
    subprocess.run(
        ["make", "--silent", "setup", f"INSTALLER={installer}"],
        cwd=clone,
        env=outside | caches,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    taken = time.monotonic() - started
    shutil.rmtree(clone)
    return taken
