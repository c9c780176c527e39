"""Features: what can be computed of each row's sound once, to be kept beside it. Pure functions of sound and settings.

Log-mel spectra follow librosa's conventions, which are torchaudio's with Slaney's scale and norm: so what a model has
learnt from stored ones fits what any program computes of a new sound.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.analysis.audio import sketch
from synthcore.analysis.feature_specs import FeatureSpec, LogMel
from synthcore.base.counting import how_many
from synthcore.base.errors import SpecError

BREAK_HZ, HZ_PER_MEL, LOG_STEP = 1_000.0, 200 / 3, math.log(6.4) / 27  #: of Slaney's mel scale


def feature_of(audio: NDArray[np.float32], sample_rate: int, spec: FeatureSpec) -> NDArray[Any]:
    """Compute a feature of one sound.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
        Left and right; full scale is 1.
    sample_rate : int
        In Hz.
    spec : LogMel or Sketch

    Returns
    -------
    ndarray
        As `log_mel`; of a sketch, shape (1024,), float32, in dB.

    Raises
    ------
    SpecError
        As `log_mel`.
    """
    return log_mel(audio, sample_rate, spec) if isinstance(spec, LogMel) else sketch(audio, sample_rate)


def log_mel(audio: NDArray[np.float32], sample_rate: int, spec: LogMel) -> NDArray[Any]:
    """Compute the log-mel spectrum of a sound.

    `librosa.power_to_db(librosa.feature.melspectrogram(...), amin=10 ** (floor_db / 10), top_db=None)` gives the same,
    with `win_length` the window, `n_fft` the next power of two, `hop_length`, `n_mels`, `fmin` and `fmax`.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
        Left and right; full scale is 1.
    sample_rate : int
        In Hz.
    spec : LogMel

    Returns
    -------
    ndarray, shape (2 or 1, bands, 1 + S // hop), `spec.dtype`
        Levels in dB, no lower than `spec.floor_db`. Frame t lies around sample t * hop; beyond the ends is silence.

    Raises
    ------
    SpecError
        A band would be empty at this sample rate.
    """
    channels = audio.mean(axis=0, keepdims=True) if spec.mono else audio
    size, hop = _samples(spec.window_ms, sample_rate), _samples(spec.hop_ms, sample_rate)
    fft_size = 1 << (size - 1).bit_length()
    filters = _filters(spec.bands, spec.low_hz, min(spec.high_hz, sample_rate / 2), fft_size, sample_rate)
    powers = _powers(channels, size, hop, fft_size)
    mel = filters @ powers.reshape(-1, powers.shape[2]).T
    levels = np.float32(10) * np.log10(np.maximum(mel, np.float32(10 ** (spec.floor_db / 10))))
    return np.ascontiguousarray(levels.reshape(spec.bands, len(channels), -1).transpose(1, 0, 2), dtype=spec.dtype)


def _samples(milliseconds: float, sample_rate: int) -> int:
    return max(1, round(milliseconds / 1_000 * sample_rate))


def _powers(channels: NDArray[np.float32], size: int, hop: int, fft_size: int) -> NDArray[np.float32]:
    """Power spectra, shape (C, frames, bins)."""
    frames = 1 + channels.shape[1] // hop
    before = fft_size // 2 - (fft_size - size) // 2  # as if the window stood in the middle of `fft_size` samples
    after = max(0, (frames - 1) * hop + size - before - channels.shape[1])
    padded = np.pad(channels, ((0, 0), (before, after)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop][:, :frames]
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    spectrum = np.fft.rfft(windows * hann, n=fft_size, axis=2)
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)


@lru_cache(maxsize=16)
def _filters(bands: int, low_hz: float, high_hz: float, fft_size: int, sample_rate: int) -> Any:
    """Triangles that overlap by half, evenly spaced on Slaney's mel scale, each of the same area (Slaney's norm).

    Sparse, because what a BLAS gives depends on how many threads it takes.
    """
    from scipy.sparse import csr_array

    if low_hz >= high_hz:
        raise SpecError(f"there are no mel bands from {low_hz:g} to {high_hz:g} Hz; choose a low-hz below high-hz")
    low_mel, high_mel = _to_mel(np.array([low_hz, high_hz]))
    edges = _to_hz(np.linspace(low_mel, high_mel, bands + 2))
    bins = np.arange(fft_size // 2 + 1) * (sample_rate / fft_size)
    low, centre, top = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    weights = np.maximum(0, np.minimum((bins - low) / (centre - low), (top - bins) / (top - centre)))
    if empty := int((weights.max(axis=1) == 0).sum()):
        raise SpecError(
            f"{empty} of {how_many(bands, 'mel band')} would be empty, being narrower than the window resolves; "
            "choose fewer bands, or a longer window-ms"
        )
    return csr_array((weights * (2 / (top - low))).astype(np.float32))


def _to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above."""
    above = BREAK_HZ / HZ_PER_MEL + np.log(np.maximum(hz, BREAK_HZ) / BREAK_HZ) / LOG_STEP
    return np.where(hz < BREAK_HZ, hz / HZ_PER_MEL, above)


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    at_break = BREAK_HZ / HZ_PER_MEL
    return np.where(mel < at_break, mel * HZ_PER_MEL, BREAK_HZ * np.exp(LOG_STEP * np.maximum(mel - at_break, 0)))
