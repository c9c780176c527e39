"""Labels as columns: the parts of a patch under the names that they have in a file, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from synthcore.vital.classes import Classes
from synthcore.vital.patch import LABELS, Patch

LABEL_COLUMNS = tuple(f"params/{part}" for part in LABELS)


def label_of(patch: Patch, wavetables: Sequence[int], extras: Sequence[int]) -> dict[str, Any]:
    """What `LABEL_COLUMNS` hold of a patch, whose wavetables and extras have these numbers in the file."""
    return {
        "params/continuous": patch.continuous,
        "params/categorical": patch.categorical,
        "params/modulation_slots": patch.modulation_slots,
        "params/wavetables": wavetables,
        "params/extras": extras,
        "params/exact_values": patch.exact,
    }


def patch_at(labels: Mapping[str, NDArray[Any]], place: int, classes: Classes) -> Patch:
    """Make a patch from its label.

    Parameters
    ----------
    labels : mapping of str to ndarray, shape (N, ...)
        `LABEL_COLUMNS` of N rows, and any others.
    place : int
        Which of these rows.
    classes : Classes
        What the numbers of wavetables and extras mean.

    Raises
    ------
    IndexError
        There is no such class.
    """
    return Patch.from_label({part: labels[f"params/{part}"][place] for part in LABELS}, classes)
