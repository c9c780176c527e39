"""How fast this machine renders, and how large rows become: measured on real candidates, never supposed.

A pace comes from the shards that are there already, from a rehearsal of a few seconds, kept in the data directory,
or from the first seconds of a run. Owns no arithmetic of what follows from it: that is `synthcore.estimates.estimate`.
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
from synthcore.engine.lending import at_most
from synthcore.engine.rendering import Fault, RenderedRow
from synthcore.engine.stopping import interruptible, stopped_after
from synthcore.engine.turns import CORES
from synthcore.pipeline.shard import ShardPlan, ShardWork
from synthcore.sources.base import PRESET_SOURCES, Candidate, Supply
from synthcore.storage.refs import ShardRef

VERSION = 1  #: Raise it when the same rehearsal would be kept as something else.
REHEARSAL_SECONDS = 7.0  #: of all rehearsals of an estimate together, from the first finished candidates on
#: That processes may take to start, and the last candidates to end: 1 to 2 s, far more where others use the machine.
MORE_SECONDS = 10.0
ENOUGH = 240  #: candidates after which a rehearsal knows more than its machine's mood changes
RENDER_SECONDS = 5.0  #: wall clock for one render of a rehearsal
#: Of a worker's time, so much is the synth's CPU time: 0.78 at tier 1, 0.83 at tiers 2 and 3 (docs/measurements.md).
SHARE_OF_SYNTH = 0.8
#: Twice the standard error of a mean over n candidates is this by the root of n, as costs differ by 0.7 of the mean.
SPREAD = 1.4
LEAST_ERROR = 0.1  #: what a machine's pace changes by from minute to minute

Measured = Literal["shards", "rehearsal", "run"]


class Pace(BaseModel):
    """What rendering one source of a dataset was seen to take here, all workers at work."""

    model_config = ConfigDict(frozen=True)

    measured: Measured
    candidates: int
    accepted: int
    per_second: float  # candidates, of all workers together
    cpu_seconds: float  # of the synth, for a candidate
    row_bytes: float  # of a row's compressed audio; 0 if none was accepted
    faults: dict[str, int] = {}

    @property
    def acceptance(self) -> float:
        """Share of the candidates that were kept."""
        return self.accepted / self.candidates

    @property
    def error(self) -> float:
        """How far a time may be off, as a share of it: twice the standard error, and the machine's own changes."""
        return float(max(LEAST_ERROR, SPREAD / self.candidates**0.5))


class Meter:
    """Measures a pace by listening to what becomes of candidates.

    The first of each worker say nothing of the pace: they waited for a process to start.

    Parameters
    ----------
    workers : int
        How many render side by side.
    clock : callable
        Gives seconds.
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers, self._clock = workers, clock
        self._lock = threading.Lock()
        self._faults: Counter[str] = Counter()
        self.candidates = self._rows = self._bytes = 0
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
            if self.candidates <= self._workers:
                self._since = self._last

    @property
    def seconds(self) -> float:
        """How long it has been measured."""
        return self._last - self._since

    def pace(self, measured: Measured) -> Pace | None:
        """What was measured; None if nothing was yet.

        While there is only the first of each worker, it is what they took of the CPU that says how long one takes.
        """
        with self._lock:
            if not self.candidates:
                return None
            cpu_seconds = self._cpu_seconds / self.candidates
            timed = self.candidates - self._workers
            return Pace(
                measured=measured,
                candidates=self.candidates,
                accepted=self.candidates - self._faults.total(),
                per_second=timed / self.seconds if timed > 0 and self.seconds else alone(cpu_seconds, self._workers),
                cpu_seconds=cpu_seconds,
                row_bytes=self._bytes / max(self._rows, 1),
                faults=dict(self._faults),
            )


def shards_there(plans: Sequence[ShardPlan], data_dir: Path, results_dir: Path) -> dict[int, ShardRef]:
    """The shards that a run would find rendered, by index: what it remembers of them is there, and so is the file.

    Whether a file is what it was isn't looked at: that takes a run.
    """
    found = {}
    for plan in plans:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            record = json.loads((results_dir / plan.record).read_bytes())
            ref = ShardRef.model_validate(json.loads(record["result"])["data"])
            if (data_dir / plan.name).stat().st_size == ref.size:
                found[plan.index] = ref
    return found


def of_shards(refs: Sequence[ShardRef], row_bytes: float, workers: int) -> Pace | None:
    """What the shards of one source tell of it; None if this machine rendered none of them.

    Parameters
    ----------
    row_bytes : float
        What was found out of the size of a row.
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
    """Candidates a second where nobody else uses the machine, if the synth takes so long for one."""
    return min(workers, CORES) * SHARE_OF_SYNTH / max(cpu_seconds, 1e-6)


def kept(plan: ShardPlan, workers: int, data_dir: Path) -> Pace | None:
    """What a rehearsal of the same kind of shards measured here before; None if none did, or its file is damaged."""
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


def rehearsed(rehearsals: Sequence[Rehearsal], workers: int, data_dir: Path) -> list[Pace | None]:
    """Render the first patches of each source for some seconds, and keep what that tells.

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
                with contextlib.suppress(SynthcoreError):  # where there is no room, it is measured again next time
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
    return meter.pace("rehearsal")


def _parts(plan: ShardPlan, patches: int, number: int) -> list[ShardPlan]:
    """Cut what there is to be rendered into parts that are rendered side by side."""
    if plan.source not in PRESET_SOURCES:
        patches = number * ENOUGH  # whatever was asked for: there are always more to draw
    size = -(-patches // number)
    return [
        plan.model_copy(update={"first_patch": plan.first_patch + done, "patches": min(size, patches - done)})
        for done in range(0, patches, size)
    ]


class _Nowhere:
    """Where rows go that nobody keeps."""

    def append(self, candidate: Candidate, rows: tuple[RenderedRow, ...], assets: Mapping[str, bytes]) -> None:
        pass

    def reject(self, candidate: Candidate, fault: Fault) -> None:
        pass


def _keep(pace: Pace, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(pace.model_dump_json())


def _path(plan: ShardPlan, workers: int, data_dir: Path) -> Path:
    """Named by all that a pace depends on: not by the seed, which draws others of the same kind."""
    spec = plan.spec.model_copy(update={"seed": 0})
    made_of: list[Any] = [VERSION, plan.source, spec.fingerprint, plan.origin, platform.node(), CORES, workers]
    return data_dir / "paces" / f"{content_hash(made_of)}.json"
