"""How fast this machine renders, and how large rows become: measured on real candidates, never assumed.

A pace comes from the shards that are there already, from a rehearsal of a few seconds, kept in the data directory,
or from the first seconds of a run. What follows from it is up to `synthcore.estimates.estimate`.
"""

from __future__ import annotations

import contextlib
import json
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.errors import Interrupted, LowAcceptance, SynthcoreError
from synthcore.base.hashing import content_hash
from synthcore.base.progress import Progress
from synthcore.engine.capacity import CORES
from synthcore.engine.faults import REPEATS
from synthcore.engine.lending import at_most
from synthcore.engine.rendering import Fault, RenderedRow
from synthcore.engine.stopping import interruptible, stopped_after
from synthcore.pipeline.shard import ShardPlan, ShardWork
from synthcore.sources.base import PRESET_SOURCES, Candidate, Supply
from synthcore.storage import part_records
from synthcore.storage.refs import ShardRef

VERSION = 1  #: Raise it when the same rehearsal would give another pace.
REHEARSAL_SECONDS = 7.0  #: for all rehearsals of an estimate together, from the first finished candidates on
#: For processes to start and the last candidates to end: 1 to 2 s, far more where others use the machine.
MORE_SECONDS = 10.0
ENOUGH = 240  #: candidates, after which a rehearsal is more exact than the machine is steady
RENDER_SECONDS = 5.0  #: wall-clock limit of one render of a rehearsal
#: The synth's CPU time in a worker's time: 0.78 at tier 1, 0.83 at tiers 2 and 3 (docs/measurements.md).
SHARE_OF_SYNTH = 0.8
#: Twice the standard error of a mean over n candidates, times the root of n: costs differ by 0.7 of the mean.
SPREAD = 1.4
#: The same for a row's size, which differs by 0.25 of the mean from patch to patch at tier 1, by 0.12 at tier 3: with
#: six seeds at tier 1, 13 to 21 kept candidates said 464 to 523 kB where it is 494 kB (docs/measurements.md).
SPREAD_OF_SIZES = 0.5
#: Fewer candidates than this tell nothing: their mean may be off by more than half (SPREAD / 8**0.5), the share that is
#: kept by more still, and as many as there are workers have only waited for processes to start.
FEW = 8
LEAST_ERROR = 0.1  #: how much a machine's pace changes from minute to minute

Measured = Literal["shards", "rehearsal", "run"]


class Pace(BaseModel):
    """What rendering one source of a dataset took here, with all workers busy."""

    model_config = ConfigDict(frozen=True)

    measured: Measured
    candidates: int
    accepted: int
    per_second: float  # candidates, of all workers together
    cpu_seconds: float  # of the synth, per candidate
    row_bytes: float  # of a row's compressed audio; 0 if none was accepted
    faults: dict[str, int] = {}

    @property
    def acceptance(self) -> float:
        """Share of the candidates that were kept."""
        return self.accepted / self.candidates

    @property
    def error(self) -> float:
        """How far a time may be off, as a share of it: twice the standard error, or what machines vary by."""
        return float(max(LEAST_ERROR, SPREAD / self.candidates**0.5))

    @property
    def size_error(self) -> float:
        """How far the size of a row may be off, as a share of it: twice the standard error."""
        return float(SPREAD_OF_SIZES / max(self.accepted, 1) ** 0.5)


class Meter:
    """Measures a pace by listening to what becomes of candidates.

    The first render of each worker doesn't count: it waited for a process to start. Nor do candidates refused meanwhile
    without a render.

    Parameters
    ----------
    workers : int
        How many renders run side by side.
    clock : callable
        Gives seconds.
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers, self._clock = workers, clock
        self._lock = threading.Lock()
        self._faults: Counter[str] = Counter()
        self.candidates = self._rows = self._bytes = self._rendered = self._untimed = 0
        self._since = self._last = self._cpu_seconds = 0.0

    def hear(self, event: Progress) -> None:
        """Count a candidate."""
        if event.notice:
            return
        with self._lock:
            self.candidates += 1
            self._rows += event.rows
            self._bytes += event.bytes
            self._cpu_seconds += event.cpu_seconds
            if event.fault:
                self._faults[event.fault] += 1
            self._last = self._clock()
            self._rendered += event.fault != REPEATS
            if self._rendered <= self._workers:
                self._since, self._untimed = self._last, self.candidates

    @property
    def seconds(self) -> float:
        """How long it has been measured."""
        return self._last - self._since

    def pace(self, measured: Measured) -> Pace | None:
        """The pace so far; None if nothing was measured yet.

        While there is only the first candidate of each worker, the CPU time says how long one takes.
        """
        with self._lock:
            if not self.candidates:
                return None
            cpu_seconds = self._cpu_seconds / self.candidates
            timed = self.candidates - self._untimed
            return Pace(
                measured=measured,
                candidates=self.candidates,
                accepted=self.candidates - self._faults.total(),
                per_second=timed / self.seconds if timed > 0 and self.seconds else alone(cpu_seconds, self._workers),
                cpu_seconds=cpu_seconds,
                row_bytes=self._bytes / max(self._rows, 1),
                faults=dict(self._faults),
            )


def find_shards(plans: Sequence[ShardPlan], data_dir: Path, results_dir: Path) -> dict[int, ShardRef]:
    """Find the shards that a run would find rendered, by index: both a record and the file are there.

    Whether a file has changed isn't checked: a run does that.
    """
    found = {}
    for plan in plans:
        ref = _recorded(plan, results_dir)
        if not (ref and ref.is_there(data_dir)):
            ref = part_records.find(plan.name, data_dir)
        if ref:
            found[plan.index] = ref
    return found


def _recorded(plan: ShardPlan, results_dir: Path) -> ShardRef | None:
    """What the workflow remembers of a shard; None if nothing."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        record = json.loads((results_dir / plan.record).read_bytes())
        return ShardRef.model_validate(json.loads(record["result"])["data"])
    return None


def pace_of_shards(refs: Sequence[ShardRef], row_bytes: float, workers: int) -> Pace | None:
    """Work out the pace of a source from its shards; None if this machine rendered none of them.

    Parameters
    ----------
    row_bytes : float
        The size of a row in these shards.
    """
    own = [ref for ref in refs if ref.synth_cpu_seconds and ref.worker.split(" ")[0] == platform.node()]
    if not own:
        return None
    candidates = sum(ref.candidates for ref in own)
    cpu_seconds = sum(ref.synth_cpu_seconds for ref in own) / candidates
    faults: Counter[str] = Counter()
    for ref in own:
        faults.update(ref.faults)
    return Pace(
        measured="shards",
        candidates=candidates,
        accepted=candidates - faults.total(),
        per_second=alone(cpu_seconds, workers),
        cpu_seconds=cpu_seconds,
        row_bytes=row_bytes,
        faults=dict(faults),
    )


def alone(cpu_seconds: float, workers: int) -> float:
    """Candidates per second where nothing else uses the machine, if the synth takes so long for one."""
    return min(workers, CORES) * SHARE_OF_SYNTH / max(cpu_seconds, 1e-6)


def read_pace(plan: ShardPlan, workers: int, data_dir: Path) -> Pace | None:
    """Read what an earlier rehearsal of such shards measured here; None without one, or where its file is damaged."""
    try:
        return Pace.model_validate_json(_path(plan, workers, data_dir).read_bytes())
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A source to be rehearsed: its first plan, where its candidates come from, and how many patches it has in all."""

    plan: ShardPlan
    supply: Supply
    patches: int


def rehearse(rehearsals: Sequence[Rehearsal], workers: int, data_dir: Path) -> list[Pace | None]:
    """Render the first patches of each source for some seconds, and keep the paces.

    Returns
    -------
    list of Pace or None
        None where too few candidates were finished in time.
    """
    found = []
    with at_most(workers):
        for rehearsal in rehearsals:
            pace = _rehearse(rehearsal, workers, REHEARSAL_SECONDS / len(rehearsals))
            if pace:
                with contextlib.suppress(SynthcoreError):  # a full disk: it is measured again next time
                    _keep(pace, _path(rehearsal.plan, workers, data_dir))
            found.append(pace)
    return found


def _rehearse(rehearsal: Rehearsal, workers: int, seconds: float) -> Pace | None:
    meter = Meter(workers)

    def hear(event: Progress) -> None:
        meter.hear(event)
        if meter.candidates >= ENOUGH or meter.seconds > seconds:
            raise Interrupted("enough was measured")

    def work(part: ShardPlan) -> None:
        with contextlib.suppress(Interrupted, LowAcceptance):
            ShardWork(part, rehearsal.supply, _Nowhere(), RENDER_SECONDS).run()

    # As in a run: one more shard than workers.
    with (
        progress.listening(hear),
        stopped_after(seconds + MORE_SECONDS),
        ThreadPoolExecutor(workers + 1) as pool,
        interruptible(),
    ):
        for done in [pool.submit(work, part) for part in _parts(rehearsal.plan, rehearsal.patches, workers + 1)]:
            done.result()
    is_all = rehearsal.plan.source in PRESET_SOURCES and meter.candidates >= rehearsal.patches
    return meter.pace("rehearsal") if meter.candidates >= FEW or is_all else None


def _parts(plan: ShardPlan, patches: int, number: int) -> list[ShardPlan]:
    """Cut what there is to render into parts that are rendered side by side."""
    if plan.source not in PRESET_SOURCES:
        patches = number * ENOUGH  # however few are requested: there are always more to draw
    size = -(-patches // number)
    return [
        plan.model_copy(update={"first_patch": plan.first_patch + done, "patches": min(size, patches - done)})
        for done in range(0, patches, size)
    ]


class _Nowhere:
    """Drops rows: a rehearsal keeps none."""

    def append(self, candidate: Candidate, rows: tuple[RenderedRow, ...], assets: Mapping[str, bytes]) -> None:
        pass

    def reject(self, candidate: Candidate, fault: Fault) -> None:
        pass


def _keep(pace: Pace, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(pace.model_dump_json())


def _path(plan: ShardPlan, workers: int, data_dir: Path) -> Path:
    """Named by all that a pace depends on. Not by the seed: it draws others of the same kind."""
    spec = plan.spec.model_copy(update={"seed": 0})
    key_parts: list[Any] = [VERSION, plan.source, spec.fingerprint, plan.origin, platform.node(), CORES, workers]
    return data_dir / "paces" / f"{content_hash(key_parts)}.json"
