"""Synthetic patches: which candidate patch i gets at attempt k.

A candidate depends on the seed, its index and its attempt, and on nothing else: not on shards, workers, or what
became of other patches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

from synthcore.sources.base import Candidate, Provenance
from synthcore.sources.habits import Habits, spread_evenly
from synthcore.sources.modulation import HabitualModulation, draw_fixed, draw_free
from synthcore.sources.prior_rows import ConstraintRow
from synthcore.sources.priors import WAVE_FRAME, Priors, marginals, shipped_priors
from synthcore.sources.shapes import ShapeDrawing
from synthcore.spec import DatasetSpec
from synthcore.vital.catalog import Catalog, builtin
from synthcore.vital.controls import Control, Registry, module_of
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS, OSCILLATORS, Patch, SlotField, init_assets
from synthcore.vital.wavetable import init_names

#: Patches that share one hypercube: large enough to stratify, small enough to draw whole for a single patch.
BLOCK = 1024
#: Controls that, like those of modulation sources, are hardly ever why a patch is silent or clips.
CALM = ("chorus_*", "compressor_*", "delay_*", "flanger_*", "phaser_*", "osc_?_stack_style")
#: Candidates tried for one patch before its shard gives up.
MAX_ATTEMPTS = 100


def drawn_with() -> dict[str, str]:
    """The libraries that candidates depend on, with as much of their version as may change what they draw."""
    return {library.__name__: library.__version__.rsplit(".", 1)[0] for library in (np, scipy)}


@dataclass(frozen=True, slots=True)
class Block:
    """The patches of one hypercube: unit values (1024, 322), options (1024, 126), places in the catalog (1024, 3)."""

    continuous: NDArray[np.float32]
    categorical: NDArray[np.int32]
    wavetables: NDArray[np.int32]


class SyntheticSource:
    """The supply of synthetic patches: draws candidates for one spec.

    Parameters
    ----------
    spec : DatasetSpec
    registry : Registry
    priors : Priors, optional
        By default those that come with synthcore.
    catalog : Catalog, optional
        Where wavetables are drawn from; by default the built-in one.

    Raises
    ------
    SpecError
        The priors ask for what the synth doesn't have.
    """

    def __init__(
        self, spec: DatasetSpec, registry: Registry, priors: Priors | None = None, catalog: Catalog | None = None
    ) -> None:
        self.spec = spec
        self.registry = registry
        self.priors = priors or shipped_priors(spec.priors)
        self.catalog = catalog or builtin()
        self.attempts = MAX_ATTEMPTS
        self._shapes = ShapeDrawing(self.priors.shapes, spec, registry)
        self.assets = {**init_assets(registry), **self.catalog.assets, **self._shapes.samples}
        self.wavetable_names = {**init_names(registry), **{e.digest: e.name for e in self.catalog.entries}}
        self.marginals = marginals(registry, spec, self.priors)
        self.refuses_repeats = self.priors.repeats == "refuse"
        self._last_frames = np.array([entry.frames - 1 for entry in self.catalog.entries])
        for marginal in self.marginals:
            if WAVE_FRAME.fullmatch(marginal.control.name):
                marginal.high = float(self._last_frames.max())
        self._habits = Habits(self.priors, self.marginals, registry)
        self._connect = self._habitual_modulation() if self._habits else None
        self._constraints = [row for row in self.priors.constraint if spec.kind in row.kinds]
        self._ranges = {m.control.name: (m.low, m.high) for m in self.marginals}
        self._column = {c.name: i for i, c in enumerate(registry.controls)}
        self._init = Patch.init(registry)
        self._owners = [_owners(controls, registry) for controls in (registry.continuous, registry.categorical)]
        self._is_calm = [
            (owners >= 0) | np.array([any(fnmatchcase(c.name, pattern) for pattern in CALM) for c in controls])
            for owners, controls in zip(self._owners, (registry.continuous, registry.categorical), strict=True)
        ]
        self._frames = [self._column[f"osc_{n}_wave_frame"] for n in range(1, OSCILLATORS + 1)]
        self._switches = [self._column[f"osc_{n}_on"] for n in range(1, OSCILLATORS + 1)]
        # A shard needs one block at a few attempts; a block is 2 MB.
        self._block = lru_cache(maxsize=16)(self._draw_block)

    def candidate(self, index: int, attempt: int) -> Candidate:
        """The candidate for a patch (from 0) at an attempt (from 0), quantised to what is stored."""
        patch, made = self._shapes.draw(self.draw(index, attempt), index, attempt)
        return Candidate(index, attempt, "synthetic", f"synthetic {index}", patch, assets=made)

    def provenance(self, hashes: Iterable[str]) -> list[Provenance]:  # noqa: ARG002  as every supply
        """None: there is no preset behind a synthetic patch."""
        return []

    def draw(self, index: int, attempt: int) -> Patch:
        """The patch of a candidate, but for its shapes: so far it has the init preset's LFOs, curves and sample."""
        block = self._block(index // BLOCK, attempt)
        row = index % BLOCK
        patch = Patch(
            continuous=block.continuous[row],
            categorical=block.categorical[row],
            modulation_slots=np.tile(EMPTY_SLOT, (MAX_SLOTS, 1)),
            wavetables=self._wavetables(block.wavetables[row]),
        )
        if attempt and self._habits and not self._habits.follow(index, 1)[0]:
            # Few patches are drawn from the full priors: what is hardly why one is refused stays evenly spread.
            first = self._block(index // BLOCK, 0)
            continuous = np.where(self._is_calm[0], first.continuous[row], patch.continuous)
            categorical = np.where(self._is_calm[1], first.categorical[row], patch.categorical)
            patch = self._constrained(replace(patch, continuous=continuous, categorical=categorical))
        return self._connected(patch, index, attempt)

    def _wavetables(self, places: NDArray[np.int32]) -> tuple[str, ...]:
        """Name the wavetables at these places in the catalog; -1 stands for the init preset's."""
        found = zip(places.tolist(), self._init.wavetables, strict=True)
        return tuple(init if place < 0 else self.catalog.entries[place].digest for place, init in found)

    def _habitual_modulation(self) -> HabitualModulation | None:
        if self.priors.modulation is None:
            return None
        return HabitualModulation(self.priors.modulation, self.priors.connection, self.registry, self.priors.name)

    def _draw_block(self, block: int, attempt: int) -> Block:
        """Draw a whole hypercube."""
        rng = np.random.default_rng([self.spec.seed, block, attempt])
        # Imported only here, by the first shard: it takes as long as Prefect, and a cached run draws nothing.
        from scipy.stats import qmc

        quantiles = qmc.LatinHypercube(d=len(self.marginals), rng=rng).random(BLOCK)
        defaults = [c.default - c.low if c.is_categorical else c.default for c in self.registry.controls]
        drawn = np.tile(np.array(defaults), (BLOCK, 1))
        follows = self._habits.follow(block * BLOCK, BLOCK) if self._habits else np.zeros(BLOCK, dtype=bool)
        if self._habits:
            rng = np.random.default_rng([self.spec.seed, block, attempt, 4])
            quantiles[~follows] = spread_evenly(rng, int((~follows).sum()), len(self.marginals))
        for marginal, column in zip(self.marginals, quantiles.T, strict=True):
            drawn[:, self._column[marginal.control.name]] = marginal.draw(column)
        if self._habits:
            for control, values in self._habits.draw(rng, quantiles):
                drawn[follows, self._column[control.name]] = values[follows]
        self._constrain(drawn, follows)
        wavetables = self._draw_wavetables(block, attempt, drawn[:, self._switches] > 0, follows)
        self._keep_to_frames(drawn, wavetables)
        is_categorical = np.array([c.is_categorical for c in self.registry.controls])
        return Block(
            continuous=to_units(self.registry.continuous, drawn[:, ~is_categorical]),
            categorical=drawn[:, is_categorical].astype(np.int32),
            wavetables=wavetables,
        )

    def _draw_wavetables(
        self, block: int, attempt: int, is_on: NDArray[np.bool_], follows: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        """Draw places in the catalog, each as often as any other; an oscillator that is off keeps the init preset's."""
        rng = np.random.default_rng([self.spec.seed, block, attempt, 2])
        strata = rng.permuted(np.tile(np.arange(BLOCK), (OSCILLATORS, 1)), axis=1).T
        # Somewhere within its stratum, counted in whole places: also a catalog larger than a block is drawn evenly.
        within = rng.integers(len(self.catalog), size=strata.shape)
        places = ((strata * len(self.catalog) + within) // BLOCK).astype(np.int32)
        is_init = follows[:, None] & (rng.random(places.shape) < self.priors.wavetables.init)
        return np.where(is_on & ~is_init & (np.arange(OSCILLATORS) < self.spec.varied_oscillators), places, -1)

    def _keep_to_frames(self, drawn: NDArray[np.float64], wavetables: NDArray[np.int32]) -> None:
        """Let `wave_frame` go as far as each wavetable does, in place: beyond its last frame it changes nothing."""
        last = np.where(wavetables >= 0, self._last_frames[wavetables], 0)
        for place, column in enumerate(self._frames):
            drawn[:, column] *= last[:, place] / max(1, self._last_frames.max())

    def _constrain(self, drawn: NDArray[np.float64], follows: NDArray[np.bool_]) -> None:
        """Make the constraints hold in every candidate of a block, in place. Of two that squeeze one control, the last.

        What is drawn from a full prior is squeezed, so that it stays evenly spread; a habit's value is cut off.
        """
        limits: dict[str, NDArray[np.float64]] = {}
        for row in self._constraints:
            holds = self._holds(row, drawn)
            for name, option in row.set.items():
                drawn[holds, self._column[name]] = self.registry.by_name[name].options.index(option)
            for name in row.squeeze.keys() & self._ranges.keys():  # not what is pinned here, or of a higher tier
                limits.setdefault(name, np.full((len(drawn), 2), np.nan))[holds] = row.squeeze[name]
        for name, limit in limits.items():
            low, high = limit.T
            column = drawn[:, self._column[name]]
            prior_low, prior_high = self._ranges[name]
            squeezed = low + (column - prior_low) / (prior_high - prior_low) * (high - low)
            narrowed = np.where(follows, np.clip(column, low, high), squeezed)
            column[:] = np.where(np.isnan(low), column, narrowed)

    def _holds(self, row: ConstraintRow, drawn: NDArray[np.float64]) -> NDArray[np.bool_]:
        """In which candidates of a block every control shows one of the options that a constraint is about."""
        holds = np.ones(len(drawn), dtype=bool)
        for name, options in row.when.items():
            names = np.array(self.registry.by_name[name].options)
            holds &= np.isin(names[drawn[:, self._column[name]].astype(int)], options)
        return holds

    def _connected(self, patch: Patch, index: int, attempt: int) -> Patch:
        """The patch with its modulation. Where it follows habits, a source that moves nothing stays at its defaults."""
        rng = np.random.default_rng([self.spec.seed, index, attempt, 1])
        if self.spec.fixed_modulation:
            return replace(patch, modulation_slots=draw_fixed(rng, self.registry, self.priors.route))
        if self.spec.tier < 3:
            return patch
        if self._connect is None or not self._habits.follow(index, 1)[0]:
            return replace(patch, modulation_slots=draw_free(rng, self.registry))
        names = (control.name for control in self.registry.categorical)
        options = dict(zip(names, patch.categorical.tolist(), strict=True))
        slots, bases = self._connect.draw(rng, options)
        used = slots[:, SlotField.SOURCE]
        idle, idle_switches = ((owners >= 0) & ~np.isin(owners, used) for owners in self._owners)
        connected = replace(
            patch,
            continuous=np.where(idle, self._init.continuous, patch.continuous),
            categorical=np.where(idle_switches, self._init.categorical, patch.categorical),
            modulation_slots=slots,
        )
        return self._constrained(connected, bases) if bases else connected

    def _constrained(self, patch: Patch, values: Mapping[str, float] | None = None) -> Patch:
        """The patch with other values of some controls, in their units, and what the constraints make of it."""
        is_categorical = np.array([c.is_categorical for c in self.registry.controls])
        drawn = np.empty((1, len(is_categorical)))
        drawn[0, ~is_categorical] = to_values(self.registry.continuous, patch.continuous)
        drawn[0, is_categorical] = patch.categorical
        for name, value in (values or {}).items():
            drawn[0, self._column[name]] = value
        self._constrain(drawn, np.ones(1, dtype=bool))
        return replace(
            patch,
            continuous=to_units(self.registry.continuous, drawn[0, ~is_categorical]),
            categorical=drawn[0, is_categorical].astype(np.int32),
        )


def _owners(controls: Sequence[Control], registry: Registry) -> NDArray[np.intp]:
    """The modulation source that each control sets, or -1: shape (controls,). Envelope 1 is heard without a route."""
    found = []
    for control in controls:
        name = control.name if control.name in registry.source_index else module_of(control.name)
        found.append(-1 if name == "env_1" else registry.source_index.get(name, -1))
    return np.array(found)
