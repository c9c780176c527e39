"""Published rows: what a publication holds of each row, whatever its files are.

That is every column of the dataset but one: the dense view of the modulation, which its slots say already. To these
come the row's number in the dataset, its licence and its authors; and for FLAC, what the audio is to be multiplied by,
and the SHA-256 of the file.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.base import progress
from synthcore.engine.stopping import raise_if_stopped
from synthcore.publishing.coding import CodedAudio, encode
from synthcore.storage import AudioCoding
from synthcore.storage.dataset import Dataset

#: Rows that are in memory at a time, and those of a group of a Parquet file.
BATCH = 64
LABELS = 1024  #: rows whose labels are read together, which takes less time
TOGETHER = 16  #: likewise, of audio
_NOT_PUBLISHED = ("audio", "modulation_t3")  # audio is coded
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows.

    Attributes
    ----------
    columns : dict of str to ndarray, shape (B, ...)
        Their columns, by the names that `Dataset` gives them, and `row`, `licence` and `author`; for FLAC also
        `audio_scale` and `flac_sha256`.
    audio : tuple of CodedAudio
        Of each; none in a recipe.
    """

    columns: Columns
    audio: tuple[CodedAudio, ...]

    def __len__(self) -> int:
        return len(self.columns["row"])

    @property
    def error(self) -> float:
        """The largest that coding made in any sample."""
        return max((coded.error for coded in self.audio), default=0.0)


def label_names(dataset: Dataset) -> tuple[str, ...]:
    """The columns of a dataset that are published as they are."""
    return tuple(name for name in dataset.column_names if name not in _NOT_PUBLISHED)


def read_batches(
    dataset: Dataset,
    rows: Sequence[int],
    licences: Sequence[str],
    coding: AudioCoding | None,
    encoders: int = 1,
) -> Generator[Batch, None, None]:
    """Read rows in batches, the audio of each coded by itself, some at a time. Reports each to `progress`.

    Parameters
    ----------
    dataset : Dataset
    rows : sequence of int
        Which, rising.
    licences : sequence of str
        That of each.
    coding : {"flac", "wav"}, optional
        None leaves the audio out.
    encoders : int
        Rows that are coded at a time.

    Raises
    ------
    DatasetError
        A row can't be read.
    Interrupted
        Someone asked to stop.
    """
    authors = {preset.preset_hash.encode(): preset.author for preset in dataset.sources()}
    rate = dataset.spec.audio.sample_rate

    def code(some: Sequence[int]) -> list[CodedAudio]:
        raise_if_stopped()
        return [encode(audio, rate, coding or "wav") for audio in dataset.column("audio", some)]

    with ThreadPoolExecutor(encoders) as pool:
        ahead = encoders + BATCH // TOGETHER  # encoders go on while a batch is written
        coded = _in_order(pool, code, rows, ahead) if coding else None
        for first in range(0, len(rows), LABELS):
            chosen = rows[first : first + LABELS]
            labels = {name: dataset.column(name, chosen) for name in label_names(dataset)}
            labels["licence"] = np.array(licences[first : first + LABELS])
            labels["author"] = np.array([_joined(of, authors) for of in labels["parents"].tolist()])
            labels = {"row": np.array(chosen, dtype=np.int64), **labels}
            for start in range(0, len(chosen), BATCH):
                columns = {name: values[start : start + BATCH] for name, values in labels.items()}
                audio = tuple(map(_report, itertools.islice(coded, BATCH))) if coded else ()
                if coding == "flac":
                    columns["audio_scale"] = np.array([one.scale for one in audio], dtype=np.float32)
                    columns["flac_sha256"] = np.array([one.sha256 for one in audio])
                yield Batch(columns, audio)


def _in_order(
    pool: ThreadPoolExecutor, code: Callable[[Sequence[int]], list[CodedAudio]], rows: Sequence[int], ahead: int
) -> Iterator[CodedAudio]:
    """Code rows in order, never far ahead of who takes them: memory is constant."""
    under_way: deque[Future[list[CodedAudio]]] = deque()
    for start in range(0, len(rows), TOGETHER):
        under_way.append(pool.submit(code, rows[start : start + TOGETHER]))
        if len(under_way) > ahead:
            yield from under_way.popleft().result()
    while under_way:
        yield from under_way.popleft().result()


def _report(coded: CodedAudio) -> CodedAudio:
    progress.publish(progress.Progress(rows=1, fault=None))
    return coded


def _joined(parents: Sequence[bytes], authors: dict[bytes, str]) -> str:
    """The authors of the presets that a row was made from, each once."""
    return ", ".join(dict.fromkeys(author for parent in parents if (author := authors.get(parent, ""))))
