"""Reading rows past HDF5: the same numbers as HDF5 reads, whatever the layout, and damage that is found."""

from __future__ import annotations

import threading

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from synthcore import Dataset
from synthcore.base.errors import DatasetError
from synthcore.storage.rows import has_our_chunks, read_rows
from tests.conftest import place_of

ROWS = [0, 3, 4, 11, 14]
LAYOUTS = {
    "as we write it": ({}, True),
    "4 rows to a chunk": ({"chunk_rows": 4}, False),
    "64 rows to a chunk": ({"chunk_rows": 64}, False),
    "virtual": ({"mode": "virtual"}, False),
}


@pytest.mark.slow
@pytest.mark.parametrize(("how", "is_ours"), LAYOUTS.values(), ids=LAYOUTS)
def test_rows_are_what_hdf5_reads(tier_3, tmp_path, how, is_ours):
    """Of every column: audio, dense modulation, labels and metadata."""
    ref = tier_3.merge(tmp_path / "x.h5", **how)
    with Dataset(ref.path) as dataset, h5py.File(ref.path) as file:
        assert has_our_chunks(file["audio/waveforms"]) is is_ours
        for short, name in dataset._names.items():
            expected = file[name][:]
            for rows in (ROWS, [7], [], list(range(15))):
                found = read_rows(file[name], np.array(rows, dtype=np.intp))
                assert (found.dtype, found.shape) == (expected.dtype, (len(rows), *expected.shape[1:]))
                assert_array_equal(found, expected[np.array(rows, dtype=int)])
            assert_array_equal(dataset.column(short, [14, 0, 14, -2]), expected[[14, 0, 14, 13]])
            assert_array_equal(dataset.column(short, slice(3, 12, 4)), expected[3:12:4])
            assert_array_equal(dataset[-1][short], expected[-1])


@pytest.mark.slow
@pytest.mark.parametrize("how", [how for how, _ in LAYOUTS.values()], ids=LAYOUTS)
@pytest.mark.parametrize("rows", [slice(2, 9, 3), [1, 4, 7], [4, 1, -1, 1], []], ids=str)
def test_a_column_is_put_where_it_is_wanted(tier_1, tmp_path, how, rows):
    ref = tier_1.merge(tmp_path / "x.h5", **how)
    with Dataset(ref.path) as dataset:
        for name in dataset.column_names:
            expected = dataset.column(name)[rows]
            out = np.zeros_like(expected)
            assert dataset.column(name, rows, out) is out
            assert_array_equal(out, expected)


@pytest.mark.parametrize(
    "room",
    [
        lambda rows: np.empty(rows.shape, np.int32),
        lambda rows: np.empty(rows.shape, np.float64),
        lambda rows: np.empty((len(rows) + 1, *rows.shape[1:]), rows.dtype),
        lambda rows: np.empty((rows.size,), rows.dtype),
        lambda rows: np.empty((2 * len(rows), *rows.shape[1:]), rows.dtype)[::2],
        lambda rows: np.frombuffer(rows.tobytes(), rows.dtype).reshape(rows.shape),
    ],
    ids=["whole numbers", "wider", "more rows", "flat", "with gaps", "read-only"],
)
@pytest.mark.parametrize("rows", [[1, 4], [4, 1]], ids=str)
def test_a_place_that_does_not_fit_is_refused(tier_1, room, rows):
    """Bits of floats would stand there as whole numbers, or rows would be missing."""
    with Dataset(tier_1.path) as dataset:
        for name in ("audio", "continuous"):
            with pytest.raises(ValueError, match="out must be a contiguous array of shape"):
                dataset.column(name, rows, room(dataset.column(name, rows)))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_file_of_very_few_rows_is_read(tier_1, tmp_path, rows):
    """Its labels have as few rows to a chunk, and may look like audio."""
    spec = tier_1.spec.model_copy(update={"n_samples": rows})
    ref = tier_1.merge(tmp_path / "x.h5", spec=spec)
    with Dataset(ref.path) as dataset, h5py.File(ref.path) as file:
        for short, name in dataset._names.items():
            assert_array_equal(dataset[list(range(rows))][short], file[name][:])


@pytest.mark.parametrize(
    "other",
    [{"compression": "gzip"}, {"shuffle": True}, {"fletcher32": True, "shuffle": True, "compression": "gzip"}, {}],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_other_layouts_are_left_to_hdf5(tmp_path, dtype, other):
    audio = np.random.default_rng(0).normal(size=(5, 2, 30)).astype(dtype)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        column = file.create_dataset("a", data=audio, chunks=(1, 2, 30), **other)
        assert not has_our_chunks(column)
        assert_array_equal(read_rows(column, np.array([1, 4])), audio[[1, 4]])


def test_a_chunk_that_hdf5_left_as_it_was_is_read(tmp_path):
    audio = np.random.default_rng(0).normal(size=(2, 2, 30)).astype("<f4")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        column = file.create_dataset("a", audio.shape, "<f4", chunks=(1, 2, 30), shuffle=True, compression="gzip")
        column[0] = audio[0]
        column.id.write_direct_chunk((1, 0, 0), audio[1].tobytes(), filter_mask=0b11)
        assert has_our_chunks(column)
        assert_array_equal(read_rows(column, np.array([0, 1])), audio)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_bit_flipped_is_found(tier_1, forge, share):
    """A zlib stream ends with a sum over what it holds."""
    path = forge(tier_1)
    start, size = place_of(path, 3)
    with path.open("r+b") as file:
        file.seek(start + int(size * share))
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x10]))
    with Dataset(path) as dataset:
        assert dataset[2]["audio"].any()
        with pytest.raises(
            DatasetError, match=r"forged\.h5 is damaged: row 3 of audio/waveforms can't be read .*again"
        ):
            dataset[[1, 3]]


def test_a_file_cut_short_while_it_is_open_is_said_to_be_damaged(tier_1, forge):
    path = forge(tier_1)
    start, size = place_of(path, 14)
    with Dataset(path) as dataset:
        dataset[0]
        with path.open("r+b") as file:
            file.truncate(start + size // 2)
        with pytest.raises(DatasetError, match=r"damaged: row 14 of audio/waveforms"):
            dataset.column("audio", [14])
        assert dataset.column("audio", [0]).any()


def test_a_row_of_another_size_is_damage(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        column = file.create_dataset("a", (2, 2, 30), "<f4", chunks=(1, 2, 30), shuffle=True, compression="gzip")
        small = file.create_dataset("b", (1, 2, 20), "<f4", chunks=(1, 2, 20), shuffle=True, compression="gzip")
        small[0] = 1
        column.id.write_direct_chunk((0, 0, 0), small.id.read_direct_chunk((0, 0, 0))[1])
        with pytest.raises(DatasetError, match=r"row 0 of a can't be read"):
            read_rows(column, np.array([0]))


@pytest.mark.slow
def test_threads_can_share_a_dataset(tier_1):
    with Dataset(tier_1.path) as dataset:
        expected = dataset[:]["audio"]
        wrong: list[int] = []

        def read(seed):
            rows = np.random.default_rng(seed).integers(0, 15, 60).tolist()
            wrong.extend(row for row in rows if not np.array_equal(dataset[row]["audio"], expected[row]))

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
