"""Metrics of loudness: its course, whatever the level, and its level over the whole sound."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from synthcore.evaluation.frames import Audio, Sound, library, require_pair, samples

WINDOW, HOP = 50, 25  #: ms, of the envelope

BLOCK_SECONDS = 0.4  #: BS.1770 measures blocks of this length
GATE_LUFS = -70.0  #: and ignores those that are softer than this


def rms_cosine(target: Audio, answer: Audio, sample_rate: int) -> float:
    """Cosine similarity of the envelopes: the RMS of 50 ms every 25 ms, of the mean of the channels.

    sum(T A) / sqrt(sum(T^2) sum(A^2)) over frames. It compares the shape of the envelopes, not their level. Two silent
    sounds are alike: 1; a silent one is like no other: 0.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        From 0 to 1, which is best.

    Notes
    -----
    Hayes, Saitis and Fazekas, ISMIR 2025, arXiv:2506.07199, and their published evaluation, which leaves the cosine of
    silence undefined.
    """
    of_target, of_answer = (_envelope(sound, sample_rate) for sound in require_pair(target, answer))
    powers = float(of_target @ of_target), float(of_answer @ of_answer)
    if not all(powers):
        return float(powers[0] == powers[1])
    return min(1.0, float(of_target @ of_answer) / math.sqrt(powers[0] * powers[1]))


def _envelope(sound: Sound, sample_rate: int) -> NDArray[np.float64]:
    window, hop = samples(WINDOW, sample_rate), samples(HOP, sample_rate)
    mono = sound.mean(axis=0, dtype=np.float64)
    envelope: NDArray[np.float64] = library("librosa").feature.rms(y=mono, frame_length=window, hop_length=hop)[0]
    return envelope


def loudness_error(target: Audio, answer: Audio, sample_rate: int) -> float:
    """Difference of the integrated loudness, |L(target) - L(answer)|.

    L is what BS.1770 calls programme loudness: the power of all channels after the K weighting, over blocks of 400 ms
    that overlap by three quarters, without those below -70 LUFS or 10 LU below the mean of the others. A sound without
    a block above -70 LUFS, such as silence, counts as -70. A sound of less than a block is followed by silence.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In LU, that is dB, at least 0.

    Notes
    -----
    ITU-R BS.1770-4, by pyloudnorm, with the filters that De Man fitted to the recommendation's coefficients
    ("Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018).
    """
    of_target, of_answer = (integrated_loudness(sound, sample_rate) for sound in require_pair(target, answer))
    return abs(of_target - of_answer)


def integrated_loudness(sound: Sound, sample_rate: int) -> float:
    """Loudness of a whole sound, as `loudness_error` says; in LUFS, at least -70."""
    block = math.ceil(BLOCK_SECONDS * sample_rate)
    padded = np.pad(sound.astype(np.float64), ((0, 0), (0, max(0, block - sound.shape[1]))))
    meter = library("pyloudnorm").Meter(sample_rate, filter_class="DeMan", block_size=BLOCK_SECONDS)
    return max(GATE_LUFS, float(meter.integrated_loudness(padded.T)))
