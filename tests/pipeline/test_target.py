"""Targets: anybody's sound in the form of a dataset's rows, or one line that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from synthcore.base.errors import SpecError
from synthcore.pipeline.forms import Form
from synthcore.pipeline.target import read_target, to_target

FORM = Form(sample_rate=22_050, samples=8_820)  # 0.4 s


def noise(seconds: float, sample_rate: int, channels: int = 2) -> Any:
    return np.random.default_rng(0).normal(0, 0.1, (int(seconds * sample_rate), channels)).astype(np.float32)


def test_a_sound_in_the_rows_form_is_left_as_it_is() -> None:
    audio = noise(0.4, 22_050).T
    target = to_target(audio, 22_050, FORM)
    assert target.changes == ()
    np.testing.assert_array_equal(target.audio, audio)


@pytest.mark.parametrize(
    ("seconds", "rate", "channels", "changes"),
    [
        (0.4, 22_050, 1, ("given a second channel like the first",)),
        (0.4, 192_000, 2, ("resampled",)),
        (0.005, 22_050, 2, ("padded with silence",)),
        (1.0, 22_050, 8, ("left with their first two channels", "cut")),
    ],
)
def test_any_other_is_brought_to_it_and_what_that_took_is_said(
    seconds: float, rate: int, channels: int, changes: tuple[str, ...], tmp_path: Path
) -> None:
    audio = noise(seconds, rate, channels)
    soundfile.write(tmp_path / "x.wav", audio, rate, subtype="FLOAT")
    for target in (read_target(tmp_path / "x.wav", FORM), to_target(audio.T, rate, FORM)):
        assert target.changes == changes
        assert (target.audio.shape, target.sample_rate) == ((2, 8_820), 22_050)


def test_of_a_long_file_only_its_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hour.wav"
    with soundfile.SoundFile(path, "w", 1_000, 1) as file:
        file.write(noise(0.5, 1_000, 1))
        file.seek(3_600_000 - 1)
        file.write(np.zeros((1, 1), np.float32))
    target = read_target(path, FORM)
    assert target.changes == ("given a second channel like the first", "resampled", "cut")


def test_what_a_file_is_its_content_says_and_not_its_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.mp3", noise(0.4, 22_050), 22_050)
    (tmp_path / "x.mp3").rename(tmp_path / "x.wav")
    assert read_target(tmp_path / "x.wav", FORM).audio.any()


def test_a_link_is_followed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", noise(0.4, 22_050), 22_050)
    (tmp_path / "link.wav").symlink_to(tmp_path / "x.wav")
    assert read_target(tmp_path / "link.wav", FORM).name == "link.wav"


def test_what_cannot_be_matched_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "silent.wav", np.zeros((8_820, 2)), 22_050)
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), 22_050)
    late = np.concatenate([np.zeros((8_820, 2)), noise(0.4, 22_050)])
    soundfile.write(tmp_path / "late.wav", late, 22_050)
    soundfile.write(tmp_path / "nan.wav", np.full((8_820, 2), np.nan), 22_050, subtype="FLOAT")
    soundfile.write(tmp_path / "huge.wav", np.full((8_820, 2), 1e20), 22_050, subtype="FLOAT")
    says = {
        "missing.wav": "No such file",
        "text.wav": "not audio that can be read",
        "empty.wav": "not audio that can be read",
        ".": "not a regular file",
        "silent.wav": "silent.wav can't be matched in its first 0.4 s: silent",
        "none.wav": "it holds no audio",
        "late.wav": "late.wav can't be matched in its first 0.4 s: silent",
        "nan.wav": "isn't finite",
        "huge.wav": r"a sample of 1e\+20, where full scale is 1",
    }
    for name, reason in says.items():
        with pytest.raises(SpecError, match=reason) as caught:
            read_target(tmp_path / name, FORM)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("audio", "rate", "says"),
    [
        (np.ones((8_820, 2)), 22_050, "has shape"),
        (np.ones((2, 2, 9)), 22_050, "has shape"),
        (np.ones((2, 0)), 22_050, "has shape"),
        (np.full((2, 9), np.inf), 22_050, "NaN or infinity"),
        (np.zeros((2, 9)), 22_050, "silent"),
        (np.ones((2, 9)), 0, "sample rate is 0 Hz"),
        (np.ones((2, 9)), 44_100.5, "sample rate is 44100.5 Hz"),
    ],
)
def test_samples_that_cannot_be_matched_are_refused(audio: Any, rate: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        to_target(audio, rate, FORM)
