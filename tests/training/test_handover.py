"""Batches of workers come in memory that is used again: never while somebody looks into it, and only in its form."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from synthcore.training import handover  # noqa: E402
from synthcore.training.torch import BatchLoader, Examples, Order, RowDataset, collate  # noqa: E402

pytestmark = pytest.mark.slow


PARTS = ("audio", "continuous")
ONE_ROW = Order(1)


def loader_of(path: Path, **options: Any) -> Any:
    return BatchLoader(Examples(path, parts=PARTS), ONE_ROW, num_workers=1, persistent_workers=True, **options)


def expect(path: Path, batch: dict[str, Any]) -> None:
    for name, values in Examples(path, parts=PARTS).read(batch["row"].numpy()).items():
        assert_array_equal(batch[name].numpy(), values)


def test_memory_is_used_again_and_forgotten_with_its_worker(learnable):
    loader = loader_of(learnable)
    places = set()
    for _ in range(3):
        for batch in loader:
            expect(learnable, batch)
            places.add(batch["audio"].data_ptr())
    assert len(places) < 15  # rows of an epoch, each a batch
    assert [len(of_worker) for of_worker in handover._sent.values()] == [len(places)]
    del loader, batch
    gc.collect()
    assert not handover._sent


def test_batches_that_are_kept_stay_as_they_are(learnable):
    loader = loader_of(learnable)
    kept = [batch for _ in range(2) for batch in loader]
    views: list[Any] = [None] * 15  # all that is left of their batches
    for batch in loader:
        views[batch["row"].item()] = batch["audio"][0, :, 1:]
    assert len(kept) == 30 > handover.KEPT
    for batch in kept:
        expect(learnable, batch)
    del kept, batch
    gc.collect()
    assert len(list(loader)) == 15
    stored = Examples(learnable, parts=PARTS).read(np.arange(15))["audio"]
    assert_array_equal(torch.stack(views), stored[:, :, 1:])


def test_a_process_that_was_forked_from_the_training_doesnt_give_memory_back(learnable):
    loader = loader_of(learnable)
    batches = iter(loader)
    batch = next(batches)
    if (child := os.fork()) == 0:
        del batch
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    for _ in zip(range(12), batches, strict=False):
        pass
    expect(learnable, batch)


class Changed(Dataset[Any]):
    """What people make of batches before they are sent."""

    def __init__(self, path: Path) -> None:
        self.rows = RowDataset(Examples(path, parts=(*PARTS, "categorical")))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, way: int) -> Any:
        batch = self.rows[[2, 5]]
        if way == 0:
            batch["audio"] *= 2  # where it is
            batch["audio"].unsqueeze_(1)
            batch["note"] = "two rows"
            del batch["categorical"]
            return batch
        if way == 1:
            return {"sound": batch["audio"], "rows": [batch, batch]}
        batch["continuous"] = batch["continuous"].half()
        batch["audio"] = batch["audio"].mean(1)
        return batch


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_makes_of_a_batch_arrives_as_it_made_it(learnable, workers):
    batches = list(DataLoader(Changed(learnable), batch_size=None, num_workers=workers)) * 2
    stored = Examples(learnable, parts=(*PARTS, "categorical")).read(np.array([2, 5]))
    for first, second, third in (batches[:3], batches[3:]):
        assert set(first) == {"row", "audio", "continuous", "note"}
        assert_array_equal(first["audio"].numpy(), 2 * stored["audio"][:, None])
        assert_array_equal(first["continuous"].numpy(), stored["continuous"])
        for batch in second["rows"]:
            assert_array_equal(batch["audio"].numpy(), stored["audio"])
            assert_array_equal(batch["categorical"].numpy(), stored["categorical"])
        assert_array_equal(second["sound"].numpy(), stored["audio"])
        assert_array_equal(third["continuous"].numpy(), stored["continuous"].astype(np.float16))
        assert_array_equal(third["audio"].numpy(), stored["audio"].mean(1, dtype=np.float32))


class Rows(Dataset[Any]):
    """Rows from elsewhere, of which one is as large as a batch has to be to have memory of its own."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, row: int) -> Any:
        audio = np.full((handover.SMALL // 8, 2), row, np.float32).T
        return {"row": row, "audio": audio, "levels": np.array([row, -row], np.float32), "name": f"row {row}"}


@pytest.mark.parametrize("workers", [0, 1])
def test_rows_from_elsewhere_are_collated_in_that_memory(workers):
    loader = DataLoader(Rows(), batch_size=2, num_workers=workers, collate_fn=collate)
    kept = list(loader)
    assert len(kept) == 12 > handover.KEPT
    for first, batch in zip(range(0, 24, 2), kept, strict=True):
        assert batch["row"].tolist() == [first, first + 1]
        assert batch["row"].dtype == torch.int64
        assert batch["name"] == [f"row {first}", f"row {first + 1}"]
        assert batch["levels"].tolist() == [[first, -first], [first + 1, -first - 1]]
        assert batch["audio"].shape == (2, 2, handover.SMALL // 8)
        assert batch["audio"].is_contiguous()
        assert [set(audio.unique().tolist()) for audio in batch["audio"]] == [{first}, {first + 1}]


def test_rows_of_different_shapes_make_no_batch():
    with pytest.raises(ValueError, match="same shape"):
        collate([{"audio": np.zeros((2, 3), np.float32)}, {"audio": np.zeros((2, 4), np.float32)}])
