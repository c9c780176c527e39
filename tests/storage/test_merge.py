"""Merging: shards become one dataset, byte for byte, or nothing happens."""

from __future__ import annotations

import hashlib
import pickle
import shutil

import h5py
import numpy as np
import pytest

from synthcore.base.errors import DamagedShard
from synthcore.storage import weights
from synthcore.storage.dataset import Dataset
from synthcore.storage.refs import ShardRef


def assert_same_rows(path, other, rows=slice(None)):
    """Every column of two files is equal, over these rows."""
    with Dataset(path) as ours, Dataset(other) as theirs:
        assert ours.column_names == theirs.column_names
        for name in ours.column_names:
            np.testing.assert_array_equal(ours.column(name, rows), theirs.column(name, rows), err_msg=name)


def stored_chunks(path):
    """The SHA-256 of each row's audio as it lies in a file, compressed: what differs is shown in a moment."""
    with h5py.File(path) as file:
        audio = file["audio/waveforms"]
        chunks = [audio.id.read_direct_chunk((row, 0, 0))[1] for row in range(len(audio))]
        return [hashlib.sha256(chunk).hexdigest() for chunk in chunks]


# ------------------------------------------------------------------------------------------------------------ the rows


def test_the_last_patch_is_cut_when_fewer_rows_are_asked_for(each_tier):
    with Dataset(each_tier.path) as dataset:
        assert len(dataset) == each_tier.spec.n_samples == 15
        assert dataset.column("midi_note").tolist()[-3:] == [48, 60, 48]
        assert dataset.column("patch_index")[-1] == 7


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 9, 10, 11, 20])
def test_any_number_of_rows_is_the_beginning_of_all(tier_1, tmp_path, rows):
    spec = tier_1.spec.model_copy(update={"n_samples": rows})
    ref = tier_1.merge(tmp_path / "x.h5", tier_1.shards[: -(-rows // 10)], spec=spec)
    assert ref.rows == rows
    common = slice(0, min(rows, 15))
    assert_same_rows(ref.path, tier_1.path, common)
    with Dataset(ref.path) as dataset:
        assert len(dataset) == rows


def test_audio_is_copied_as_the_bytes_that_the_engine_made(tier_1):
    """Nothing is inflated and compressed again."""
    shards = [chunk for shard in tier_1.shards for chunk in stored_chunks(tier_1.data_dir / shard.name)]
    assert stored_chunks(tier_1.path) == shards[:15]


def test_rejections_of_the_patches_included_are_taken_over_and_no_others(tier_1):
    with Dataset(tier_1.path) as merged:
        found = merged.rejections()
    shards = []
    for ref in tier_1.shards:
        with Dataset(tier_1.data_dir / ref.name) as shard:
            shards.append(shard.rejections())
    for name, values in found.items():
        everything = np.concatenate([s[name] for s in shards])
        included = np.concatenate([s["patch_index"] for s in shards]) < 8
        np.testing.assert_array_equal(values, everything[included])
    assert len(found["reason"])


def test_merging_again_gives_the_same_digest_and_reference(tier_1, tmp_path):
    ref = tier_1.merge(tmp_path / "x.h5")
    assert (ref.digest, ref.rows) == (tier_1.ref.digest, tier_1.ref.rows)
    assert ref.is_intact()
    assert not ref.model_copy(update={"digest": "0" * 64}).is_intact()


def test_a_shards_digest_is_of_its_own_rows(tier_1):
    assert len({*(s.digest for s in tier_1.shards), tier_1.ref.digest}) == 3


# ------------------------------------------------------------------------------------------------- the ways of merging


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{"mode": "virtual"}, {"chunk_rows": 4}, {"chunk_rows": 64}], ids=["virtual", "4 rows", "64 rows"]
)
def test_the_way_of_merging_changes_no_row_and_no_digest(each_tier, tmp_path, how):
    ref = each_tier.merge(tmp_path / "x.h5", **how)
    assert ref.digest == each_tier.ref.digest
    assert_same_rows(ref.path, each_tier.path)


@pytest.mark.slow
def test_64_rows_to_a_chunk_is_the_plans_layout(tier_1, tmp_path):
    spec = tier_1.spec.model_copy(update={"n_samples": 130})
    ref = tier_1.merge(tmp_path / "x.h5", tier_1.shards * 7, spec=spec, chunk_rows=64)
    with h5py.File(ref.path) as file, h5py.File(tier_1.path) as single:
        audio = file["audio/waveforms"]
        assert audio.shape == (130, 2, 8820)
        assert audio.chunks == (64, 2, 8820)
        np.testing.assert_array_equal(audio[120:130], single["audio/waveforms"][:10])


def test_a_virtual_dataset_holds_no_audio_of_its_own(tier_1, tmp_path):
    ref = tier_1.merge(tmp_path / "x.h5", mode="virtual")
    assert ref.size < tier_1.ref.size / 2
    with h5py.File(ref.path) as file:
        assert file["audio/waveforms"].is_virtual


@pytest.mark.slow
def test_a_virtual_dataset_reads_the_same_from_any_folder(tier_1, tmp_path, fresh, monkeypatch):
    (tmp_path / "made here").mkdir()
    monkeypatch.chdir(tmp_path / "made here")
    ref = tier_1.merge(tmp_path / "x.h5", mode="virtual")
    code = """
import hashlib, os
from synthcore import Dataset
os.chdir("/")
with Dataset(sys.argv[1]) as dataset:
    for row in dataset:
        assert hashlib.sha256(row["audio"].tobytes()).hexdigest() == row["audio_sha256"].decode()
    print(len(dataset))
"""
    assert fresh(code, ref.path).stdout.split() == ["15"]


@pytest.mark.slow
def test_a_virtual_dataset_and_its_shards_can_move_together(tier_1, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(tier_1.data_dir, before)
    tier_1.merge(before / "datasets" / "x.h5", data_dir=before, mode="virtual")
    before.rename(after)
    assert_same_rows(after / "datasets" / "x.h5", tier_1.path)


def test_a_dataset_states_the_priors_that_its_shards_were_drawn_from(tier_1, tmp_path):
    """Whatever the priors are by the time of merging."""
    ref = tier_1.shards[0]
    (tmp_path / ref.name).parent.mkdir(parents=True)
    shutil.copy(tier_1.data_dir / ref.name, tmp_path / ref.name)
    with h5py.File(tmp_path / ref.name, "r+") as file:
        file["schema"].attrs["priors_digest"] = "f" * 64
        file["schema"].attrs["priors"] = '{"continuous":{"volume":[1,2]},"categorical":{}}'
        file["schema"].attrs["drawn_with"] = '{"numpy":"99.0"}'
    spec = tier_1.spec.model_copy(update={"n_samples": 10})
    shard = ShardRef.of(tmp_path, ref.name, ref.source)
    merged = tier_1.merge(tmp_path / "x.h5", [shard], spec=spec, data_dir=tmp_path)
    with Dataset(merged.path) as dataset:
        assert dataset.drawing.drawn_from.digest == "f" * 64
        assert dataset.priors.continuous == {"volume": (1, 2)}
        assert dataset.drawing.drawn_with == {"numpy": "99.0"}


# -------------------------------------------------------------------------------------------------------------- damage


@pytest.fixture
def elsewhere(tier_1, tmp_path):
    """A copy of the shards that may be damaged; an output that is there already."""
    shutil.copytree(tier_1.data_dir / "shards", tmp_path / "shards")
    (tmp_path / "x.h5").write_bytes(b"what was there before")
    return tmp_path


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


DAMAGE = {
    "first byte": lambda path: flip(path, 0),
    "a byte in the header": lambda path: flip(path, 0.02),
    "a byte in the middle": lambda path: flip(path, 0.5),
    "last byte": lambda path: flip(path, 1),
    "cut": cut,
    "empty": empty,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("mode", ["copy", "virtual"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_is_named_and_the_old_output_stays(tier_1, elsewhere, damage, mode):
    second = tier_1.shards[1]
    damage(elsewhere / second.name)
    with pytest.raises(DamagedShard, match=second.name) as found:
        tier_1.merge(elsewhere / "x.h5", data_dir=elsewhere, mode=mode)
    assert found.value.name == second.name
    assert (elsewhere / "x.h5").read_bytes() == b"what was there before"
    assert {p.name for p in elsewhere.iterdir()} == {"shards", "x.h5"}


def test_a_damaged_shard_leaves_no_output_where_none_was(tier_1, elsewhere):
    flip(elsewhere / tier_1.shards[0].name, 0.5)
    with pytest.raises(DamagedShard):
        tier_1.merge(elsewhere / "new" / "x.h5", data_dir=elsewhere)
    assert list((elsewhere / "new").iterdir()) == []


def test_the_error_of_a_damaged_shard_crosses_processes():
    error = DamagedShard("shards/ab/abc.h5")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.name, str(again)) == (DamagedShard, error.name, str(error))


# -------------------------------------------------------------------------------------------------------------- assets


def test_labels_of_assets_are_renumbered_since_each_shard_numbers_its_own(tier_1):
    def played(path):
        with Dataset(path) as dataset:
            return [patch.wavetables for patch in dataset.patches(0, len(dataset))], [*dataset.assets]

    of_shards = [played(tier_1.data_dir / ref.name) for ref in tier_1.shards]
    patches, assets = played(tier_1.path)
    assert patches == [p for of_shard, _ in of_shards for p in of_shard][: len(patches)]
    assert len({tuple(its) for _, its in of_shards}) == len(of_shards)
    assert assets == [*dict.fromkeys(wavetable for patch in patches for wavetable in patch)]


# -------------------------------------------------------------------------------------------------- importance weights


def weighed(made, path):
    """A dataset with complete weights."""
    with Dataset(shutil.copy(made.path, path)) as dataset:
        base = dataset.digest
    continuous, categorical = np.full(322, 0.5, "f4"), np.full(126, 0.5, "f4")
    weights.write(path, weights.Weights(continuous, categorical, continuous, categorical, method={"base": base}))
    return path


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.slow
def test_weights_are_carried_over_without_a_word(tier_1, tmp_path, caplog):
    path = weighed(tier_1, tmp_path / "train.h5")
    tier_1.merge(path)
    with Dataset(path) as dataset:
        assert dataset.weights_status == "complete"
    tier_1.merge(tmp_path / "new.h5")
    assert warnings_of(caplog) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.h5", "train.h5"]


def cut_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_method(path):
    with h5py.File(path, "r+") as file:
        del file["importance_weights/method"]


@pytest.mark.parametrize("harm", [cut_half, empty, without_method])
def test_a_file_whose_weights_cannot_be_read_is_kept_beside_the_new_one(tier_1, tmp_path, caplog, harm):
    path = weighed(tier_1, tmp_path / "train.h5")
    harm(path)
    before = path.read_bytes()
    assert tier_1.merge(path).digest == tier_1.ref.digest
    kept = tmp_path / "train.before-merge.h5"
    assert kept.read_bytes() == before
    (said,) = warnings_of(caplog)
    assert said.startswith(f"whether {path} had importance weights or features can't be read (")
    assert said.endswith(f"it is kept as {kept}")
    with Dataset(path) as dataset:
        assert dataset.weights_status == "absent"


@pytest.mark.slow
def test_what_was_kept_is_never_overwritten(tier_1, tmp_path):
    path = tmp_path / "train.h5"
    for number in range(3):
        path.write_bytes(b"%d" % number)
        tier_1.merge(path)
    kept = ["train.before-merge.h5", "train.before-merge-2.h5", "train.before-merge-3.h5"]
    assert [(tmp_path / name).read_bytes() for name in kept] == [b"0", b"1", b"2"]


@pytest.mark.slow
def test_weights_of_a_file_that_another_program_writes_are_kept(tier_1, tmp_path, caplog, held):
    path = weighed(tier_1, tmp_path / "train.h5")
    with held(path):
        tier_1.merge(path)
    with Dataset(tmp_path / "train.before-merge.h5") as kept, Dataset(path) as dataset:
        assert (kept.weights_status, dataset.weights_status) == ("complete", "absent")
    (said,) = warnings_of(caplog)
    assert "another program is writing it" in said


@pytest.mark.parametrize(
    ("attribute", "part"),
    [("spec_fingerprint", "spec"), ("engine_fingerprint", "engine"), ("priors_digest", "priors")],
)
def test_weights_that_are_left_behind_are_said_to_be(tier_1, tmp_path, caplog, attribute, part):
    path = weighed(tier_1, tmp_path / "train.h5")
    with h5py.File(path, "r+") as file:
        file["schema"].attrs[attribute] = "0" * 64
    tier_1.merge(path)
    again = "synthcore compute-weights measures them anew"
    assert warnings_of(caplog) == [f"the importance weights of {path} are of another {part}, and left behind; {again}"]
    with Dataset(path) as dataset:
        assert dataset.weights_status == "absent"
