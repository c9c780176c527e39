"""Metrics of loudness: levels that BS.1770 states, the recommendation written out, and envelopes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from synthcore.evaluation.loudness import integrated_loudness, loudness_error, rms_cosine
from tests.evaluation.sounds import Sound, noise, plucked, tone

RATE = 48_000


def sine(dbfs: float, *, hertz: float = 997.0, channels: int = 1, rate: int = RATE, seconds: float = 1.0) -> Sound:
    return tone(hertz, rate=rate, seconds=seconds, gain=10 ** (dbfs / 20), partials=1, channels=channels)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize(
    ("dbfs", "channels", "lufs"),
    [
        (0.0, 1, -3.01),  # ITU-R BS.1770-4, annex 1: a full-scale sine of 997 Hz in one channel
        (-20.0, 1, -23.01),
        (-23.0, 2, -23.0),  # EBU Tech 3341, test signal 1: in both channels
        (-33.0, 2, -33.0),  # test signal 2
    ],
)
def test_a_sine_has_the_loudness_that_the_standards_state(dbfs: float, channels: int, lufs: float, rate: int) -> None:
    assert integrated_loudness(sine(dbfs, channels=channels, rate=rate), rate) == pytest.approx(lufs, abs=0.1)


def k_weighted(samples: NDArray) -> NDArray:
    """Both filters of BS.1770-4 with its coefficients, which are for 48 kHz, sample by sample."""
    shelf = (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
    high_pass = (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621)
    for b0, b1, b2, a1, a2 in (shelf, high_pass):
        filtered, x1, x2, y1, y2 = [], 0.0, 0.0, 0.0, 0.0
        for x in samples.tolist():
            y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            filtered.append(y)
            x1, x2, y1, y2 = x, x1, y, y1
        samples = np.array(filtered)
    return samples


def written_out(sound: Sound) -> float:
    squares = np.sum([k_weighted(channel) ** 2 for channel in sound.astype(np.float64)], axis=0)
    blocks = [float(np.mean(squares[start : start + 19_200])) for start in range(0, sound.shape[1] - 19_199, 4_800)]

    def lufs(power: float) -> float:
        return -0.691 + 10 * math.log10(power)

    audible = [power for power in blocks if lufs(power) > -70]
    loud = [power for power in audible if lufs(power) > lufs(sum(audible) / len(audible)) - 10]
    return lufs(sum(loud) / len(loud))


def test_loudness_is_what_the_recommendation_gives_when_it_is_written_out() -> None:
    # A loud part and a soft one, which the relative gate leaves out.
    sound = np.concatenate([noise(0, rate=RATE, seconds=0.6), noise(1, rate=RATE, seconds=0.9, gain=0.003)], axis=1)
    assert integrated_loudness(sound, RATE) == pytest.approx(written_out(sound), abs=0.01)
    ungated = 10 * math.log10(0.6 / 1.5)  # what the mean of all blocks would be lower by
    assert abs(ungated) > 1


def test_half_the_amplitude_is_an_error_of_six_decibels() -> None:
    loud = noise(2, rate=RATE, seconds=0.5)
    assert loudness_error(loud, loud / 2, RATE) == pytest.approx(20 * math.log10(2), abs=1e-4)
    assert loudness_error(loud / 2, loud, RATE) == loudness_error(loud, loud / 2, RATE)


@pytest.mark.parametrize("soft", [0.0, 1e-6])
def test_what_is_below_the_gate_counts_as_the_gate(soft: float) -> None:
    loud = sine(-23.0, channels=2)
    assert integrated_loudness(soft * loud, RATE) == -70.0
    assert loudness_error(loud, soft * loud, RATE) == pytest.approx(47.0, abs=0.1)
    assert loudness_error(soft * loud, soft * loud, RATE) == 0.0


def test_a_sound_shorter_than_a_block_is_followed_by_silence() -> None:
    short = noise(4, rate=RATE, seconds=0.2)
    padded = np.pad(short, ((0, 0), (0, 9_600)))
    assert integrated_loudness(short, RATE) == integrated_loudness(padded, RATE)
    assert loudness_error(short, short / 10, RATE) == pytest.approx(20, abs=1e-4)


def envelope(sound: Sound) -> list[float]:
    mono, window, hop = sound.mean(axis=0), 2_400, 1_200  # 50/25 ms
    padded = np.concatenate([np.zeros(window // 2), mono, np.zeros(window // 2)])
    starts = range(0, len(padded) - window + 1, hop)
    return [math.sqrt(sum(float(x) ** 2 for x in padded[start : start + window]) / window) for start in starts]


@pytest.mark.slow
def test_rms_cosine_is_that_of_the_envelopes() -> None:
    ours, theirs = plucked(0, rate=RATE, seconds=0.3), noise(1, rate=RATE, seconds=0.3)
    one, other = envelope(ours), envelope(theirs)
    products = sum(a * b for a, b in zip(one, other, strict=True))
    expected = products / math.sqrt(sum(a * a for a in one)) / math.sqrt(sum(b * b for b in other))
    assert rms_cosine(ours, theirs, RATE) == pytest.approx(expected, rel=1e-5)
    assert rms_cosine(ours, ours / 4, RATE) == pytest.approx(1.0)


@pytest.mark.slow
def test_silence_is_like_silence_alone() -> None:
    sound = noise(0, rate=RATE, seconds=0.2)
    silence = np.zeros_like(sound)
    assert rms_cosine(sound, silence, RATE) == rms_cosine(silence, sound, RATE) == 0.0
    assert rms_cosine(silence, silence, RATE) == 1.0
