"""Drawing modulation: which sources move which destinations, and how far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import SpecError
from synthcore.base.spelling import meant
from synthcore.sources.priors import RouteRow
from synthcore.vital.controls import Registry
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS

STOP = 0.15  #: p of the geometric distribution of the number of connections: 5.5 on average
MAX_CONNECTIONS = 20
MIN_AMOUNT = 0.01  #: an amount of 0 connects nothing; below 1 % of the range few can be heard
MAX_POWER = 10.0  #: the synth's range of the remap curve's bend is -10..10; 0 is a straight line


def draw_free(rng: np.random.Generator, registry: Registry) -> NDArray[np.float32]:
    """Draw tier 3's modulation: 0 to 20 connections between distinct pairs.

    Returns
    -------
    ndarray, shape (64, 7), float32
        See `synthcore.vital.patch.SLOT_FIELDS`.
    """
    count = min(int(rng.geometric(STOP)) - 1, MAX_CONNECTIONS)
    pairs = rng.choice(len(registry.sources) * len(registry.destinations), size=count, replace=False)
    routes = [divmod(int(pair), len(registry.destinations)) for pair in pairs]
    return _fill(rng, routes, np.ones(count, dtype=bool))


def draw_fixed(rng: np.random.Generator, registry: Registry, routes: Sequence[RouteRow]) -> NDArray[np.float32]:
    """Draw tier 2's fixed routes: each on or off, the amounts free. An off route leaves its slot empty.

    Returns
    -------
    ndarray, shape (64, 7), float32

    Raises
    ------
    SpecError
        A route's end is not among the synth's sources or destinations.
    """
    return _fill(rng, [route_indices(registry, r.source, r.destination) for r in routes], rng.random(len(routes)) < 0.5)


def route_indices(registry: Registry, source: str, destination: str) -> tuple[int, int]:
    """Look up a connection's ends.

    Raises
    ------
    SpecError
        The synth has no such source or destination; connecting it would kill the process.
    """
    for what, name, known in (
        ("source", source, registry.source_index),
        ("destination", destination, registry.destination_index),
    ):
        if name not in known:
            raise SpecError(
                f"{name!r} is not a modulation {what} of the synth; it has {len(known)}, such as {min(known)!r}"
                f"{meant(name, sorted(known))}"
            )
    return registry.source_index[source], registry.destination_index[destination]


def _fill(rng: np.random.Generator, routes: Sequence[tuple[int, int]], is_on: NDArray[np.bool_]) -> NDArray[np.float32]:
    slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
    count = len(routes)
    amounts = rng.uniform(MIN_AMOUNT, 1.0, count) * rng.choice([-1.0, 1.0], count)
    powers = rng.uniform(-MAX_POWER, MAX_POWER, count)
    bipolar, stereo = rng.integers(0, 2, (2, count))
    for i in np.flatnonzero(is_on).tolist():
        slots[i] = (*routes[i], amounts[i], bipolar[i], powers[i], stereo[i], 0.0)
    return slots
