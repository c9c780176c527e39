"""Renaming: modules and modulation slots of a patch trade numbers, and whatever belongs to one goes with it.

Owns only the label: whether the renamed patch sounds the same is what `equivalences` says.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.vital.controls import Registry
from synthcore.vital.patch import MAX_SLOTS, OSCILLATORS, Patch, SlotField

#: How the names of all that has a number begin: controls, modulation sources, destinations, slots.
_NUMBERED = re.compile(r"(?:osc|filter|env|lfo|random|macro_control|modulation)_\d+")
#: What modulation slots are called, as in the destination `modulation_7_amount`.
SLOTS = tuple(f"modulation_{number}" for number in range(1, MAX_SLOTS + 1))
Names = Mapping[str, str]  #: of modules and slots, such as "osc_1" or "modulation_7", each with its new name


def swapped(one: str, other: str) -> Names:
    """The names of two that trade places."""
    return {one: other, other: one}


def composed(first: Names, then: Names) -> Names:
    """The names that result from two renamings, one after the other."""
    return {old: then.get(first.get(old, old), first.get(old, old)) for old in {**first, **then}}


def renamed(name: str, names: Names) -> str:
    """The new name of a control, a modulation source or a destination, by that of its module or slot."""
    head = head_of(name)
    return names.get(head, head) + name[len(head) :]


@lru_cache(maxsize=4096)
def head_of(name: str) -> str:
    """The numbered module or slot at the beginning of a name; "" if there is none."""
    match = _NUMBERED.match(name)
    return match[0] if match else ""


def rename(patch: Patch, names: Names, registry: Registry) -> Patch:
    """Give modules and slots of a patch other names.

    Parameters
    ----------
    patch : Patch
    names : mapping of str to str
        A permutation of names of one kind each. Slots are called modulation_1 to modulation_64.
    registry : Registry

    Returns
    -------
    Patch
        Its controls, wavetables, modulation sources and destinations have traded places. LFO shapes and curves haven't:
        they are stored for all numbers at once.
    """
    continuous = _places([c.name for c in registry.continuous], names)
    exact = None if patch.exact_values is None else _moved(patch.exact_values, continuous)
    oscillators = _places(tuple(f"osc_{number}" for number in range(1, OSCILLATORS + 1)), names)
    return replace(
        patch,
        continuous=_moved(patch.continuous, continuous),
        categorical=_moved(patch.categorical, _places([c.name for c in registry.categorical], names)),
        modulation_slots=_slots(patch.modulation_slots, names, registry),
        wavetables=tuple(_moved(np.array(patch.wavetables), oscillators).tolist()),
        exact_values=exact,
    )


def columns_moved(values: NDArray[Any], columns: Sequence[str], names: Names) -> NDArray[Any]:
    """Give columns of an array, shape (C,), the places of their new names."""
    return _moved(values, _places(columns, names))


def _slots(slots: NDArray[np.float32], names: Names, registry: Registry) -> NDArray[np.float32]:
    renamed, used = slots.copy(), slots[:, SlotField.SOURCE] >= 0
    for field, known in ((SlotField.SOURCE, registry.sources), (SlotField.DESTINATION, registry.destinations)):
        renamed[used, field] = _places(known, names)[slots[used, field].astype(np.intp)]
    return _moved(renamed, _places(SLOTS, names))


def _places(known: Sequence[str], names: Names) -> NDArray[np.intp]:
    """Where each of some names goes among them."""
    parts = _Parts.of(tuple(known))
    moved = np.arange(len(parts.heads))
    for old, new in names.items():
        if old in parts.heads:
            moved[parts.heads[old]] = parts.heads[new]
    places = parts.places[moved[parts.head], parts.tail]
    if places.min() < 0:
        raise KeyError(f"not all of {names} have the same controls")
    return places


@dataclass(frozen=True, slots=True)
class _Parts:
    """Some names in two parts: that of their module or slot, and the rest."""

    heads: Mapping[str, int]  # the number of each first part
    head: NDArray[np.intp]  # of each name, shape (names,)
    tail: NDArray[np.intp]
    places: NDArray[np.intp]  # of the name with both parts, shape (heads, tails); -1 if there is none

    @classmethod
    @lru_cache
    def of(cls, known: tuple[str, ...]) -> _Parts:
        """Take names apart."""
        heads: dict[str, int] = {}
        tails: dict[str, int] = {}
        pairs = [(head_of(name), name[len(head_of(name)) :]) for name in known]
        head = np.array([heads.setdefault(one, len(heads)) for one, _ in pairs])
        tail = np.array([tails.setdefault(one, len(tails)) for _, one in pairs])
        places = np.full((len(heads), len(tails)), -1)
        places[head, tail] = np.arange(len(known))
        return cls(heads, head, tail, places)


def _moved(values: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    moved = np.empty_like(values)
    moved[places] = values
    return moved


def number(patch: Patch, kinds: Sequence[Sequence[str]], registry: Registry) -> Names:
    """Number modulators and slots in the order in which the sound meets them, walking up from what is modulated.

    Parameters
    ----------
    patch : Patch
    kinds : sequence of sequence of str
        The modules, and the slots, that may trade places: each with all others of its kind.
    registry : Registry

    Returns
    -------
    mapping of str to str
        For `rename`. It depends on the order of slots only where they end at the same destination.
    """
    free = {name for names in kinds for name in names}
    waiting: dict[str, list[tuple[str, int, str]]] = {}
    for end, slot, source in sorted(routes(patch, registry)):
        waiting.setdefault(head_of(end) if head_of(end) in free else "", []).append((end, slot, source))
    met: list[str] = []
    queue = deque(waiting.get("", ()))
    while queue:
        _, slot, source = queue.popleft()
        for name in (SLOTS[slot], source):
            if name in free and name not in met:
                met.append(name)
                queue.extend(waiting.get(name, ()))
    return {old: new for names in kinds for old, new in zip(_first(names, met), names, strict=True)}


def routes(patch: Patch, registry: Registry) -> list[tuple[str, int, str]]:
    """The used slots of a patch: destination, place from 0, and source."""
    ends = patch.modulation_slots[:, : SlotField.AMOUNT].astype(np.intp)
    return [
        (registry.destinations[destination], slot, registry.sources[source])
        for slot, (source, destination) in enumerate(ends.tolist())
        if source >= 0
    ]


def _first(names: Sequence[str], met: Sequence[str]) -> list[str]:
    """Names with those that were met in front, in the order in which they were."""
    return [*(name for name in met if name in names), *(name for name in names if name not in met)]
