"""Drawing shapes: the LFO shapes, modulation curves and sample of a synthetic patch. Which there are says `vital`.

How often they are drawn is data, the table `[shapes]` of the priors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from synthcore.base.hashing import content_hash
from synthcore.spec import DatasetSpec
from synthcore.vital.controls import Registry
from synthcore.vital.noises import builtin_samples
from synthcore.vital.patch import MAX_SLOTS, Patch, SlotField, is_connected
from synthcore.vital.shapes import KINDS, LFOS, Shape, asset_of, builtin_digest, builtin_shapes, canonical_line

#: Sets these draws apart from all others of the same seed, patch and attempt: 1 to 4 are taken in this room.
STREAM = 5


class ShapePriors(BaseModel):
    """How often synthetic patches of tier 3 differ from the init preset's shapes; never, unless the priors say so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lfo: float = Field(0.0, ge=0, le=1)  # of the LFOs that modulate something
    curve: float = Field(0.0, ge=0, le=1)  # of the connections
    sample: float = Field(0.0, ge=0, le=1)  # of the samples that are on
    lfo_kinds: dict[str, float] = dict.fromkeys(KINDS, 1.0)  # weights; a kind not named is never drawn
    curve_kinds: dict[str, float] = dict.fromkeys(KINDS, 1.0)
    reason: str = ""
    measured: str = ""

    @field_validator("lfo_kinds", "curve_kinds")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        if unknown := set(weights) - set(KINDS):
            raise ValueError(f"there is no kind of shape {min(unknown)!r}; there are {', '.join(KINDS)}")
        if not all(0 <= weight < np.inf for weight in weights.values()) or not any(weights.values()):
            raise ValueError("the weights of shapes must be 0 or more, and one above 0")
        return weights


def library_digest() -> str:
    """SHA-256 in hex of all that can be drawn."""
    return content_hash([builtin_digest(), [digest for _, digest, _ in builtin_samples()]])


class ShapeDrawing:
    """Gives drawn patches their shapes.

    Each LFO, slot and sample has draws of its own, whether or not they count: so a shape doesn't depend on what else
    the patch uses.

    Parameters
    ----------
    priors : ShapePriors
    spec : DatasetSpec
    registry : Registry
    """

    def __init__(self, priors: ShapePriors, spec: DatasetSpec, registry: Registry) -> None:
        self.priors, self.seed = priors, spec.seed
        self.is_idle = spec.tier < 3 or not (priors.lfo or priors.curve or priors.sample)
        #: The samples that can be drawn, by SHA-256.
        self.samples = {} if self.is_idle or not priors.sample else {name: text for _, name, text in builtin_samples()}
        self._sources = [registry.source_index[f"lfo_{number}"] for number in range(1, LFOS + 1)]
        self._sample_on = [control.name for control in registry.categorical].index("sample_on")
        self._init = [canonical_line(lfo) for lfo in registry.init["lfos"]]
        self._shapes = builtin_shapes()
        self._of_lfos = _shares(self._shapes, priors.lfo_kinds)
        curved = _shares(self._shapes, priors.curve_kinds) * [not shape.is_straight for shape in self._shapes]
        self._of_curves = curved / curved.sum()

    def draw(self, patch: Patch, index: int, attempt: int) -> tuple[Patch, dict[str, bytes]]:
        """Give the patch of a candidate its shapes; return it with the assets made for it."""
        if self.is_idle:
            return patch, {}
        rng = np.random.default_rng([self.seed, index, attempt, STREAM])
        made: dict[str, bytes] = {}
        extras = patch.extras._replace(
            lfos=_keep(self._lfos(rng, patch), made),
            curves=_keep(self._curves(rng, patch), made),
            sample=self._sample(rng, patch),
        )
        return replace(patch, extras=extras), made

    def _lfos(self, rng: np.random.Generator, patch: Patch) -> list[dict[str, Any]] | None:
        slots = patch.modulation_slots[is_connected(patch.modulation_slots)]
        is_used = np.isin(self._sources, slots[:, SlotField.SOURCE])
        is_drawn = (rng.random(LFOS) < self.priors.lfo) & is_used
        drawn = rng.choice(len(self._shapes), LFOS, p=self._of_lfos)
        choices = zip(is_drawn, drawn, self._init, strict=True)
        lines = [self._shapes[place].line if is_own else init for is_own, place, init in choices]
        return lines if is_drawn.any() else None

    def _curves(self, rng: np.random.Generator, patch: Patch) -> dict[str, dict[str, Any]] | None:
        is_drawn = (rng.random(MAX_SLOTS) < self.priors.curve) & is_connected(patch.modulation_slots)
        drawn = rng.choice(len(self._shapes), MAX_SLOTS, p=self._of_curves)
        return {str(slot): self._shapes[drawn[slot]].line for slot in np.flatnonzero(is_drawn).tolist()} or None

    def _sample(self, rng: np.random.Generator, patch: Patch) -> str | None:
        if rng.random() >= self.priors.sample or not patch.categorical[self._sample_on]:
            return None
        return builtin_samples()[rng.integers(len(builtin_samples()))][1]


def _shares(shapes: tuple[Shape, ...], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """The probability of each shape: a kind's weight, divided evenly among its shapes."""
    kinds = [shape.kind for shape in shapes]
    shares = np.array([weights.get(kind, 0.0) / kinds.count(kind) for kind in kinds])
    total: NDArray[np.float64] = shares / shares.sum()
    return total


def _keep(content: Any, made: dict[str, bytes]) -> str | None:
    """Add an asset to those made, unless there is nothing; return its name."""
    if content is None:
        return None
    name, text = asset_of(content)
    made[name] = text
    return name
