"""Training on a dataset behind an address: the same batches, with workers that each open it for themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import serving

torch = pytest.importorskip("torch")
pytest.importorskip("fsspec")


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_the_same_batches_as_here(learnable: Path, start: str) -> None:
    from synthcore.training.torch import BatchLoader, BatchStream, Examples, Order

    with serving(learnable.parent) as server:
        examples = Examples(server.url(learnable.name), split="train")
        here = list(BatchLoader(Examples(learnable, split="train"), Order(3)))
        there = list(BatchLoader(examples, Order(3), num_workers=2, multiprocessing_context=start))
        alone = list(BatchStream(examples, Order(3)))
    assert len(here) == len(there) == len(alone) == 4
    for batch, *others in zip(here, there, alone, strict=True):
        for other in others:
            assert other.keys() == batch.keys()
            assert all(torch.equal(other[name], batch[name]) for name in batch if name != "exact_values")
