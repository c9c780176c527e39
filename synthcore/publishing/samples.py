"""Rows of a publication as WebDataset streams them, read for training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from synthcore.base.errors import DatasetError
from synthcore.publishing.coding import CodedAudio, decode
from synthcore.storage import AudioCoding

LABELS = "json"


def read_sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Read a row that WebDataset streams from a publication, before anything else decodes it: for its `map`.

    Leave out what you don't need where it costs least, with WebDataset's `select_files`: labels without the audio, or
    WAV without the labels.

    Parameters
    ----------
    sample : mapping of str to bytes
        The members of a row by the endings of their names: `wav` or `flac`, and `json`.

    Returns
    -------
    dict of str to ndarray, number or str
        `audio` (2, S), float32 at full scale 1, and the columns of the row by their names, numbers that aren't whole as
        float32 and NaN where JSON has null. Parents are a list of str.

    Raises
    ------
    DatasetError
        A member is damaged, there is neither audio nor JSON, or there is FLAC without the JSON that has its scale.
    """
    coding = next((name for name in get_args(AudioCoding) if name in sample), None)
    try:
        columns = json.loads(sample[LABELS]) if LABELS in sample else {}
        row = {name: _value(value) for name, value in columns.items()}
        if coding:
            scale = columns["audio_scale"] if coding == "flac" else 1.0
            row["audio"] = decode(CodedAudio(sample[coding], scale), coding)
    except KeyError as error:
        raise DatasetError(_said(sample, "its FLAC needs the JSON beside it, which has audio_scale")) from error
    except (ValueError, TypeError, AttributeError, DatasetError) as error:
        raise DatasetError(_said(sample, f"it can't be read: {error}")) from error
    if not row:
        raise DatasetError(_said(sample, "it has neither audio nor JSON"))
    return row


def _said(sample: Mapping[str, Any], what: str) -> str:
    return f"{sample.get('__key__', 'a sample')} of {sample.get('__url__', 'the stream')}: {what}"


def _value(value: Any) -> Any:
    """A column's value, from JSON."""
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], str)):
        return value
    array = np.array(value)
    return array.astype(np.float32) if array.dtype.kind in "fO" else array  # null becomes NaN
