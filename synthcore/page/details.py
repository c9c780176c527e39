"""Details: what it takes to make a row in the synth: its knobs, its wavetables, and the command that exports it."""

from __future__ import annotations

from dataclasses import dataclass

from synthcore.analysis import words
from synthcore.base import shell
from synthcore.page.drawing import frames_of, outline, waveform
from synthcore.storage.dataset import Dataset
from synthcore.vital.patch import OSCILLATORS

WIDTH, HEIGHT = 128, 48  #: of a waveform


@dataclass(frozen=True, slots=True)
class Wave:
    """The wavetable of an oscillator that is on. The name is people's."""

    oscillator: int
    name: str
    frame: float
    last: int  # of its frames, counted from 0
    outline: str  # an SVG path, WIDTH by HEIGHT; "" where only Vital knows the waveform


@dataclass(frozen=True, slots=True)
class Details:
    """How to make one row in the synth."""

    words: words.RowWords
    waves: list[Wave]
    command: str  # exports it


def describe(dataset: Dataset, row: int) -> Details:
    """Gather the details of one row."""
    return Details(
        words=words.describe(dataset, row),
        waves=_waves(dataset, row),
        command=shell.command("export", dataset.path, str(row), "-o", "out/"),
    )


def _waves(dataset: Dataset, row: int) -> list[Wave]:
    """Draw the wavetable of each oscillator that is on, at the frame where it stands without modulation."""
    patch, classes = dataset.patch(row), dataset.classes
    values, assets = patch.values(dataset.registry), dataset.assets_of(patch)
    waves = []
    for oscillator, digest in zip(range(1, OSCILLATORS + 1), patch.wavetables, strict=True):
        if values[f"osc_{oscillator}_on"]:
            content, frame = assets[digest], values[f"osc_{oscillator}_wave_frame"]
            wave = waveform(content, frame)
            waves.append(
                Wave(
                    oscillator=oscillator,
                    name=classes.wavetable_names[classes.wavetables.index(digest)] or f"unnamed {digest[:8]}",
                    frame=frame,
                    last=frames_of(content) - 1,
                    outline="" if wave is None else outline(wave, WIDTH, HEIGHT),
                )
            )
    return waves
