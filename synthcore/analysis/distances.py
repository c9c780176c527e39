"""How far two sounds lie apart, as a number of decibels: the distance behind importance weights and near-duplicates.

Both sounds become mel spectra at three time resolutions, and the distance is the mean difference of their levels.
Comparing magnitudes at several resolutions at once is the multi-resolution STFT loss (Yamamoto et al., "Parallel
WaveGAN", ICASSP 2020, arXiv:1910.11480; Engel et al., "DDSP", ICLR 2020, arXiv:2001.04643); the mel scale weighs
frequencies about as ears do. Phases are not compared: two renders of the same knobs with other random phases lie near.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import SynthcoreError

#: Length of the windows in seconds and number of mel bands: long windows tell pitches apart, short ones attacks. At
#: 44.1 kHz windows have 4096, 1024 and 256 samples; every band is wider than its window resolves, so none is empty.
RESOLUTIONS = ((0.093, 128), (0.023, 64), (0.006, 16))
HOP = 4  #: windows overlap by three quarters
LOWEST_HZ, HIGHEST_HZ = 20.0, 20_000.0  #: what people hear
#: What lies this far below the loudest cell counts as silence. So making both sounds equally louder doesn't change
#: their distance.
RANGE_DB = 80.0
SILENCE = 1e-20  #: power of digital silence, -200 dB

Audio = NDArray[np.floating[Any]]
Powers = tuple[NDArray[np.float32], ...]  #: mel powers, one array a resolution


def distance(a: Audio, b: Audio, sample_rate: int = 44_100) -> float:
    """Measure how far two sounds lie apart.

    Parameters
    ----------
    a, b : ndarray, shape (2, S), float32
        Left and right at full scale 1, as `Dataset` and `render` give them.
    sample_rate : int
        Of both, in Hz.

    Returns
    -------
    float
        Mean difference of level in dB, over channels, mel bands and frames; the mean of the three resolutions. At
        least 0, at most `RANGE_DB`, exactly 0 for identical audio; the same for (a, b) and (b, a).

    Raises
    ------
    SynthcoreError
        A sound isn't finite or not of shape (2, S), or they differ in length.
    """
    if np.shape(a) != np.shape(b):
        raise SynthcoreError(f"can't compare audio of shape {np.shape(a)} with {np.shape(b)}: make them equally long")
    return level_distance(mel_powers(a, sample_rate), mel_powers(b, sample_rate))


def log_mel(audio: Audio, sample_rate: int, seconds: float = 0.023, bands: int = 64) -> NDArray[np.float32]:
    """The mel spectrum of a sound in decibels: one of those that `distance` compares.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
    sample_rate : int
        In Hz.
    seconds : float
        Length of the window; see `RESOLUTIONS`.
    bands : int

    Returns
    -------
    ndarray, shape (2, bands, frames), float32
        Level in dB of full scale, no lower than `RANGE_DB` below the loudest cell.

    Raises
    ------
    SynthcoreError
        The sound isn't finite, or not of shape (2, S).
    """
    powers = _mel_power(_require_stereo(audio), sample_rate, seconds, bands)
    return _levels(powers, float(powers.max()))


def mel(hz: float) -> float:
    """A frequency's pitch on the mel scale, 2595 log10(1 + f / 700) (O'Shaughnessy, 1987)."""
    return 2595 * math.log10(1 + hz / 700)


def highest_hz(sample_rate: int) -> float:
    """The upper end of the highest mel band, in Hz."""
    return min(HIGHEST_HZ, sample_rate / 2)


def mel_edges(sample_rate: int, bands: int) -> NDArray[np.float64]:
    """The edges of mel bands that overlap by half, shape (bands + 2,), in Hz: band k lies between edges k and k + 2."""
    mels = np.linspace(mel(LOWEST_HZ), mel(highest_hz(sample_rate)), bands + 2)
    edges: NDArray[np.float64] = 700 * (10 ** (mels / 2595) - 1)
    return edges


def mel_powers(audio: Audio, sample_rate: int) -> Powers:
    """The mel spectra of a sound that is compared with several others by `level_distance`.

    Returns
    -------
    tuple of ndarray, shape (2, bands, frames), float32
        Power in each band, for each of `RESOLUTIONS`.

    Raises
    ------
    SynthcoreError
        The sound isn't finite, or not of shape (2, S).
    """
    audio = _require_stereo(audio)
    return tuple(_mel_power(audio, sample_rate, seconds, bands) for seconds, bands in RESOLUTIONS)


def level_distance(a: Powers, b: Powers) -> float:
    """`distance` of two sounds, from their mel spectra."""
    apart = []
    for of_a, of_b in zip(a, b, strict=True):
        loudest = max(float(of_a.max()), float(of_b.max()))
        apart.append(float(np.abs(_levels(of_a, loudest) - _levels(of_b, loudest)).mean(dtype=np.float64)))
    return math.fsum(apart) / len(apart)


def _require_stereo(audio: Audio) -> NDArray[np.float32]:
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 2 or audio.shape[0] != 2 or not audio.shape[1]:
        raise SynthcoreError(f"audio has shape {audio.shape}; give left and right, (2, samples)")
    if not np.isfinite(audio).all():
        raise SynthcoreError("audio holds NaN or infinity; it has no distance")
    return audio


def _levels(powers: NDArray[np.float32], loudest: float) -> NDArray[np.float32]:
    """Power in dB, no lower than `RANGE_DB` below the loudest."""
    floor = max(loudest * 10 ** (-RANGE_DB / 10), SILENCE)
    return np.float32(10) * np.log10(np.maximum(powers, np.float32(floor)))


def _mel_power(audio: NDArray[np.float32], sample_rate: int, seconds: float, bands: int) -> NDArray[np.float32]:
    size = 2 ** round(math.log2(seconds * sample_rate))
    # Half a window of silence at both ends, so that the window doesn't fade out an attack on the first sample.
    padded = np.pad(audio, ((0, 0), (size // 2, size // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, :: size // HOP]
    # Hann's; scipy.signal has it too, but takes half a second to import.
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    spectrum = np.fft.rfft(frames * (window * (2 / window.sum())).astype(np.float32), axis=2)
    power = spectrum.real**2 + spectrum.imag**2
    mel = _filters(sample_rate, size, bands) @ power.reshape(-1, power.shape[2]).T
    return np.ascontiguousarray(mel.reshape(bands, 2, -1).transpose(1, 0, 2))


@lru_cache(maxsize=16)
def _filters(sample_rate: int, size: int, bands: int) -> Any:
    """Triangles that overlap by half, evenly spaced on the mel scale.

    Each triangle's weights add up to 1, so that noise of equal density has the same level in wide and narrow bands.
    Sparse, because what a BLAS gives depends on how many threads it takes.
    """
    from scipy.sparse import csr_array

    edges = mel_edges(sample_rate, bands)
    bins = np.arange(size // 2 + 1) * (sample_rate / size)
    low, centre, top = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    weights = np.maximum(0, np.minimum((bins - low) / (centre - low), (top - bins) / (top - centre)))
    return csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))
