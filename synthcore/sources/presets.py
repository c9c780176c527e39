"""Presets as candidates: each is taken once, as people made it, as far as the dataset's tier goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np
from numpy.typing import NDArray

from synthcore.base.hashing import content_hash
from synthcore.sources.base import Candidate, Provenance, Source
from synthcore.sources.collection import Collection, Preset
from synthcore.sources.priors import shipped_priors
from synthcore.spec import DatasetSpec
from synthcore.vital.classes import INIT_EXTRAS
from synthcore.vital.controls import Control, Registry
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS, Patch, init_assets
from synthcore.vital.wavetable import init_names


class PresetSource:
    """The supply of presets from one source: `community` or `factory`."""

    attempts = 1
    refuses_repeats = False
    marginals = ()

    def __init__(self, spec: DatasetSpec, registry: Registry, collection: Collection, source: Source) -> None:
        self.source: Source = source
        self.priors = shipped_priors("uniform")  # nothing is drawn: it dates the shard
        self.assets: Mapping[str, bytes] = {**init_assets(registry), **collection.assets}
        self.wavetable_names: Mapping[str, str] = {**init_names(registry), **collection.wavetable_names}
        self._presets = presets_of(collection, source)
        self._projection = Projection(spec, registry)
        self._provenance = provenance_of(collection)

    def candidate(self, index: int, attempt: int) -> Candidate:
        """The preset at a place in the collection."""
        preset = self._presets[index]
        patch = self._projection(preset.patch)
        return Candidate(index, attempt, self.source, preset.name, patch, (preset.patch.hash,))

    def provenance(self, hashes: Iterable[str]) -> list[Provenance]:
        """Where these presets come from."""
        return [self._provenance[name] for name in hashes]


class Projection:
    """Brings a preset to a dataset's tier: controls of higher tiers get their defaults, and below 3 nothing modulates.

    So the label says what is played.
    """

    def __init__(self, spec: DatasetSpec, registry: Registry) -> None:
        self._spec = spec
        self._init = Patch.init(registry)
        self._keeps_continuous = _of_tier(registry.continuous, spec.tier)
        self._keeps_categorical = _of_tier(registry.categorical, spec.tier)

    def __call__(self, patch: Patch) -> Patch:
        """Project one patch."""
        if self._spec.tier == 3:
            return patch
        kept = self._spec.varied_oscillators
        extras = patch.extras._replace(curves=None) if self._spec.tier == 2 else INIT_EXTRAS
        return replace(
            patch,
            continuous=np.where(self._keeps_continuous, patch.continuous, self._init.continuous),
            categorical=np.where(self._keeps_categorical, patch.categorical, self._init.categorical),
            exact_values=np.where(self._keeps_continuous, patch.exact, np.float32(np.nan)),
            modulation_slots=np.tile(EMPTY_SLOT, (MAX_SLOTS, 1)),
            wavetables=patch.wavetables[:kept] + self._init.wavetables[kept:],
            extras=extras,
        )


def presets_of(collection: Collection, source: Source) -> tuple[Preset, ...]:
    """The presets of a collection that come from one source, in order."""
    return tuple(preset for preset in collection.presets if preset.source == source)


def provenance_of(collection: Collection) -> dict[str, Provenance]:
    """Where each preset of a collection comes from, by hash."""
    return {preset.patch.hash: preset.provenance for preset in collection.presets}


def contents_digest(presets: Sequence[Preset], wavetable_names: Mapping[str, str]) -> str:
    """SHA-256 in hex of what a shard of these presets says of them, and of their wavetables."""
    return content_hash(
        [[*astuple(p.provenance), *(wavetable_names.get(w, "") for w in p.patch.wavetables)] for p in presets]
    )


def _of_tier(controls: Sequence[Control], tier: int) -> NDArray[np.bool_]:
    return np.array([control.tier <= tier for control in controls])
