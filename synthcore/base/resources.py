"""What this process may use of its machine: cores and memory, by the tightest limit that holds for it.

In a container the machine's own figures mislead: a control group (cgroup) says how much of them is the container's.
Both versions of Linux's cgroups are read, which may also be mounted side by side; a group is bound by those around it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Limit(NamedTuple):
    """How much of something may be used, and what says so."""

    amount: float
    source: str


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process may use.

    Attributes
    ----------
    cores : int
        At least 1.
    cores_source : str
        What sets that number: a cgroup's file, or the machine.
    memory_bytes : int
    memory_source : str
    """

    cores: int
    cores_source: str
    memory_bytes: int
    memory_source: str


@lru_cache(maxsize=1)
def resources() -> Resources:
    """What this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return resources_within(Path("/"), cores, memory_bytes)


def resources_within(root: Path, cores: int, memory_bytes: int) -> Resources:
    """Bound what a machine has by the cgroups of this process.

    Parameters
    ----------
    root : Path
        The folder that holds `proc` and everything that is mounted.
    cores : int
        On which this process may run.
    memory_bytes : int
        The machine's.
    """
    folders = list(_folders(root))
    quota = min([Limit(cores, "this machine"), *_quotas(folders)])
    memory = min([Limit(memory_bytes, "this machine"), *_memory_limits(folders)])
    # Rounded down: with 1.5 cores, a second renderer would spend half its time throttled.
    return Resources(max(1, math.floor(quota.amount)), quota.source, int(memory.amount), memory.source)


class _Folder(NamedTuple):
    """A folder of a cgroup: where it is read, and what it is called where it holds."""

    path: Path
    shown: Path


def _folders(root: Path) -> Iterator[_Folder]:
    """The folders of the cgroups of this process, and of all around them that are mounted."""
    groups = {controller: path for controllers, path in _groups(root) for controller in controllers.split(",")}
    for controllers, mounted, point in _mounts(root):
        for path in {groups[name] for name in controllers & groups.keys()}:
            # Without a namespace of its own, a container sees its group as `/`, and its path as the host does.
            inside = Path(path).relative_to(mounted) if Path(path).is_relative_to(mounted) else Path()
            for part in dict.fromkeys((inside, *inside.parents)):
                shown = Path(point) / part
                yield _Folder(root / shown.relative_to("/"), shown)


def _mounts(root: Path) -> Iterator[tuple[set[str], str, str]]:
    """The controllers of each mounted tree of cgroups, the group at its top, and where it is mounted."""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        mount, _, kind = line.partition(" - ")
        match mount.split(" "), kind.split(" "):
            case [_, _, _, mounted, point, *_], ["cgroup2", *_]:
                yield {""}, mounted, point  # the second version has one tree, listed without a controller
            case [_, _, _, mounted, point, *_], ["cgroup", _, options]:
                yield {"cpu", "memory"} & set(options.split(",")), mounted, point


def _groups(root: Path) -> Iterator[tuple[str, str]]:
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        yield controllers, path


def _quotas(folders: list[_Folder]) -> Iterator[Limit]:
    for folder in folders:
        parted = [_read(folder.path / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        for name, figures in (("cpu.max", _read(folder.path / "cpu.max").split()), ("cpu.cfs_quota_us", parted)):
            if len(figures) == 2 and all(map(str.isdigit, figures)):  # without a quota it is "max", or -1
                quota, period = map(int, figures)
                yield Limit(quota / max(1, period), str(folder.shown / name))


def _memory_limits(folders: list[_Folder]) -> Iterator[Limit]:
    for folder in folders:
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _read(folder.path / name)
            if limit.isdigit():  # without a limit it is "max", or more than any machine has
                yield Limit(int(limit), str(folder.shown / name))


def _read(file: Path) -> str:
    """The text of a file, empty if there is none: most groups have few of them, and macOS has no cgroups."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
