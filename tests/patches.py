"""Patches that a test makes from another, by the names of controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthcore.vital.controls import Registry
from synthcore.vital.normalize import to_units
from synthcore.vital.patch import Patch


def with_connections(patch: Patch, registry: Registry, *wanted: tuple[str, str, float]) -> Patch:
    """The patch with connections, each from a source to a destination by an amount, in the first slots."""
    slots = patch.modulation_slots.copy()
    for place, (source, destination, amount) in enumerate(wanted):
        slots[place] = (registry.source_index[source], registry.destination_index[destination], amount, 0, 0, 0, 0)
    return replace(patch, modulation_slots=slots)


def with_controls(patch: Patch, registry: Registry, **values: float) -> Patch:
    """The patch with some controls at raw values; of categorical ones, the number of the option."""
    continuous, categorical = patch.continuous.copy(), patch.categorical.copy()
    for name, value in values.items():
        control = registry.by_name[name]
        if control.is_categorical:
            categorical[registry.categorical.index(control)] = value
        else:
            continuous[registry.continuous.index(control)] = to_units([control], np.array([value]))[0]
    return patch.moved(continuous=continuous, categorical=categorical)
