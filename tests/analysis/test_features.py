"""Features: log-mel spectra are librosa's, whatever the settings; a band that can't be is refused."""

from __future__ import annotations

import json

import librosa
import numpy as np
import pytest

from synthcore.analysis.audio import sketch
from synthcore.analysis.feature_specs import LogMel, Sketch, spec_of, stored_spec
from synthcore.analysis.features import feature_of, log_mel
from synthcore.base.errors import SpecError


def sound(rate: int, samples: int) -> np.ndarray:
    """A decaying tone with some noise on the left, silence with a click on the right."""
    time, chance = np.arange(samples) / rate, np.random.default_rng(0)
    left = np.sin(2 * np.pi * 440 * time) * np.exp(-5 * time) + chance.normal(0, 0.01, samples)
    right = np.zeros(samples)
    right[samples // 2] = 0.5
    return np.stack([left, right]).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "samples", "spec"),
    [
        (44_100, 8_820, LogMel(dtype="float32")),
        (22_050, 4_001, LogMel(dtype="float32", window_ms=10, hop_ms=3, bands=32, mono=True)),
        (16_000, 3_999, LogMel(dtype="float32", window_ms=100, hop_ms=50, floor_db=-60, low_hz=0, high_hz=7_000)),
        (48_000, 100, LogMel(dtype="float32")),  # shorter than a window
    ],
)
def test_log_mel_spectra_are_those_of_librosa(rate: int, samples: int, spec: LogMel) -> None:
    audio = sound(rate, samples)
    size = round(spec.window_ms / 1000 * rate)
    powers = librosa.feature.melspectrogram(
        y=audio.mean(axis=0, keepdims=True) if spec.mono else audio,
        sr=rate,
        n_fft=2 ** int(np.ceil(np.log2(size))),
        win_length=size,
        hop_length=round(spec.hop_ms / 1000 * rate),
        pad_mode="constant",
        n_mels=spec.bands,
        fmin=spec.low_hz,
        fmax=min(spec.high_hz, rate / 2),
    )
    wanted = librosa.power_to_db(powers, amin=10 ** (spec.floor_db / 10), top_db=None)
    found = log_mel(audio, rate, spec)
    assert found.shape == wanted.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=0.01)


def test_half_precision_keeps_levels_to_a_sixteenth_of_a_decibel() -> None:
    audio = sound(44_100, 4_410)
    exact, stored = log_mel(audio, 44_100, LogMel(dtype="float32")), log_mel(audio, 44_100, LogMel())
    assert stored.dtype == np.float16
    assert np.abs(stored.astype(np.float32) - exact).max() <= 1 / 32


def test_silence_is_at_the_floor_and_a_sketch_is_that_of_compare() -> None:
    assert (log_mel(np.zeros((2, 4_410), np.float32), 44_100, LogMel(floor_db=-90)) == -90).all()
    audio = sound(44_100, 8_820)
    np.testing.assert_array_equal(feature_of(audio, 44_100, Sketch()), sketch(audio, 44_100))


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (LogMel(window_ms=5), "128 mel bands would be empty, being narrower than the window resolves; choose fewer"),
        (LogMel(low_hz=9_000, high_hz=8_000), "no mel bands from 9000 to 8000 Hz; choose a low-hz below high-hz"),
        (LogMel(low_hz=30_000, high_hz=40_000), "no mel bands from 30000 to 22050 Hz"),
    ],
)
def test_bands_that_cannot_be_are_refused(spec: LogMel, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        log_mel(np.zeros((2, 4_410), np.float32), 44_100, spec)


def test_what_a_file_says_of_a_feature_gives_its_settings_back() -> None:
    for spec in (LogMel(bands=40, mono=True), Sketch()):
        stored = json.loads(json.dumps(stored_spec(spec, 22_050)))
        assert (stored["sample_rate"], spec_of(stored)) == (22_050, spec)
    assert spec_of({"kind": "mine"}) is None
    assert spec_of({**stored_spec(LogMel(), 1), "version": 0}) is None
