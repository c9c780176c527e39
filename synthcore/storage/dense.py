"""The dense view of tier 3's modulation, made from the slots and turned back into them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import SpecError
from synthcore.vital.controls import Registry
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS

DENSE = "params/modulation_t3"
DENSE_CHANNELS = ("amount", "bipolar", "power", "stereo")


def dense_shape(registry: Registry) -> tuple[int, int, int]:
    """Shape of one row of the dense modulation: (4, 32, 428)."""
    return (len(DENSE_CHANNELS), len(registry.sources), len(registry.destinations))


def to_dense(slots: NDArray[np.float32], registry: Registry) -> NDArray[np.float32]:
    """Turn modulation slots into tier 3's dense view.

    Parameters
    ----------
    slots : ndarray, shape (64, 7), float32
        Bypassed slots are left out; the amounts of a duplicate pair are summed, its switches are the last one's.

    Returns
    -------
    ndarray, shape (4, 32, 428), float32
        Channels `DENSE_CHANNELS`.
    """
    dense = np.zeros(dense_shape(registry), dtype=np.float32)
    for source, destination, amount, bipolar, power, stereo, bypass in slots:
        if source >= 0 and not bypass:
            cell = dense[:, int(source), int(destination)]
            cell[:] = (cell[0] + amount, bipolar, power, stereo)
    return dense


def from_dense(dense: NDArray[Any], registry: Registry) -> NDArray[np.float32]:
    """Turn the dense view back into modulation slots: the pairs that have an amount, by source and destination.

    Which slot a pair was in is lost. Of more pairs than there are slots, the largest amounts are kept.

    Parameters
    ----------
    dense : ndarray, shape (4, 32, 428)
        Channels `DENSE_CHANNELS`; an amount of 0 connects nothing.

    Returns
    -------
    ndarray, shape (64, 7), float32

    Raises
    ------
    SpecError
        It has another shape, or an amount isn't a number.
    """
    if np.shape(dense) != dense_shape(registry):
        raise SpecError(f"{DENSE} has shape {np.shape(dense)} a row; a patch needs {dense_shape(registry)}")
    if not np.isfinite(dense).all():
        raise SpecError(f"{DENSE} holds something that isn't a number; a patch needs numbers")
    amounts = np.abs(dense[0])
    kept = np.sort(np.argsort(-amounts, axis=None, kind="stable")[: min(MAX_SLOTS, np.count_nonzero(amounts))])
    ends = np.unravel_index(kept, amounts.shape)
    slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
    slots[: len(kept), :-1] = np.column_stack([*ends, *dense[:, ends[0], ends[1]]])
    return slots
