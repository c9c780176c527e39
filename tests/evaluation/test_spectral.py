"""Metrics of the spectrum: what the definitions give when they are written out, and what follows from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import synthcore
from synthcore.evaluation.spectral import distance, mss, multi_resolution_stft, sot
from tests.evaluation.sounds import mel_power, noise, plucked, tone, transform

RATE = 8_000  # of what is written out
SECONDS = 0.25
TARGET = plucked(0, rate=RATE, seconds=SECONDS) + tone(440, rate=RATE, seconds=SECONDS)
ANSWER = plucked(1, rate=RATE, seconds=SECONDS) + tone(660, rate=RATE, seconds=SECONDS, gain=0.1)
SILENCE = np.zeros_like(TARGET)


@pytest.mark.slow
def test_mss_is_the_mean_difference_of_three_mel_spectra_in_decibels_below_their_maximum() -> None:
    scales = []
    for window, hop, bands in ((80, 40, 32), (200, 80, 64), (800, 400, 128)):  # 10/5, 25/10, 100/50 ms
        levels = []
        for sound in (TARGET, ANSWER):
            power = np.array([mel_power(channel, RATE, window, hop, bands) for channel in sound])
            decibels = 10 * np.log10(np.maximum(power, 1e-10) / power.max())
            levels.append(np.maximum(decibels, -80))
        scales.append(np.abs(levels[0] - levels[1]).mean())
    assert mss(TARGET, ANSWER, RATE) == pytest.approx(np.mean(scales), rel=1e-4)


def test_mss_compares_no_loudness() -> None:
    assert mss(TARGET, TARGET / 4, RATE) == pytest.approx(0, abs=1e-3)
    assert mss(TARGET, ANSWER / 4, RATE) == pytest.approx(mss(TARGET, ANSWER, RATE), abs=1e-3)


def test_mss_takes_silence_as_equally_loud_everywhere() -> None:
    assert mss(SILENCE, SILENCE, RATE) == 0.0
    against_silence = mss(TARGET, SILENCE, RATE)
    assert against_silence == mss(SILENCE, TARGET, RATE)
    assert mss(TARGET, ANSWER, RATE) < against_silence <= 80


@pytest.mark.slow
def test_multi_resolution_stft_is_convergence_plus_log_difference_at_three_resolutions() -> None:
    losses = []
    for fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        convergences, logs = [], []
        for channel, other in zip(TARGET, ANSWER, strict=True):
            ours = np.maximum(transform(channel, window, hop, fft=fft, mirrored=True), 1e-4)
            theirs = np.maximum(transform(other, window, hop, fft=fft, mirrored=True), 1e-4)
            convergences.append(math.sqrt(((ours - theirs) ** 2).sum() / (ours**2).sum()))
            logs.append(np.abs(np.log(ours) - np.log(theirs)).mean())
        losses.append(np.mean(convergences) + np.mean(logs))
    assert multi_resolution_stft(TARGET, ANSWER, RATE) == pytest.approx(np.mean(losses), rel=1e-4)


def test_multi_resolution_stft_of_half_the_amplitude_is_a_half_plus_log_two() -> None:
    loud = noise(3, rate=RATE, seconds=0.5, gain=1.0)
    assert multi_resolution_stft(loud, loud / 2, RATE) == pytest.approx(0.5 + math.log(2), rel=1e-3)


def test_multi_resolution_stft_of_a_silent_answer_is_finite_and_the_rate_doesnt_matter() -> None:
    assert multi_resolution_stft(TARGET, SILENCE, RATE) > 1
    assert math.isfinite(multi_resolution_stft(SILENCE, TARGET, RATE))
    assert multi_resolution_stft(TARGET, ANSWER, 44_100) == multi_resolution_stft(TARGET, ANSWER, RATE)


def test_distance_is_ours_and_takes_mono_as_both_channels() -> None:
    assert distance(TARGET, ANSWER, RATE) == synthcore.distance(TARGET, ANSWER, RATE)
    target, answer = (np.repeat(sound[:1], 2, axis=0) for sound in (TARGET, ANSWER))
    assert distance(TARGET[:1], ANSWER[:1], RATE) == distance(target, answer, RATE)


@pytest.mark.slow
def test_sot_is_the_wasserstein_distance_of_each_frames_spectrum() -> None:
    frames = [transform(sound.mean(axis=0), 400, 160) for sound in (TARGET, ANSWER)]  # 50/20 ms
    places = np.arange(201) / 201
    apart = [wasserstein_distance(places, places, ours, theirs) for ours, theirs in zip(*frames, strict=True)]
    assert sot(TARGET, ANSWER, RATE) == pytest.approx(np.mean(apart), rel=1e-4)


@pytest.mark.parametrize(("one", "other"), [(1000, 1500), (1000, 3000)])
def test_sot_of_two_sines_is_how_far_they_are_apart(one: int, other: int) -> None:
    # Few frames at the edges are of half a sine, whose spectrum is wide.
    low, high = (tone(hertz, rate=RATE, seconds=2.0, partials=1) for hertz in (one, other))
    assert sot(low, high, RATE) == pytest.approx((other - one) / (RATE / 2), rel=0.05)


def test_sot_compares_no_loudness_and_is_greatest_against_silence() -> None:
    assert sot(TARGET, TARGET / 4, RATE) == pytest.approx(0, abs=1e-6)
    assert sot(SILENCE, SILENCE, RATE) == 0.0
    low = tone(100, rate=RATE, seconds=0.5, partials=1)
    assert 0.9 < sot(low, np.zeros_like(low), RATE) <= 1
