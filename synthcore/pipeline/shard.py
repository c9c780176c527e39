"""Shards: the unit of work, retry and cache. Owns the plan of a run and the making of one shard.

A shard's content is a function of its key. The key knows the spec, the slots and the engine, never how many rows
the run wants, what its neighbours are, or where files lie.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.counting import how_many
from synthcore.base.errors import EngineMismatch, LowAcceptance
from synthcore.base.hashing import content_hash, file_checksum
from synthcore.engine import faults
from synthcore.engine.client import require_room
from synthcore.engine.lending import borrow_renderer
from synthcore.engine.machine import engine
from synthcore.engine.rendering import CpuSeconds, Fault, Outcome, RenderedRow
from synthcore.engine.stopping import pause
from synthcore.pipeline import library
from synthcore.sources.base import PRESET_SOURCES, SOURCES, Candidate, Provenance, Source, Supply
from synthcore.sources.collection import Collection
from synthcore.sources.performances import Performances
from synthcore.sources.presets import PresetSource, contents_digest, presets_of
from synthcore.sources.priors import Priors, digest_of
from synthcore.sources.shapes import library_digest
from synthcore.sources.synthetic import SyntheticSource, drawn_with
from synthcore.sources.variations import VariationSource
from synthcore.spec import ANY_PEAK, CLIPS_ABOVE, DatasetSpec
from synthcore.storage import claims, part_records
from synthcore.storage.drawing import Drawing, StoredPriors
from synthcore.storage.opening import new_file
from synthcore.storage.refs import ShardRef
from synthcore.storage.schema import VERSION, Header
from synthcore.storage.writer import ShardWriter
from synthcore.vital.activity import follows_note
from synthcore.vital.catalog import Catalog, builtin
from synthcore.vital.controls import installed
from synthcore.vital.tempo import at_bpm

#: A shard that accepts a smaller share than this stops, once enough were tried for the share to mean anything.
MIN_SHARE, FAIR_TRIAL = 0.05, 100
#: Renderers that a shard may use at a time. All shards share them, so the number only matters at the end: the last
#: shard of a run keeps two cores busy, not one.
RENDERERS = 2
_supplying = threading.Lock()
log = logging.getLogger(__name__)


class ShardPlan(BaseModel):
    """One shard to make: the patches `first_patch` to `first_patch + patches - 1` of one source."""

    model_config = ConfigDict(frozen=True)

    index: int
    source: Source
    first_patch: int
    patches: int
    spec: DatasetSpec  # only what this source depends on
    origin: str  # fingerprint of what candidates and audio depend on besides the spec
    contents: str = ""  # digest of the presets in it
    collection: str = ""  # digest of the collection that has them; says nothing about what the shard holds

    @property
    def rows(self) -> int:
        """Rows if no preset is refused."""
        return self.patches * self.spec.audio.rows_per_patch

    @property
    def key(self) -> str:
        """SHA-256 in hex: names the shard's content, its file and its cache entry."""
        key_parts = [VERSION, self.source, self.spec.fingerprint, self.origin, self.contents]
        return content_hash([*key_parts, self.first_patch, self.patches])

    @property
    def name(self) -> str:
        """Where the shard lies, relative to the data directory."""
        return f"shards/{self.key[:2]}/{self.key}.h5"

    @property
    def record(self) -> str:
        """The cache key, under which the workflow keeps the reference to the shard."""
        return f"shard-{self.key}"


def origin(spec: DatasetSpec) -> str:
    """Fingerprint of everything besides the spec that decides what a shard holds."""
    parts = [engine().fingerprint, installed().fingerprint, digest_of(spec.priors), drawn_with(), builtin().digest]
    return content_hash([*parts, library_digest() if spec.tier == 3 else ""])


def plan_shards(spec: DatasetSpec, rows_per_shard: int, presets: Collection | None = None) -> list[ShardPlan]:
    """Cut a dataset into shards of whole patches, source after source.

    Shards of drawn patches are always full, even the last: so a larger dataset reuses it. A shard's plan holds only
    what its source depends on: synthetic shards know nothing of presets. If the spec has no limit of the peak, each
    source has its own.

    Raises
    ------
    SynthcoreError
        vita is missing or doesn't load.
    """
    size = max(1, rows_per_shard // spec.audio.rows_per_patch)
    plans: list[ShardPlan] = []

    def common(source: Source, **changes: object) -> dict[str, Any]:
        """What all plans of a source share."""
        limit = CLIPS_ABOVE if source == "synthetic" else ANY_PEAK
        of_source = spec.model_copy(update={**changes, "acceptance": spec.acceptance.with_peak(limit)})
        return {"source": source, "spec": of_source, "origin": origin(of_source)}

    def plan(shared: dict[str, Any], first: int, patches: int) -> None:
        plans.append(ShardPlan(index=len(plans), first_patch=first, patches=patches, **shared))

    for source in PRESET_SOURCES:
        if presets is None:
            continue
        given = common(source, presets_digest="", variations=0, seed=0, priors="uniform")
        mine = presets_of(presets, source)
        for first in range(0, len(mine), size):
            part = mine[first : first + size]
            contents = contents_digest(part, presets.wavetable_names)
            plan({**given, "contents": contents, "collection": spec.presets_digest}, first, len(part))
    varied = {**common("variation", variations=0, priors="uniform"), "collection": spec.presets_digest}
    for first in range(0, spec.variations, size):
        plan(varied, first, size)
    drawn = common("synthetic", presets_digest="", variations=0)
    for first in range(0, spec.patches, size):
        plan(drawn, first, size)
    return plans


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
    EngineMismatch
        It was planned on another type of machine, or with other versions: its rows would not be those of its key.
    Accident
        The same candidate met accident after accident.
    LowAcceptance
        Nearly every candidate was refused.
    SynthcoreError
        The disk is full, or this process is held to less than a render may take.
    Interrupted
        Rendering was stopped.
    """
    if plan.origin != origin(plan.spec):
        raise EngineMismatch(
            f"shard {plan.index} was planned where other rows would be made than here ({engine().machine}, synth "
            f"{engine().build[:12]}); render on one type of machine, with one version of synthcore and its dependencies"
        )
    require_room(plan.spec.render_format)  # before libraries are loaded that hang or crash without
    started = time.monotonic()
    catalog, presets, priors = opened(plan, data_dir)
    candidates = supply(plan, catalog, presets, priors)
    with atomic_path(data_dir / plan.name) as temporary:
        with new_file(temporary) as file:
            writer = ShardWriter(file, header_of(plan, candidates), catalog, plan.patches)
            work = ShardWork(plan, candidates, writer, timeout_seconds)
            work.run()
            digest = writer.finish(candidates.wavetable_names, work.sources())
        ref = _reference(work, temporary, digest, time.monotonic() - started)
    log.info(
        "shard %d, %s patches from %d: %d rows of %d candidates in %.1f s; refused: %s",
        *(plan.index, plan.source, plan.first_patch, ref.rows, ref.candidates, ref.seconds),
        ", ".join(f"{reason} {count}" for reason, count in ref.faults.items()) or "none",
    )
    return ref


def opened(plan: ShardPlan, data_dir: Path) -> tuple[Catalog, Collection | None, Priors]:
    """What a shard is made from, as the data directory keeps it: a catalog, presets if it needs any, and priors.

    Raises
    ------
    SpecError, DatasetError
        As `library.catalog`, `library.collection` and `library.priors`.
    """
    presets = library.collection(plan.collection, data_dir) if plan.collection else None
    return library.catalog(plan.spec, data_dir), presets, library.priors(plan.spec, data_dir)


def header_of(plan: ShardPlan, candidates: Supply) -> Header:
    """What the file of a shard says of all its rows."""
    drawing = Drawing(StoredPriors.of(candidates.marginals), candidates.priors, drawn_with())
    return Header(plan.spec, installed(), engine(), drawing)


def _reference(work: ShardWork, file: Path, digest: str, seconds: float) -> ShardRef:
    """Refer to the shard of this work, whose file is complete but for its name."""
    return ShardRef(
        name=work.plan.name,
        size=file.stat().st_size,
        checksum=file_checksum(file),
        digest=digest,
        source=work.plan.source,
        rows=work.rows,
        candidates=work.candidates,
        faults=dict(sorted(work.faults.items())),
        seconds=round(seconds, 3),
        synth_cpu_seconds=round(work.cpu.settle + work.cpu.render, 3),
        worker=f"{socket.gethostname()} {os.getpid()}",
    )


@contextlib.contextmanager
def claimed(plan: ShardPlan, data_dir: Path) -> Iterator[ShardRef | None]:
    """Be the only one that renders a shard. Gives it if another run has made it while this one waited, or a part has.

    Raises
    ------
    Interrupted
        Rendering was stopped.
    SynthcoreError
        The disk is full.
    """

    def wait(seconds: float) -> None:
        notice = f"shard {plan.index} is being rendered by another run: waiting for it"
        progress.publish(progress.Progress(rows=0, fault=None, notice=notice))
        pause(seconds)

    with claims.claimed(data_dir / plan.name, wait) as is_made:
        yield ShardRef.of(data_dir, plan.name, plan.source) if is_made else part_records.find(plan.name, data_dir)


def supply(plan: ShardPlan, catalog: Catalog, presets: Collection | None, priors: Priors) -> Supply:
    """Where the candidates of a shard come from. Shards side by side draw from the same blocks, and share them."""
    with _supplying:  # shards begin side by side, and one of them makes it for all
        return _supply(plan.source, plan.spec.model_copy(update={"n_samples": 1}), catalog, presets, priors)


@lru_cache(maxsize=len(SOURCES))
def _supply(source: Source, spec: DatasetSpec, catalog: Catalog, presets: Collection | None, priors: Priors) -> Supply:
    if source == "synthetic" or presets is None:
        return SyntheticSource(spec, installed(), priors, catalog)
    if source == "variation":
        return VariationSource(spec, installed(), presets)
    return PresetSource(spec, installed(), presets, source)


class Rows(Protocol):
    """Takes what becomes of candidates: into a shard, or nowhere if they are only measured."""

    def append(self, candidate: Candidate, rows: tuple[RenderedRow, ...], assets: Mapping[str, bytes]) -> None:
        """Take the rows of an accepted candidate."""

    def reject(self, candidate: Candidate, fault: Fault) -> None:
        """Take a refused candidate."""


class ShardWork:
    """The candidates of one shard: those waiting, and what became of the others."""

    def __init__(self, plan: ShardPlan, supply: Supply, writer: Rows, timeout_seconds: float) -> None:
        self.plan, self.supply, self.writer, self.timeout_seconds = plan, supply, writer, timeout_seconds
        self.candidates = 0
        self.rows = 0
        self.cpu = CpuSeconds()
        self.faults: Counter[str] = Counter()
        self._accepted = 0
        self._given_up = False
        self._parents: set[str] = set()
        self._lock = threading.Lock()
        self._performances = Performances(plan.spec, plan.source)
        self._waiting = deque((i, 0) for i in range(plan.first_patch, plan.first_patch + plan.patches))
        # Decided, but not stored: rows are stored in the order of the patches.
        self._decided: dict[int, tuple[Candidate, tuple[RenderedRow, ...]]] = {}
        self._next_stored = plan.first_patch

    def run(self) -> None:
        """Render until every patch is found, or, if they are given, tried.

        Raises
        ------
        LowAcceptance
            A patch used up its attempts, or nearly every candidate was refused.
        """
        with ThreadPoolExecutor(RENDERERS) as pool:
            # In the caller's context, so that what is logged is known to be of its run.
            for worker in [pool.submit(contextvars.copy_context().run, self._work) for _ in range(RENDERERS)]:
                worker.result()

    def sources(self) -> list[Provenance]:
        """The presets behind the candidates."""
        return self.supply.provenance(self._parents)

    def _work(self) -> None:
        """Try candidates; stop when none is waiting."""
        try:
            while candidate := self._next():
                outcome = self._try(candidate)
                with self._lock:
                    if self._given_up:  # by another renderer, whose reason counts
                        return
                    self._judge(candidate, outcome)
        except BaseException:
            self._waiting.clear()  # the others needn't go on
            raise

    def _next(self) -> Candidate | None:
        """Make the next candidate."""
        try:
            index, attempt = self._waiting.popleft()
        except IndexError:
            return None
        candidate = self.supply.candidate(index, attempt)
        if bpm := self._performances.bpm(index):
            return replace(candidate, patch=at_bpm(candidate.patch, bpm, installed()))
        return candidate

    def _try(self, candidate: Candidate) -> Outcome:
        """Render a candidate, unless its rows would repeat each other: that is known beforehand."""
        if self._repeats(candidate):
            return Outcome((), Fault(faults.NO_NOTE, faults.REPEATS, None, None), CpuSeconds())
        preset = candidate.patch.to_json(installed(), self._assets(candidate)).encode()
        with borrow_renderer(self.plan.spec.render_format, self.timeout_seconds) as renderer:
            return renderer.render(preset, self._performances.of(candidate.index))

    def _repeats(self, candidate: Candidate) -> bool:
        played = self._performances.of(candidate.index)
        differ_by_note_alone = len({replace(one, note=0) for one in played}) == 1
        is_refused = self.supply.refuses_repeats and len(played) > 1 and differ_by_note_alone
        return is_refused and not follows_note(candidate.patch, installed())

    def _assets(self, candidate: Candidate) -> Mapping[str, bytes]:
        return {**self.supply.assets, **candidate.assets} if candidate.assets else self.supply.assets

    def _judge(self, candidate: Candidate, outcome: Outcome) -> None:
        self.candidates += 1
        self.cpu += outcome.cpu
        self._parents.update(candidate.parents)
        if outcome.fault is None:
            self._accepted += 1
            self._decide(candidate, outcome.rows)
        else:
            self.faults[outcome.fault.reason] += 1
            self.writer.reject(candidate, outcome.fault)
            if self.supply.attempts == 1:
                self._decide(candidate, ())
            else:
                self._require_worthwhile(candidate)
                self._waiting.appendleft((candidate.index, candidate.attempt + 1))
        progress.publish(
            progress.Progress(
                rows=len(outcome.rows),
                fault=outcome.fault.reason if outcome.fault else None,
                bytes=sum(len(row.chunk) for row in outcome.rows),
                cpu_seconds=outcome.cpu.settle + outcome.cpu.render,
            )
        )

    def _decide(self, candidate: Candidate, rows: tuple[RenderedRow, ...]) -> None:
        self._decided[candidate.index] = candidate, rows
        while decided := self._decided.pop(self._next_stored, None):
            self.writer.append(*decided, self._assets(decided[0]))
            self.rows += len(decided[1])
            self._next_stored += 1

    def _require_worthwhile(self, candidate: Candidate) -> None:
        low = self.candidates >= FAIR_TRIAL and self._accepted < MIN_SHARE * self.candidates
        if low or candidate.attempt + 1 >= self.supply.attempts:
            self._given_up = True
            table = ", ".join(f"{reason} {count}" for reason, count in self.faults.most_common())
            raise LowAcceptance(
                f"shard {self.plan.index} accepted {self._accepted} of {how_many(self.candidates, 'candidate')} "
                f"(patch {candidate.index} was tried {how_many(candidate.attempt + 1, 'time')}); refused: {table}. "
                "Loosen min_rms_dbfs or max_peak, hold the note longer, or widen the notes; for repeats, play one note"
            )
