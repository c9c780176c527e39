"""Metrics of pitch: known frequencies and known detunings; noise, silence and fading tails have none."""

from __future__ import annotations

import math

import numpy as np
import pytest

import synthcore
from synthcore.evaluation.pitch import f0_error, one_pitched, track_pitch
from synthcore.spec import AudioSpec
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch
from tests.evaluation.sounds import noise, tone

RATE = 44_100


def hertz_of(note: float) -> float:
    return 440.0 * 2 ** ((note - 69) / 12)


def detuned(cents: float, note: float = 60, *, rate: int = RATE, seconds: float = 0.5, partials: int = 8):
    return tone(hertz_of(note + cents / 100), rate=rate, seconds=seconds, partials=partials)


@pytest.mark.parametrize("partials", [1, 20])
@pytest.mark.parametrize("note", [24, 36, 48, 60, 72, 84, 96])
def test_a_tone_has_the_pitch_of_its_note(note: int, partials: int) -> None:
    pitches = track_pitch(detuned(0, note, partials=partials), RATE)
    assert np.isfinite(pitches).mean() > 0.8
    assert 1200 * np.log2(np.nanmedian(pitches) / hertz_of(note)) == pytest.approx(0, abs=5)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("cents", [-100, 50, 1200])
def test_a_detuned_answer_is_off_by_its_cents(cents: int, rate: int) -> None:
    target, answer = (detuned(offset, 55, rate=rate) for offset in (0, cents))
    assert f0_error(target, answer, rate) == pytest.approx(abs(cents), abs=5)
    assert one_pitched(target, answer, rate) < 0.1


@pytest.mark.slow
def test_an_oscillator_of_the_synth_tuned_up_by_a_quarter_tone_is_50_cents_off(short: AudioSpec) -> None:
    registry = installed()
    init = Patch.init(registry)
    unit_values = np.array(init.continuous)
    unit_values[[control.name for control in registry.continuous].index("osc_1_tune")] = 0.75  # halfway from 0 to 1
    tuned = Patch.from_vectors(unit_values, init.categorical)
    target, answer = (synthcore.render(patch, 60, audio=short) for patch in (init, tuned))
    assert np.nanmedian(track_pitch(target, short.sample_rate)) == pytest.approx(hertz_of(60), rel=0.002)
    assert f0_error(target, answer, short.sample_rate) == pytest.approx(50, abs=3)


def test_loudness_and_timbre_dont_change_the_pitch() -> None:
    assert f0_error(detuned(0), detuned(0, partials=2) / 50, RATE) < 2


@pytest.mark.parametrize("unpitched", [noise(0, rate=RATE, seconds=0.5), np.zeros((2, RATE // 2), dtype=np.float32)])
def test_without_a_pitch_in_both_there_is_no_error_but_a_share_of_frames(unpitched) -> None:
    target = detuned(0)
    pitched = float(np.isfinite(track_pitch(target, RATE)).mean())
    for pair in ((target, unpitched), (unpitched, target)):
        assert math.isnan(f0_error(*pair, RATE))
        assert one_pitched(*pair, RATE) == pitched
    assert math.isnan(f0_error(unpitched, unpitched, RATE))
    assert one_pitched(unpitched, unpitched, RATE) == 0.0


def test_only_frames_with_a_pitch_in_both_are_compared() -> None:
    half = detuned(0, seconds=0.25)
    target = np.concatenate([half, noise(1, rate=RATE, seconds=0.25)], axis=1)
    answer = np.concatenate([detuned(100, seconds=0.25), half], axis=1)
    assert f0_error(target, answer, RATE) == pytest.approx(100, abs=2)
    assert one_pitched(target, answer, RATE) == pytest.approx(0.5, abs=0.1)


def test_a_tail_far_below_the_loudest_frame_has_no_pitch() -> None:
    loud, soft = detuned(0, seconds=0.25), detuned(0, seconds=0.25) * 10 ** (-70 / 20)
    pitches = track_pitch(np.concatenate([loud, soft.astype(np.float32)], axis=1), RATE)
    assert np.isfinite(pitches[3:9]).all()
    assert np.isnan(pitches[16:]).all()


def test_hum_below_the_lowest_note_has_no_pitch() -> None:
    assert np.isnan(track_pitch(tone(15, rate=RATE, seconds=0.3, partials=1), RATE)).all()
