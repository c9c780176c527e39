"""The sampler: which candidate patch i gets at attempt k.

A candidate depends on the seed, its index and its attempt, and on nothing else: not on shards, workers, or what
became of other patches.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.stats import qmc

from synthcore.controls import Registry
from synthcore.normalize import to_units
from synthcore.patch import EMPTY_SLOT, MAX_SLOTS, Patch
from synthcore.sampling.modulation import draw_fixed, draw_free
from synthcore.sampling.priors import ConstraintRow, Priors, marginals, shipped
from synthcore.spec import DatasetSpec

#: Patches that share one hypercube: large enough to stratify, small enough to draw whole for a single patch.
BLOCK = 1024


def drawn_with() -> dict[str, str]:
    """The libraries that candidates depend on, with the versions between which their streams may change."""
    return {library.__name__: library.__version__.rsplit(".", 1)[0] for library in (np, scipy)}


class Sampler:
    """Draws candidates for one spec.

    Parameters
    ----------
    spec : DatasetSpec
    registry : Registry
    priors : Priors, optional
        Those that come with synthcore unless given.

    Raises
    ------
    SpecError
        The priors ask for what the synth doesn't have.
    """

    def __init__(self, spec: DatasetSpec, registry: Registry, priors: Priors | None = None) -> None:
        self.spec = spec
        self.registry = registry
        self.priors = priors or shipped()
        self.marginals = marginals(registry, spec.recipe, spec.tier, self.priors)
        self._ranges = {m.control.name: (m.low, m.high) for m in self.marginals}
        self._column = {c.name: i for i, c in enumerate(registry.controls)}
        self._init = Patch.init(registry)
        # A shard needs one block at a few attempts; a block is 2 MB.
        self._block = lru_cache(maxsize=16)(self._draw_block)

    def candidate(self, patch_index: int, attempt: int) -> Patch:
        """The candidate for a patch (from 0) at an attempt (from 0), quantised to what is stored."""
        continuous, categorical = self._block(patch_index // BLOCK, attempt)
        row = patch_index % BLOCK
        return Patch(
            continuous=continuous[row],
            categorical=categorical[row],
            modulation_slots=self._modulation(patch_index, attempt),
            wavetables=self._init.wavetables,
        )

    def _draw_block(self, block: int, attempt: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Draw a whole hypercube: unit values (1024, 322) and options (1024, 126)."""
        rng = np.random.default_rng([self.spec.seed, block, attempt])
        quantiles = qmc.LatinHypercube(d=len(self.marginals), rng=rng).random(BLOCK)
        defaults = [c.default - c.low if c.is_categorical else c.default for c in self.registry.controls]
        drawn = np.tile(np.array(defaults), (BLOCK, 1))
        for marginal, column in zip(self.marginals, quantiles.T, strict=True):
            drawn[:, self._column[marginal.control.name]] = marginal.draw(column)
        for row in self.priors.constraint:
            if self.spec.recipe in row.recipes:
                self._apply(row, drawn)
        is_categorical = np.array([c.is_categorical for c in self.registry.controls])
        return (
            to_units(self.registry.continuous, drawn[:, ~is_categorical]),
            drawn[:, is_categorical].astype(np.int32),
        )

    def _apply(self, row: ConstraintRow, drawn: NDArray[np.float64]) -> None:
        """Make one constraint hold in every candidate of a block, in place."""
        holds = np.ones(len(drawn), dtype=bool)
        for name, options in row.when.items():
            names = np.array(self.registry.by_name[name].options)
            holds &= np.isin(names[drawn[:, self._column[name]].astype(int)], options)
        for name, option in row.set.items():
            drawn[holds, self._column[name]] = self.registry.by_name[name].options.index(option)
        for name, (low, high) in row.squeeze.items():
            if name not in self._ranges:  # pinned in this recipe, or of a higher tier
                continue
            column = drawn[:, self._column[name]]
            prior_low, prior_high = self._ranges[name]
            column[holds] = low + (column[holds] - prior_low) / (prior_high - prior_low) * (high - low)

    def _modulation(self, patch_index: int, attempt: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.spec.seed, patch_index, attempt, 1])
        if self.spec.tier == 3:
            return draw_free(rng, self.registry)
        if self.spec.fixed_modulation:
            return draw_fixed(rng, self.registry, self.priors.route)
        return np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
