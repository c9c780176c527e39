"""A match on a page: the target beside each answer, to look at and listen to, and how to make it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthcore.evaluation.match_report import MatchReport, ReportedAnswer
from synthcore.evaluation.matching import Match
from synthcore.page.clips import picture_and_sound


@dataclass(frozen=True, slots=True)
class Heard:
    """One sound to look at and listen to, as data: addresses."""

    picture: str
    sound: str


@dataclass(frozen=True, slots=True)
class MatchContent:
    """What a page shows of a match. The sound's name is people's: anything can be in it."""

    report: MatchReport
    title: str
    target: Heard
    answers: list[tuple[ReportedAnswer, Heard, str]]  # each with the name of its preset


def gather_match(found: Match, report: MatchReport) -> MatchContent:
    """Make what was found visible and audible."""

    def heard(audio: NDArray[np.float32]) -> Heard:
        return Heard(*picture_and_sound(audio, found.target.sample_rate))

    return MatchContent(
        report=report,
        title=Path(report.sound).name,
        target=heard(found.target.audio),
        answers=[
            (reported, heard(answer.played.audio), Path(reported.preset).name)
            for answer, reported in zip(found.answers, report.answers, strict=True)
        ],
    )
