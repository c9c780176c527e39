"""The distance between two sounds: 0 for equal ones, larger the more different they sound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

import synthcore
from synthcore.analysis.distances import RANGE_DB, RESOLUTIONS, distance, level_distance, log_mel, mel_powers
from synthcore.base.errors import SynthcoreError

RATE = 44_100


def tone(hertz: float, *, gain: float = 0.3, samples: int = 22_050, rate: int = RATE) -> NDArray[np.float32]:
    """A tone with eight partials, in both channels."""
    times = np.arange(samples) / rate
    wave = sum(np.sin(2 * math.pi * hertz * k * times) / k for k in range(1, 9))
    return np.stack([gain * wave, gain * wave]).astype(np.float32)


def noise(seed: int = 0, samples: int = 22_050) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, (2, samples)).astype(np.float32)


def test_it_is_what_the_package_exports() -> None:
    assert synthcore.distance is distance


@pytest.mark.parametrize("audio", [tone(220), noise(), np.zeros((2, 4410), dtype=np.float32), tone(220, samples=1)])
def test_identical_audio_is_exactly_zero_apart(audio: NDArray[np.float32]) -> None:
    assert distance(audio, audio.copy()) == 0.0


def test_it_is_the_same_in_both_directions_and_positive() -> None:
    assert distance(tone(220), noise()) == distance(noise(), tone(220)) > 0


def test_a_gain_is_its_decibels_apart_where_sound_is() -> None:
    assert distance(noise(), noise() / 2) == pytest.approx(20 * math.log10(2), abs=0.01)


def test_making_both_louder_changes_nothing() -> None:
    assert distance(tone(220) / 8, noise() / 8) == pytest.approx(distance(tone(220), noise()), abs=1e-4)


def test_silence_is_at_most_the_range_apart_from_anything() -> None:
    silence = np.zeros_like(noise())
    assert RANGE_DB / 2 < distance(noise(), silence) <= RANGE_DB


def test_what_is_heard_as_more_is_farther() -> None:
    base = tone(220)
    cents, semitones, octave = (distance(base, tone(220 * 2 ** (s / 12))) for s in (0.1, 3, 12))
    assert 0 < cents < semitones
    assert cents < octave


def test_another_phase_is_nearer_than_another_sound() -> None:
    assert distance(noise(0), noise(1)) < distance(noise(0), tone(220)) / 2


def test_each_channel_counts() -> None:
    left_alone = tone(220) * np.array([[1], [0]], dtype=np.float32)
    right_alone = left_alone[::-1]
    assert distance(tone(220), left_alone) == pytest.approx(distance(tone(220), right_alone))
    assert distance(left_alone, right_alone) > distance(tone(220), left_alone)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 192_000])
def test_a_bands_level_is_finite_at_every_rate_and_none_is_empty(rate: int) -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, (2, rate // 4)).astype(np.float32)
    for powers, (_, bands) in zip(mel_powers(audio, rate), RESOLUTIONS, strict=True):
        assert powers.shape[:2] == (2, bands)
        assert powers.max(axis=2).min() > 0


def test_log_mel_shows_a_tone_where_it_is() -> None:
    levels = log_mel(tone(1000), RATE)
    assert levels.dtype == np.float32
    assert levels.max() - levels.min() == pytest.approx(RANGE_DB, abs=0.01)
    mel_of_1000, top = 2595 * math.log10(1 + 1000 / 700), 2595 * math.log10(1 + 20_000 / 700)
    assert levels[0, :, 40].argmax() == pytest.approx(64 * mel_of_1000 / top, abs=1.5)


def test_a_sound_measured_once_can_be_compared_with_many() -> None:
    base = mel_powers(tone(220), RATE)
    assert level_distance(base, mel_powers(noise(), RATE)) == distance(tone(220), noise())


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (noise(), noise(samples=100), r"shape \(2, 22050\) with \(2, 100\)"),
        (np.zeros(10), np.zeros(10), r"shape \(10,\); give left and right"),
        (np.zeros((2, 0)), np.zeros((2, 0)), "give left and right"),
        (np.full((2, 9), np.nan), np.zeros((2, 9)), "NaN"),
    ],
)
def test_what_is_no_sound_is_refused(a: NDArray[np.float32], b: NDArray[np.float32], why: str) -> None:
    with pytest.raises(SynthcoreError, match=why):
        distance(a, b)
