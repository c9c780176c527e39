"""Shards: the unit of work, retry and cache. Owns the plan of a run and the making of one shard.

A shard's content is a function of its key. The key knows the spec, the slots and the engine, never how many rows
the run wants, what its neighbours are, or where files lie.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore import progress
from synthcore.controls import canonical_json, installed
from synthcore.engine.client import borrow_renderer
from synthcore.engine.machine import engine
from synthcore.engine.rendering import CpuSeconds, Outcome
from synthcore.errors import LowAcceptance
from synthcore.patch import Patch, init_assets
from synthcore.sampling.hypercube import Sampler, drawn_with
from synthcore.sampling.priors import shipped
from synthcore.spec import DatasetSpec
from synthcore.storage.merge import ShardRef
from synthcore.storage.schema import VERSION
from synthcore.storage.writer import ShardWriter, file_checksum, new_file, whole_file

#: Candidates tried for one patch before its shard gives up.
MAX_ATTEMPTS = 100
#: A shard that accepts a smaller share than this stops, once enough were tried for the share to mean anything.
MIN_SHARE, FAIR_TRIAL = 0.05, 100
#: Renderers that a shard may use at a time. They are shared with the other shards, so this many only matters in the
#: end: the last shard of a run keeps two cores busy, not one.
RENDERERS = 2


class ShardPlan(BaseModel):
    """One shard to make: the patches `first_patch` to `first_patch + patches - 1` of a spec."""

    model_config = ConfigDict(frozen=True)

    index: int
    first_patch: int
    patches: int
    spec: DatasetSpec
    origin: str  # fingerprint of what candidates and audio depend on besides the spec

    @property
    def rows(self) -> int:
        return self.patches * len(self.spec.audio.notes)

    @property
    def key(self) -> str:
        """SHA-256 in hex: names the shard's content, its file and its cache entry."""
        parts = [VERSION, self.spec.fingerprint, self.origin, self.first_patch, self.patches]
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Where the shard lies, relative to the data directory."""
        return f"shards/{self.key[:2]}/{self.key}.h5"


def origin() -> str:
    """Fingerprint of everything besides the spec that decides what a shard holds."""
    parts = [engine().fingerprint, installed().fingerprint, shipped().digest, drawn_with()]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def plan_shards(spec: DatasetSpec, rows_per_shard: int) -> list[ShardPlan]:
    """Cut a dataset into shards of whole patches. Every shard is full, also the last: so a larger dataset reuses it.

    Raises
    ------
    SynthcoreError
        vita is missing or doesn't load.
    """
    patches = max(1, rows_per_shard // len(spec.audio.notes))
    made_of = origin()
    return [
        ShardPlan(index=i, first_patch=first, patches=patches, spec=spec, origin=made_of)
        for i, first in enumerate(range(0, spec.patches, patches))
    ]


def render_shard(plan: ShardPlan, data_dir: Path, timeout_seconds: float) -> ShardRef:
    """Render one shard and put it in its place.

    Parameters
    ----------
    plan : ShardPlan
    data_dir : Path
        Where `plan.name` lies.
    timeout_seconds : float
        Wall-clock seconds for one render before it counts as an accident.

    Raises
    ------
    Accident
        The same candidate met accident after accident.
    LowAcceptance
        Nearly every candidate was refused.
    SynthcoreError
        The disk is full.
    Interrupted
        Rendering was stopped.
    """
    started = time.monotonic()
    with whole_file(data_dir / plan.name) as temporary:
        with new_file(temporary) as file:
            writer = ShardWriter(file, plan.spec, installed(), engine(), plan.first_patch, plan.patches)
            work = ShardWork(plan, writer, timeout_seconds)
            work.run()
            digest = writer.finish()
        return ShardRef(
            name=plan.name,
            size=temporary.stat().st_size,
            checksum=file_checksum(temporary),
            digest=digest,
            rows=plan.rows,
            candidates=work.candidates,
            faults=dict(sorted(work.faults.items())),
            seconds=round(time.monotonic() - started, 3),
            synth_cpu_seconds=round(work.cpu.settle + work.cpu.render, 3),
        )


@lru_cache(maxsize=2)
def sampler(spec: DatasetSpec) -> Sampler:
    """The sampler of a spec: shards side by side draw from the same blocks, and share them."""
    return Sampler(spec, installed())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A patch waiting for its verdict, written as the preset that will be rendered."""

    patch_index: int
    attempt: int
    patch: Patch
    preset: bytes


class ShardWork:
    """The candidates of one shard: those waiting, and what became of the others."""

    def __init__(self, plan: ShardPlan, writer: ShardWriter, timeout_seconds: float) -> None:
        self.plan, self.writer, self.timeout_seconds = plan, writer, timeout_seconds
        self.candidates = 0
        self.cpu = CpuSeconds()
        self.faults: Counter[str] = Counter()
        self._sampler = sampler(plan.spec)
        self._assets = init_assets(installed())
        self._accepted = 0
        self._lock = threading.Lock()
        self._waiting = deque((i, 0) for i in range(plan.first_patch, plan.first_patch + plan.patches))

    def run(self) -> None:
        """Render until every patch is found.

        Raises
        ------
        LowAcceptance
            A patch used up its attempts, or nearly every candidate was refused.
        """
        with ThreadPoolExecutor(RENDERERS) as pool:
            for worker in [pool.submit(self._work) for _ in range(RENDERERS)]:
                worker.result()

    def _work(self) -> None:
        """Make candidates, and borrow a renderer for each; stop when none is waiting."""
        try:
            while candidate := self._next():
                with borrow_renderer(self.plan.spec.render_format, self.timeout_seconds) as renderer:
                    outcome = renderer.render(candidate.preset)
                with self._lock:
                    self._judge(candidate, outcome)
        except BaseException:
            self._waiting.clear()  # the others needn't go on
            raise

    def _next(self) -> Candidate | None:
        try:
            patch_index, attempt = self._waiting.popleft()
        except IndexError:
            return None
        patch = self._sampler.candidate(patch_index, attempt)
        return Candidate(patch_index, attempt, patch, patch.to_json(installed(), self._assets).encode())

    def _judge(self, candidate: Candidate, outcome: Outcome) -> None:
        self.candidates += 1
        self.cpu += outcome.cpu
        if outcome.fault is None:
            self._accepted += 1
            self.writer.accept(candidate.patch_index, candidate.attempt, candidate.patch, outcome.rows)
        else:
            self.faults[outcome.fault.reason] += 1
            self.writer.reject(candidate.patch_index, candidate.attempt, outcome.fault)
            self._require_worthwhile(candidate)
            self._waiting.append((candidate.patch_index, candidate.attempt + 1))
        progress.publish(
            progress.Progress(rows=len(outcome.rows), fault=outcome.fault.reason if outcome.fault else None)
        )

    def _require_worthwhile(self, candidate: Candidate) -> None:
        low = self.candidates >= FAIR_TRIAL and self._accepted < MIN_SHARE * self.candidates
        if low or candidate.attempt + 1 >= MAX_ATTEMPTS:
            table = ", ".join(f"{reason} {count}" for reason, count in self.faults.most_common())
            raise LowAcceptance(
                f"shard {self.plan.index} accepted {self._accepted} of {self.candidates} candidates (patch "
                f"{candidate.patch_index} was tried {candidate.attempt + 1} times); refused: {table}. "
                "Loosen min_rms_dbfs or max_peak, hold the note longer, or widen the notes"
            )
