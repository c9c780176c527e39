"""Published rows as tar files, in the conventions of WebDataset: of each row a file of audio, and one of JSON.

`exact_values` has null where the file of the dataset has NaN, which JSON doesn't know.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import DatasetError
from synthcore.publishing.coding import CodedAudio
from synthcore.publishing.published_rows import BATCH, Batch
from synthcore.storage import AudioCoding

OVERHEAD = 1024  #: bytes that a member of a tar file takes besides what it holds, about


class TarWriter:
    """Writes one file. Use it as a context.

    Parameters
    ----------
    file : binary file
    coding : {"flac", "wav"}, optional
        None in a recipe.
    """

    def __init__(self, file: BinaryIO, coding: AudioCoding | None) -> None:
        self._coding = coding
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # after one, nothing says that it ends here
            self._tar.close()

    def add(self, batch: Batch) -> None:
        """Write rows behind those that are there."""
        for place, row in enumerate(batch.columns["row"].tolist()):
            if self._coding:
                self._put(f"{row:09d}.{self._coding}", batch.audio[place].content)
            self._put(f"{row:09d}.json", to_json(batch, place))

    def _put(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)  # of no time and no user: equal rows make equal files
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))


def to_json(batch: Batch, place: int) -> bytes:
    """Write all of one row but its audio."""
    return json.dumps({name: _plain(values[place]) for name, values in batch.columns.items()}).encode()


def read_batches(path: Path) -> Iterator[Batch]:
    """Read a file that `TarWriter` wrote.

    Raises
    ------
    DatasetError
        It isn't such a file.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            rows: list[dict[str, Any]] = []
            audio: list[CodedAudio] = []
            content = b""
            for member in tar:
                opened = tar.extractfile(member)
                held = opened.read() if opened else b""
                if not member.name.endswith(".json"):
                    content = held
                    continue
                rows.append(json.loads(held))
                audio += [CodedAudio(content, rows[-1].get("audio_scale", 1.0))] * bool(content)
                content = b""
                if len(rows) == BATCH:
                    yield _batch(rows, audio)
                    rows, audio = [], []
            if rows:
                yield _batch(rows, audio)
    except (tarfile.TarError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is damaged ({error}); get the published files again") from error


def _batch(rows: list[dict[str, Any]], audio: list[CodedAudio]) -> Batch:
    columns = {name: _array([row[name] for row in rows]) for name in rows[0]}
    return Batch(columns, tuple(audio))


def _array(values: list[Any]) -> NDArray[Any]:
    array = np.array(values)
    if array.dtype.kind == "U":
        return np.char.encode(array, "utf-8")
    return np.array(values, dtype=np.float64) if array.dtype == object else array  # null becomes NaN


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and np.isnan(value).any():
            return [None if math.isnan(one) else one for one in value.tolist()]
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list):
        return [one.decode() if isinstance(one, bytes) else one for one in value]
    return value.decode() if isinstance(value, bytes) else value
