"""Nearest: numbers that a model predicts, brought to those that can be played.

Owns what becomes of a number that is out of range or between two options. A vector that holds anything but numbers, or
has the wrong length, is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthcore.base.errors import SynthcoreError
from synthcore.vital.controls import Control, Registry
from synthcore.vital.normalize import to_label, to_units, to_values

ENDS = 2  #: a slot begins with its source and destination
#: What a slot's settings can be: amount, bipolar, power, stereo, bypass. Three of them are switches.
SLOT_LOW, SLOT_HIGH = (-1.0, 0.0, -10.0, 0.0, 0.0), (1.0, 1.0, 10.0, 1.0, 1.0)
SLOT_IS_SWITCH = (False, True, False, True, True)


def units(given: ArrayLike, usual: NDArray[np.float32], registry: Registry) -> NDArray[np.float32]:
    """Unit values, shape (322,), from those of all continuous controls or of tier 1's; `usual` has the others."""
    vector = np.clip(_finite("continuous", _columns("continuous", given, usual, registry.continuous)), 0, 1)
    near = vector.astype(np.float32)
    quantised = to_units(registry.continuous, to_values(registry.continuous, near))
    # All others stay as they are: going there and back can move a unit value by half a step of float32.
    return np.where([c.is_whole for c in registry.continuous], quantised, near)


def options(given: ArrayLike, usual: NDArray[np.int32], registry: Registry) -> NDArray[np.int32]:
    """Option indices, shape (126,), from those of all categorical controls or of tier 1's; `usual` has the others."""
    vector = _finite("categorical", _columns("categorical", given, usual, registry.categorical))
    return np.clip(np.rint(vector), 0, [len(c.options) - 1 for c in registry.categorical]).astype(np.int32)


def best_options(scores: Sequence[ArrayLike], registry: Registry) -> NDArray[np.int32]:
    """Option indices, shape (n, 126), or of tier 1's controls alone: those with the highest scores.

    Parameters
    ----------
    scores : sequence of array_like, shape (n, options)
        For each categorical control, or for each of tier 1, in the order of `params/categorical`.
    """
    of_tier_1 = [control for control in registry.categorical if control.tier == 1]
    counts = [len(c.options) for c in (of_tier_1 if len(scores) == len(of_tier_1) else registry.categorical)]
    if len(scores) != len(counts):
        raise SynthcoreError(
            f"option_scores are given for {len(scores)} controls; there are {len(counts)}, or tier 1's {len(of_tier_1)}"
        )
    found = []
    for place, (given, count) in enumerate(zip(scores, counts, strict=True)):
        table = _array("option_scores", given)
        if table.ndim != 2 or table.shape[1] != count:
            raise SynthcoreError(f"option_scores of control {place} have shape {table.shape}; it has {count} options")
        found.append(_finite("option_scores", table).argmax(axis=1))
    return np.stack(found, axis=1).astype(np.int32)


def slots(given: ArrayLike | None, empty: NDArray[np.float32], registry: Registry) -> NDArray[np.float32]:
    """Modulation slots, shape (64, 7); `empty` are those of no modulation."""
    if given is None:
        return empty
    matrix = _vector("modulation_slots", given, empty.shape)
    ends = np.clip(np.rint(matrix[:, :ENDS]), (-1, 0), (len(registry.sources) - 1, len(registry.destinations) - 1))
    settings = np.clip(matrix[:, ENDS:], SLOT_LOW, SLOT_HIGH)
    found = np.hstack([ends, np.where(SLOT_IS_SWITCH, np.rint(settings), settings)]).astype(np.float32)
    sources, _ = ends.T
    return np.where(sources[:, None] < 0, empty, found)


def numbers(name: str, given: ArrayLike, counts: Sequence[int]) -> list[int]:
    """Class numbers, each below its count: a missing class has no nearest one."""
    found = np.rint(_vector(name, given, (len(counts),))).astype(int)
    beyond = (found < 0) | (found >= np.array(counts))
    if beyond.any():
        place = int(np.argmax(beyond))
        raise SynthcoreError(
            f"{name} names class {found[place]}, and there are {counts[place]}; give the classes of the file that "
            "it is from, as classes=dataset.classes"
        )
    near: list[int] = found.tolist()
    return near


def exact_values(
    given: ArrayLike | None, beside: NDArray[np.float32], registry: Registry
) -> NDArray[np.float32] | None:
    """Exact values, shape (322,), beside unit values; NaN where the unit value is no longer theirs."""
    if given is None:
        return None
    controls = registry.continuous
    values = _columns("exact_values", given, np.full(len(controls), np.nan), controls)
    again, exact = to_label(controls, np.where(np.isfinite(values), values, to_values(controls, beside)))
    return np.where(again == beside, exact, np.float32(np.nan))


def _columns(name: str, given: ArrayLike, usual: NDArray[Any], controls: Sequence[Control]) -> NDArray[np.float64]:
    """Check a vector with a number for each control; if it has only tier 1's, complete it from `usual`."""
    vector, whole = _array(name, given), usual.astype(np.float64)
    of_tier_1 = np.array([control.tier == 1 for control in controls])
    if vector.shape == (of_tier_1.sum(),):
        whole[of_tier_1] = vector
        return whole
    if vector.shape != whole.shape:
        raise SynthcoreError(
            f"{name} has shape {vector.shape}; a patch needs {whole.shape}, or tier 1's {of_tier_1.sum()}"
        )
    return vector


def _vector(name: str, given: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    vector = _array(name, given)
    if vector.shape != shape:
        raise SynthcoreError(f"{name} has shape {vector.shape}; a patch needs {shape}")
    return _finite(name, vector)


def _array(name: str, given: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SynthcoreError(f"{name} holds something that isn't a number ({error}); give an array") from error


def _finite(name: str, vector: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(vector).all():
        where = np.argwhere(~np.isfinite(vector))[0].tolist()
        raise SynthcoreError(
            f"{name} holds {vector[tuple(where)]} at {', '.join(map(str, where))}; a patch needs numbers"
        )
    return vector
