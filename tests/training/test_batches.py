"""Batches without torch: every row once an epoch, whoever reads it, and in a batch what the file holds of its rows."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from synthcore import Dataset
from synthcore.base.errors import DatasetError, SpecError
from synthcore.training.batches import Examples, Order

ROWS = np.arange(1000)


# --------------------------------------------------------------------------------------------------------------- order


@pytest.mark.slow
@given(
    rows=st.sets(st.integers(0, 3000), min_size=1, max_size=400),
    size=st.integers(1, 70),
    ranks=st.integers(1, 5),
    mixed=st.integers(1, 20),
    epoch=st.integers(0, 3),
)
def test_every_row_is_read_once_and_ranks_take_equally_many_batches(rows, size, ranks, mixed, epoch):
    given_rows = np.array(sorted(rows))
    orders = [Order(size, seed=5, share=(rank, ranks), mixed_chunks=mixed) for rank in range(ranks)]
    try:
        count = orders[0].count(len(rows))
    except SpecError:
        assert len(rows) < ranks or size == 1  # the only ways in which it can't be done
        return
    shares = [order.batches(given_rows, epoch) for order in orders]
    assert {len(share) for share in shares} == {count}
    batches = [batch for share in shares for batch in share]
    assert_array_equal(np.sort(np.concatenate(batches)), given_rows)
    sizes = [len(batch) for batch in batches]
    assert 0 < max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert all((np.diff(batch) > 0).all() for batch in batches)


def test_full_batches_leave_out_other_rows_each_epoch():
    orders = [Order(96, share=(rank, 2), drop_last=True) for rank in range(2)]
    left_out = []
    for epoch in range(2):
        batches = [batch for order in orders for batch in order.batches(ROWS, epoch)]
        assert [len(batch) for batch in batches] == [96] * 10
        read = np.concatenate(batches)
        assert len(np.unique(read)) == 960
        left_out.append(set(ROWS) - set(read))
    assert left_out[0] != left_out[1]


def test_an_order_is_the_same_again_and_another_with_another_epoch_or_seed():
    def read(order: Order, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in order.batches(ROWS, epoch)]

    assert read(Order(64, seed=1), 0) == read(Order(64, seed=1), 0)
    others = [read(Order(64, seed=1), 0), read(Order(64, seed=1), 1), read(Order(64, seed=2), 0)]
    assert all(a != b for a, b in zip(others, [*others[1:], others[0]], strict=True))


def test_a_batch_has_its_rows_from_all_over_and_touches_few_chunks():
    rows = np.arange(100_000)
    batches = Order(64).batches(rows, 0)
    chunks = [len({*(batch // 64).tolist()}) for batch in batches]
    assert max(chunks) <= 32  # a batch lies in two mixtures of 16 chunks at most
    assert np.median(chunks) >= 12
    assert np.median([np.ptp(batch) for batch in batches]) > 50_000


def test_large_chunks_can_be_read_one_by_one():
    """What a file of 64 rows to a chunk wants: each chunk inflated once."""
    batches = Order(64, mixed_chunks=1).batches(np.arange(6400), 0)
    assert all(len({*(batch // 64).tolist()}) == 1 for batch in batches)


def test_a_batch_larger_than_everything_is_everything():
    assert_array_equal(Order(64).batches(np.array([3, 9]), 0)[0], [3, 9])


@pytest.mark.parametrize(
    ("order", "rows"),
    [
        (Order(4, share=(0, 3)), 2),
        (Order(1, share=(1, 2)), 3),
        (Order(64, drop_last=True), 63),
        (Order(32, share=(0, 2), drop_last=True), 63),
        (Order(8), 0),
    ],
    ids=str,
)
def test_too_few_rows_are_refused_in_one_line(order, rows):
    with pytest.raises(SpecError, match=rf"^{rows} rows? can't give \d ranks? equally many batches .* choose another"):
        order.batches(np.arange(rows), 0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"batch_size": 4, "seed": -1}, "seed is -1"),
        ({"batch_size": 4, "mixed_chunks": 0}, "mixed_chunks is 0"),
        ({"batch_size": 4, "share": (2, 2)}, "there is no rank 2 of 2; ranks count from 0"),
        ({"batch_size": 4, "share": (-1, 2)}, "there is no rank -1 of 2"),
    ],
)
def test_what_makes_no_order_is_refused(wrong, says):
    with pytest.raises(SpecError, match=says):
        Order(**wrong)


# ----------------------------------------------------------------------------------------------------------- examples


def test_a_batch_holds_what_the_file_holds(learnable):
    rows = np.array([1, 4, 11])
    batch = Examples(learnable).read(rows)
    with h5py.File(learnable) as file:
        active, weights = file["params/active"][rows], file["importance_weights"]
        assert_array_equal(batch["row"], rows)
        assert_array_equal(batch["audio"], file["audio/waveforms"][rows])
        for name in ("continuous", "categorical", "modulation_slots", "modulation_t3"):
            assert_array_equal(batch[name], file[f"params/{name}"][rows])
        for name in ("midi_note", "velocity"):
            assert_array_equal(batch[name], file[f"metadata/{name}"][rows])
        assert_array_equal(batch["active_continuous"], active[:, :322])
        assert_array_equal(batch["active_categorical"], active[:, 322:])
        assert_array_equal(batch["weights_continuous"], [weights["weights"][:]] * 3)
        assert_array_equal(batch["weights_categorical"], [weights["categorical"][:]] * 3)
    assert {len(values) for values in batch.values()} == {3}
    assert batch["audio"].dtype == np.float32


def test_a_lower_tier_is_fewer_columns_of_labels_masks_and_weights(learnable):
    examples = Examples(learnable, tier=1)
    batch, everything = examples.read(np.arange(15)), Examples(learnable).read(np.arange(15))
    with Dataset(learnable) as dataset:
        assert dataset.control_names(1) == tuple(c.name for c in (*examples.continuous, *examples.categorical))
        for kind, columns in zip(("continuous", "categorical"), dataset.columns(1), strict=True):
            for name in (kind, f"active_{kind}", f"weights_{kind}"):
                assert_array_equal(batch[name], everything[name][:, columns])
    assert not {"modulation_slots", "modulation_t3"} & set(batch)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_is_its_rows(learnable, split):
    examples = Examples(learnable, split=split)
    with h5py.File(learnable) as file:
        assert_array_equal(examples.rows, np.flatnonzero(file["metadata/split"][:] == split.encode()))
    assert len(examples) == {"train": 10, "val": 5}[split]


def test_a_shard_gives_what_it_has(tier_1):
    """Neither splits, nor activity, nor weights: nothing is made up for them."""
    shard = tier_1.data_dir / tier_1.shards[0].name
    batch = Examples(shard).read(np.arange(4))
    assert set(batch) == {"row", "audio", "continuous", "categorical", "wavetables", "midi_note", "velocity"}
    assert batch["continuous"].shape[1] + batch["categorical"].shape[1] == 82


def test_weights_that_are_not_complete_are_none(learnable):
    with h5py.File(learnable, "r+") as file:
        file["importance_weights/status"][()] = b"absent"
    assert "weights_continuous" not in Examples(learnable).read(np.arange(1))
    with pytest.raises(DatasetError, match=r"forged\.h5 has no weights; leave them out"):
        Examples(learnable, parts=("audio", "weights"))


def test_only_what_is_asked_for_is_read(learnable):
    batch = Examples(learnable, parts=("continuous", "modulation_slots"), tier=1).read(np.arange(2))
    assert set(batch) == {"row", "continuous", "modulation_slots"}


def test_mono_is_the_mean_of_both_channels(tier_1):
    stereo, mono = (Examples(tier_1.path, mono=mono).read(np.arange(3))["audio"] for mono in (False, True))
    assert mono.dtype == np.float32
    assert_array_equal(mono, (stereo[:, :1] + stereo[:, 1:]) / 2)


def test_it_reads_the_same_in_another_process(learnable):
    examples = Examples(learnable, split="val", tier=2, mono=True)
    again = pickle.loads(pickle.dumps(examples))
    for name, values in examples.read(examples.rows).items():
        assert_array_equal(again.read(again.rows)[name], values)


def test_another_file_of_that_name_is_not_read_on(tier_1, tier_3, learnable):
    """Rows were chosen from the first: those of the second are others."""
    pickled = pickle.dumps(Examples(learnable, split="train"))
    learnable.unlink()
    learnable.write_bytes(tier_1.path.read_bytes())
    again = pickle.loads(pickled)
    with pytest.raises(DatasetError, match=r"forged\.h5 has been replaced since it was opened; open it again"):
        again.read(again.rows)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"split": "training"}, DatasetError, "there is no split 'training'; there are train, val, test"),
        ({"split": "test"}, DatasetError, "has no row in the split test"),
        ({"tier": 4}, DatasetError, "is of tier 3: it has no labels of tier 4"),
        ({"parts": ("audio", "sound")}, SpecError, "a batch has no sound; it can have audio, continuous"),
    ],
)
def test_examples_that_are_none_are_refused(learnable, wrong, error, says):
    with pytest.raises(error, match=says):
        Examples(learnable, **wrong)


def test_a_shard_has_no_splits(tier_1):
    with pytest.raises(DatasetError, match="has no splits: they are made when shards are merged"):
        Examples(tier_1.data_dir / tier_1.shards[0].name, split="train")


def test_a_recipe_has_no_audio(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        del file["audio/waveforms"]
    with pytest.raises(DatasetError, match="has no audio; it is a recipe: make it whole with synthcore render"):
        Examples(path)
    assert "audio" not in Examples(path, parts=("continuous",)).read(np.arange(2))


# -------------------------------------------------------------------------------------------------------- without torch


@pytest.mark.slow
def test_without_torch_it_says_what_to_install(fresh):
    done = fresh("import synthcore.training.batches, synthcore.training.torch", without=("torch",), check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "synthcore.training.torch needs PyTorch: pip install 'synthcore[torch]'"
    )


@pytest.mark.slow
def test_nothing_else_needs_torch(fresh, learnable):
    code = """
from synthcore.training.batches import Order, Examples
examples = Examples(sys.argv[1], split="train")
print(sum(len(examples.read(rows)["audio"]) for rows in Order(4).batches(examples.rows, 0)))
"""
    assert fresh(code, learnable, without=("torch", "vita", "prefect")).stdout.split() == ["10"]
