"""Trials of equivalences: rows are rendered under other labels, to hold the rules against the synth.

Where random draws follow a module's number, both labels are rendered without such draws: what is left must be the same,
within the rule's tolerance. How far the two lie apart with their draws is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.distances import distance
from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.engine.client import Performances, Renderer
from synthcore.engine.lending import borrow_renderer
from synthcore.engine.play import PLAY_SECONDS, audio_of
from synthcore.engine.rendering import RenderFormat
from synthcore.engine.stopping import interruptible
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import Registry, installed
from synthcore.vital.equivalences import Rule, equivalence_rules, equivalences
from synthcore.vital.patch import Patch, with_builtin

CANONICAL = "canonical"  #: all rules at once


class RuleVerdict(BaseModel):
    """What rendering rows under the labels of one rule showed."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    rule: str
    tried: int  # rows to which the rule gave another label
    held: int
    exact: int  # of those, bit for bit as they are; the others differ by random draws or rounding
    worst_db: float  # the largest distance, draws included
    broken_rows: list[int]

    def to_text(self) -> str:
        """Write it as a line for a terminal."""
        if not self.tried:
            return f"  {self.rule:<32} applies to none of these rows"
        text = f"  {self.rule:<32} {how_many(self.tried, 'row')} tried, {self.held} held, {self.exact} bit for bit"
        if self.exact < self.tried:
            text += f"; at most {self.worst_db:.2g} dB apart"
        return text + (f"; broken by rows {', '.join(map(str, self.broken_rows))}" if self.broken_rows else "")


class EquivalencesVerdict(BaseModel):
    """What rendering rows under other labels showed."""

    model_config = ConfigDict(frozen=True)

    file: str
    rows: int
    rules: list[RuleVerdict]

    @property
    def holds(self) -> bool:
        return not any(verdict.broken_rows for verdict in self.rules)

    def to_text(self) -> str:
        """Write it for a terminal."""
        lines = [f"{self.file}: {how_many(self.rows, 'row')} rendered under other labels of the same sound"]
        lines += [verdict.to_text() for verdict in self.rules]
        lines.append("verified" if self.holds else "NOT verified")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Trial:
    """One row under another label."""

    rule: str
    row: int
    is_exact: bool
    holds: bool
    distance_db: float


@dataclass(frozen=True, slots=True)
class _Sound:
    sha256: str  # or the fault that there is instead
    audio: NDArray[np.float32] | None

    def distance_to(self, other: _Sound, sample_rate: int) -> float:
        if self.sha256 == other.sha256:
            return 0.0
        if self.audio is None or other.audio is None:
            return math.inf
        return distance(self.audio, other.audio, sample_rate)


def try_equivalences(dataset: Dataset, rows: int | None, *, workers: int) -> EquivalencesVerdict:
    """Render some or all rows under other labels, rule by rule. The same file is always tried in the same way.

    Parameters
    ----------
    dataset : Dataset
    rows : int or None
        How many; None for all.
    workers : int
        Renders at a time.

    Raises
    ------
    EngineMismatch
        The installed vita has other controls than the dataset's.
    """
    installed().require_same(dataset.registry, str(dataset.path))
    tried = list(range(len(dataset)))
    if rows is not None and rows < len(dataset):
        tried = sorted(np.random.default_rng(0).choice(tried, rows, replace=False).tolist())
    with ThreadPoolExecutor(workers) as pool, interruptible():
        trials = [trial for of_row in pool.map(lambda row: list(_try_row(dataset, row)), tried) for trial in of_row]
    names = [*(rule.id for rule in equivalence_rules().rule), CANONICAL]
    verdicts = [_sum_up(name, [trial for trial in trials if trial.rule == name]) for name in names]
    return EquivalencesVerdict(file=str(dataset.path), rows=len(tried), rules=verdicts)


def _sum_up(rule: str, trials: Sequence[_Trial]) -> RuleVerdict:
    return RuleVerdict(
        rule=rule,
        tried=len(trials),
        held=sum(trial.holds for trial in trials),
        exact=sum(trial.is_exact for trial in trials),
        worst_db=max((trial.distance_db for trial in trials), default=0.0),
        broken_rows=[trial.row for trial in trials if not trial.holds],
    )


def _try_row(dataset: Dataset, row: int) -> Iterator[_Trial]:
    """Render a row as it is, then under the label that each rule gives it."""
    fmt, performances = dataset.spec.render_format.refusing_nothing(), dataset.performances([row])
    with borrow_renderer(fmt, PLAY_SECONDS) as renderer:
        stage = _Stage(renderer, fmt, performances, dataset)
        patch = dataset.patch(row)
        before = stage.play(patch)
        for other, rule in _others(patch, dataset.registry, np.random.default_rng(row)):
            after = stage.play(other)
            is_exact = before.sha256 == after.sha256
            yield _Trial(
                rule=rule.id,
                row=row,
                is_exact=is_exact,
                holds=is_exact or _holds(stage, patch, other, rule),
                distance_db=before.distance_to(after, fmt.sample_rate),
            )
    progress.publish(progress.Progress(rows=1, fault=None))


def _others(patch: Patch, registry: Registry, rng: np.random.Generator) -> Iterator[tuple[Patch, Rule]]:
    """What each rule makes of a patch, and last what all of them do."""
    rules = equivalences(registry)
    for rule, equivalence in rules.by_rule:
        other = equivalence.another(patch, rng)
        if other != patch:
            yield other, rule
    canonical = rules.canonical(patch)
    if canonical != patch:
        yield canonical, _together([rule for rule, _ in rules.by_rule])


def _together(rules: Sequence[Rule]) -> Rule:
    """What all rules at once promise."""
    draws = {name: None for rule in rules for name in rule.draws}
    tolerance_db = max(rule.tolerance_db for rule in rules)
    return Rule(id=CANONICAL, kind="controls", draws=tuple(draws), tolerance_db=tolerance_db, reason="")


def _holds(stage: _Stage, patch: Patch, other: Patch, rule: Rule) -> bool:
    """Whether two patches are the same sound without their random draws, within the rule's tolerance."""
    one, two = (_without(stage, each, rule.draws) for each in (patch, other))
    return one.distance_to(two, stage.fmt.sample_rate) <= rule.tolerance_db


@dataclass(frozen=True, slots=True)
class _Stage:
    """How a row is played."""

    renderer: Renderer
    fmt: RenderFormat
    performances: Performances
    dataset: Dataset

    def play(self, patch: Patch) -> _Sound:
        document = patch.to_json(self.dataset.registry, with_builtin(self.dataset.assets))
        outcome = self.renderer.render(document.encode(), self.performances)
        if outcome.fault:
            return _Sound(outcome.fault.reason, None)
        return _Sound(outcome.rows[0].audio_sha256, audio_of(outcome.rows[0], self.fmt))


def _without(stage: _Stage, patch: Patch, draws: Sequence[str]) -> _Sound:
    """A patch's sound without random draws."""
    registry = stage.dataset.registry
    continuous = patch.continuous.copy()
    continuous[[registry.continuous.index(registry.by_name[name]) for name in draws]] = 0
    return stage.play(patch.moved(continuous=continuous))
