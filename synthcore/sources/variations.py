"""Variations: new patches made from presets, by moving their controls and by mixing two of them.

Each depends on its index and attempt alone, like a synthetic patch. Its parents are of one split, so that it never
carries a preset from the training set into the test set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from synthcore.base.hashing import canonical_json, content_hash
from synthcore.sources.base import Candidate, Provenance
from synthcore.sources.collection import Collection
from synthcore.sources.presets import Projection, provenance_of
from synthcore.sources.priors import marginals, shipped_priors
from synthcore.sources.splits import SHARES, family_of, split_of
from synthcore.sources.synthetic import MAX_ATTEMPTS
from synthcore.spec import DatasetSpec
from synthcore.vital.classes import Extras
from synthcore.vital.controls import Registry, module_of
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS, Patch, SlotField, init_assets
from synthcore.vital.wavetable import init_names

#: A jitter moves this share of the controls that its preset has moved, by this much of their range (standard
#: deviation), and changes this share of the options.
JITTERED, JITTER, OPTION_CHANGES = 0.5, 0.05, 0.01
#: How near to one parent an interpolation may come.
NEAREST = 0.15
_MODULATION_OF = re.compile(r"modulation_(\d+)_(amount|power)")

Slots = NDArray[np.float32]


class VariationSource:
    """The supply of variations."""

    attempts = MAX_ATTEMPTS

    def __init__(self, spec: DatasetSpec, registry: Registry, collection: Collection) -> None:
        self.spec, self.registry = spec, registry
        self.assets: Mapping[str, bytes] = {**init_assets(registry), **collection.assets}
        self.wavetable_names: Mapping[str, str] = {**init_names(registry), **collection.wavetable_names}
        self.priors = shipped_priors("uniform")  # how far a control may move
        self.marginals = marginals(registry, spec, self.priors)
        self.refuses_repeats = self.priors.repeats == "refuse"
        self._provenance = provenance_of(collection)
        projection = Projection(spec, registry)
        self._originals = [preset.patch for preset in collection.presets]
        self._patches = [projection(patch) for patch in self._originals]
        self._names = [preset.name for preset in collection.presets]
        splits = np.array([split_of(family_of(patch)) for patch in self._originals])
        self._splits = splits
        self._of_split = {split: np.flatnonzero(splits == split) for split in SHARES}
        self._modules = np.array([_module(c.name) for c in registry.controls])
        self._is_whole = np.array([c.is_whole for c in registry.continuous])
        self._init = Patch.init(registry).continuous
        self._is_categorical = np.array([c.is_categorical for c in registry.controls])

    def candidate(self, index: int, attempt: int) -> Candidate:
        """The variation with this index, at an attempt."""
        rng = np.random.default_rng([self.spec.seed, index, attempt, 3])
        first = int(rng.integers(len(self._patches)))
        relatives = self._of_split[self._splits[first]]
        others = relatives[relatives != first]
        way = int(rng.integers(3)) if len(others) else 0
        parents = [first] if way == 0 else [first, int(rng.choice(others))]
        patches = [self._patches[parent] for parent in parents]
        made: dict[str, bytes] = {}
        if way == 0:
            patch = self._jitter(rng, patches[0])
        elif way == 1:
            patch = self._interpolate(rng, *patches)
        else:
            patch, made = self._cross(rng, *patches)
        return Candidate(
            index,
            attempt,
            "variation",
            " x ".join(self._names[p] for p in parents),
            patch,
            tuple(self._originals[p].hash for p in parents),
            made,
        )

    def provenance(self, hashes: Iterable[str]) -> list[Provenance]:
        """Where the parents come from."""
        return [self._provenance[name] for name in hashes]

    def _jitter(self, rng: Generator, patch: Patch) -> Patch:
        """Move some of the controls that the preset has moved, and change a few options; octaves stay octaves."""
        units = patch.continuous + rng.normal(0, JITTER, len(patch.continuous)).astype(np.float32)
        low, high, is_varied = self._bounds
        is_moved = ~self._is_whole & (patch.continuous != self._init) & (rng.random(len(units)) < JITTERED)
        if not (is_varied & is_moved).any():  # of a preset that moves next to nothing
            is_moved = ~self._is_whole
        # A preset may lie outside the priors; then it stays there, and moves no farther out.
        units = np.clip(units, np.minimum(low, patch.continuous), np.maximum(high, patch.continuous))
        options = patch.categorical.copy()
        for place, allowed in self._options.items():
            if rng.random() < OPTION_CHANGES:
                options[place] = rng.choice(allowed)
        moved = np.where(is_varied & is_moved, units, patch.continuous)
        return patch.moved(continuous=self._stored(moved), categorical=options)

    def _interpolate(self, rng: Generator, one: Patch, other: Patch) -> Patch:
        """Go part of the way from one preset to the other; what can't be interpolated is taken from one of them."""
        share = rng.uniform(NEAREST, 1 - NEAREST)
        between = (1 - share) * one.continuous + share * other.continuous
        nearer = other if share > 0.5 else one
        # Between equal numbers lies that number, not what rounding makes of it: the control may be of a higher tier.
        # Between two octaves lies no octave, so whole numbers come from one preset, with the nearer one's modulation.
        stays = (one.continuous == other.continuous) | self._is_whole
        units = np.where(stays, nearer.continuous, between)
        from_other = rng.random(len(one.categorical)) < share
        options = np.where(from_other, other.categorical, one.categorical)
        return nearer.moved(continuous=self._stored(units), categorical=options)

    def _cross(self, rng: Generator, one: Patch, other: Patch) -> tuple[Patch, dict[str, bytes]]:
        """Take whole modules, and the modulation that goes to them, from one preset or the other."""
        modules = np.unique(self._modules)
        from_other = dict(zip(modules.tolist(), (rng.random(len(modules)) < 0.5).tolist(), strict=True))
        takes_other = np.array([from_other[module] for module in self._modules])
        slots, curves = self._cross_modulation(one, other, from_other)
        made = {} if not curves else {content_hash(curves): canonical_json(curves).encode()}
        pick = [other if from_other.get(f"osc_{n}") else one for n in range(1, len(one.wavetables) + 1)]
        lfos = (other if from_other.get("lfo") else one).extras.lfos
        sample = (other if from_other.get("sample") else one).extras.sample
        return (
            Patch(
                continuous=np.where(takes_other[~self._is_categorical], other.continuous, one.continuous),
                categorical=np.where(takes_other[self._is_categorical], other.categorical, one.categorical),
                modulation_slots=slots,
                wavetables=tuple(parent.wavetables[n] for n, parent in enumerate(pick)),
                extras=Extras(lfos, sample, next(iter(made), None)),
                exact_values=np.where(takes_other[~self._is_categorical], other.exact, one.exact),
            ),
            made,
        )

    def _cross_modulation(
        self, one: Patch, other: Patch, from_other: Mapping[str, bool]
    ) -> tuple[Slots, dict[str, object]]:
        """Take from each preset the routes to the modules that were taken from it."""
        slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
        curves: dict[str, object] = {}
        free = 0
        for parent, is_other in ((one, False), (other, True)):
            its_curves = json.loads(self.assets[parent.extras.curves]) if parent.extras.curves else {}
            moved: dict[int, int] = {}
            taken = self._routes_to(parent, from_other, is_other)
            for slot in taken[: MAX_SLOTS - free]:
                slots[free], moved[slot] = parent.modulation_slots[slot], free
                if str(slot) in its_curves:
                    curves[str(free)] = its_curves[str(slot)]
                free += 1
            self._follow(slots, moved)
        return slots, curves

    def _routes_to(self, parent: Patch, from_other: Mapping[str, bool], is_other: bool) -> list[int]:
        """The used slots of a preset whose destination's module is taken from it, modulated modulations included."""
        ends = {
            slot: self.registry.destinations[int(row[SlotField.DESTINATION])]
            for slot, row in enumerate(parent.modulation_slots)
            if row[SlotField.SOURCE] >= 0
        }

        def is_taken(slot: int, seen: frozenset[int] = frozenset()) -> bool:
            modulated = _MODULATION_OF.fullmatch(ends[slot])
            if modulated is None:
                return from_other.get(_module(ends[slot]), False) == is_other
            target = int(modulated[1]) - 1
            return target in ends and target not in seen and is_taken(target, seen | {slot})

        return [slot for slot in ends if is_taken(slot)]

    def _follow(self, slots: Slots, moved: Mapping[int, int]) -> None:
        """Let what modulates a modulation point to where that one has gone."""
        places = self.registry.destination_index
        for new in moved.values():
            modulated = _MODULATION_OF.fullmatch(self.registry.destinations[int(slots[new, SlotField.DESTINATION])])
            if modulated is None:
                continue
            target = moved.get(int(modulated[1]) - 1)
            if target is None:
                slots[new] = EMPTY_SLOT
            else:
                slots[new, SlotField.DESTINATION] = places[f"modulation_{target + 1}_{modulated[2]}"]

    def _stored(self, units: NDArray[np.floating]) -> NDArray[np.float32]:
        """Quantise to what is stored: whole numbers stay whole."""
        values = to_values(self.registry.continuous, units.astype(np.float32))
        return to_units(self.registry.continuous, values)

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """The priors of the continuous controls as unit values, and which of them vary at all."""
        drawn = {m.control.name: m for m in self.marginals}
        spans = [(c.low, c.high - c.low, drawn.get(c.name)) for c in self.registry.continuous]
        low = np.array([0.0 if m is None else (m.low - start) / width for start, width, m in spans])
        high = np.array([1.0 if m is None else (m.high - start) / width for start, width, m in spans])
        return low, high, np.array([m is not None for _, _, m in spans])

    @cached_property
    def _options(self) -> dict[int, NDArray[np.intp]]:
        """The options that may be drawn for each categorical control that varies."""
        column = {c.name: i for i, c in enumerate(self.registry.categorical)}
        return {column[m.control.name]: m.allowed for m in self.marginals if m.control.is_categorical}


def _module(name: str) -> str:
    """What is taken as a whole when two presets are crossed: a module; all LFOs, because their shapes are one asset."""
    module = module_of(name)
    return "lfo" if module.startswith("lfo_") else module
