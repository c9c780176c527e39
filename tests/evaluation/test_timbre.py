"""Metrics of timbre: coefficients and paths written out, and what warping forgives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from synthcore.evaluation.timbre import mfcc, wmfcc
from tests.evaluation.sounds import Sound, mel_power, noise, plucked, tone

RATE = 8_000
SECONDS = 0.2
TARGET = plucked(0, rate=RATE, seconds=SECONDS) + tone(440, rate=RATE, seconds=SECONDS)
ANSWER = plucked(1, rate=RATE, seconds=SECONDS) + tone(660, rate=RATE, seconds=SECONDS, gain=0.1)


def coefficients(sound: Sound) -> NDArray:
    """Of each frame, shape (frames, channels * 20): a cosine transform of the mel spectrum in dB, written out."""
    power = np.array([mel_power(channel, RATE, 400, 80, 128) for channel in sound])  # 50/10 ms
    decibels = 10 * np.log10(np.maximum(power, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    angles = math.pi / 128 * np.outer(np.arange(20), np.arange(128) + 0.5)
    cosines = np.cos(angles) * np.array([math.sqrt(1 / 128)] + 19 * [math.sqrt(2 / 128)])[:, None]
    return np.concatenate([channel @ cosines.T for channel in decibels], axis=1)


def warped(ours: NDArray, theirs: NDArray) -> float:
    """Cost of the cheapest path, cell by cell, over the number of frames of both."""
    total = np.full((len(ours), len(theirs)), math.inf)
    for i, one in enumerate(ours):
        for j, other in enumerate(theirs):
            cost = sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)
            steps = [cost] if i == j == 0 else []
            steps += [total[i - 1, j] + cost] if i else []
            steps += [total[i, j - 1] + cost] if j else []
            steps += [total[i - 1, j - 1] + 2 * cost] if i and j else []
            total[i, j] = min(steps)
    return float(total[-1, -1] / (len(ours) + len(theirs)))


@pytest.mark.slow
def test_wmfcc_is_the_cost_of_the_cheapest_path_between_the_frames() -> None:
    assert wmfcc(TARGET, ANSWER, RATE) == pytest.approx(warped(coefficients(TARGET), coefficients(ANSWER)), rel=1e-4)


@pytest.mark.slow
def test_mfcc_is_the_mean_difference_of_the_coefficients() -> None:
    assert mfcc(TARGET, ANSWER, RATE) == pytest.approx(
        np.abs(coefficients(TARGET) - coefficients(ANSWER)).mean(), rel=1e-4
    )


def test_warping_forgives_what_comes_later() -> None:
    sound = tone(440, rate=RATE, seconds=0.2)
    pause = noise(0, rate=RATE, seconds=0.1, gain=1e-3)
    early, late = (np.concatenate(parts, axis=1) for parts in ((sound, pause), (pause, sound)))
    assert wmfcc(early, late, RATE) < mfcc(early, late, RATE) / 2


def test_half_the_amplitude_moves_the_first_coefficient_alone() -> None:
    loud = noise(3, rate=RATE, seconds=0.3)
    expected = 20 * math.log10(2) * math.sqrt(128) / 20
    assert mfcc(loud, loud / 2, RATE) == pytest.approx(expected, rel=1e-3)


def test_silence_is_far_from_sound_but_not_from_silence() -> None:
    silence = np.zeros_like(TARGET)
    for metric in (mfcc, wmfcc):
        assert metric(silence, silence, RATE) == 0.0
        assert metric(TARGET, ANSWER, RATE) < metric(TARGET, silence, RATE) < 100
        assert metric(silence, TARGET, RATE) == pytest.approx(metric(TARGET, silence, RATE))
