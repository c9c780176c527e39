"""Rounding to 24 bits: nothing moves by more than half a step, whatever the peak, and rounding again moves nothing."""

from __future__ import annotations

import numpy as np
import pytest

from synthcore.storage.rounding import STEPS, rounded, scale_of, to_audio, to_integers

#: A peak, and what audio of that peak is divided by. The last number below 1 would be rounded up to it.
PEAKS = [(0.0, 1), (0.3, 1), (1 - 2**-23, 1), (np.nextafter(np.float32(1), np.float32(0)), 2), (1.0, 2), (1.7, 2)]
PEAKS += [(2.0, 4), (2.1, 4)]


def noise(peak: float) -> np.ndarray:
    audio = np.random.default_rng(0).uniform(-peak, peak, (2, 2000)).astype(np.float32)
    audio[0, 7] = peak
    return audio


@pytest.mark.parametrize(("peak", "scale"), PEAKS)
def test_audio_is_divided_by_a_power_of_two_and_rounded_to_whole_steps(peak: float, scale: int) -> None:
    audio = noise(peak)
    assert scale_of(audio) == scale
    integers = to_integers(audio, scale)
    assert np.abs(integers).max() < STEPS
    assert np.abs(to_audio(integers, scale) - audio).max() <= 0.5 * scale / STEPS
    np.testing.assert_array_equal(rounded(audio), to_audio(integers, scale))
    np.testing.assert_array_equal(rounded(rounded(audio)), rounded(audio))
