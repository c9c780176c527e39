"""Priors: what each control is drawn from, and what a patch must keep to. The data is in `priors.toml`.

A control without a row is drawn uniformly over its whole range, an option as often as any other.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from synthcore.base.errors import SpecError
from synthcore.base.spelling import meant
from synthcore.sources.shapes import ShapePriors
from synthcore.spec import DatasetSpec, Kind
from synthcore.vital.controls import Control, Registry


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[Kind, ...] = ("tier-1", "tier-2", "tier-2-fixed", "tier-3")
    reason: str
    measured: str = ""


class PriorRow(_Row):
    """How some controls are drawn, in the kinds named; every number in the control's own units."""

    controls: tuple[str, ...]  # names or shell patterns
    pin: bool = False  # to the default
    without_wavetables: bool = False  # only where every row has the init preset's wavetables
    range: tuple[float, float] | None = None
    skew: float = Field(1.0, gt=0)  # above 1 favours the low end: the unit draw is raised to it
    options: dict[str, float] | None = None  # option, or "#8" where two share a name -> weight; none: never drawn


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


class RouteRow(BaseModel):
    """One of the fixed modulation routes of tier 2."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    destination: str


class Priors(BaseModel):
    """Everything in `priors.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior: tuple[PriorRow, ...]
    constraint: tuple[ConstraintRow, ...]
    route: tuple[RouteRow, ...]
    shapes: ShapePriors = ShapePriors()
    digest: str

    @field_validator("constraint")
    @classmethod
    def _written_out(cls, rows: tuple[ConstraintRow, ...]) -> tuple[ConstraintRow, ...]:
        return tuple(single for row in rows for single in row.one_by_one())

    def of(self, control: Control, spec: DatasetSpec) -> PriorRow | None:
        """The row for one control; the last that matches, so that an exception can follow its rule."""
        found = None
        for row in self.prior:
            if row.without_wavetables and spec.varied_oscillators:
                continue
            if spec.kind in row.kinds and any(fnmatchcase(control.name, pattern) for pattern in row.controls):
                found = row
        return found


@lru_cache(maxsize=1)
def default_priors() -> Priors:
    """The priors that come with synthcore."""
    text = (files(__package__) / "priors.toml").read_bytes()
    return Priors(**tomllib.loads(text.decode()), digest=hashlib.sha256(text).hexdigest())


class Marginal:
    """How one control is drawn: the inverse of its distribution function.

    Attributes
    ----------
    control : Control
    low, high : float
        What can be drawn, in the control's units (option indices for a categorical one).
    """

    def __init__(self, control: Control, row: PriorRow | None) -> None:
        self.control = control
        self.skew = row.skew if row else 1.0
        if control.is_categorical:
            weights = (row and row.options) or dict.fromkeys(control.options, 1.0)
            # Two options of a control can share a name ("FM <- Osc"): each gets the weight, unless its index has one.
            named = enumerate(control.options)
            self.weights = np.array([weights.get(f"#{i}", weights.get(name, 0.0)) for i, name in named])
            self.allowed = np.flatnonzero(self.weights)
            self.low, self.high = float(self.allowed[0]), float(self.allowed[-1])
        else:
            self.low, self.high = (row and row.range) or (control.low, control.high)

    def draw(self, quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn quantiles on [0, 1) into values, or into option indices."""
        if self.control.is_categorical:
            cumulative = np.cumsum(self.weights) / self.weights.sum()
            drawn: NDArray[np.intp] = np.searchsorted(cumulative, quantiles, side="right")
            return np.asarray(np.minimum(drawn, self.allowed[-1]), dtype=np.float64)
        skewed = quantiles**self.skew
        if self.control.is_whole:  # half a step wider at each end, so that the ends are as likely as the rest
            return np.clip(np.rint(self.low - 0.5 + skewed * (self.high - self.low + 1)), self.low, self.high)
        return self.low + skewed * (self.high - self.low)


def marginals(registry: Registry, spec: DatasetSpec, priors: Priors) -> list[Marginal]:
    """How each control that varies is drawn; pinned ones are left out.

    Raises
    ------
    SpecError
        The priors name a control, an option or a range that the synth doesn't have.
    """
    _require_known(priors, registry)
    rows = ((c, priors.of(c, spec)) for c in registry.of_tier(spec.tier))
    return [Marginal(control, row) for control, row in rows if not (row and row.pin)]


def _require_known(priors: Priors, registry: Registry) -> None:
    for row in priors.prior:
        for pattern in row.controls:
            matched = [c for c in registry.controls if fnmatchcase(c.name, pattern)]
            if not matched:
                raise SpecError(f"priors.toml: {pattern!r} matches no control of the installed synth")
            for control in matched:
                _require_fits(row, control)
    for constraint in priors.constraint:
        for name, option in constraint.set.items():
            _require_option(name, option, registry)
        for name, options in constraint.when.items():
            for option in options:
                _require_option(name, option, registry)
        for name, (low, high) in constraint.squeeze.items():
            squeezed = registry.by_name.get(name)
            if squeezed is None or not squeezed.low <= low < high <= squeezed.high:
                raise SpecError(f"priors.toml: {name} can't be squeezed into {low:g}..{high:g}")


def _require_option(name: str, option: str, registry: Registry) -> None:
    if name not in registry.by_name or option not in registry.by_name[name].options:
        near = meant(name, registry.by_name) if name not in registry.by_name else ""
        raise SpecError(f"priors.toml: the synth has no control {name} with an option {option!r}{near}")


def _require_fits(row: PriorRow, control: Control) -> None:
    unknown = set(row.options or ()) - set(control.options) - {f"#{i}" for i in range(len(control.options))}
    if unknown:
        raise SpecError(f"priors.toml: {control.name} has no option {unknown}")
    if row.range and not control.low <= row.range[0] < row.range[1] <= control.high:
        raise SpecError(
            f"priors.toml: {row.range} does not lie in {control.name}'s range ({control.low:g}, {control.high:g})"
        )
