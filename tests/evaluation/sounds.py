"""Sounds for the tests of metrics, and a transform written out: window, pad, multiply, add."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]


def tone(hertz: float, *, rate: int, seconds: float, gain: float = 0.3, partials: int = 8, channels: int = 2) -> Sound:
    """A tone whose partials fall off as a saw's do, the same in all channels."""
    times = np.arange(round(rate * seconds)) / rate
    wave = sum(np.sin(2 * math.pi * hertz * k * times) / k for k in range(1, partials + 1) if hertz * k < rate / 2)
    return np.tile(gain * wave, (channels, 1)).astype(np.float32)


def noise(seed: int, *, rate: int, seconds: float, gain: float = 0.1, channels: int = 2) -> Sound:
    return np.random.default_rng(seed).normal(0, gain, (channels, round(rate * seconds))).astype(np.float32)


def plucked(seed: int, *, rate: int, seconds: float, channels: int = 2) -> Sound:
    """Noise in both channels, louder in the left, that fades by 60 dB."""
    fade = 10 ** (-3 * np.linspace(0, 1, round(rate * seconds)))
    louder = np.array([[1.0], [0.5]])[:channels]
    return (louder * fade * noise(seed, rate=rate, seconds=seconds, channels=channels)).astype(np.float32)


def transform(samples: NDArray[np.floating], window: int, hop: int, *, fft: int = 0, mirrored: bool = False) -> NDArray:
    """Magnitudes, shape (frames, fft // 2 + 1), of one channel: each sum written out, in double precision."""
    fft = fft or window
    half = fft // 2
    padded = [0.0] * half + samples.tolist() + [0.0] * half
    if mirrored:
        padded = samples[half:0:-1].tolist() + samples.tolist() + samples[-2 : -half - 2 : -1].tolist()
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / window) for n in range(window)]
    before = (fft - window) // 2
    shape = np.array([0.0] * before + hann + [0.0] * (fft - window - before))
    turns = turns_of(fft)
    starts = range(0, len(padded) - fft + 1, hop)
    return np.array([np.abs(turns @ (shape * np.array(padded[start : start + fft]))) for start in starts])


@lru_cache(maxsize=8)
def turns_of(fft: int) -> NDArray:
    return np.exp(-2j * math.pi * np.outer(np.arange(fft // 2 + 1), np.arange(fft)) / fft)


def slaney_edges(top_hertz: float, bands: int) -> list[float]:
    """Edges of bands on the scale of Slaney's Auditory Toolbox: 3 mels to 200 Hz up to 1 kHz, logarithmic above."""
    top = 15 + 27 * math.log(top_hertz / 1000) / math.log(6.4)
    mels = [top * step / (bands + 1) for step in range(bands + 2)]
    return [200 / 3 * mel if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27) for mel in mels]


def mel_power(channel: NDArray[np.floating], rate: int, window: int, hop: int, bands: int) -> NDArray:
    """Power in triangles of area 1, shape (frames, bands), each weight written out."""
    edges = slaney_edges(rate / 2, bands)
    weights = np.zeros((bands, window // 2 + 1))
    for band in range(bands):
        low, centre, top = edges[band : band + 3]
        for k in range(window // 2 + 1):
            hertz = k * rate / window
            inside = min((hertz - low) / (centre - low), (top - hertz) / (top - centre))
            weights[band, k] = max(0.0, inside) * 2 / (top - low)
    return transform(channel, window, hop) ** 2 @ weights.T
