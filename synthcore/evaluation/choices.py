"""Choices: what an evaluation can be asked for. Imports next to nothing, because `--help` names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Baseline = Literal["oracle", "mean", "random", "nearest", "search"]
Part = Literal["train", "val", "test", "all"]  #: of a dataset: one of its splits, or every row
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are answered, and by what.

    Attributes
    ----------
    against : Path
        The dataset whose rows are answered, or a folder of sounds.
    split : str
        Which of them.
    answers : Path or None
        What answers them, a file or a folder; None if a baseline does.
    baseline : str or None
    train : Path
        The dataset from whose training split a baseline learns; the one that is answered unless another is named.
    seed : int
        Of the baseline `random`.
    note : int or None
        At which answers to all sounds of a folder are played.
    """

    against: Path
    split: Part
    answers: Path | None
    baseline: Baseline | None
    train: Path
    seed: int
    note: int | None = None
