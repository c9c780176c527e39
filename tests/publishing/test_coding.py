"""Coding: WAV gives back every bit, FLAC what was rounded, whatever the peak; what is neither is refused."""

from __future__ import annotations

import numpy as np
import pytest

from synthcore.base.errors import DatasetError
from synthcore.publishing.coding import CodedAudio, decode, encode
from synthcore.storage import AudioCoding
from synthcore.storage.rounding import rounded

SHAPE = (2, 3000)
LOUD = np.random.default_rng(1).normal(0, 0.4, SHAPE).astype(np.float32)


@pytest.mark.parametrize("audio", [LOUD, LOUD / 20, np.zeros(SHAPE, np.float32)], ids=["loud", "soft", "silent"])
def test_audio_comes_back(audio: np.ndarray) -> None:
    np.testing.assert_array_equal(decode(encode(audio, 44100, "wav"), "wav", SHAPE), audio)
    coded = encode(audio, 44100, "flac")
    np.testing.assert_array_equal(decode(coded, "flac", SHAPE), rounded(audio))
    assert coded.error == np.abs(rounded(audio) - audio).max()
    assert coded.scale == (2 if audio is LOUD else 1)


@pytest.mark.parametrize("coding", ["wav", "flac"])
def test_what_is_not_such_a_file_is_refused(coding: AudioCoding) -> None:
    whole = encode(LOUD, 44100, coding)
    for content in (b"", b"RIFF", b"fLaC" + bytes(100), whole.content[: len(whole.content) // 2]):
        with pytest.raises(DatasetError, match="can't be read|should have"):
            decode(CodedAudio(content), coding, SHAPE)
    with pytest.raises(DatasetError, match=r"shape \(2, 3000\), and should have float32 of \(2, 3001\)"):
        decode(whole, coding, (2, 3001))
