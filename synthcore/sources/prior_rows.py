"""The rows of a priors file: what each table may hold. What is drawn from them: `priors`, `habits`, `modulation`.

A full prior says how far a control reaches, a habit what people do with it. Numbers are in the control's own units.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from synthcore.spec import Kind

#: Where the quantiles of a habit stand: the shares of the draws below each.
LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Weights = dict[str, Weight]


def _rise(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    if any(a > b for a, b in itertools.pairwise(quantiles)):
        raise ValueError("must not fall")
    return quantiles


Quantiles = Annotated[tuple[float, ...], Field(min_length=len(LEVELS), max_length=len(LEVELS)), AfterValidator(_rise)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Row(_Table):
    kinds: tuple[Kind, ...] = ("tier-1", "tier-2", "tier-2-fixed", "tier-3")
    reason: str
    measured: str = ""


class PriorRow(_Row):
    """How far some controls reach, in the kinds named: their full prior."""

    controls: tuple[str, ...]  # names or shell patterns
    pin: bool = False  # to the default
    without_wavetables: bool = False  # only where every row has the init preset's wavetables
    range: tuple[float, float] | None = None
    skew: float = Field(1.0, gt=0)  # above 1 favours the low end: the unit draw is raised to it
    options: Weights | None = None  # option, or "#8" where two share a name -> weight; none: never drawn


class ConstraintRow(_Row):
    """What else must hold when all of `when` does: options set, or values squeezed into a narrower range."""

    each: tuple[str, ...] = ()  # the row once for each of these, put where the names below have a *
    when: dict[str, tuple[str, ...]]  # categorical control -> any of these options
    set: dict[str, str] = {}
    squeeze: dict[str, tuple[float, float]] = {}

    def one_by_one(self) -> tuple[ConstraintRow, ...]:
        """Write the row out for each of `each`."""

        def named(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
            return {control.replace("*", name): wanted for control, wanted in fields.items()}

        fields: dict[str, Mapping[str, Any]] = {"when": self.when, "set": self.set, "squeeze": self.squeeze}
        update = [{"each": (), **{f: named(v, name) for f, v in fields.items()}} for name in self.each]
        return tuple(self.model_copy(update=u) for u in update) or (self,)


class RouteRow(_Table):
    """One of the fixed modulation routes of tier 2."""

    source: str
    destination: str


class HabitRow(_Table):
    """What people do with a control: leave it alone, or move it to one of these.

    A continuous control has a `default_share`, and `quantiles` or `values` for the rest; a categorical one `options`.
    """

    control: str
    default_share: Share = 0.0  # of the patches
    quantiles: Quantiles | None = None  # of what it is elsewhere, at LEVELS
    values: Weights | None = None  # what it is elsewhere, a whole number -> weight
    options: Weights | None = None  # option -> weight
    measured: str = ""

    @field_validator("values", "options")
    @classmethod
    def _not_all_zero(cls, weights: Weights | None) -> Weights | None:
        if weights is not None and not sum(weights.values()):
            raise ValueError("are all zero: nothing could be drawn")
        return weights

    @model_validator(mode="after")
    def _says_what_it_is_elsewhere(self) -> HabitRow:
        if not (self.quantiles or self.values or self.options) and self.default_share < 1:
            raise ValueError("needs quantiles, values or options: what is it where it isn't at its default?")
        return self


class FactorRow(_Table):
    """Something that several controls depend on, so that they are moved in the same patches.

    The loadings are correlations with it: whether a control leaves its default is decided by the factors and a rest of
    its own (a Gaussian copula with factors, as in Oh & Patton, "Modeling dependence in high dimensions with factor
    copulas", 2017).
    """

    loadings: dict[str, Annotated[float, Field(gt=-1, lt=1)]]


class ConnectionRow(_Table):
    """A kind of modulation route: numbers of modules are folded to N, as in `lfo_N` and `osc_N_level`."""

    source: str
    destination: str
    weight: Weight
    amount: Quantiles | None = None  # where it differs from that of all connections
    base: Quantiles | None = None  # what the destination is left at, where it differs from its habit: often its low end


class ModulationHabits(_Table):
    """How people connect modulation."""

    connections: Quantiles  # how many a patch has
    amount: Quantiles
    bipolar: Share
    stereo: Share
    numbers: dict[str, tuple[Weight, ...]]  # such as lfo_N -> weight of the first, the second, ...
    measured: str = ""


class WavetableHabits(_Table):
    """Which wavetables people play."""

    init: Share  # of the oscillators play the init preset's saw; the others any of the catalog
    measured: str = ""
