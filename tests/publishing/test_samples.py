"""Rows as WebDataset streams them: what is no such row is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from synthcore.base.errors import DatasetError
from synthcore.publishing.coding import encode
from synthcore.publishing.samples import read_sample
from synthcore.storage.rounding import rounded

AUDIO = np.random.default_rng(1).normal(0, 0.4, (2, 900)).astype(np.float32)  # above full scale
FLAC = encode(AUDIO, 44100, "flac")
COLUMNS = {"audio_scale": 2.0, "midi_note": 48, "exact_values": [0.5, None], "parents": ["a", ""], "licence": "MIT"}
SAMPLE = {"__key__": "000000012", "__url__": "train-00000-of-00001.tar", "json": json.dumps(COLUMNS).encode()}


def test_a_row_has_its_audio_in_its_scale_and_columns_by_name():
    row = read_sample({**SAMPLE, "flac": FLAC.content})
    np.testing.assert_array_equal(row.pop("audio"), rounded(AUDIO))
    np.testing.assert_array_equal(row["exact_values"], np.array([0.5, np.nan], np.float32))
    assert row["exact_values"].dtype == np.float32
    assert row["midi_note"] == 48
    assert row["midi_note"].dtype == np.int64
    assert (row["parents"], row["licence"]) == (["a", ""], "MIT")
    assert list(row) == list(COLUMNS)


def test_labels_need_no_audio_and_wav_no_labels():
    assert "audio" not in read_sample(SAMPLE)
    assert list(read_sample({"wav": encode(AUDIO, 44100, "wav").content})) == ["audio"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"flac": FLAC.content}, "its FLAC needs the JSON beside it, which has audio_scale"),
        ({"flac": FLAC.content[:100], "json": SAMPLE["json"]}, "it can't be read: audio that should be FLAC"),
        ({"json": b"{"}, "it can't be read: Expecting property name"),
        ({"json": b"[1]"}, "it can't be read: "),
        ({"txt": b"words"}, "it has neither audio nor JSON"),
    ],
)
def test_what_is_no_row_of_a_publication_is_refused(members, message):
    with pytest.raises(DatasetError, match=f"^000000012 of x.tar: {message}"):
        read_sample({"__key__": "000000012", "__url__": "x.tar", **members})
