"""The doctor: what is wrong with an installation or a data directory, and what to do about it.

Each check stands alone: one that fails is itself a finding. Nothing here imports vita or Prefect, which may be what is
broken.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.inspection import new_table, text_of
from synthcore.base import places
from synthcore.base.counting import how_many
from synthcore.base.errors import SynthcoreError
from synthcore.base.places import Obstacle
from synthcore.base.resources import Resources, resources
from synthcore.engine.capacity import RENDERER_BYTES, RUN_BYTES, is_short_of_memory, renderers_within
from synthcore.engine.machine import engine
from synthcore.engine.play import play
from synthcore.engine.rendering import Performance
from synthcore.pipeline import cache
from synthcore.pipeline.cache import Entry, Records
from synthcore.spec import DatasetSpec
from synthcore.storage.claims import claimed
from synthcore.vital.controls import Registry
from synthcore.vital.patch import Patch, init_assets

State = Literal["ok", "warning", "problem"]
#: A file that hasn't changed for so long is no longer being written: a shard grows every few seconds.
STALE_HOURS = 1.0
LOW_GB = 5.0  #: some ten thousand rows


class Finding(BaseModel):
    """What one check found."""

    model_config = ConfigDict(frozen=True)

    check: str
    state: State
    what: str
    todo: str = ""


class Diagnosis(BaseModel):
    """All findings, and what was removed because of them."""

    model_config = ConfigDict(frozen=True)

    findings: tuple[Finding, ...]
    repaired: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing stands in the way of a run."""
        return all(finding.state != "problem" for finding in self.findings)

    def to_text(self) -> str:
        """Describe it for a terminal."""
        table = new_table("", "check", "state", "what it found, and what to do")
        for finding in self.findings:
            what = f"{finding.what}\n-> {finding.todo}" if finding.todo else finding.what
            table.add_row(finding.check, finding.state, what)
        removed = "".join(f"removed {name}\n" for name in self.repaired)
        counts = {state: sum(f.state == state for f in self.findings) for state in ("problem", "warning")}
        verdict = ", ".join(how_many(count, state) for state, count in counts.items() if count)
        return f"{text_of([table])}{removed}{verdict or 'nothing is wrong'}\n"


def examine(checks: Iterable[tuple[str, Callable[[], Iterator[Finding]]]]) -> Iterator[Finding]:
    """Run checks one after another; one that fails is a problem, and the others still run."""
    for check, look in checks:
        try:
            yield from look()
        except Exception as error:  # noqa: BLE001  what is broken may raise anything, and all of it is reported
            line = (str(error).splitlines() or [""])[0]
            what = line if isinstance(error, SynthcoreError) else f"{type(error).__name__}: {line}"
            yield Finding(check=check, state="problem", what=what)


def installation() -> Iterator[Finding]:
    """Check everything that a run needs besides a data directory and Prefect."""
    yield from examine(
        [
            ("system", _system),
            ("resources", lambda: of_resources(resources())),
            ("packages", _packages),
            ("controls", _controls),
            ("synth", _synth),
        ]
    )


def _system() -> Iterator[Finding]:
    what = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if hasattr(os, "fork"):
        yield Finding(check="system", state="ok", what=what)
    else:
        todo = "run synthcore on Linux or macOS, or in WSL"
        yield Finding(check="system", state="problem", what=f"{what} can't fork, as every render does", todo=todo)


def of_resources(allowed: Resources) -> Iterator[Finding]:
    """Check what a run may use, and so how many renderers it starts."""
    cores = f"{how_many(allowed.cores, 'core')} ({allowed.cores_source})"
    memory = f"{allowed.memory_bytes / 1e9:.1f} GB of memory ({allowed.memory_source})"
    what = f"{cores} and {memory} may be used: {how_many(renderers_within(allowed), 'renderer')} at a time"
    if is_short_of_memory(allowed):
        todo = f"allow {(RUN_BYTES + RENDERER_BYTES) / 1e9:.1f} GB: a run with one renderer may be killed with less"
        yield Finding(check="resources", state="warning", what=what, todo=todo)
    else:
        yield Finding(check="resources", state="ok", what=what)


def _packages() -> Iterator[Finding]:
    """Whether everything is installed, in a version that synthcore works with."""
    requirements = [Requirement(line) for line in metadata.requires("synthcore") or ()]
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [text for requirement in needed if (text := _what_is_wrong(requirement))]
    if wrong:
        yield Finding(check="packages", state="problem", what="; ".join(wrong), todo="make setup")
    else:
        yield Finding(check="packages", state="ok", what=f"all {len(needed)} that synthcore needs")


def _what_is_wrong(requirement: Requirement) -> str:
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, and must be {requirement.specifier}"


def _controls() -> Iterator[Finding]:
    registry = Registry.from_synth()
    what = f"the synth starts, and has {how_many(len(registry.controls), 'control')}"
    yield Finding(check="controls", state="ok", what=what)


def _synth() -> Iterator[Finding]:
    """Render the same note twice: it must come out the same, bit for bit."""
    registry = Registry.from_synth()
    document = Patch.init(registry).to_json(registry, init_assets(registry)).encode()
    spec = DatasetSpec().render_format.refusing_nothing()
    fmt = replace(spec, places=2, render_seconds=0.3)
    outcome = play(document, fmt, (Performance(60, 100, 0.2),) * 2)
    if outcome.fault:
        yield Finding(
            check="synth", state="problem", what=f"it can't render: {outcome.fault.reason}", todo="make setup"
        )
        return
    first, second = (row.audio_sha256 for row in outcome.rows)
    same = "two renders of a note are the same, bit for bit"
    if first == second:
        yield Finding(check="synth", state="ok", what=f"vita {engine().vita}: {same}")
    else:
        yield Finding(check="synth", state="problem", what="two renders of a note differ", todo="please report this")


def room(folder: Path) -> Iterator[Finding]:
    """Check the places that a run writes to: whether they can be written or made, and whether there is space."""
    yield from examine(
        [
            ("temporary", _temporary),
            ("data", lambda: _writable(folder)),
            ("space", lambda: _space(folder)),
        ]
    )


def contents(folder: Path, records: Records) -> Iterator[Finding]:
    """Check what lies in a data directory: whether it is whole, and whether runs here would use it again.

    Parameters
    ----------
    records : Records
        What the workflow remembers of it.
    """
    yield from examine(
        [
            ("shards", lambda: _shards(folder, records)),
            ("reuse", lambda: _reuse(folder, records)),
            ("left over", lambda: _left_over(folder, records)),
        ]
    )


def _temporary() -> Iterator[Finding]:
    if hindered := [*hindrances("temporary", "problem", places.of_temporary_files())]:
        yield from hindered
        return
    yield Finding(check="temporary", state="ok", what=f"{tempfile.gettempdir()} can be written")
    yield from hindrances("temporary", "warning", places.of_named_temporary_folder())


def _writable(folder: Path) -> Iterator[Finding]:
    if hindered := [*hindrances("data", "problem", places.of_data(folder))]:
        yield from hindered
    elif folder.exists():
        yield Finding(check="data", state="ok", what=f"{folder} can be written")
    else:
        yield Finding(check="data", state="ok", what=f"{folder} is not there yet; the first run makes it")


def hindrances(check: str, state: State, obstacles: Iterable[Obstacle]) -> Iterator[Finding]:
    """Turn what keeps places from being written into findings."""
    return (Finding(check=check, state=state, what=obstacle.what, todo=obstacle.todo) for obstacle in obstacles)


def _space(folder: Path) -> Iterator[Finding]:
    there = next(place for place in (folder, *folder.parents) if os.access(place, os.F_OK))
    free = shutil.disk_usage(there).free / 1e9
    what = f"{free:.1f} GB are free"
    if free > LOW_GB:
        yield Finding(check="space", state="ok", what=what)
    else:
        todo = "free some, or clear what no run needs with synthcore cache prune; a row takes about 0.5 MB"
        yield Finding(check="space", state="warning", what=what, todo=todo)


def _shards(folder: Path, records: Records) -> Iterator[Finding]:
    """Whether remembered shards are as they were written, to the last byte; the next run renders others again."""
    found = cache.verify(folder, records)
    if not found.damaged:
        yield Finding(check="shards", state="ok", what=f"{found.checked} read, all whole")
        return
    todo = "run the same command again: it renders them anew; or --repair"
    what = f"{len(found.damaged)} of {found.checked} gone or damaged: {_some(found.damaged)}"
    yield Finding(check="shards", state="problem", what=what, todo=todo)


def _reuse(folder: Path, records: Records) -> Iterator[Finding]:
    """Which shards runs here would find, and why they would not ask for the others."""
    shards = [entry for entry in cache.survey(folder, records).entries if entry.kind == "shard"]
    for foreign, count in sorted(Counter(entry.foreign for entry in shards if entry.foreign).items()):
        what = (
            f"{count} of {how_many(len(shards), 'shard')} made {foreign} than here: runs here render their rows again"
        )
        todo = "keep them for where they were made; synthcore cache prune --other-engines clears those not in use"
        yield Finding(check="reuse", state="warning", what=what, todo=todo)
    if not any(entry.foreign for entry in shards):
        yield Finding(check="reuse", state="ok", what="no shard was made with another synth, machine or version")


def _left_over(folder: Path, records: Records) -> Iterator[Finding]:
    stale = [entry.path for entry in _stale(folder, records)]
    if stale:
        what = f"{how_many(len(stale), 'file')} of killed runs: {_some(stale)}"
        yield Finding(check="left over", state="warning", what=what, todo="synthcore doctor --repair")
    else:
        yield Finding(check="left over", state="ok", what=f"nothing of killed runs that is over {STALE_HOURS:g} h old")


def repair(folder: Path, records: Records) -> tuple[str, ...]:
    """Remove what is provably stale: abandoned half-written files, damaged shards, records of what is gone.

    Returns
    -------
    tuple of str
        The files, relative to the data directory.
    """
    if not folder.exists():
        return ()
    shards = {ref.name: ref for ref in records.shards.values()}
    gone = {entry.path for entry in _stale(folder, records)} - shards.keys()
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    for name in cache.verify(folder, records).damaged:
        with claimed(folder / name):  # a run may have mended it since
            if (folder / name).is_file() and not cache.is_whole(folder / name, shards[name]):
                (folder / name).unlink()
                gone.add(name)
    return tuple(sorted(gone))


def _stale(folder: Path, records: Records) -> list[Entry]:
    """What has been half-written or damaged for long, and records of what is gone."""
    return [
        entry
        for entry in cache.survey(folder, records).entries
        if (entry.kind in ("left over", "record") or entry.state == "damaged")
        and entry.state in ("unreachable", "damaged")
        and entry.hours >= STALE_HOURS
    ]


def _some(names: Sequence[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
