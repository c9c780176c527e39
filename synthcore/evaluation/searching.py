"""The baseline `search`: the training row that is nearest to a row, brought nearer by so many renders."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.analysis.distances import distance
from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.hashing import content_hash, file_checksum
from synthcore.engine.rendering import Fault
from synthcore.engine.stopping import raise_if_stopped
from synthcore.evaluation.answers import Answers, Origin
from synthcore.evaluation.baselines import written
from synthcore.evaluation.plans import AnswerPlan, surroundings_of
from synthcore.evaluation.scoring import ScoreRef
from synthcore.evaluation.search import Budget, Played, search
from synthcore.evaluation.targets import Targets
from synthcore.playback import render_many
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.vital.patch import LABELS

#: Raise it when the same rows would get other patches.
VERSION = 1
ROWS = 4  #: in a plan: a minute of work at 100 renders a row


class SearchPlan(AnswerPlan):
    """Some rows to be searched, each from an answer on."""

    renders: int  # of candidates, for each row


def plan_searches(nearest: Answers, targets: Targets, renders: int) -> list[SearchPlan]:
    """Plan a search, of so many renders, for each row or sound that `nearest` answers; it begins at the answer."""
    key_parts = ["search", VERSION, renders, importlib.metadata.version("cma"), *surroundings_of(targets)]
    return SearchPlan.cut(nearest, targets, ROWS, key_parts, renders=renders)


def search_plan(plan: SearchPlan, data_dir: Path) -> ScoreRef:
    """Search for the rows of a plan, and write down what was found. Reports each to `synthcore.base.progress`.

    Raises
    ------
    SynthcoreError
        The library for it is missing.
    DatasetError
        A file is gone or damaged, or has been replaced since this was planned.
    Accident, Interrupted
        As `render_many`.
    """
    found = []
    with plan.opened() as targets:
        for row, start in zip(plan.rows, plan.places, strict=True):
            raise_if_stopped()
            found.append(_nearer(plan.origin, start, targets, row, plan.renders))
            progress.publish(progress.Progress(1, None))
    with atomic_path(data_dir / plan.name) as temporary, temporary.open("wb") as file:
        np.savez(file, continuous=np.array(found, np.float32))
    return ScoreRef(name=plan.name, checksum=file_checksum(data_dir / plan.name))


def _nearer(origin: Origin, place: int, targets: Targets, row: int, renders: int) -> NDArray[np.float32]:
    """The continuous controls, shape (322,), with which a patch comes nearest to a row."""
    target, audio, (performance,) = targets.sound(row), targets.audio, targets.performances([row])
    (patch,) = origin.patches([place])
    assets = dict(origin.assets_of([patch]))
    (sound,) = render_many([patch], [performance], audio=audio, assets=assets, workers=1)
    if isinstance(sound, Fault):  # played otherwise than in its own row; there is nothing to begin with
        return patch.continuous
    start = Played(patch, performance, sound, distance(target, sound, audio.sample_rate))
    return search(target, start, assets, audio, Budget(renders, workers=1)).best.patch.continuous


def answers_of_searches(nearest: Answers, plans: Sequence[SearchPlan], data_dir: Path) -> Answers:
    """Answer each row with what was found for it; all are searched already."""
    file = data_dir / "scores" / f"search-{content_hash([plan.key for plan in plans])[:16]}.h5"
    with damage_named(Path(nearest.origin.file)), Dataset(nearest.origin.file) as train:
        origin = written(file, train, nearest.places, lambda: _label(train, plans, data_dir))
    name = f"search, {plans[0].renders:,} renders a row"
    return nearest.model_copy(update={"name": name, "origin": origin, "places": tuple(range(len(nearest.rows)))})


def _label(train: Dataset, plans: Sequence[SearchPlan], data_dir: Path) -> dict[str, NDArray[Any]]:
    """What was found, as the parts of a label: all but continuous controls are as in the row where a search began."""
    label = {name: train.column(name, [place for plan in plans for place in plan.places]) for name in LABELS}
    return label | {"continuous": np.concatenate([_found(plan, data_dir) for plan in plans])}


def _found(plan: SearchPlan, data_dir: Path) -> NDArray[np.float32]:
    with np.load(data_dir / plan.name) as file:
        found: NDArray[np.float32] = file["continuous"]
        return found
