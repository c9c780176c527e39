"""An evaluation on a page: its figures, the error by control, and rows to listen to beside their answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthcore.base import progress
from synthcore.engine.rendering import Fault
from synthcore.evaluation.answers import Origin
from synthcore.evaluation.report import Evaluation, Example
from synthcore.evaluation.scoring import play
from synthcore.evaluation.targets import Targets, opened
from synthcore.page.charts import CurveChart, draw_curve
from synthcore.page.clips import picture_and_sound

CURVES = 12  #: controls whose curve is shown
KINDS = {"best": "The best answers", "median": "Answers in the middle", "worst": "The worst answers"}


@dataclass(frozen=True, slots=True)
class AnswerClip:
    """A row or its answer to listen to. Names are people's: anything can be in them."""

    title: str
    name: str
    note: int
    listen: str  # a command that exports it; empty for an answer
    picture: str  # data: address
    sound: str  # data: address


@dataclass(frozen=True, slots=True)
class EvaluationContent:
    """What a page shows of an evaluation."""

    found: Evaluation
    title: str
    curves: list[CurveChart]
    pairs: dict[str, list[tuple[str, AnswerClip, AnswerClip]]]  # by what they are: score, row, answer


def sounds_heard(found: Evaluation) -> int:
    """How many sounds `gather_evaluation` reports to `synthcore.base.progress`."""
    return 2 * len(found.examples)


def gather_evaluation(found: Evaluation, origin: Origin) -> EvaluationContent:
    """Read the rows that are listened to, and render their answers again.

    Raises
    ------
    SynthcoreError
        A file is gone since it was evaluated, or as `play`.
    """
    pairs: dict[str, list[tuple[str, AnswerClip, AnswerClip]]] = {title: [] for title in KINDS.values()}
    with opened(found.against, found.sounds) as targets:
        for example, score, row, answer in _pairs(found, origin, targets):
            pairs[KINDS[example.kind]].append((score, row, answer))
    first = found.audio[0]
    return EvaluationContent(
        found=found,
        title=f"{Path(found.answers).name} against {Path(found.against).name}",
        curves=[draw_curve(one.control, one.values, one.scores, first.unit, one.rows) for one in found.curves[:CURVES]],
        pairs={title: listed for title, listed in pairs.items() if listed},
    )


def _pairs(
    found: Evaluation, origin: Origin, targets: Targets
) -> Iterator[tuple[Example, str, AnswerClip, AnswerClip]]:
    """Make the rows and answers of examples audible."""
    rows, places = [one.row for one in found.examples], [one.place for one in found.examples]
    rate, sounds = targets.audio.sample_rate, play(origin, places, targets, rows)
    for example, played, sound in zip(found.examples, targets.performances(rows), sounds, strict=True):
        target, name = targets.sound(example.row), targets.preset_name(example.row)
        heard = np.zeros_like(target) if isinstance(sound, Fault) else sound
        row = AnswerClip(example.title, name, played.note, example.listen, *picture_and_sound(target, rate))
        answer = AnswerClip(
            f"answer to {example.title}", _fault(sound), played.note, "", *picture_and_sound(heard, rate)
        )
        progress.publish(progress.Progress(2, None))
        yield example, found.score_text(example), row, answer


def _fault(sound: object) -> str:
    return f"can't be rendered: {sound.reason}" if isinstance(sound, Fault) else ""
