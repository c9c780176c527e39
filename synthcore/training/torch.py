"""Datasets for PyTorch's DataLoader. Needs the extra: `pip install synthcore[torch]`.

Four ways to feed a training loop, all of which open the file once in each worker, read a batch with one call and never
give a row to two workers or ranks:

    DataLoader(rows, batch_size=64, shuffle=True)                                as usual: any sampler
    DataLoader(rows, sampler=ShuffledBatches(rows, Order(64)), batch_size=None)  by chunk, shared out among ranks
    DataLoader(BatchStream(examples, Order(64)), batch_size=None)               the same batches as a stream
    BatchLoader(examples, Order(64))                                             the same, continued where it stopped

All but the first hand over batches as they are read; the first collates rows, which is one copy more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from synthcore.base.errors import SpecError
from synthcore.training.batches import Batch, Examples, Order, RowNumbers
from synthcore.training.position import Position, State, identity_of, position_of

try:
    import torch
    from torch import distributed
    from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

    from synthcore.training.handover import SMALL, lend
except ImportError as error:
    raise ImportError("synthcore.training.torch needs PyTorch: pip install 'synthcore[torch]'") from error

__all__ = ["BatchLoader", "BatchStream", "Examples", "Order", "RowDataset", "ShuffledBatches", "collate"]

Tensors = dict[str, torch.Tensor]


class RowDataset(Dataset[Tensors]):
    """A map-style dataset: a number gives a row, a list of numbers a batch, read with one call.

    A row is a dictionary of tensors, a batch the same with one more axis in front; for what is in it, see
    `synthcore.training.batches.Examples.read`. Whole numbers are int64, as losses and embeddings want them.

    Parameters
    ----------
    source : Examples, str or Path
        Which rows and columns; all that the file has if it is a path.
    """

    def __init__(self, source: Examples | str | Path) -> None:
        self.examples = to_examples(source)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, places: int | Sequence[int]) -> Tensors:
        if isinstance(places, int | np.integer):
            return self.__getitems__([int(places)])[0]
        return read(self.examples, self.examples.rows[np.asarray(places, dtype=np.intp)])

    def __getitems__(self, places: Sequence[int]) -> list[Tensors]:
        """Read the rows of a batch at once, in the given order: what a DataLoader that collates calls."""
        batch = self[places]
        return [{name: values[row] for name, values in batch.items()} for row in range(len(places))]


class ShuffledBatches(Sampler[list[int]]):
    """The batches of an `Order`, as the sampler of a DataLoader over a `RowDataset`, with `batch_size=None`.

    As its `batch_sampler` it gives the same batches, collated. Each iteration is the next epoch, in another order.

    Parameters
    ----------
    dataset : RowDataset
    order : Order
        Under torch.distributed, make it once the process group is there, which knows this rank's share.
    """

    def __init__(self, dataset: RowDataset, order: Order) -> None:
        self.order = with_share(order)
        self._rows = dataset.examples.rows
        self._next = Position()
        self.order.count(len(self._rows))  # too few rows are an error now, not in the first epoch

    def __len__(self) -> int:
        return self.order.count(len(self._rows))

    def __iter__(self) -> Iterator[list[int]]:
        begin, self._next = self._next, Position(self._next.epoch + 1)
        for batch in self.order.batches(self._rows, begin.epoch)[begin.batch :]:
            yield np.searchsorted(self._rows, batch).tolist()

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Say which epoch comes next, and with which of its batches it begins: to continue a training."""
        self._next = Position(epoch, batch)


class BatchStream(IterableDataset[Tensors]):
    """An iterable dataset of whole batches, for a DataLoader with `batch_size=None`.

    Workers take turns: with any number of them the same batches come in the same order.

    Parameters
    ----------
    source : Examples, str or Path
        Which rows and columns; all that the file has if it is a path.
    order : Order
        Under torch.distributed, make it once the process group is there, which knows this rank's share.
    """

    def __init__(self, source: Examples | str | Path, order: Order) -> None:
        self.examples, self.order = to_examples(source), with_share(order)
        self.order.count(len(self.examples))
        # In shared memory: workers that outlive an epoch have to learn of the next.
        self._next = torch.zeros(2, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.order.count(len(self.examples))

    def __iter__(self) -> Iterator[Tensors]:
        worker = get_worker_info()
        turn, step = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch, first = self._next.tolist()
        for rows in self.order.batches(self.examples.rows, epoch)[first + turn :: step]:
            yield read(self.examples, rows)

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Say which epoch comes next, and with which of its batches; call it before each one.

        Otherwise the order stays the same, as with torch's DistributedSampler: the workers of a stream don't know how
        often it has been read.
        """
        self._next.copy_(torch.tensor([epoch, batch]))


class BatchLoader(DataLoader[Tensors]):
    """A DataLoader of the batches of an `Order` that a stopped training continues at the next batch.

    Iterating gives the rest of the epoch, and then the next epoch, in another order. What it counts is the batches that
    the loop was given, not those that workers have read ahead. A batch counts as soon as the loop has it, so save the
    state after the step that it was for, together with the network and the optimizer.

    Parameters
    ----------
    source : Examples, str or Path
        Which rows and columns; all that the file has if it is a path.
    order : Order
        Under torch.distributed, make the loader once the process group is there, which knows this rank's share.
    **options
        Of torch's DataLoader: num_workers, prefetch_factor, persistent_workers, pin_memory and so on.
    """

    def __init__(self, source: Examples | str | Path, order: Order, **options: Any) -> None:
        rows = RowDataset(source)
        self._batches = ShuffledBatches(rows, order)
        super().__init__(rows, sampler=self._batches, batch_size=None, **options)
        self._identity = identity_of(rows.examples, self._batches.order)
        self._next = Position()

    @property
    def epoch(self) -> int:
        """The epoch of the next batch, from 0."""
        return self._next.epoch

    def __iter__(self) -> Iterator[Tensors]:
        expected = self._next
        self._batches.set_epoch(expected.epoch, expected.batch)
        for batch in super().__iter__():
            if self._next != expected:
                raise SpecError(
                    "this loop reads on, but its loader was moved, by load_state_dict or another loop: begin anew"
                )
            self._next = expected = expected.after_batch(len(self))
            yield batch

    def state_dict(self) -> State:
        """Say which batch comes next, and of what: plain numbers and texts, for `torch.save` or JSON.

        All ranks that train together have the same state.
        """
        return {**self._identity, "epoch": self._next.epoch, "batch": self._next.batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at the batch that came next when the state was saved; call it before the loop begins.

        Raises
        ------
        SpecError
            The state is of another dataset, other rows, another order or number of ranks.
        """
        self._next = position_of(state, self._identity, len(self))


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make a batch of rows: the `collate_fn` of a DataLoader over rows from elsewhere, such as `read_sample` gives.

    A worker makes it where the process that trains can see it, in memory that is used again.

    Parameters
    ----------
    rows : sequence of dict
        All with the same names.

    Returns
    -------
    dict
        Arrays and numbers as tensors with one more axis in front, whole numbers int64; of anything else, a list.

    Raises
    ------
    ValueError
        Arrays of a name differ in shape.
    """
    first = {name: np.asarray(value) for name, value in rows[0].items()}
    numbers = {name: values for name, values in first.items() if values.dtype.kind in "biuf"}
    forms = {name: ((len(rows), *values.shape), values.dtype) for name, values in numbers.items()}
    large = {name for name, values in numbers.items() if values.dtype.kind == "f" and values.nbytes * len(rows) > SMALL}
    lent = lend({name: forms[name] for name in large}) if large and get_worker_info() else None
    arrays = {name: lent[name].numpy() if lent and name in large else np.empty(*forms[name]) for name in numbers}
    for name, array in arrays.items():
        np.stack([row[name] for row in rows], out=array)
    others = {name: [row[name] for row in rows] for name in first if name not in numbers}
    if lent is None:
        return {**to_tensors(arrays), **others}
    lent.add(to_tensors({name: array for name, array in arrays.items() if name not in large}))
    lent.update(others)
    return lent


def to_examples(source: Examples | str | Path) -> Examples:
    """All of a file, if it is a path."""
    return source if isinstance(source, Examples) else Examples(source)


def read(examples: Examples, rows: RowNumbers) -> Tensors:
    """Read a batch. A worker puts what is large where the process that trains can see it, so that it isn't copied."""
    forms = {name: form for name, form in examples.feature_forms.items() if form[1].kind == "f"}
    if "audio" in examples.parts:
        forms["audio"] = (examples.audio_shape, np.dtype("f4"))
    in_all = {name: ((len(rows), *shape), dtype) for name, (shape, dtype) in forms.items()}
    lent = lend(in_all) if in_all and get_worker_info() else None
    if lent is None:
        return to_tensors(examples.read(rows))
    places = {name: tensor.numpy() for name, tensor in lent.items()}
    tensors = to_tensors(examples.read(rows, places.pop("audio", None), places))
    lent.add({name: values for name, values in tensors.items() if name not in lent})
    return lent


def to_tensors(batch: Batch) -> Tensors:
    """Turn arrays into tensors without a copy, but for whole numbers, which become int64."""
    wide = {name: values.astype(np.int64) if values.dtype.kind == "i" else values for name, values in batch.items()}
    return {name: torch.from_numpy(values) for name, values in wide.items()}


def with_share(order: Order) -> Order:
    """Take this process's share from torch.distributed, if the order doesn't state it.

    Raises
    ------
    SpecError
        Several processes were launched, but there is no process group yet.
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
