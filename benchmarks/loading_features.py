"""Shuffled rows a second of log-mel spectra through a DataLoader, against audio, and against plain h5py.

Log-mels and audio come with the labels, in batches of 64, from two workers, taking turns in one run. Plain h5py reads
the same log-mels row by row in as many processes, and keeps nothing; there the DataLoader gives log-mels alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.loading import REPEATS, ROWS, seconds_in_processes, through_loader
from benchmarks.measure import Measure, generate, synthcore

WORKERS = 2
LABELS = ("continuous", "categorical")
AUDIO_BAR, H5PY_BAR = 10.0, 0.7


def run(folder: Path) -> Iterator[Measure]:
    """Compare with two workers."""
    generate(folder, "-n", ROWS)
    file = folder / "out.h5"
    synthcore("features", file, "--log-mel", "--data-dir", folder / "data")
    audio, log_mels, alone = (
        through_loader(file, WORKERS, parts) for parts in (("audio", *LABELS), ("log_mel", *LABELS), ("log_mel",))
    )
    speeds = np.array(list(zip(audio, log_mels, alone, plainly(file), strict=True)))
    name = f"loading: {WORKERS} workers, log-mels"
    yield Measure(f"{name}, rows/s of audio in the same run", float(np.median(speeds[:, 1] / speeds[:, 0])), AUDIO_BAR)
    yield Measure(
        f"{name} alone, rows/s of as many processes that read them with plain h5py",
        float(np.median(speeds[:, 2] / speeds[:, 3])),
        H5PY_BAR,
    )
    yield Measure(f"{name}, shuffled rows a second", float(np.median(speeds[:, 1])), unit="rows/s")


def plainly(path: Path) -> Iterator[float]:
    """Rows a second of reading all rows once, in processes."""
    for _ in range(REPEATS):
        order = np.random.default_rng(0).permutation(ROWS)
        yield ROWS / seconds_in_processes(path, np.array_split(order, WORKERS), read_share)


def read_share(path: Path, rows: NDArray[np.intp], barrier: Barrier) -> None:
    """Read one process's share, between two meetings."""
    with h5py.File(path) as file:
        column = file["features/log_mel"]
        barrier.wait()
        for row in rows.tolist():
            column[row]
        barrier.wait()
