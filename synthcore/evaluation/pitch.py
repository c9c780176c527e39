"""Metrics of pitch: how far apart the fundamental frequencies are, and where only one sound has one.

The tracker is YIN (de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music", Journal of
the Acoustical Society of America 111, 2002), which says of every frame how periodic it is: a frame in which no period
repeats well enough has no pitch. It is written here because librosa's doesn't say that; pYIN does, but takes 50 times
as long, and trackers learned from data need a network. Tones up to C7 are within 5 cents, those at the top within 12.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from synthcore.evaluation.frames import Audio, Sound, require_pair

LOWEST_HZ, HIGHEST_HZ = 27.5, 4186.0  #: A0 to C8, the keys of a piano
HOP_SECONDS = 0.02
APERIODIC = 0.15  #: share of the power that may differ between a period and the next
RANGE_DB = 60.0  #: frames this far below the loudest have no pitch: a fading tail is periodic for long


def f0_error(target: Audio, answer: Audio, sample_rate: int) -> float:
    """Median difference of the fundamental frequency, over frames in which both sounds have a pitch.

    median |1200 log2(f_answer / f_target)|. The median, because a frame at an onset is easily an octave off.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
        Of which the mean of the channels is tracked.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In cents, hundredths of a semitone, at least 0; an octave off is 1200. NaN where there is no such frame: then
        it doesn't apply.

    Notes
    -----
    Pitch accuracy in cents as in melody extraction (Salamon, Gómez, Ellis and Richard, IEEE Signal Processing Magazine
    31, 2014).
    """
    of_target, of_answer = _pitches(target, answer, sample_rate)
    cents = 1200 * np.abs(np.log2(of_answer / of_target))
    both = cents[np.isfinite(cents)]
    return float(np.median(both)) if len(both) else math.nan


def one_pitched(target: Audio, answer: Audio, sample_rate: int) -> float:
    """The share of frames in which only one of the sounds has a pitch.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
        Of which the mean of the channels is tracked.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        From 0 to 1, of all frames.

    Notes
    -----
    The voicing decision error of Nakatani et al., "A method for fundamental frequency estimation and voicing decision",
    Speech Communication 50, 2008.
    """
    of_target, of_answer = _pitches(target, answer, sample_rate)
    return float((np.isnan(of_target) != np.isnan(of_answer)).mean())


def _pitches(target: Audio, answer: Audio, sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ours, theirs = (track_pitch(sound, sample_rate) for sound in require_pair(target, answer))
    return ours, theirs


def track_pitch(sound: Sound, sample_rate: int) -> NDArray[np.float64]:
    """The fundamental frequency of each frame, every `HOP_SECONDS`.

    Parameters
    ----------
    sound : ndarray, shape (channels, samples), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray, shape (frames,), float64
        In Hz; NaN where a frame has no pitch.
    """
    shortest, longest = math.floor(sample_rate / HIGHEST_HZ), math.ceil(sample_rate / LOWEST_HZ)
    padded = np.pad(sound.mean(axis=0, dtype=np.float64), longest)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * longest)[:: round(HOP_SECONDS * sample_rate)]
    aperiodicity = _aperiodicity(frames, longest)
    lags = _first_troughs(aperiodicity, shortest)
    power = np.square(frames).mean(axis=1)
    pitched = (lags > 0) & (power > power.max() * 10 ** (-RANGE_DB / 10))
    return np.where(pitched, sample_rate / _refine(aperiodicity, np.maximum(lags, 1)), np.nan)


def _aperiodicity(frames: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """YIN's d'(lag), for lags from 0 to `longest`, shape (frames, longest + 1): 1 at lag 0, 0 at a perfect period.

    d(lag) is the sum of (x_j - x_(j + lag))^2 over the first `longest` samples of a frame, d' its ratio to the mean of
    d at all lags up to this one.
    """
    from scipy import fft

    size = fft.next_fast_len(frames.shape[1] + 1, real=True)
    crossed = np.conj(fft.rfft(frames[:, :longest], size)) * fft.rfft(frames, size)
    products = fft.irfft(crossed, size)[:, : longest + 1]
    squares = np.pad(np.cumsum(np.square(frames), axis=1), ((0, 0), (1, 0)))
    energies = squares[:, longest:] - squares[:, : longest + 1]
    differences = np.maximum(energies[:, :1] + energies - 2 * products, 0.0)
    sums = np.cumsum(differences[:, 1:], axis=1)
    lags = np.arange(1, longest + 1)
    normalised = np.divide(differences[:, 1:] * lags, sums, out=np.ones_like(sums), where=sums > 0)
    return np.pad(normalised, ((0, 0), (1, 0)), constant_values=1.0)


def _first_troughs(aperiodicity: NDArray[np.float64], shortest: int) -> NDArray[np.intp]:
    """The shortest lag at which d' has a trough below `APERIODIC`, shape (frames,); 0 where there is none."""
    inner = aperiodicity[:, 1:-1]
    troughs = (inner < aperiodicity[:, :-2]) & (inner <= aperiodicity[:, 2:]) & (inner < APERIODIC)
    troughs[:, : shortest - 1] = False
    return np.where(troughs.any(axis=1), troughs.argmax(axis=1) + 1, 0)


def _refine(aperiodicity: NDArray[np.float64], lags: NDArray[np.intp]) -> NDArray[np.float64]:
    """The lag between samples at which a parabola through a trough and its neighbours is lowest."""
    rows = np.arange(len(lags))
    before, here, after = (aperiodicity[rows, lags + step] for step in (-1, 0, 1))
    curve = before - 2 * here + after
    shift = np.divide(before - after, 2 * curve, out=np.zeros_like(curve), where=curve > 0)
    return np.asarray(lags + np.clip(shift, -0.5, 0.5), dtype=np.float64)
