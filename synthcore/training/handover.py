"""Handing batches from a DataLoader's workers to the process that trains, in memory that is used again.

Torch gives every tensor of every batch a new piece of shared memory, which the system clears page by page, and which
both processes map and unmap: for log-mels that takes longer than reading them. Here a worker has a few buffers, each
for a whole batch. Torch sends a buffer once; from then on, a message says where in it each array of a batch lies. A
buffer is free again when nothing in the process that trains refers to the batch any more.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Mapping
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Form = tuple[tuple[int, ...], np.dtype[Any]]  # of an array
Places = dict[str, tuple[int, Form]]  # where each array of a batch begins
Tensors = dict[str, torch.Tensor]

#: Buffers of a worker. Whoever keeps more batches than that gets the next ones in memory of their own.
KEPT = 8
SMALL = 1 << 18  #: bytes of an array that goes with the message: opening a piece of shared memory takes longer
_ALIGNED = 64  #: bytes; as many lie before the first array, and begin with the number of the last use that is over

_buffers: list[Buffer] = []  # of this process, if it is a worker
#: What workers sent, by number. A process is forgotten when its loader is done, and its buffers with it.
_sent: weakref.WeakKeyDictionary[BaseProcess, dict[int, torch.Tensor]] = weakref.WeakKeyDictionary()


class Buffer:
    """Shared memory that holds one batch at a time.

    Parameters
    ----------
    number : int
        Of this worker's buffers.
    size : int
        In bytes.
    """

    def __init__(self, number: int, size: int) -> None:
        self.number, self.uses = number, 0
        self.memory = torch.empty(size, dtype=torch.uint8).share_memory_()
        self.is_sent = False  # the process that trains has this memory
        self._held: Callable[[], object] = lambda: None

    @property
    def is_free(self) -> bool:
        """Whether no process looks into it."""
        return self._held() is None and last_use(self.memory) == self.uses

    def lend(self) -> NDArray[np.uint8]:
        """Begin the next use; it is over when nothing refers to what this returns, unless that is handed over."""
        self.uses += 1
        root: NDArray[np.uint8] = self.memory.numpy()
        self._held = weakref.ref(root)
        return root

    def take_back(self) -> None:
        """End a use of which nothing was handed over."""
        end_use(self.memory, self.uses, os.getpid())


class Use(NamedTuple):
    """What a worker says of the buffer that a batch is in."""

    worker: int  # its process
    buffer: int
    number: int  # of the uses of that buffer
    memory: torch.Tensor | None  # the first time


class LentBatch(Tensors):
    """A batch in a buffer; where it arrives, it is a plain dictionary.

    Parameters
    ----------
    buffer : Buffer
    places : Places
    """

    def __init__(self, buffer: Buffer, places: Places) -> None:
        root = buffer.lend()
        super().__init__(tensors_in(root, places))
        self._buffer, self._places = buffer, places
        self._made: Tensors = {**self}
        self._unsent = weakref.finalize(root, buffer.take_back)

    def add(self, tensors: Tensors) -> None:
        """Add what isn't in the buffer, each of memory of its own."""
        self._made |= tensors
        self.update(tensors)

    def __copy__(self) -> LentBatch:
        """The batch itself: torch copies what it converts, and would otherwise take it out of its buffer."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Called by the thread that sends a worker's batches."""
        if self._unsent.detach() is None:  # sent once already: this time as any dictionary
            return dict, (dict(self),)
        made = {name: values for name, values in self._made.items() if name in self and self[name] is values}
        places = {name: place for name, place in self._places.items() if name in made and fits(made[name], place[1])}
        small = {name: values.numpy() for name, values in made.items() if name not in places and values.nbytes <= SMALL}
        others = {name: values for name, values in self.items() if name not in {**places, **small}}
        buffer = self._buffer
        use = Use(os.getpid(), buffer.number, buffer.uses, None if buffer.is_sent else buffer.memory)
        buffer.is_sent = True
        return receive, (use, places, small, others)


def lend(forms: Mapping[str, Form]) -> LentBatch | None:
    """Find room for a batch in a buffer of this worker.

    Returns
    -------
    LentBatch or None
        Not yet filled; None if all buffers are in use.
    """
    places: Places = {}
    size = _ALIGNED
    for name, (shape, dtype) in forms.items():
        places[name] = (size, (shape, dtype))
        size += -(-math.prod(shape) * dtype.itemsize // _ALIGNED) * _ALIGNED
    for buffer in _buffers:
        if len(buffer.memory) >= size and buffer.is_free:
            return LentBatch(buffer, places)
    if len(_buffers) == KEPT:
        return None
    _buffers.append(Buffer(len(_buffers), size))
    return LentBatch(_buffers[-1], places)


def receive(use: Use, places: Places, small: dict[str, NDArray[Any]], others: Tensors) -> Tensors:
    """Take a batch that a worker sent, in the process that trains: what a pickled `LentBatch` becomes."""
    known = next((process for process in _sent if process.pid == use.worker), None)
    worker = known or next(process for process in active_children() if process.pid == use.worker)
    sent = _sent.setdefault(worker, {})
    if use.memory is not None:
        sent[use.buffer] = use.memory
    memory = sent[use.buffer]
    root = memory.numpy()
    weakref.finalize(root, end_use, memory, use.number, os.getpid()).atexit = False
    return tensors_in(root, places) | {name: torch.from_numpy(values) for name, values in small.items()} | others


def tensors_in(root: NDArray[np.uint8], places: Places) -> Tensors:
    """The arrays of a batch, each of which keeps `root`."""
    return {
        name: torch.from_numpy(root[start : start + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape))
        for name, (start, (shape, dtype)) in places.items()
    }


def fits(values: torch.Tensor, form: Form) -> bool:
    """Whether a tensor still lies in its buffer as it was made: there are methods that turn it where it is."""
    return tuple(values.shape) == form[0] and bool(values.is_contiguous())


def last_use(memory: torch.Tensor) -> int:
    """The number of the last use of a buffer that is over."""
    return int(memory[:8].view(torch.int64))


def end_use(memory: torch.Tensor, use: int, process: int) -> None:
    """Say that a use is over: by the process that held the batch, not one that was forked from it meanwhile."""
    if os.getpid() == process:
        memory[:8].view(torch.int64).fill_(use)
