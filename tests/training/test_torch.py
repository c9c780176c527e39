"""The torch adapter: every row once, with any workers and ranks, as the file has it; and the page's example trains."""

from __future__ import annotations

import re
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from synthcore.base.errors import DatasetError, SpecError
from synthcore.storage import features
from synthcore.storage.features import NewFeature
from tests.conftest import ROOT, place_of

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, Subset  # noqa: E402

from synthcore.training.torch import BatchStream, Examples, Order, RowDataset, ShuffledBatches  # noqa: E402

pytestmark = pytest.mark.slow


WORKERS: dict[str, dict[str, Any]] = {
    "no worker": {},
    "one forked": {"num_workers": 1, "multiprocessing_context": "fork"},
    "two forked": {"num_workers": 2, "multiprocessing_context": "fork"},
    "two spawned": {"num_workers": 2, "multiprocessing_context": "spawn"},
}


@pytest.fixture
def few_threads():
    """What follows is too small for more, and threads of torch get into each other's way on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def expect(path: Path, batch: dict[str, Any]) -> None:
    """A batch must hold what the file has of its rows."""
    stored = Examples(path).read(batch["row"].numpy())
    assert set(stored) == set(batch)
    for name, values in stored.items():
        assert_array_equal(batch[name].numpy(), values)
        kind = values.dtype.kind
        assert batch[name].dtype == {"f": torch.float32, "i": torch.int64, "b": torch.bool}[kind]


@pytest.mark.long
@pytest.mark.parametrize("how", WORKERS.values(), ids=WORKERS)
def test_a_map_style_dataset_gives_each_row_once(learnable, how):
    loader = DataLoader(RowDataset(learnable), batch_size=4, shuffle=True, **how)
    batches = list(loader)
    for batch in batches:
        expect(learnable, batch)
    assert [len(batch["row"]) for batch in batches] == [4, 4, 4, 3]
    assert_array_equal(torch.cat([batch["row"] for batch in batches]).sort().values, np.arange(15))


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_hold_features_as_the_file_has_them(learnable, workers, normalise):
    values = np.random.default_rng(0).normal(-40, 9, (15, 2, 16, 32)).astype(np.float16)
    counts = np.arange(15, dtype=np.int32)[:, None]
    features.write(learnable, [NewFeature("log_mel", {}, [values]), NewFeature("count", {}, [counts])])
    examples = Examples(learnable, parts=("log_mel", "count", "audio"), normalise=normalise)
    for batch in DataLoader(BatchStream(examples, Order(4)), batch_size=None, num_workers=workers):
        wanted = examples.read(batch["row"].numpy())
        for name in ("log_mel", "count", "audio"):
            assert_array_equal(batch[name].numpy(), wanted[name])
        assert batch["log_mel"].dtype == (torch.float32 if normalise else torch.float16)
        assert batch["count"].dtype == (torch.float32 if normalise else torch.int64)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_stream_gives_the_same_batches_with_any_workers(learnable, workers):
    order = Order(4, seed=3)
    batches = list(DataLoader(BatchStream(learnable, order), batch_size=None, num_workers=workers))
    for batch in batches:
        expect(learnable, batch)
    assert [b["row"].tolist() for b in batches] == [b.tolist() for b in order.batches(np.arange(15), 0)]


def test_chunk_shuffled_batches_change_with_each_epoch(learnable):
    rows = RowDataset(Examples(learnable, split="train"))
    order = Order(4, seed=3)
    workers: dict[str, Any] = {"num_workers": 2, "persistent_workers": True}
    loader = DataLoader(rows, sampler=ShuffledBatches(rows, order), batch_size=None, **workers)
    collated = DataLoader(rows, batch_sampler=ShuffledBatches(rows, order))
    assert len(loader) == len(collated) == 3
    for epoch in range(3):
        expected = [batch.tolist() for batch in order.batches(rows.examples.rows, epoch)]
        assert [batch["row"].tolist() for batch in loader] == expected
        for batch, numbers in zip(collated, expected, strict=True):
            assert batch["row"].tolist() == numbers
            torch.testing.assert_close(batch, rows[rows.examples.rows.searchsorted(numbers)], rtol=0, atol=0)


def test_a_training_that_was_stopped_continues_with_its_epoch(learnable):
    rows = RowDataset(learnable)
    batches = ShuffledBatches(rows, Order(4))
    epochs = [list(batches) for _ in range(3)]
    again = ShuffledBatches(rows, Order(4))
    again.set_epoch(2)
    assert list(again) == epochs[2]


@pytest.mark.long
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_that_live_on_learn_of_the_next_epoch(learnable, start):
    order, stream = Order(4), BatchStream(Examples(learnable, parts=("continuous",)), Order(4))
    loader = DataLoader(stream, batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context=start)
    assert len(loader) == 4
    for epoch in (0, 1, 7):
        stream.set_epoch(epoch)
        expected = [batch.tolist() for batch in order.batches(np.arange(15), epoch)]
        assert [batch["row"].tolist() for batch in loader] == expected


def test_a_batch_is_read_with_one_call(learnable, monkeypatch):
    calls, read = [], Examples.read

    def counted(self: Examples, rows: Any) -> Any:
        calls.append(rows.tolist())
        return read(self, rows)

    monkeypatch.setattr(Examples, "read", counted)
    list(DataLoader(RowDataset(learnable), batch_size=5))
    list(DataLoader(Subset(RowDataset(learnable), [9, 2, 4]), batch_size=3))
    list(DataLoader(BatchStream(learnable, Order(15)), batch_size=None))
    assert calls == [[*range(5)], [*range(5, 10)], [*range(10, 15)], [9, 2, 4], [*range(15)]]


def test_a_row_of_a_split_is_one_of_its_own(learnable):
    rows = RowDataset(Examples(learnable, split="val"))
    assert [int(rows[place]["row"]) for place in range(len(rows))] == rows.examples.rows.tolist()
    assert rows[-1]["row"] == rows.examples.rows[-1]
    with pytest.raises(IndexError):
        rows[5]


RANK = """
import sys
import numpy as np, torch
from torch import distributed
from torch.utils.data import DataLoader
from synthcore.training.torch import BatchStream, Order, RowDataset, Examples, ShuffledBatches

if __name__ == "__main__":
    path, rank, meet, out = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    examples = Examples(path, parts=("continuous",))
    rows, stream = RowDataset(examples), BatchStream(examples, Order(4))
    shuffled = ShuffledBatches(rows, Order(4))
    network = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(len(examples.continuous), 1))
    read = []
    for epoch in range(2):
        stream.set_epoch(epoch)
        for loader in (DataLoader(rows, sampler=shuffled, batch_size=None, num_workers=2),
                       DataLoader(stream, batch_size=None)):
            for batch in loader:
                network(batch["continuous"]).sum().backward()  # waits for the other rank
                read += [[epoch, int(row)] for row in batch["row"]]
    np.save(out, read)
    distributed.destroy_process_group()
"""


@pytest.mark.long
def test_two_ranks_share_out_the_rows(learnable, fresh, tmp_path):
    """Real processes: DistributedDataParallel would hang if one had a batch more than the other."""
    with ThreadPool(2) as pool:
        meet, outs = tmp_path / "meet", [tmp_path / f"{rank}.npy" for rank in range(2)]
        pool.starmap(fresh, [(RANK, learnable, rank, meet, outs[rank]) for rank in range(2)])
    read = [{tuple(line) for line in np.load(out).tolist()} for out in outs]
    assert [len(np.load(out)) for out in outs] in ([30, 30], [32, 28], [28, 32])
    assert not read[0] & read[1]
    assert read[0] | read[1] == {(epoch, row) for epoch in range(2) for row in range(15)}


def test_a_share_must_not_be_guessed(learnable, monkeypatch):
    """Under torchrun but before the process group, every process would read all rows."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SpecError, match="WORLD_SIZE is 2, but there is no process group yet: call .* or give share"):
        BatchStream(learnable, Order(4))
    assert len(BatchStream(learnable, Order(4, share=(0, 1)))) == 4


def test_too_few_rows_are_said_before_the_first_epoch(learnable):
    with pytest.raises(SpecError, match="5 rows can't give 6 ranks"):
        BatchStream(Examples(learnable, split="val"), Order(4, share=(0, 6)))
    with pytest.raises(SpecError, match="15 rows can't give 1 rank "):
        ShuffledBatches(RowDataset(learnable), Order(16, drop_last=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_in_the_middle_of_an_epoch_ends_it_with_one_clear_line(learnable, workers):
    loader = DataLoader(
        RowDataset(learnable), batch_size=1, num_workers=workers, prefetch_factor=2 if workers else None
    )
    batches = iter(loader)
    next(batches)
    start, size = place_of(learnable, 12)
    with learnable.open("r+b") as file:
        file.seek(start)
        file.write(bytes(size))
    with pytest.raises(DatasetError, match=r"forged\.h5 is damaged: row 12 of audio/waveforms"):
        list(batches)


def test_a_file_replaced_between_epochs_is_not_read_on(learnable, tier_1):
    loader = DataLoader(RowDataset(learnable), batch_size=5, num_workers=1)
    assert len(list(loader)) == 3
    learnable.unlink()
    learnable.write_bytes(tier_1.path.read_bytes())
    with pytest.raises(DatasetError, match="has been replaced since it was opened"):
        list(loader)


# --------------------------------------------------------------------------------------------------------- the example


@pytest.mark.long
def test_the_page_trains(learnable, tmp_path, monkeypatch, few_threads):
    code = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "training.md").read_text(), re.MULTILINE | re.DOTALL)[
        0
    ]
    example: dict[str, Any] = {"__name__": "train"}
    exec(compile(code, "training.md", "exec"), example)
    network = example["train"](learnable, seconds=1, workers=0)
    for error in example["evaluate"](network, learnable):
        assert 0 < error < 1
