"""The target: one sound that presets are searched for, in the form of a dataset's rows.

Owns what becomes of anybody's sound: what is refused, and what it takes to compare the rest, each said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthcore.analysis.nearness import Sketches, sketch_sounds
from synthcore.base.errors import PresetError, SpecError, SynthcoreError
from synthcore.ingest.recordings import AUDIO_ENDINGS, RATES
from synthcore.pipeline.forms import CHANNELS, MORE_CHANNELS, Form


@dataclass(frozen=True, slots=True)
class Target:
    """One sound in a dataset's form.

    Attributes
    ----------
    name : str
        Of its file: anything can be in it.
    audio : ndarray, shape (2, S), float32
    sample_rate : int
        In Hz.
    sketch : Sketches
        Its own, shape (1, L).
    changes : tuple of str
        What it took: "resampled", "cut" and so on.
    """

    name: str
    audio: NDArray[np.float32]
    sample_rate: int
    sketch: Sketches
    changes: tuple[str, ...]


def read_target(path: Path, form: Form) -> Target:
    """Read an audio file as a target; what it is, its content says, whatever its name.

    Raises
    ------
    SpecError
        It isn't there, isn't audio that can be read, isn't finite, or is silent as far as a row lasts.
    """
    try:
        fitted, changes = form.read(path.resolve())
    except PresetError as error:
        raise SpecError(f"{path}: {error}; give a sound ({', '.join(AUDIO_ENDINGS)})") from error
    return _target(path.name, fitted, form, changes)


def to_target(audio: ArrayLike, sample_rate: int, form: Form) -> Target:
    """Make a target of samples, shape (S,) or (channels, S), full scale 1; `sample_rate` in Hz.

    Raises
    ------
    SpecError
        It isn't of such a shape, isn't finite, or is silent as far as a row lasts; or nothing has such a sample rate.
    """
    samples = np.atleast_2d(np.asarray(audio, np.float32))
    if samples.ndim != 2 or not samples.shape[0] or samples.shape[0] > samples.shape[1]:
        raise SpecError(f"the sound has shape {np.shape(audio)}; give (samples,) or (channels, samples)")
    if not np.isfinite(samples).all():
        raise SpecError("the sound holds NaN or infinity; give samples that are finite, with full scale 1")
    if sample_rate != int(sample_rate) or not RATES[0] <= sample_rate <= RATES[1]:
        raise SpecError(
            f"the sound's sample rate is {sample_rate} Hz; give a whole number from {RATES[0]} to {RATES[1]}"
        )
    channels = CHANNELS.get(len(samples), MORE_CHANNELS)
    stereo = np.repeat(samples, 2, axis=0) if len(samples) == 1 else samples[:2]
    fitted, changes = form.fit(stereo, int(sample_rate))
    return _target("the sound", fitted, form, (*channels, *changes))


def _target(name: str, fitted: NDArray[np.float32], form: Form, changes: tuple[str, ...]) -> Target:
    try:
        sketch = sketch_sounds([fitted], form.sample_rate)
    except SynthcoreError as error:
        raise SpecError(f"{name} can't be matched in its first {form.seconds:g} s: {error}") from error
    return Target(name, fitted, form.sample_rate, sketch, changes)
