"""Matches: what was found for a sound, as presets and audio that other programs open."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import SpecError
from synthcore.base.hashing import canonical_json
from synthcore.base.places import require_folder
from synthcore.evaluation.match_report import MatchReport
from synthcore.evaluation.matching import Match
from synthcore.storage.dataset import Dataset

TARGET = "target.wav"  #: the sound itself, in the form that the answers are compared with


def require_empty(folder: Path) -> None:
    """Refuse a folder that can't be written or made, or that holds something.

    Raises
    ------
    SpecError
    """
    require_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise SpecError(f"{folder} isn't empty; name a new folder with -o")


def write_answers(found: Match, report: MatchReport, dataset: Dataset) -> None:
    """Write the target, and preset and audio of each answer, where the report says; all of them or none.

    The audio is 32-bit float, the very samples that were compared.

    Raises
    ------
    DiskError
        The folder can't be written.
    """
    with contextlib.ExitStack() as written:  # each gets its name only when all have been written

        def write_audio(path: Path, audio: NDArray[np.float32]) -> None:
            wavfile.write(written.enter_context(atomic_path(path)), found.target.sample_rate, audio.T)

        write_audio(Path(report.folder) / TARGET, found.target.audio)
        for answer, reported in zip(found.answers, report.answers, strict=True):
            write_audio(Path(reported.wav), answer.played.audio)
            patch, path = answer.played.patch, Path(reported.preset)
            preset = patch.to_preset(dataset.registry, dataset.assets_of(patch), path.stem)
            written.enter_context(atomic_path(path)).write_text(canonical_json(preset))
