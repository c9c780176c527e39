"""The columns of a published row: their types, and what they hold in words, for the card and for Croissant."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from synthcore.publishing.published_rows import read_batches
from synthcore.storage import AudioCoding
from synthcore.storage.dataset import Dataset

TEXT, AUDIO = "string", "audio"


@dataclass(frozen=True, slots=True)
class PublishedColumn:
    """A column of a published row.

    Attributes
    ----------
    name : str
    dtype : str
        numpy's name of the type of a value; "string" for text, "audio" for sound.
    shape : tuple of int
        Of a row.
    text : str
        What it holds.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    text: str


def published_columns(dataset: Dataset, coding: AudioCoding | None) -> list[PublishedColumn]:
    """List the columns that rows of a dataset are published with, in their order.

    Parameters
    ----------
    dataset : Dataset
        Has at least one row.
    coding : {"flac", "wav"}, optional
        None in a recipe, without audio.
    """
    (batch,) = read_batches(dataset, [0], [""], coding)
    texts = _texts()
    columns = [
        PublishedColumn(
            name=name,
            dtype=TEXT if values.dtype.kind in "SU" else values.dtype.name,
            shape=values.shape[1:],
            text=texts[name],
        )
        for name, values in batch.columns.items()
    ]
    audio = [PublishedColumn("audio", AUDIO, (), texts["audio"])] * bool(coding)
    return [*columns[:1], *audio, *columns[1:]]


@lru_cache(maxsize=1)
def _texts() -> dict[str, str]:
    found: dict[str, str] = tomllib.loads(files(__package__).joinpath("columns.toml").read_text("utf-8"))["columns"]
    return found
