"""The built-in samples: noises made here, so free of any licence; of whole numbers, so the same everywhere.

Owns the noises, their names and their level. White noise isn't among them: it is the init preset's sample.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from synthcore.vital.shapes import asset_of

Wave = NDArray[np.int64]  #: shape (LENGTH,)
Noise = Callable[[np.random.Generator], Wave]

SAMPLE_RATE = 44_100
#: Samples: half a second, in half of the init preset's bytes. Played on, the noise repeats.
LENGTH = 22_050
PEAK = 32_000  #: of every noise; 16 bits go to 32,767

_noises: list[tuple[str, Noise]] = []


@lru_cache(maxsize=1)
def builtin_samples() -> tuple[tuple[str, str, bytes], ...]:
    """Make every noise, in a fixed order: its name, its SHA-256, and its asset in canonical JSON."""
    return tuple((name, *asset_of(_sample(noise, seed))) for seed, (name, noise) in enumerate(_noises))


def builtin_sample_name(digest: str) -> str | None:
    """What the sample with this SHA-256 is called if it is built in."""
    return next((name for name, known, _ in builtin_samples() if known == digest), None)


def _builtin(name: str) -> Callable[[Noise], Noise]:
    """Make a function a built-in noise; the order is also that of the seeds."""

    def add(noise: Noise) -> Noise:
        _noises.append((name, noise))
        return noise

    return add


def _sample(noise: Noise, seed: int) -> dict[str, int | str]:
    samples = _level(noise(np.random.default_rng(seed))).astype("<i2")
    text = base64.b64encode(samples.tobytes()).decode()
    return {"length": LENGTH, "sample_rate": SAMPLE_RATE, "samples": text}


def _level(wave: Wave) -> Wave:
    """Bring a wave to its peak, in whole numbers: how sums of fractions are rounded depends on the processor."""
    wave = wave - wave.sum() // LENGTH
    levelled: Wave = wave * PEAK // np.abs(wave).max()
    return levelled


def _white(rng: np.random.Generator) -> Wave:
    return rng.integers(-1000, 1001, LENGTH)


def _added(wave: Wave, width: int) -> Wave:
    """Add up `width` neighbours, around the loop."""
    sums = np.concatenate([[0], np.cumsum(np.concatenate([wave, wave[:width]]))])
    added: Wave = sums[width : width + LENGTH] - sums[:LENGTH]
    return added


def _pops(rng: np.random.Generator, count: int, longest: int) -> Wave:
    """Scatter clicks that die away, few of them loud."""
    wave = np.zeros(LENGTH, dtype=np.int64)
    for start in rng.integers(LENGTH, size=count).tolist():
        height = int(rng.integers(1, 64)) ** 3 * (1 if rng.random() < 0.5 else -1)
        fade = np.arange(longest, 0, -1) ** 2 * height // longest**2
        sign = 1 - 2 * (np.arange(longest) // int(rng.integers(2, 8)) % 2)
        wave[(start + np.arange(longest)) % LENGTH] += fade * sign
    return wave


# --- The noises: add new ones at the end ----------------------------------------------------------------------------


@_builtin("Pink Noise")
def _pink(rng: np.random.Generator) -> Wave:
    """Add noises that change half as often each (Voss and McCartney)."""
    octaves = [np.repeat(rng.integers(-1000, 1001, -(-LENGTH // held)), held) for held in (1 << k for k in range(12))]
    added: Wave = np.array([octave[:LENGTH] for octave in octaves]).sum(axis=0)
    return added


@_builtin("Brown Noise")
def _brown(rng: np.random.Generator) -> Wave:
    """Walk at random and end where it began; without what is too low to hear."""
    white = _white(rng)
    walk = np.cumsum(white * LENGTH - white.sum()) // LENGTH
    return walk * 1024 - _added(walk, 1024)


@_builtin("Blue Noise")
def _blue(rng: np.random.Generator) -> Wave:
    white = _white(rng)
    return white - np.roll(white, 1)


@_builtin("Coarse Noise")
def _coarse(rng: np.random.Generator) -> Wave:
    return np.repeat(rng.integers(-1000, 1001, LENGTH // 9), 9)


@_builtin("Wind")
def _wind(rng: np.random.Generator) -> Wave:
    """Let dull noise swell and fade."""
    gusts = np.repeat(rng.integers(20, 100, LENGTH // 2205), 2205)
    return _added(_white(rng), 24) * (_added(gusts, 2205) // 2205)


@_builtin("Vinyl Crackle")
def _vinyl(rng: np.random.Generator) -> Wave:
    return _pops(rng, 40, 24) * 40 + _added(_white(rng), 6) * 4


@_builtin("Rain")
def _rain(rng: np.random.Generator) -> Wave:
    return _pops(rng, 900, 60)
