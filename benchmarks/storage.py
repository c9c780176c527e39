"""The file format against h5py's own gzip-4 in chunks of 64 rows, and merging against cp."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Measure, generate
from synthcore.base.hashing import file_checksum
from synthcore.engine.chunk import deflate
from synthcore.pipeline import library
from synthcore.pipeline.shard import plan_shards
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.merge import merge_shards
from synthcore.storage.refs import ShardRef
from synthcore.storage.schema import AUDIO

ROWS = 768
READS = 60
REPEATS = 5


def run(folder: Path) -> Iterator[Measure]:
    """Make a dataset, and store the same audio both ways."""
    generate(folder, "-n", ROWS)
    with h5py.File(folder / "out.h5") as file:
        audio = file[AUDIO][:]
    plain, ours = folder / "plain.h5", folder / "ours.h5"
    plain_seconds, our_seconds = seconds(lambda: write_plain(plain, audio)), seconds(lambda: write_ours(ours, audio))
    yield Measure("storage: time to write, of gzip-4", our_seconds / plain_seconds, 0.2, at_least=False)
    yield Measure("storage: bytes a row, of gzip-4", ours.stat().st_size / plain.stat().st_size, 0.88, at_least=False)
    order = np.random.default_rng(0).integers(0, ROWS, READS).tolist()
    speedup = seconds(lambda: read_rows(plain, order)) / seconds(lambda: read_rows(ours, order))
    yield Measure("storage: shuffled single-row reads, times gzip-4's", speedup, 30.0)
    yield Measure("storage: merge, of cp's MB/s", compare_merge(folder), 0.6)


def write_plain(path: Path, audio: NDArray[np.float32]) -> None:
    """Write what h5py users write."""
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=audio, chunks=(64, *audio.shape[1:]), compression="gzip", compression_opts=4)


def write_ours(path: Path, audio: NDArray[np.float32]) -> None:
    """Compress and write rows the way a render child and its shard do."""
    with h5py.File(path, "w") as file:
        rows = file.create_dataset(
            "a", audio.shape, "<f4", chunks=(1, *audio.shape[1:]), shuffle=True, compression="gzip"
        )
        for place, row in enumerate(audio):
            rows.id.write_direct_chunk((place, 0, 0), deflate(row))


def read_rows(path: Path, order: list[int]) -> None:
    """Read single rows in a shuffled order."""
    with h5py.File(path) as file:
        for row in order:
            file["a"][row]


def compare_merge(folder: Path) -> float:
    """MB/s of merging (verified, flushed to the disk) over those of cp and sync, alternating."""
    with Dataset(folder / "out.h5") as made:
        spec, data = made.spec, folder / "data"
    shards = known_shards(spec, data, 192)
    merged, copied = folder / "merged.h5", folder / "copied"

    def merge() -> None:
        merge_shards(shards, merged, library.merge_context(spec, data))

    def copy() -> None:
        names = [str(data / shard.name) for shard in shards]
        subprocess.run(["cp", *names, str(copied)], check=True)
        subprocess.run(["sync", *map(str, copied.iterdir())], check=True)

    ratios = []
    for _ in range(REPEATS):
        merged.unlink(missing_ok=True)
        shutil.rmtree(copied, ignore_errors=True)
        copied.mkdir()
        ratios.append(seconds(copy) / seconds(merge))
    return float(np.median(ratios)) * merged.stat().st_size / sum(s.size for s in shards)


def known_shards(spec: DatasetSpec, data: Path, rows_per_shard: int) -> list[ShardRef]:
    """The shards of a dataset that was generated into this data directory, as a merge wants them."""
    shards = []
    for plan in plan_shards(spec, rows_per_shard):
        path = data / plan.name
        known = {"name": plan.name, "size": path.stat().st_size, "checksum": file_checksum(path), "rows": plan.rows}
        known |= {"source": plan.source, "candidates": 0, "faults": {}, "seconds": 0, "synth_cpu_seconds": 0}
        shards.append(ShardRef(**known, digest=""))
    return shards


def seconds(work: Callable[[], None]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
