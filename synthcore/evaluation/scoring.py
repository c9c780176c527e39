"""Scoring: answers are rendered as their rows are played, and compared with them; scores lie in the data directory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import StringConstraints

from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.hashing import file_checksum
from synthcore.engine.rendering import Fault
from synthcore.engine.stopping import raise_if_stopped
from synthcore.evaluation.answers import Answers, Origin
from synthcore.evaluation.frames import library_versions
from synthcore.evaluation.metrics import AUDIO_METRICS
from synthcore.evaluation.plans import AnswerPlan, surroundings_of
from synthcore.evaluation.targets import Targets
from synthcore.playback import Sound, render_many
from synthcore.storage.refs import ResultRef

#: Raise it when the same answers would get other scores.
VERSION = 1
ANSWERS = 32  #: in a plan: some ten seconds of work


class ScorePlan(AnswerPlan):
    """Some answers to be scored."""


class ScoreRef(ResultRef):
    """Finished scores, or what a search found to be scored."""

    name: Annotated[str, StringConstraints(pattern=r"^scores/[\w-]+/[\w-]+\.npz$")]  # within the data directory


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of answers.

    Attributes
    ----------
    rows, places : ndarray, shape (n,), int
        The row that each answers, and its number in the file that it is from.
    values : mapping of str to ndarray, shape (n,), float64
        By name, as in `METRICS`; NaN where one says nothing.
    faults : ndarray, shape (n,), str
        Why an answer can't be rendered, and is scored as silence; empty of others.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    faults: NDArray[np.str_]


def plan_scores(answers: Answers, targets: Targets) -> list[ScorePlan]:
    """Plan the scoring of answers to rows of a dataset, or to the sounds of a folder."""
    weights = targets.weights
    how = [sorted(targets.metrics), None if weights is None else weights.tolist(), *library_versions()]
    return ScorePlan.cut(answers, targets, ANSWERS, ["scores", VERSION, *surroundings_of(targets), *how])


def score_plan(plan: ScorePlan, data_dir: Path) -> ScoreRef:
    """Render and score the answers of a plan, and write the scores down. Reports each to `synthcore.base.progress`.

    Raises
    ------
    DatasetError
        A file is gone or damaged, or has been replaced since this was planned.
    Accident, Interrupted
        As `render_many`.
    """
    with plan.opened() as targets:
        patches = plan.origin.patches(plan.places)
        values: dict[str, list[float]] = {name: [] for name in targets.metrics}
        faults = []
        sounds = play(plan.origin, plan.places, targets, plan.rows)
        for row, patch, sound in zip(plan.rows, patches, sounds, strict=True):
            raise_if_stopped()
            faults.append(sound.reason if isinstance(sound, Fault) else "")
            scores = score_sound(sound, targets, row) | targets.label_scores(row, patch)
            for name, score in scores.items():
                values[name].append(score)
            progress.publish(progress.Progress(1, None))
    with atomic_path(data_dir / plan.name) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            faults=np.array(faults, np.str_),
            metrics=np.array(list(values), np.str_),
            values=np.array(list(values.values()), np.float64),
        )
    return ScoreRef(name=plan.name, checksum=file_checksum(data_dir / plan.name))


def score_sound(sound: Sound, targets: Targets, row: int) -> dict[str, float]:
    """Score a sound as an answer to a row; a fault is silence."""
    target = targets.sound(row)
    heard = np.zeros_like(target) if isinstance(sound, Fault) else sound
    rate = targets.audio.sample_rate
    return {name: metric.measure(target, heard, rate) for name, metric in AUDIO_METRICS.items()}


def play(origin: Origin, places: Sequence[int], targets: Targets, rows: Sequence[int]) -> Iterator[Sound]:
    """Render answers, each as the row that it answers is played."""
    patches = origin.patches(places)
    yield from render_many(
        patches,
        targets.performances(rows),
        audio=targets.audio,
        assets=origin.assets_of(patches),
        workers=1,  # plans are rendered side by side
    )


def read_scores(plans: Sequence[ScorePlan], data_dir: Path) -> Scores:
    """Read the scores of plans that are scored already."""
    values: defaultdict[str, list[NDArray[np.float64]]] = defaultdict(list)
    faults = []
    for plan in plans:
        with np.load(data_dir / plan.name) as file:
            faults.append(file["faults"])
            for name, of in zip(file["metrics"].tolist(), file["values"], strict=True):
                values[name].append(of)
    return Scores(
        rows=np.array([row for plan in plans for row in plan.rows], np.int64),
        places=np.array([place for plan in plans for place in plan.places], np.int64),
        values={name: np.concatenate(some) for name, some in values.items()},
        faults=np.concatenate(faults),
    )
