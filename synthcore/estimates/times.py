"""How long each step of a run takes, at the pace at which its candidates were rendered."""

from __future__ import annotations

from collections import Counter

from synthcore.analysis import importance
from synthcore.base.counting import how_many
from synthcore.estimates.pace import alone
from synthcore.estimates.room import Bytes
from synthcore.estimates.work import Paces, Work
from synthcore.sources.base import PRESET_SOURCES, Source
from synthcore.vital.controls import installed

#: Of a command, besides its steps: to load Prefect, to report, to end. A server that has to be started takes 5 more.
COMMAND_SECONDS = 4.0
STARTING_SECONDS = 2.0  #: until every worker renders, and from the last render until its shard is on the disk
COPIED, READ = 500e6, 1e9  #: bytes per second of a merge: half of what was measured (docs/scale.md)
MOVE_IN_ROWS = 0.8  #: the time to move a control, in times of a row, which include refused candidates
COUNTED_BASES = 4  #: patches whose controls are counted
BUSY = 1.4  #: if it would be this many times as fast alone, something else used the machine


class Times:
    """How long each step takes."""

    def __init__(self, work: Work, paces: Paces, needed: Bytes) -> None:
        self.work, self.paces = work, paces
        self.error = max((pace.error for pace in paces.values() if pace), default=0.1)
        self.render = self._render()
        self.merge = 0.0 if work.is_merged else 0.5 + needed.by_copy / READ
        if not work.is_merged and work.settings.run.merge == "copy":
            self.merge += needed.by_copy / COPIED
        self.weights = self._weights()
        self.features = self._features(needed)

    def total(self, factor: float) -> float | None:
        """Seconds of the whole run, if rendering takes `factor` times what is expected."""
        if self.render is None or self.weights is None:
            return None
        return round(COMMAND_SECONDS + (self.render + self.weights) * factor + self.merge + self.features, 1)

    @property
    def least(self) -> float | None:
        """The least seconds that it takes."""
        return self.alone or self.total(1 / (1 + self.error))

    @property
    def alone(self) -> float | None:
        """Seconds that it would take if nothing else used the machine; None where nothing seems to."""
        workers = self.work.settings.workers
        gains = [alone(pace.cpu_seconds, workers) / pace.per_second for pace in self.paces.values() if pace]
        return self.total(1 / min(gains)) if gains and min(gains) > BUSY else None

    def verdicts(self) -> tuple[int, Counter[str]]:
        """Candidates that were tried, and why some of them were refused."""
        faults: Counter[str] = Counter()
        for pace in filter(None, self.paces.values()):
            faults.update(pace.faults)
        return sum(pace.candidates for pace in self.paces.values() if pace), faults

    def measured(self) -> str:
        """From what the times were measured."""
        words = {
            "shards": "as shards that are there took",
            "rehearsal": "from a rehearsal",
            "run": "from the first seconds",
        }
        found = {pace.measured for pace in self.paces.values() if pace}
        candidates, _ = self.verdicts()
        return f"{' and '.join(words[kind] for kind in words if kind in found)} ({how_many(candidates, 'candidate')})"

    def _render(self) -> float | None:
        if not self.work.missing:
            return 0.0
        seconds = [self._seconds(source) for source in self.work.sources]
        known = [each for each in seconds if each is not None]
        return STARTING_SECONDS + sum(known) if len(known) == len(seconds) else None

    def _seconds(self, source: Source) -> float | None:
        patches, pace = sum(plan.patches for plan in self.work.to_render(source)), self.paces.get(source)
        if pace is None:
            return None
        if source in PRESET_SOURCES:
            return patches / pace.per_second
        return patches / pace.acceptance / pace.per_second if pace.accepted else None

    def _weights(self) -> float | None:
        """Time to move the controls that can be heard, counted in some patches, at the pace of rows."""
        settings, spec = self.work.settings, self.work.spec
        if not settings.weights:
            return 0.0
        pace = next((pace for pace in self.paces.values() if pace and pace.accepted), None)
        if pace is None:
            return None
        bases = min(settings.weights, self.work.rows_requested)
        rows_per_second = pace.per_second * pace.acceptance * spec.audio.rows_per_patch
        return bases * moves_of_a_base(self.work) * MOVE_IN_ROWS / rows_per_second

    def _features(self, needed: Bytes) -> float:
        """Time to compute what is missing, write it down, and add it to a copy of the output."""
        if not needed.computed:
            return 0.0
        settings = self.work.settings
        written = needed.computed + needed.peak(settings, settings.run.merge) - needed.output(settings.run.merge)
        return self.work.features.seconds / settings.workers + written / COPIED


def moves_of_a_base(work: Work) -> float:
    """How often controls are moved for the weights of one row, on average over a few patches."""
    plan, registry = work.plans[-1], installed()
    supply = work.supply(plan)
    varied = {marginal.control.name for marginal in supply.marginals}
    if work.spec.presets_digest:
        varied = {control.name for control in registry.of_tier(work.spec.tier)}
    moves = 0
    for index in range(plan.first_patch, plan.first_patch + COUNTED_BASES):
        patch = supply.candidate(index, 0).patch
        names = varied & importance.audible(patch, registry)
        moves += sum(move.control in names for move in importance.moves_of(patch, registry, 60))
    return moves / COUNTED_BASES
