"""Shuffled rows a second through a DataLoader, against as many processes that do nothing but read the same chunks.

Those read each chunk directly, inflate it with isal and unshuffle it with numpy, and keep nothing. The DataLoader gives
batches of 64 with all labels, and sends them from its workers to the process that trains. Both are warm (file cached,
workers started), and take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Measure, generate
from synthcore.engine.chunk import inflate
from synthcore.storage.schema import AUDIO
from synthcore.training.batches import Order

ROWS = 768
BATCH = 64
REPEATS = 5
BAR = 0.7
ReadShare = Callable[[Path, NDArray[np.intp], Barrier], None]


def run(folder: Path) -> Iterator[Measure]:
    """Compare with 0, 1 and 2 workers."""
    generate(folder, "-n", ROWS)
    for workers in (0, 1, 2):
        speeds = list(
            zip(through_loader(folder / "out.h5", workers), directly(folder / "out.h5", workers), strict=True)
        )
        ratio = float(np.median([loaded / direct for loaded, direct in speeds]))
        name = f"loading: {workers} worker{'' if workers == 1 else 's'}"
        yield Measure(f"{name}, rows/s of as many processes that only inflate", ratio, BAR)
        yield Measure(
            f"{name}, shuffled rows a second", float(np.median([loaded for loaded, _ in speeds])), unit="rows/s"
        )


def through_loader(path: Path, workers: int, parts: Sequence[str] | None = None) -> Iterator[float]:
    """Rows a second of each epoch, of some parts or all."""
    from torch.utils.data import DataLoader

    from synthcore.training.torch import Examples, RowDataset, ShuffledBatches

    rows = RowDataset(Examples(path, parts=parts))
    batches = ShuffledBatches(rows, Order(BATCH))
    loader = DataLoader(rows, sampler=batches, batch_size=None, num_workers=workers, persistent_workers=bool(workers))
    for epoch in range(1 + REPEATS):
        started = time.perf_counter()
        read = sum(len(batch["row"]) for batch in loader)
        if epoch:  # the first one starts the workers
            yield read / (time.perf_counter() - started)


def directly(path: Path, workers: int) -> Iterator[float]:
    """Rows a second of reading all rows once; with 0 workers in this process."""
    for _ in range(REPEATS):
        order = np.random.default_rng(0).permutation(ROWS)
        if workers:
            yield ROWS / seconds_in_processes(path, np.array_split(order, workers))
        else:
            started = time.perf_counter()
            read_chunks(path, order)
            yield ROWS / (time.perf_counter() - started)


def read_share(path: Path, rows: NDArray[np.intp], barrier: Barrier) -> None:
    """Read one process's share, between two meetings."""
    barrier.wait()
    read_chunks(path, rows)
    barrier.wait()


def seconds_in_processes(path: Path, shares: list[NDArray[np.intp]], read: ReadShare = read_share) -> float:
    """Wall seconds from when all processes are there until the last one is through."""
    context = get_context("fork")
    barrier = context.Barrier(len(shares) + 1)
    processes = [context.Process(target=read, args=(path, share, barrier)) for share in shares]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.perf_counter()
    barrier.wait()
    taken = time.perf_counter() - started
    for process in processes:
        process.join()
    return taken


def read_chunks(path: Path, rows: NDArray[np.intp]) -> None:
    """Read chunks as they lie in the file, and turn them into audio."""
    with h5py.File(path) as file:
        audio = file[AUDIO]
        for row in rows.tolist():
            inflate(audio.id.read_direct_chunk((row, 0, 0))[1], audio.shape[1:])
