"""Trials of activity: controls of rows are moved, one at a time, to check the rules against the synth.

Moving a control that the file calls inactive must leave the row's audio as it is, bit for bit. That an active one
changes nothing isn't an error: how often is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError
from synthcore.engine.client import Performances, Renderer
from synthcore.engine.lending import borrow_renderer
from synthcore.engine.play import PLAY_SECONDS
from synthcore.engine.stopping import interruptible
from synthcore.storage.dataset import Dataset
from synthcore.vital.activity import Labels, activity
from synthcore.vital.controls import Control, Registry, installed
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.patch import Patch

#: A continuous control is moved at least this far, as a unit value.
LEAST_MOVE = 0.1
#: Controls that the text lists.
SHOWN = 10


class WrongRule(BaseModel):
    """An inactive control that changed a row's audio."""

    model_config = ConfigDict(frozen=True)

    row: int
    control: str
    rules: tuple[str, ...]  # by which it is inactive; none if only the file says so


class ActivityVerdict(BaseModel):
    """What moving controls showed."""

    model_config = ConfigDict(frozen=True)

    file: str
    rows: int
    inactive_moved: int
    wrong: list[WrongRule]
    active_moved: int
    active_unchanged: int  # of those, how many changed nothing
    idle_controls: dict[str, int]  # which these were, and how often

    @property
    def holds(self) -> bool:
        return not self.wrong

    def to_text(self) -> str:
        """Write it for a terminal."""
        share = self.active_unchanged / max(1, self.active_moved)
        lines = [
            f"{self.file}: controls of {how_many(self.rows, 'row')} moved, one at a time",
            f"  inactive  {self.inactive_moved} moved, {len(self.wrong)} changed the sound",
            f"  active    {self.active_moved} moved, {self.active_unchanged} changed nothing ({share:.1%})",
        ]
        if self.idle_controls:
            most = list(self.idle_controls.items())[:SHOWN]
            lines.append(f"  most idle {', '.join(f'{name} {count}' for name, count in most)}")
        for wrong in self.wrong:
            why = ", ".join(wrong.rules) or "none: the file is older, or was changed"
            lines.append(f"  row {wrong.row}: {wrong.control} is inactive, but changes the sound; rule: {why}")
        lines.append("verified" if self.holds else "NOT verified")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Trial:
    """One control moved: whether the file calls it active, and whether it changed a bit."""

    row: int
    control: str
    is_active: bool
    changed: bool
    rules: tuple[str, ...]


def try_activity(dataset: Dataset, rows: int | None, *, controls: int, workers: int) -> ActivityVerdict:
    """Move controls of some or all rows, and compare what comes out. The same file is always tried in the same way.

    Parameters
    ----------
    dataset : Dataset
    rows : int or None
        How many; None for all.
    controls : int
        How many of a row's active ones to move, and of its inactive ones.
    workers : int
        Renders at a time.

    Raises
    ------
    DatasetError
        The file doesn't say what is active: it is a shard, or an older synthcore merged it.
    EngineMismatch
        The installed vita has other controls than the dataset's.
    """
    if "active" not in dataset.column_names:
        raise DatasetError(f"{dataset.path} doesn't say what is active: that is made when shards are merged")
    installed().require_same(dataset.registry, str(dataset.path))
    tried = list(range(len(dataset)))
    if rows is not None and rows < len(dataset):
        tried = sorted(np.random.default_rng(0).choice(tried, rows, replace=False).tolist())
    with ThreadPoolExecutor(workers) as pool, interruptible():
        found = pool.map(lambda row: _try_row(dataset, row, controls), tried)
        trials = [trial for of_row in found for trial in of_row]
    return _sum_up(str(dataset.path), len(tried), trials)


def _sum_up(file: str, rows: int, trials: Sequence[_Trial]) -> ActivityVerdict:
    active = [trial for trial in trials if trial.is_active]
    wrong = [trial for trial in trials if trial.changed and not trial.is_active]
    idle = Counter(trial.control for trial in active if not trial.changed)
    return ActivityVerdict(
        file=file,
        rows=rows,
        inactive_moved=len(trials) - len(active),
        wrong=[WrongRule(row=t.row, control=t.control, rules=t.rules) for t in wrong],
        active_moved=len(active),
        active_unchanged=idle.total(),
        idle_controls=dict(idle.most_common()),
    )


def _try_row(dataset: Dataset, row: int, controls: int) -> list[_Trial]:
    """Render a row as it is, then with each of some controls moved, all on the same road."""
    registry, patch = dataset.registry, dataset.patch(row)
    rules = activity(registry)
    is_active: NDArray[np.bool_] = dataset.column("active", [row])[0]
    performances = dataset.performances([row])
    rng = np.random.default_rng(row)
    sides = [rng.permutation(np.flatnonzero(is_active == side))[:controls] for side in (False, True)]
    trials = []
    with borrow_renderer(dataset.spec.render_format.refusing_nothing(), PLAY_SECONDS) as renderer:
        before = _sound(renderer, dataset, patch, performances)
        for place in np.concatenate(sides).tolist():
            changed = _sound(renderer, dataset, move(patch, place, registry, rng), performances) != before
            name = rules.names[place]
            why = rules.rules_of(Labels.of([patch], registry), name) if changed else ()
            trials.append(_Trial(row, name, bool(is_active[place]), changed, why))
            progress.publish(progress.Progress(rows=1, fault=None))
    return trials


def _sound(renderer: Renderer, dataset: Dataset, patch: Patch, performances: Performances) -> str:
    """The SHA-256 of a patch's audio, or the fault that ended it."""
    outcome = renderer.render(patch.to_json(dataset.registry, dataset.assets).encode(), performances)
    return outcome.fault.reason if outcome.fault else outcome.rows[0].audio_sha256


def move(patch: Patch, place: int, registry: Registry, rng: Generator) -> Patch:
    """Give one control another value, drawn from all of its range.

    Parameters
    ----------
    place : int
        Which control, of the continuous and then the categorical ones.
    """
    continuous, categorical = patch.continuous.copy(), patch.categorical.copy()
    if place < len(continuous):
        continuous[place] = _moved(registry.continuous[place], continuous[place], rng)
    else:
        column = place - len(continuous)
        options = len(registry.categorical[column].options)
        categorical[column] = (categorical[column] + 1 + rng.integers(options - 1)) % options
    return patch.moved(continuous=continuous, categorical=categorical)


def _moved(control: Control, unit: np.float32, rng: Generator) -> np.float32:
    """Another unit value: of whole numbers any other, else one that is `LEAST_MOVE` away or more."""
    if not control.is_whole:
        return np.float32((unit + rng.uniform(LEAST_MOVE, 1 - LEAST_MOVE)) % 1)
    steps = round(control.high - control.low)
    step = round(float(to_values([control], np.array([unit]))[0] - control.low))
    other = (step + 1 + rng.integers(steps)) % (steps + 1)
    return np.float32(to_units([control], np.array([control.low + other]))[0])
