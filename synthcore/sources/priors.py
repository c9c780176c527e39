"""Priors: what each control is drawn from, and what a patch must keep to.

The data is in files. `uniform.toml` says how far each control reaches: its full prior. A control without a row is drawn
uniformly over its whole range, an option as often as any other. Every other file, such as `musical.toml`, adds habits:
what people do with the controls. Some patches of each dataset are drawn from the full priors all the same.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from synthcore.base.errors import SpecError
from synthcore.base.hashing import content_hash
from synthcore.base.messages import explain
from synthcore.base.spelling import meant
from synthcore.sources.prior_rows import (
    ConnectionRow,
    ConstraintRow,
    FactorRow,
    HabitRow,
    ModulationHabits,
    PriorRow,
    RouteRow,
    WavetableHabits,
)
from synthcore.sources.shapes import ShapePriors
from synthcore.spec import DatasetSpec, ShippedPriors
from synthcore.vital.controls import Control, Registry

WAVE_FRAME = re.compile(r"osc_\d_wave_frame")
KNOWN = " or ".join(get_args(ShippedPriors))


class Priors(BaseModel):
    """A set of priors: the full ones of every control, and people's habits, if it has any.

    Attributes
    ----------
    name : str
        Of its file, for messages.
    full_share : float
        Of the patches are drawn from the full priors, and know no habit.
    digest : str
        Of all that changes what is drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "uniform.toml"
    about: str = ""
    licence: str = ""  # of the presets whose habits it holds
    full_share: Annotated[float, Field(ge=0.1, le=1)] = 1.0
    repeats: Literal["keep", "refuse"] = "keep"  # a drawn patch whose notes are all the same sound
    prior: tuple[PriorRow, ...] = ()
    constraint: tuple[ConstraintRow, ...] = ()
    route: tuple[RouteRow, ...] = ()
    habit: tuple[HabitRow, ...] = ()
    factor: tuple[FactorRow, ...] = ()
    connection: tuple[ConnectionRow, ...] = ()
    modulation: ModulationHabits | None = None
    wavetables: WavetableHabits = WavetableHabits(init=0.0)
    shapes: ShapePriors = ShapePriors()
    digest: str = ""

    def __hash__(self) -> int:
        return hash(self.digest)

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


@lru_cache
def shipped_priors(name: ShippedPriors) -> Priors:
    """A set of priors that comes with synthcore."""
    text = (files(__package__) / f"{name}.toml").read_bytes()
    if name == "uniform":
        return Priors(**tomllib.loads(text.decode()), digest=hashlib.sha256(text).hexdigest())
    return parse_priors(text, f"{name}.toml")


def digest_of(priors: str) -> str:
    """The digest of the priors that a spec names: a file goes by its own."""
    return shipped_priors(priors).digest if priors in get_args(ShippedPriors) else priors


def named_priors(given: str) -> tuple[str, Priors]:
    """What a spec calls some priors, and the priors: a set that comes with synthcore, or somebody's file.

    Raises
    ------
    SpecError
        There is no such file, or it isn't one of priors.
    """
    if given in get_args(ShippedPriors):
        return given, shipped_priors(given)
    priors = load_priors(Path(given).expanduser())
    return priors.digest, priors


def load_priors(path: Path) -> Priors:
    """Read somebody's file of priors.

    Raises
    ------
    SpecError
        It can't be read, or isn't a file of priors.
    """
    try:
        return parse_priors(path.read_bytes(), str(path))
    except OSError as error:
        raise SpecError(f"can't read the priors {path}: {error.strerror}; name {KNOWN} or a file") from error


def parse_priors(text: bytes, name: str) -> Priors:
    """Read a file of priors: its rows follow those of the uniform set, so that they hold where both name a control.

    Raises
    ------
    SpecError
        It isn't a file of priors.
    """
    uniform = shipped_priors("uniform")
    try:
        given = tomllib.loads(text.decode())
        fields = {key: rows for key, rows in uniform if key in ("prior", "constraint", "route")}
        own = Priors.model_validate({**given, "name": name})
        if unknown := {"name", "digest"} & set(given):
            raise SpecError(f"{name}: {min(unknown)} is not a setting of a priors file")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{name} isn't a priors file: {error}") from error
    except ValidationError as error:
        raise SpecError(f"{name}: {explain(error, Priors)}") from error
    joined = {key: (*rows, *getattr(own, key)) for key, rows in fields.items()}
    joined["route"] = own.route or uniform.route
    made = own.model_copy(update=joined)
    return made.model_copy(update={"digest": content_digest(made)})


def content_digest(priors: Priors) -> str:
    """SHA-256 in hex of all that a set of priors says, whatever its file is called: the digest of somebody's file."""
    return content_hash(priors.model_dump(mode="json", exclude={"name", "digest"}))


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
            self.weights = option_weights(control, (row and row.options) or dict.fromkeys(control.options, 1.0))
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


def option_weights(control: Control, weights: Mapping[str, float], where: str = "") -> NDArray[np.float64]:
    """The weight of each option of a control, in their order.

    Two options of a control can share a name ("FM <- Osc"): each gets the weight, unless its place has one.

    Raises
    ------
    SpecError
        The control has no such option.
    """
    places = {f"#{i}" for i in range(len(control.options))}
    if unknown := set(weights) - set(control.options) - places:
        near = meant(min(unknown), control.options)
        raise SpecError(f"{where}: {control.name} has no option {min(unknown)!r}{near}")
    return np.array([weights.get(f"#{i}", weights.get(name, 0.0)) for i, name in enumerate(control.options)])


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
                raise SpecError(f"{priors.name}: {pattern!r} matches no control of the installed synth")
            for control in matched:
                _require_fits(row, control, priors.name)
    for constraint in priors.constraint:
        for name, option in constraint.set.items():
            _require_option(name, option, registry, priors.name)
        for name, options in constraint.when.items():
            for option in options:
                _require_option(name, option, registry, priors.name)
        for name, (low, high) in constraint.squeeze.items():
            squeezed = registry.by_name.get(name)
            if squeezed is None or not squeezed.low <= low < high <= squeezed.high:
                raise SpecError(f"{priors.name}: {name} can't be squeezed into {low:g}..{high:g}")


def _require_option(name: str, option: str, registry: Registry, where: str) -> None:
    if name not in registry.by_name or option not in registry.by_name[name].options:
        near = meant(name, registry.by_name) if name not in registry.by_name else ""
        raise SpecError(f"{where}: the synth has no control {name} with an option {option!r}{near}")


def _require_fits(row: PriorRow, control: Control, where: str) -> None:
    option_weights(control, row.options or {}, where)
    if row.range and not control.low <= row.range[0] < row.range[1] <= control.high:
        raise SpecError(
            f"{where}: {row.range} does not lie in {control.name}'s range ({control.low:g}, {control.high:g})"
        )
