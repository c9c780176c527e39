"""Publishing, and reading what was published, each against the plainest way to do it.

Making the files of a publication, FLAC in Parquet, hashes included, is held against as many processes that only read
rows and code them, and keep nothing. The whole command also starts a flow and listens to rows for the card. What rows
take as FLAC, against their audio in the dataset. And shuffled rows from WebDataset by two workers, in batches, against
the dataset's audio through a DataLoader with as many: WAV, which needs no decoding, and FLAC. Everything is read warm,
and takes turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.loading import BATCH, REPEATS, seconds_in_processes, through_loader
from benchmarks.measure import Measure, generate, synthcore
from synthcore.publishing.coding import encode
from synthcore.publishing.parquet import read_batches
from synthcore.publishing.planning import Form, make, plan
from synthcore.publishing.samples import read_sample
from synthcore.storage import AudioCoding
from synthcore.storage.dataset import Dataset
from synthcore.storage.schema import AUDIO

ROWS = 2_000
WORKERS = 2
TAR_BYTES = 20_000_000  #: of a tar file: of small ones, there are enough for each worker
LOOKED_AHEAD = 128  #: rows that WebDataset shuffles among


def run(folder: Path, share: float = 1.0) -> Iterator[Measure]:
    """Make a dataset, publish it, and read it both ways."""
    path = folder / "out.h5"
    generate(folder, "-n", max(2 * BATCH, round(ROWS * share)))
    made, coded = [], []
    for turn in range(1 + REPEATS):
        seconds = make_files(path, folder / f"made-{turn}")
        if turn:  # the first one imports what it needs
            made.append(seconds)
            coded.append(code_in_processes(path))
    ratio = float(np.median(coded) / np.median(made))
    yield Measure("publishing: files made, rows/s of as many processes that only read and code", ratio, 0.8)
    yield Measure("publishing: files made, rows a second", rows_of(path) / float(np.median(made)), unit="rows/s")
    publish_anew(path, folder / "first", format="parquet", audio="flac")  # it starts a server
    whole = publish_anew(path, folder / "parquet", format="parquet", audio="flac")
    yield Measure(f"publishing: the whole command for {rows_of(path):,} rows", whole, unit="s")
    of_audio = coded_bytes(folder / "parquet") / stored_bytes(path)
    yield Measure("publishing: bytes of FLAC, of the dataset's audio", of_audio, 0.75, at_least=False)
    codings: list[tuple[AudioCoding, float | None]] = [("wav", 2.0), ("flac", None)]
    for coding, bar in codings:
        publish_anew(path, folder / coding, format="webdataset", audio=coding, file_bytes=TAR_BYTES)
        streamed = float(np.median(list(through_webdataset(folder / coding, coding))))
        loaded = float(np.median(list(through_loader(path, WORKERS, parts=("audio",)))))
        name = f"publishing: {coding.upper()} from WebDataset"
        yield Measure(f"{name}, times the rows/s of the dataset's audio", streamed / loaded, bar)
        yield Measure(f"{name}, shuffled rows a second", streamed, unit="rows/s")


def publish_anew(path: Path, output: Path, **how: Any) -> float:
    """Publish a dataset of which nothing is cached; return the seconds that the command takes."""
    flags = [text for name, value in how.items() for text in (f"--{name.replace('_', '-')}", value)]
    same = ("--licence", "CC0-1.0", "--data-dir", output.with_suffix(".data"), "--workers", WORKERS)
    return synthcore("publish", path, "-o", output, *same, *flags).seconds


def make_files(path: Path, data_dir: Path) -> float:
    """Seconds that the files of a publication take, in threads as in a run."""
    how = {"format": "parquet", "audio": "flac", "licence": "CC0-1.0", "recipe": False, "file_bytes": 500_000_000}
    started = time.perf_counter()
    planned = plan(path, Form.model_validate(how), WORKERS)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: make(one, data_dir), planned.plans))
    return time.perf_counter() - started


def code_in_processes(path: Path) -> float:
    """Seconds that processes take which share the rows, read each and code it, and keep nothing."""
    return seconds_in_processes(path, np.array_split(np.arange(rows_of(path)), WORKERS), code_share)


def code_share(path: Path, rows: NDArray[np.intp], barrier: Barrier) -> None:
    """Code one process's share, between two meetings."""
    barrier.wait()
    with Dataset(path) as dataset:
        for row in rows.tolist():
            encode(dataset.column("audio", [row])[0], dataset.spec.audio.sample_rate, "flac")
    barrier.wait()


def rows_of(path: Path) -> int:
    """How many rows a dataset has."""
    with Dataset(path) as dataset:
        return len(dataset)


def stored_bytes(path: Path) -> int:
    """What the audio of a dataset takes in its file."""
    with h5py.File(path) as file:
        return int(file[AUDIO].id.get_storage_size())


def coded_bytes(folder: Path) -> int:
    """What the audio of a publication takes."""
    batches = (batch for path in folder.glob("data/*.parquet") for batch in read_batches(path))
    return sum(len(coded.content) for batch in batches for coded in batch.audio)


def through_webdataset(folder: Path, coding: AudioCoding) -> Iterator[float]:
    """Rows a second of each epoch of the train split, as batches of float32 from two workers."""
    import webdataset
    from torch.utils.data import DataLoader

    from synthcore.training.torch import collate

    shards = sorted(map(str, folder.glob("data/train-*.tar")))
    endings = (coding,) if coding == "wav" else (coding, "json")
    stream = webdataset.WebDataset(shards, shardshuffle=len(shards), select_files=lambda name: name.endswith(endings))
    rows = stream.shuffle(LOOKED_AHEAD).map(read_sample)
    loader = DataLoader(rows, batch_size=BATCH, num_workers=WORKERS, persistent_workers=True, collate_fn=collate)
    for epoch in range(1 + REPEATS):
        started = time.perf_counter()
        count = sum(len(batch["audio"]) for batch in loader)
        if epoch:
            yield count / (time.perf_counter() - started)
