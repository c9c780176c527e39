"""What can't be heard in a patch, and the one form that it can be brought to: each class is one kind of such a thing.

What can't be heard is said by `activity`. Several controls are moved one after the other, each only if it still can't
be heard after the others: of two controls that each hide the other, the first moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from synthcore.vital.activity import Labels, activity
from synthcore.vital.catalog import builtin
from synthcore.vital.controls import Registry
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.panel import EFFECTS, effects_in_order, order_code
from synthcore.vital.patch import EMPTY_SLOT, OSCILLATORS, Patch, SlotField
from synthcore.vital.renaming import renamed

TRIES = 3  #: controls that are moved at once, to try
#: Controls that can be heard exactly when the asset can: no rule of activity names them for another reason.
SHOWS_LFOS, SHOWS_SAMPLE, SHOWS_WAVETABLE = "lfo_?_sync_type", "sample_loop", "osc_{}_phase"


class Unheard(Protocol):
    """One kind of thing that can't be heard."""

    def at_rest(self, patch: Patch) -> Patch:
        """The patch with its unheard things in the one form that stands for all others."""

    def another(self, patch: Patch, rng: Generator) -> Patch:
        """The patch with other unheard things, drawn at random; itself if all of it is heard."""


class Controls:
    """Controls that can't be heard. At rest, they are at their defaults, but for a few options.

    Parameters
    ----------
    registry : Registry
    alike : sequence of sequence of str
        Modules that may trade places: they rest at the defaults of the first.
    rest : mapping of str to str
        At which other option some controls rest, by name or pattern.
    """

    def __init__(self, registry: Registry, alike: Sequence[Sequence[str]], rest: Mapping[str, str]) -> None:
        self._registry, self._count = registry, len(registry.continuous)
        first = {name: modules[0] for modules in alike for name in modules}
        init = Patch.init(registry)
        units = {c.name: unit for c, unit in zip(registry.continuous, init.continuous, strict=True)}
        options = {c.name: option for c, option in zip(registry.categorical, init.categorical, strict=True)}
        for control in registry.categorical:
            for pattern in rest:
                if fnmatchcase(control.name, pattern):
                    options[control.name] = np.int32(control.options.index(rest[pattern]))
        self._units = np.array([units[renamed(c.name, first)] for c in registry.continuous])
        self._options = np.array([options[renamed(c.name, first)] for c in registry.categorical])

    def at_rest(self, patch: Patch) -> Patch:
        while (places := self._restless(patch)).size:
            patch = self._moved(patch, places)
        return patch

    def another(self, patch: Patch, rng: Generator) -> Patch:
        for _ in range(TRIES):
            place = rng.choice(np.flatnonzero(~self._heard([patch])[0]))
            patch = self._with(patch, np.array([place]), *self._drawn(rng))
        return patch

    def _heard(self, patches: Sequence[Patch]) -> NDArray[np.bool_]:
        return activity(self._registry).of(Labels.of(patches, self._registry))

    def _restless(self, patch: Patch) -> NDArray[np.intp]:
        """Which unheard controls aren't at rest."""
        moved = (patch.continuous != self._units) | ~np.isnan(patch.exact)
        return np.flatnonzero(~self._heard([patch])[0] & np.concatenate([moved, patch.categorical != self._options]))

    def _moved(self, patch: Patch, places: NDArray[np.intp]) -> Patch:
        """Bring some of the controls to rest: those before the first that would be heard by then."""
        steps = [self._with(patch, places[:step], self._units, self._options) for step in range(len(places))]
        heard = self._heard(steps)[np.arange(len(places)), places]
        safe = int(heard.argmax()) if heard.any() else len(places)
        return self._with(patch, places[:safe], self._units, self._options)

    def _with(self, patch: Patch, places: NDArray[np.intp], units: NDArray[Any], options: NDArray[Any]) -> Patch:
        """The patch with the values of some controls replaced."""
        continuous, categorical, exact = patch.continuous.copy(), patch.categorical.copy(), patch.exact.copy()
        columns, others = places[places < self._count], places[places >= self._count] - self._count
        continuous[columns], exact[columns] = units[columns], np.nan
        categorical[others] = options[others]
        return replace(patch, continuous=continuous, categorical=categorical, exact_values=exact)

    def _drawn(self, rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        controls = self._registry.continuous
        units = to_units(controls, to_values(controls, rng.random(len(controls), dtype=np.float32)))
        return units, rng.integers([len(c.options) for c in self._registry.categorical]).astype(np.int32)


class Routes:
    """Modulation slots that move nothing that can be heard. At rest, they are empty."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def at_rest(self, patch: Patch) -> Patch:
        slots = np.where(self._moving(patch)[:, None], patch.modulation_slots, EMPTY_SLOT)
        return replace(patch, modulation_slots=slots)

    def another(self, patch: Patch, rng: Generator) -> Patch:
        idle = np.flatnonzero(~self._moving(patch))
        if not idle.size:
            return patch
        slots = patch.modulation_slots.copy()
        ends = rng.integers(len(self._registry.sources)), rng.integers(len(self._registry.destinations))
        slots[rng.choice(idle)] = (*ends, rng.uniform(-1, 1), 0, 0, 0, 1)
        return replace(patch, modulation_slots=slots)

    def _moving(self, patch: Patch) -> NDArray[np.bool_]:
        moving: NDArray[np.bool_] = activity(self._registry).slots_of(Labels.of([patch], self._registry))[0]
        return moving


class Assets:
    """Wavetables, LFO shapes and a sample that can't be heard. At rest, they are the init preset's."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._wavetable = Patch.init(registry).wavetables[0]

    def at_rest(self, patch: Patch) -> Patch:
        return self._with(patch, [self._wavetable] * OSCILLATORS)

    def another(self, patch: Patch, rng: Generator) -> Patch:
        digests = [entry.digest for entry in builtin().entries]
        return self._with(patch, [digests[place] for place in rng.integers(len(digests), size=OSCILLATORS)])

    def _with(self, patch: Patch, wavetables: Sequence[str]) -> Patch:
        names = activity(self._registry).names
        labels = Labels.of([patch], self._registry)
        heard = {name for name, can in zip(names, activity(self._registry).of(labels)[0], strict=True) if can}
        extras, has_routes = patch.extras, (patch.modulation_slots[:, SlotField.SOURCE] >= 0).any()
        plays_lfos = any(fnmatchcase(name, SHOWS_LFOS) for name in heard)
        return replace(
            patch,
            wavetables=tuple(
                own if SHOWS_WAVETABLE.format(number) in heard else other
                for number, (own, other) in enumerate(zip(patch.wavetables, wavetables, strict=True), start=1)
            ),
            extras=extras._replace(
                lfos=extras.lfos if plays_lfos else None,
                sample=extras.sample if SHOWS_SAMPLE in heard else None,
                curves=extras.curves if has_routes else None,
            ),
        )


class Effects:
    """The places of effects that are off. At rest, they come last, in the order in which the synth counts them."""

    def __init__(self, registry: Registry) -> None:
        self._control = registry.by_name["effect_chain_order"]
        self._column = registry.continuous.index(self._control)
        switches = [registry.categorical.index(registry.by_name[f"{name}_on"]) for name in EFFECTS]
        self._switches = dict(zip(EFFECTS, switches, strict=True))

    def at_rest(self, patch: Patch) -> Patch:
        on = self._on(patch)
        if len(on) < 2:  # then the order itself can't be heard
            return patch
        return self._with(patch, [*on, *(name for name in EFFECTS if name not in on)])

    def another(self, patch: Patch, rng: Generator) -> Patch:
        on = iter(self._on(patch))
        order = rng.permutation(EFFECTS).tolist()
        return self._with(patch, [next(on) if patch.categorical[self._switches[name]] else name for name in order])

    def _on(self, patch: Patch) -> list[str]:
        """The effects that are on, in the patch's order."""
        value = to_values([self._control], patch.continuous[[self._column]])[0]
        return [name for name in effects_in_order(round(value)) if patch.categorical[self._switches[name]]]

    def _with(self, patch: Patch, order: Sequence[str]) -> Patch:
        units = patch.continuous.copy()
        units[self._column] = to_units([self._control], np.array([float(order_code(order))]))[0]
        return patch.moved(continuous=units)
