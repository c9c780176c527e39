"""A training that is stopped within an epoch goes on at its next batch: none is lost and none is read twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthcore.base.errors import SpecError
from tests.conftest import ROOT

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402

from synthcore.training.torch import BatchLoader, BatchStream, Examples, Order, RowDataset, ShuffledBatches  # noqa: E402

pytestmark = pytest.mark.slow


AHEAD: dict[str, Any] = {"num_workers": 2, "prefetch_factor": 3}  #: enough to read a whole epoch of the test's ahead
EPOCH = 8  #: batches of 2 in 15 rows


def loader_of(path: Path, order: Order | None = None, **options: Any) -> BatchLoader:
    return BatchLoader(Examples(path, parts=("midi_note",)), order or Order(2, seed=3), **options)


def rows_of(batches: Any) -> list[list[int]]:
    return [batch["row"].tolist() for batch in batches]


def expected(epoch: int, order: Order | None = None) -> list[list[int]]:
    return [batch.tolist() for batch in (order or Order(2, seed=3)).batches(np.arange(15), epoch)]


# ------------------------------------------------------------------------------------------------------- in one process


def test_each_iteration_is_the_next_epoch(learnable):
    loader = loader_of(learnable)
    assert len(loader) == EPOCH
    for epoch in range(3):
        assert loader.epoch == epoch
        assert rows_of(loader) == expected(epoch)


@pytest.mark.parametrize("stop", range(1, EPOCH + 1))
def test_a_saved_state_goes_on_at_the_next_batch(learnable, stop):
    first = loader_of(learnable)
    given = rows_of(batch for _, batch in zip(range(stop), first, strict=False))
    state = json.loads(json.dumps(first.state_dict()))
    second = loader_of(learnable)
    second.load_state_dict(state)
    assert second.state_dict() == state
    rest = rows_of(second) if stop < EPOCH else []
    assert given + rest == expected(0)
    assert rows_of(second) == expected(1)  # no later epoch is cut short


def test_what_workers_read_ahead_does_not_count(learnable):
    """Six batches are on their way when the loop has its second; and it is continued with other workers, twice."""
    first = loader_of(learnable, **AHEAD)
    batches = iter(first)
    given = rows_of([next(batches), next(batches)])
    assert first.state_dict()["batch"] == 2
    second = loader_of(learnable)
    second.load_state_dict(first.state_dict())
    given += rows_of([next(iter(second))])
    third = loader_of(learnable, num_workers=2, persistent_workers=True)
    third.load_state_dict(second.state_dict())
    assert given + rows_of(third) == expected(0)
    assert rows_of(third) == expected(1)


@pytest.mark.parametrize("options", [{}, AHEAD | {"persistent_workers": True}], ids=["no worker", "workers that stay"])
def test_a_loop_that_was_left_goes_on(learnable, options):
    loader = loader_of(learnable, **options)
    given = rows_of([next(iter(loader))])
    assert given + rows_of(loader) == expected(0)
    assert rows_of(loader) == expected(1)


def test_a_batch_that_could_not_be_read_is_not_counted(learnable, monkeypatch):
    loader, read = loader_of(learnable), Examples.read

    def fail(self: Examples, rows: Any) -> Any:
        raise OSError("gone for a moment")

    given = rows_of([next(iter(loader))])
    monkeypatch.setattr(Examples, "read", fail)
    with pytest.raises(OSError, match="gone"):
        next(iter(loader))
    monkeypatch.setattr(Examples, "read", read)
    assert given + rows_of(loader) == expected(0)


def test_each_rank_goes_on_with_its_share_from_the_state_of_one(learnable):
    orders = [Order(2, seed=3, share=(rank, 2)) for rank in range(2)]
    loaders = [loader_of(learnable, order) for order in orders]
    given = [rows_of([next(iter(loader))]) for loader in loaders]
    state = loaders[0].state_dict()
    assert state == loaders[1].state_dict()
    for rank, order in enumerate(orders):
        again = loader_of(learnable, order)
        again.load_state_dict(state)
        assert given[rank] + rows_of(again) == expected(0, order)


@pytest.mark.parametrize("workers", [0, 2])
def test_own_counting_continues_a_plain_loader(learnable, workers):
    examples, order = Examples(learnable, parts=("midi_note",)), Order(2, seed=3)
    rows, stream = RowDataset(examples), BatchStream(examples, order)
    batches = ShuffledBatches(rows, order)
    for source, loader in (
        (batches, DataLoader(rows, sampler=batches, batch_size=None, num_workers=workers)),
        (stream, DataLoader(stream, batch_size=None, num_workers=workers)),
    ):
        source.set_epoch(1, batch=3)
        assert rows_of(loader) == expected(1)[3:]
        source.set_epoch(2)
        assert rows_of(loader) == expected(2)


# ------------------------------------------------------------------------------------------------------------- refusals


def test_a_loop_whose_loader_was_moved_does_not_read_on(learnable):
    loader = loader_of(learnable)
    before, batches = loader.state_dict(), iter(loader)
    next(batches)
    loader.load_state_dict(before)
    with pytest.raises(SpecError, match="loader was moved"):
        next(batches)
    assert rows_of(loader) == expected(0)


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (Order(4, seed=3), "batch_size 2, this loader has 4"),
        (Order(2, seed=4), "seed 3, this loader has 4"),
        (Order(2, seed=3, mixed_chunks=2), "mixed_chunks 16, this loader has 2"),
        (Order(2, seed=3, drop_last=True), "drop_last False, this loader has True"),
        (Order(2, seed=3, share=(0, 2)), "a number of ranks of 1, this loader has 2"),
    ],
    ids=str,
)
def test_the_state_of_another_order_is_refused_in_one_line(learnable, order, says):
    other = loader_of(learnable, order)
    with pytest.raises(SpecError, match=f"^the state was saved with {says}.*: load it into a loader like"):
        other.load_state_dict(loader_of(learnable).state_dict())
    assert rows_of(other) == expected(0, order)  # as if nothing had been given


def test_the_state_of_other_data_is_refused(learnable, tier_1):
    loader = loader_of(learnable)
    with pytest.raises(SpecError, match="saved with the dataset with the digest"):
        loader.load_state_dict(loader_of(tier_1.path).state_dict())
    of_split = BatchLoader(Examples(learnable, split="train"), Order(2, seed=3))
    with pytest.raises(SpecError, match="saved with rows and an order with the digest"):
        loader.load_state_dict(of_split.state_dict())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch": 8}, "there is no batch 8 of epoch 0; an epoch has 8 batches"),
        ({"epoch": -1}, "there is no batch 0 of epoch -1"),
        ({"batch": 1.5}, "there is no batch 1.5"),
        ({"epoch": None}, "there is no batch 0 of epoch None"),
    ],
)
def test_a_position_that_is_not_there_is_refused(learnable, change, says):
    loader = loader_of(learnable)
    with pytest.raises(SpecError, match=says):
        loader.load_state_dict({**loader.state_dict(), **change})


@pytest.mark.parametrize("state", [{}, None, {"epoch": 1, "batch": 2}])
def test_what_is_no_state_is_refused(learnable, state):
    with pytest.raises(SpecError, match="not the state of a loader, it lacks dataset, batch_size"):
        loader_of(learnable).load_state_dict(state)


# ----------------------------------------------------------------------------------------------------------- killed

TRAINING = """
import json, os, sys
from pathlib import Path
from synthcore.training.torch import BatchLoader, Examples, Order

if __name__ == "__main__":
    path, saved, wait_after = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    loader = BatchLoader(Examples(path, parts=("midi_note",)), Order(2, seed=3), num_workers=2, prefetch_factor=3)
    trained = []
    if saved.exists():
        checkpoint = json.loads(saved.read_text())
        trained = checkpoint["trained"]
        loader.load_state_dict(checkpoint["loader"])
    while loader.epoch < 2:
        for batch in loader:
            trained.append(batch["row"].tolist())
            saved.with_suffix(".new").write_text(json.dumps({"trained": trained, "loader": loader.state_dict()}))
            os.replace(saved.with_suffix(".new"), saved)
            if len(trained) == wait_after:
                print("waiting", flush=True)
                sys.stdin.read()
"""


@pytest.mark.long
def test_a_killed_training_goes_on_at_the_next_batch(learnable, fresh, tmp_path):
    """Killed in its first epoch, and again in the second, each time while workers have read ahead."""
    saved = tmp_path / "checkpoint.json"
    for stop in (3, EPOCH + 2):
        command = [sys.executable, "-c", TRAINING, str(learnable), str(saved), str(stop)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert len(json.loads(saved.read_text())["trained"]) == stop
    fresh(TRAINING, learnable, saved, 0)
    assert json.loads(saved.read_text())["trained"] == expected(0) + expected(1)


def test_the_training_of_the_page_continues(learnable, tmp_path):
    page = (ROOT / "docs" / "training.md").read_text()
    (block,) = (text for text in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "BatchLoader" in text)
    example: dict[str, Any] = {}
    exec(compile(block.replace("Order(64)", "Order(4)"), "training.md", "exec"), example)
    trained: list[list[int]] = []

    def train(until: int) -> None:
        network = torch.nn.Linear(1, 1)

        def step(network: Any, optimizer: Any, batch: Any) -> None:
            if len(trained) == until:
                raise KeyboardInterrupt
            trained.append(batch["row"].tolist())

        saved = str(tmp_path / "checkpoint.pt")
        example["train"](network, torch.optim.AdamW(network.parameters()), step, learnable, saved, epochs=2, every=1)

    for stop in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            train(stop)
    train(99)
    rows = Examples(learnable, split="train").rows
    assert trained == [batch.tolist() for epoch in range(2) for batch in Order(4).batches(rows, epoch)]
