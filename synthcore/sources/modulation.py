"""Drawing modulation: which sources move which destinations, and how far."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import SpecError
from synthcore.base.spelling import meant
from synthcore.sources.prior_rows import LEVELS, ConnectionRow, ModulationHabits, RouteRow
from synthcore.vital.controls import Registry, module_of
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS

STOP = 0.15  #: p of the geometric distribution of the number of connections: 5.5 on average
MAX_CONNECTIONS = 20
MIN_AMOUNT = 0.01  #: an amount of 0 connects nothing; below 1 % of the range few can be heard
_MODULATION = re.compile(r"modulation_(\d+)_(?:amount|power)")
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


class HabitualModulation:
    """Tier 3's modulation as people connect it: kinds of routes by weight, to modules that are on.

    Parameters
    ----------
    habits : ModulationHabits
    connections : sequence of ConnectionRow
        Kinds of routes.
    registry : Registry
    where : str
        The name of their file, for messages.

    Raises
    ------
    SpecError
        A kind of route has no end in the synth, or leaves its destination where it can't be.
    """

    def __init__(
        self, habits: ModulationHabits, connections: Sequence[ConnectionRow], registry: Registry, where: str
    ) -> None:
        self.habits, self.registry, self._rows = habits, registry, connections
        self._sources = [_named(row.source, registry.sources, where) for row in connections]
        self._destinations = [_named(row.destination, registry.destinations, where) for row in connections]
        self._weights = np.array([row.weight for row in connections])
        if not self._weights.sum():
            raise SpecError(f"{where}: the weights of the connections are all zero: nothing could be drawn")
        for row, places in zip(connections, self._destinations, strict=True):
            for name in [registry.destinations[place] for place in places] if row.base else ():
                _require_reaches(name, row.base or (), registry, where)

    def draw(
        self, rng: np.random.Generator, values: Mapping[str, float]
    ) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Draw the connections of a patch.

        Parameters
        ----------
        rng : Generator
        values : mapping of str to float
            What the switches and types of its modules are at, as option indices: routes end where something sounds.

        Returns
        -------
        ndarray, shape (64, 7), float32
        dict of str to float
            What controls that they move are left at, where that isn't what the controls' own habits say.
        """
        slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
        bases: dict[str, float] = {}
        count = min(MAX_SLOTS, round(float(np.interp(rng.random(), LEVELS, self.habits.connections))))
        taken: set[tuple[int, int]] = set()
        used: list[str] = []  # sources
        for kind in rng.choice(len(self._weights), size=count, p=self._weights / self._weights.sum()).tolist():
            row, sources = self._rows[kind], self._sources[kind]
            weights = np.array(self.habits.numbers.get(row.source, (1.0,)))[: len(sources)]
            source = sources[_pick(rng, weights)]
            ends = [d for d in self._destinations[kind] if self._is_heard(d, values, used) and (source, d) not in taken]
            if not ends:
                continue
            destination = ends[int(rng.integers(len(ends)))]
            amount = np.interp(rng.random(), LEVELS, row.amount or self.habits.amount)
            is_bipolar, is_stereo = rng.random(2) < (self.habits.bipolar, self.habits.stereo)
            slots[len(taken)] = (source, destination, amount, is_bipolar, 0.0, is_stereo, 0.0)
            if row.base:
                bases.setdefault(
                    self.registry.destinations[destination], float(np.interp(rng.random(), LEVELS, row.base))
                )
            taken.add((source, destination))
            used.append(self.registry.sources[source])
        return slots, bases

    def _is_heard(self, destination: int, values: Mapping[str, float], used: Sequence[str]) -> bool:
        """Say whether what a destination moves is in use."""
        name = self.registry.destinations[destination]
        if modulated := _MODULATION.fullmatch(name):
            return int(modulated[1]) <= len(used)
        module = module_of(name)
        if module in self.registry.source_index and module != "env_1":  # envelope 1 shapes the loudness of every patch
            return module in used
        kind = name.rpartition("_")[0] + "_type"
        return bool(values.get(f"{module}_on", 1) and values.get(kind, 1))


def _pick(rng: np.random.Generator, weights: NDArray[np.float64]) -> int:
    return int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum(), side="right"))


def _require_reaches(name: str, base: Sequence[float], registry: Registry, where: str) -> None:
    control = registry.by_name.get(name)
    if control is None or not control.low <= min(base) <= max(base) <= control.high:
        raise SpecError(f"{where}: a connection leaves {name} at {min(base):g}..{max(base):g}, where it can't be")


def _named(kind: str, names: Sequence[str], where: str) -> list[int]:
    """The places of the names that a kind, such as `osc_N_level`, stands for."""
    pattern = re.compile(re.escape(kind).replace("N", r"\d+"))
    found = [place for place, name in enumerate(names) if pattern.fullmatch(name)]
    if not found:
        raise SpecError(f"{where}: a connection names {kind!r}, which modulation can't reach in the installed synth")
    return found


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
