"""Reading a dataset: by row, slice, list, batch and column; in another process; and when the file is none."""

from __future__ import annotations

import multiprocessing
import operator
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor

import h5py
import numpy as np
import pytest

import synthcore
from synthcore.base.errors import DatasetError, SynthcoreError
from synthcore.storage.dataset import Dataset


@pytest.fixture
def dataset(tier_3):
    with Dataset(tier_3.path) as opened:
        yield opened


@pytest.fixture
def audio(tier_3):
    with h5py.File(tier_3.path) as file:
        return file["audio/waveforms"][:]


# -------------------------------------------------------------------------------------------------------------- access


def test_its_length_is_its_number_of_rows(dataset):
    assert len(dataset) == 15


def test_a_row_has_every_part_under_its_short_name(dataset):
    row = dataset[3]
    shapes = {
        "audio": (2, 8820),
        "continuous": (322,),
        "categorical": (126,),
        "modulation_slots": (64, 7),
        "modulation_t3": (4, 32, 428),
        "wavetables": (3,),
        "extras": (3,),
        "midi_note": (),
    }
    assert {name: np.shape(row[name]) for name in shapes} == shapes
    assert tuple(row) == dataset.column_names
    assert (row["midi_note"], row["velocity"], row["patch_index"]) == (60, 100, 1)


@pytest.mark.parametrize("row", [0, 3, 14, -1, -15, np.int64(3)])
def test_a_row_is_found_by_its_number_also_from_the_end(dataset, audio, row):
    np.testing.assert_array_equal(dataset[row]["audio"], audio[row])


@pytest.mark.parametrize("row", [15, -16, 10**9])
def test_a_row_that_is_not_there_is_an_index_error(dataset, row):
    with pytest.raises(IndexError, match=rf"row {row} is out of range: .* has rows 0 to 14"):
        dataset[row]


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows", [slice(None), slice(3, 7), slice(-3, None), slice(0, 15, 4), slice(7, 3), slice(10, 99)], ids=str
)
def test_a_slice_is_a_batch(dataset, audio, rows):
    batch = dataset[rows]
    np.testing.assert_array_equal(batch["audio"], audio[rows])
    assert len(batch["continuous"]) == len(audio[rows])


@pytest.mark.parametrize(
    "rows",
    [[0], [3, 5, 7], [7, 3, 5], [2, 2, 2], [14, 0, 14, 0], np.array([9, 1]), (4, 1), range(5, 0, -1)],
    ids=str,
)
def test_a_list_of_rows_is_a_batch_in_its_order(dataset, audio, rows):
    batch = dataset[rows]
    np.testing.assert_array_equal(batch["audio"], audio[np.array(rows)])
    np.testing.assert_array_equal(batch["patch_index"], np.array(rows) // 2)


def test_negative_numbers_in_a_list_count_from_the_end(dataset, audio):
    np.testing.assert_array_equal(dataset[[-1, 0, -15]]["audio"], audio[[-1, 0, -15]])


def test_a_list_with_a_row_that_is_not_there_is_an_index_error(dataset):
    with pytest.raises(IndexError):
        dataset[[0, 15]]


def test_an_empty_list_is_an_empty_batch(dataset):
    assert dataset[[]]["audio"].shape == (0, 2, 8820)


def test_a_mask_selects_the_rows_where_it_is_true(dataset, audio):
    is_low = dataset.column("midi_note") == 48
    np.testing.assert_array_equal(dataset[is_low]["audio"], audio[::2])


@pytest.mark.slow
def test_iterating_gives_every_row_in_order(dataset, audio):
    np.testing.assert_array_equal([row["audio"] for row in dataset], audio)


@pytest.mark.parametrize(("size", "sizes"), [(4, [4, 4, 4, 3]), (5, [5, 5, 5]), (99, [15])])
def test_batches_are_consecutive_and_the_last_may_be_smaller(dataset, audio, size, sizes):
    batches = list(dataset.batches(size))
    assert [len(b["audio"]) for b in batches] == sizes
    np.testing.assert_array_equal(np.concatenate([b["audio"] for b in batches]), audio)


@pytest.mark.parametrize("rows", [slice(None), slice(2, 5), [4, 1, 4]], ids=str)
def test_one_column_is_read_by_its_name(dataset, rows):
    np.testing.assert_array_equal(dataset.column("continuous", rows), dataset[rows]["continuous"])


def test_a_column_that_is_not_there_is_a_key_error(dataset):
    with pytest.raises(KeyError, match="loudness"):
        dataset.column("loudness")


def test_a_shard_is_read_like_a_dataset(tier_3, dataset):
    with Dataset(tier_3.data_dir / tier_3.shards[1].name) as shard:
        assert len(shard) == 10
        assert shard.spec == dataset.spec
        np.testing.assert_array_equal(shard[:5]["audio"], dataset[10:]["audio"])


# -------------------------------------------------------------------------------------------------------------- labels


def test_lower_tiers_are_a_subset_of_the_columns(tier_1, dataset, registry):
    """A model for tier 1 trains on any dataset, with the columns of tier 1."""
    continuous, categorical = dataset.columns(1)
    assert len(continuous) + len(categorical) == 82
    assert dataset[0]["continuous"][continuous].shape == continuous.shape
    names = dataset.control_names(1)
    assert {*names} == {c.name for c in registry.of_tier(1)}
    assert names[: len(continuous)] == tuple(registry.continuous[i].name for i in continuous)
    assert names[len(continuous) :] == tuple(registry.categorical[i].name for i in categorical)
    with Dataset(tier_1.path) as lower:
        assert lower.control_names(1) == names


@pytest.mark.parametrize("tier", [2, 3])
def test_tiers_2_and_3_are_all_columns(dataset, tier):
    continuous, categorical = dataset.columns(tier)
    assert (len(continuous), len(categorical)) == (322, 126)
    assert len({*dataset.control_names(tier)}) == 448


@pytest.mark.parametrize("tier", [2, 3, 0])
def test_a_dataset_has_no_columns_of_another_tier(tier_1, tier):
    with (
        Dataset(tier_1.path) as dataset,
        pytest.raises(DatasetError, match=f"is of tier 1: .* no labels of tier {tier}"),
    ):
        dataset.columns(tier)


@pytest.mark.slow
def test_a_rows_patch_has_the_rows_hash(each_tier):
    with Dataset(each_tier.path) as dataset:
        for row in range(len(dataset)):
            assert dataset.patch(row).hash == dataset[row]["preset_hash"].decode()


def test_patches_come_from_the_end_as_rows_do(dataset):
    assert dataset.patch(-1).hash == dataset.patch(14).hash


@pytest.mark.parametrize("row", [15, -16])
def test_the_patch_of_a_row_that_is_not_there_is_an_index_error(dataset, row):
    with pytest.raises(IndexError):
        dataset.patch(row)


def test_it_knows_what_it_was_made_from(each_tier, registry):
    with Dataset(each_tier.path) as dataset:
        assert dataset.spec == each_tier.spec
        assert dataset.registry == registry
        assert dataset.digest == each_tier.ref.digest
        assert dataset.version == "4.1.0"
        assert dataset.weights_status == "absent"
        assert f"15 rows, tier {each_tier.spec.tier}" in repr(dataset)


# ---------------------------------------------------------------------------------------------- processes, and the end


@pytest.mark.slow
def test_it_can_be_given_to_another_process(dataset, audio):
    """As a DataLoader's workers get it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        row = pool.submit(operator.getitem, dataset, 3).result()
    np.testing.assert_array_equal(row["audio"], audio[3])


def test_it_can_be_pickled_from_any_folder(tier_3, audio, monkeypatch):
    monkeypatch.chdir(tier_3.data_dir)
    with Dataset(tier_3.path.name) as dataset:
        monkeypatch.chdir("/")
        with pickle.loads(pickle.dumps(dataset)) as again:
            np.testing.assert_array_equal(again[0]["audio"], audio[0])


def test_a_pickled_dataset_is_opened_anew(dataset, audio):
    with pickle.loads(pickle.dumps(dataset)) as again:
        dataset.close()
        np.testing.assert_array_equal(again[0]["audio"], audio[0])


def test_it_is_closed_when_the_block_ends(tier_3):
    with Dataset(tier_3.path) as dataset:
        assert len(dataset) == 15
    with pytest.raises(ValueError, match="closed"):
        dataset[0]


def test_it_has_a_name_in_the_package():
    assert synthcore.Dataset is Dataset


# -------------------------------------------------------------------------------------------------------- what is none


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match=r"there is no file .*x\.h5"):
        Dataset(tmp_path / "x.h5")


def test_a_folder(tmp_path):
    with pytest.raises(DatasetError, match="is a folder; name a file in it"):
        Dataset(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n"], ids=["empty", "text", "magic"])
def test_a_file_that_is_no_hdf5(tmp_path, content):
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.h5 is (not an HDF5 file|truncated)"):
        Dataset(path)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file(tier_1, tmp_path, share):
    path = shutil.copy(tier_1.path, tmp_path / "x.h5")
    with path.open("r+b") as file:
        file.truncate(int(tier_1.ref.size * share))
    with pytest.raises(DatasetError, match=r"x\.h5 is truncated: it was copied or written only in part"):
        Dataset(path)


def test_hdf5_that_is_no_dataset(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["audio/waveforms"] = np.zeros((1, 2, 3))
    with pytest.raises(DatasetError, match="an HDF5 file, but not a synthcore dataset: it has no schema/version"):
        Dataset(tmp_path / "x.h5")


@pytest.mark.parametrize("version", ["2.0.0", "5.0.0", "40.0.0", "draft"])
def test_another_major_version_of_the_schema(tier_1, forge, version):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["schema"].attrs["version"] = version
    with pytest.raises(DatasetError, match=rf"has schema version {version}, this synthcore reads 4\.1\.0; generate"):
        Dataset(path)


def test_another_minor_version_is_read(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["schema"].attrs["version"] = "4.7.1"
    with Dataset(path) as dataset:
        assert len(dataset) == 15


def test_every_error_is_one_that_a_person_can_mend():
    assert issubclass(DatasetError, SynthcoreError)
