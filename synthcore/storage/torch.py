"""Datasets for PyTorch's DataLoader. Needs the extra: `pip install synthcore[torch]`.

Three ways to feed a training loop, all of which open the file once in each worker, read a batch with one call and never
give a row to two workers or ranks:

    DataLoader(RowDataset(path), batch_size=64, shuffle=True)            what everyone knows: any order, any sampler
    DataLoader(RowDataset(path), batch_sampler=ShuffledBatches(...))     shuffled by chunk, shared out among ranks
    DataLoader(BatchStream(path, order), batch_size=None)                the same batches as a stream
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from synthcore.errors import SpecError
from synthcore.storage.batches import Batch, Order, Selection

try:
    import torch
    from torch import distributed
    from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info
except ImportError as error:
    raise ImportError("synthcore.storage.torch needs PyTorch: pip install 'synthcore[torch]'") from error

__all__ = ["BatchStream", "Order", "RowDataset", "Selection", "ShuffledBatches"]

Tensors = dict[str, torch.Tensor]


class RowDataset(Dataset[Tensors]):
    """A map-style dataset: a number gives a row, and a DataLoader reads each batch with one call.

    A row is a dictionary of tensors, a batch the same with one more axis in front; what is in it says
    `synthcore.storage.batches.Selection.read`. Whole numbers are int64, as losses and embeddings want them.

    Parameters
    ----------
    source : Selection, str or Path
        Which rows and columns; all that the file has if it is a path.
    """

    def __init__(self, source: Selection | str | Path) -> None:
        self.selection = to_selection(source)

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, place: int) -> Tensors:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[Tensors]:
        """Read the rows of a batch at once, in the order asked for: what a DataLoader calls if it is there."""
        batch = to_tensors(self.selection.read(self.selection.rows[np.asarray(places, dtype=np.intp)]))
        return [{name: values[row] for name, values in batch.items()} for row in range(len(places))]


class ShuffledBatches(Sampler[list[int]]):
    """The batches of an `Order`, as the `batch_sampler` of a DataLoader over a `RowDataset`.

    Each time it is iterated, the next epoch comes, in another order.

    Parameters
    ----------
    dataset : RowDataset
    order : Order
        Under torch.distributed, make it once the process group is there: this rank's share is asked from it.
    """

    def __init__(self, dataset: RowDataset, order: Order) -> None:
        self.order = with_share(order)
        self._rows = dataset.selection.rows
        self._epoch = 0
        self.order.count(len(self._rows))  # too few rows should be said now, not in the first epoch

    def __len__(self) -> int:
        return self.order.count(len(self._rows))

    def __iter__(self) -> Iterator[list[int]]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        for batch in self.order.batches(self._rows, epoch):
            yield np.searchsorted(self._rows, batch).tolist()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next: to continue a training that was stopped."""
        self._epoch = epoch


class BatchStream(IterableDataset[Tensors]):
    """An iterable dataset of whole batches, for a DataLoader with `batch_size=None`.

    Workers take turns: with any number of them the same batches come in the same order.

    Parameters
    ----------
    source : Selection, str or Path
        Which rows and columns; all that the file has if it is a path.
    order : Order
        Under torch.distributed, make it once the process group is there: this rank's share is asked from it.
    """

    def __init__(self, source: Selection | str | Path, order: Order) -> None:
        self.selection, self.order = to_selection(source), with_share(order)
        self.order.count(len(self.selection))
        # In shared memory: workers that live longer than one epoch have to learn of the next.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.order.count(len(self.selection))

    def __iter__(self) -> Iterator[Tensors]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for rows in self.order.batches(self.selection.rows, int(self._epoch))[first::step]:
            yield to_tensors(self.selection.read(rows))

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; call it before each one, as with torch's DistributedSampler.

        Or else the order stays the same, since nobody tells the workers of a stream how often it has been read.
        """
        self._epoch.fill_(epoch)


def to_selection(source: Selection | str | Path) -> Selection:
    """All of a file, if it is a path."""
    return source if isinstance(source, Selection) else Selection(source)


def to_tensors(batch: Batch) -> Tensors:
    """Turn arrays into tensors without a copy, but for whole numbers, which become int64."""
    wide = {name: values.astype(np.int64) if values.dtype.kind == "i" else values for name, values in batch.items()}
    return {name: torch.from_numpy(values) for name, values in wide.items()}


def with_share(order: Order) -> Order:
    """Ask torch.distributed for this process's share, if the order doesn't say it.

    Raises
    ------
    SpecError
        The launcher started several processes, but there is no process group yet.
    """
    if order.share:
        return order
    if distributed.is_available() and distributed.is_initialized():
        return replace(order, share=(distributed.get_rank(), distributed.get_world_size()))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # torchrun sets it: each process would read all rows
        raise SpecError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but there is no process group yet: call "
            "torch.distributed.init_process_group first, or give share=(rank, ranks)"
        )
    return order
