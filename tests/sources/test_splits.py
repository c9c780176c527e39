"""Families and splits: what is made from one sound stays together, and stays where it is as the dataset grows."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise

import h5py
import numpy as np
import pytest

from synthcore.analysis.inspection import inspect
from synthcore.base.errors import DatasetError
from synthcore.ingest.collecting import ingest
from synthcore.pipeline import library
from synthcore.publishing.recipe import render_recipe, write_recipe
from synthcore.sources.splits import SHARES, family_of, split_of
from synthcore.spec import DatasetSpec
from synthcore.storage.collection import write_collection
from synthcore.storage.dataset import Dataset
from synthcore.vital.patch import Patch
from tests.conftest import make_dataset

#: Of 100 families about this many are expected in each split.
MANY = 2000


@pytest.fixture(scope="module")
def collection(preset_folder, registry):
    return ingest([preset_folder], registry, check=False, workers=2)[0]


@pytest.fixture(scope="module")
def mixed(collection, short, tmp_path_factory):
    """Rows of presets, variations and priors."""
    data_dir = tmp_path_factory.mktemp("splits")
    write_collection(data_dir / "presets.h5", collection)
    library.given_collection(data_dir / "presets.h5", data_dir)
    spec = DatasetSpec(tier=2, n_samples=4, audio=short, variations=6, presets_digest=collection.digest)
    return make_dataset(spec, data_dir, collection)


@pytest.fixture
def dataset(mixed):
    with Dataset(mixed.path) as opened:
        yield opened


# --------------------------------------------------------------------------------------------------------- the families


def test_a_familys_split_is_a_function_of_its_name_in_the_shares_promised():
    names = [f"{n:064x}" for n in range(0, 16**64, 16**64 // MANY)]
    splits = [split_of(name) for name in names]
    assert {s: pytest.approx(splits.count(s) / len(splits), abs=0.002) for s in SHARES} == SHARES
    assert splits == [split_of(name) for name in names]
    assert (split_of("0" * 64), split_of("c" * 64), split_of("f" * 64)) == ("train", "train", "test")


def test_what_differs_in_wavetables_alone_is_one_family(registry):
    patch = Patch.init(registry)
    assert family_of(replace(patch, wavetables=("a", "b", "c"))) == family_of(patch)
    assert family_of(replace(patch, continuous=1 - patch.continuous)) != family_of(patch)


def test_the_notes_of_a_patch_are_one_family(each_tier):
    with Dataset(each_tier.path) as dataset:
        families, patches = dataset.column("family"), dataset.column("patch_index")
        same_patch, same_family = ([a == b for a, b in pairwise(of.tolist())] for of in (patches, families))
        assert same_patch == same_family
        assert families[0].decode() == family_of(dataset.patch(0))


@pytest.mark.slow
def test_a_preset_has_the_family_of_what_people_made_whatever_the_tier_left_of_it(dataset, collection):
    of_people = {p.patch.hash.encode(): family_of(p.patch).encode() for p in collection.presets}
    of_presets = dataset.column("source") == b"community"
    assert of_presets.any()
    parents = dataset.column("parents")[of_presets, 0].tolist()
    assert dataset.column("family")[of_presets].tolist() == [of_people[p] for p in parents]


@pytest.mark.slow
def test_a_variation_is_of_its_first_parents_family_and_all_its_parents_are_of_its_split(dataset, collection):
    families = {p.patch.hash.encode(): family_of(p.patch) for p in collection.presets}
    varied = np.flatnonzero(dataset.column("source") == b"variation")
    assert len(varied) == 12
    for row in varied.tolist():
        stored = dataset[row]
        of_parents = [families[parent] for parent in stored["parents"].tolist() if parent]
        assert stored["family"].decode() == of_parents[0]
        assert {split_of(family).encode() for family in of_parents} == {stored["split"]}


@pytest.mark.slow
def test_every_rows_split_is_its_familys(dataset):
    families, splits = (dataset.column(name).tolist() for name in ("family", "split"))
    assert splits == [split_of(family.decode()).encode() for family in families]


# ------------------------------------------------------------------------------------------------------------- the file


@pytest.mark.slow
def test_a_dataset_that_grows_keeps_families_splits_and_activity(tier_1, tmp_path):
    small = tier_1.merge(tmp_path / "x.h5", tier_1.shards[:1], spec=tier_1.spec.model_copy(update={"n_samples": 10}))
    with Dataset(small.path) as before, Dataset(tier_1.path) as after:
        for name in ("family", "split", "active"):
            np.testing.assert_array_equal(before.column(name), after.column(name, slice(10)))


@pytest.mark.slow
def test_the_content_digest_knows_nothing_of_rules(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        del file["params/active"], file["metadata/family"], file["metadata/split"], file["metadata/clips"]
    with Dataset(path) as dataset:
        assert dataset.digest == tier_1.ref.digest
        assert not {"active", "family", "split", "clips"} & set(dataset.column_names)
        assert "split" not in dataset[0]
        assert inspect(dataset).splits == {}
        assert inspect(dataset).clipping_rows == 0  # counted from the peaks
        with pytest.raises(DatasetError, match="has no splits: .*generate it again"):
            dataset.split("train")


def test_a_shard_has_no_derived_columns(tier_1):
    with Dataset(tier_1.data_dir / tier_1.shards[0].name) as shard, pytest.raises(DatasetError, match="has no splits"):
        shard.split("train")


def test_the_header_names_the_rules(tier_1):
    with h5py.File(tier_1.path) as file:
        said = file["schema"].attrs
        assert said["split_rules"] == 1
        assert said["split_shares"] == '{"test":0.1,"train":0.8,"val":0.1}'


@pytest.mark.slow
def test_a_recipe_keeps_them_and_brings_them_back(tier_1, tmp_path):
    with Dataset(tier_1.path) as dataset:
        write_recipe(dataset, tmp_path / "recipe.h5")
    with Dataset(tmp_path / "recipe.h5") as recipe:
        render_recipe(recipe, [], tmp_path / "again.h5", workers=2)
    with Dataset(tier_1.path) as before, Dataset(tmp_path / "again.h5") as after:
        for name in ("family", "split", "active"):
            np.testing.assert_array_equal(before.column(name), after.column(name))


@pytest.mark.slow
def test_inspect_counts_them(dataset):
    found = inspect(dataset)
    assert list(found.splits) == ["train", "val", "test"]
    assert sum(found.splits.values()) == len(dataset)
    assert "splits" in found.to_text()


# ------------------------------------------------------------------------------------------------------------- the rows


@pytest.mark.slow
def test_the_splits_are_all_rows_each_once(dataset):
    rows = [dataset.split(name).rows for name in SHARES]
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(dataset)))
    assert all((dataset.column("split")[r] == s.encode()).all() for s, r in zip(SHARES, rows, strict=True))


@pytest.mark.slow
def test_a_split_is_indexed_like_a_dataset(dataset):
    train = dataset.split("train")
    rows = train.rows
    assert len(train) == len(rows) > 8
    assert train[2]["audio_sha256"] == dataset[int(rows[2])]["audio_sha256"]
    assert train[-1]["preset_hash"] == dataset[int(rows[-1])]["preset_hash"]
    np.testing.assert_array_equal(train[1:5]["audio"], dataset[rows[1:5].tolist()]["audio"])
    np.testing.assert_array_equal(train[[4, 0]]["continuous"], dataset[rows[[4, 0]].tolist()]["continuous"])
    np.testing.assert_array_equal(train.column("peak"), dataset.column("peak")[rows])
    assert len(train[[]]["audio"]) == 0
    assert [row["patch_index"] for row in train] == dataset.column("patch_index")[rows].tolist()
    assert [len(batch["audio"]) for batch in train.batches(5)][:-1] == [5] * (len(train) // 5 - (len(train) % 5 == 0))
    assert len(train[np.arange(len(train)) % 2 == 0]["peak"]) == (len(train) + 1) // 2


@pytest.mark.slow
def test_a_split_travels_to_another_process(dataset):
    train = pickle.loads(pickle.dumps(dataset.split("train")))
    assert train[0]["audio_sha256"] == dataset.split("train")[0]["audio_sha256"]
    train.dataset.close()


@pytest.mark.slow
def test_what_is_not_there_is_named(dataset):
    with pytest.raises(DatasetError, match="there is no split 'dev'; there are train, val, test"):
        dataset.split("dev")
    with pytest.raises(IndexError, match="row 999 is out of range"):
        dataset.split("train")[999]
