"""Equivalences: which patches are the same sound under other labels, and the one that stands for them all.

The rules are data, in `equivalences.toml`; what each kind of rule exchanges is written once, here and in `unheard`.
`synthcore verify --equivalences` holds them against the synth.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import filter as matching
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.base.errors import SpecError
from synthcore.vital.controls import Registry
from synthcore.vital.patch import Patch
from synthcore.vital.renaming import SLOTS, Names, composed, number, rename, renamed, routes, swapped
from synthcore.vital.unheard import Assets, Controls, Effects, Routes, Unheard


class Rule(BaseModel):
    """Which labels may be exchanged for others. The fields are explained in `equivalences.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: Literal["controls", "routes", "assets", "effects", "swap", "number"]
    modules: tuple[str, ...] = ()
    options: Mapping[str, tuple[tuple[str, str], ...]] = {}
    rest: Mapping[str, str] = {}
    first: str = ""
    draws: tuple[str, ...] = ()
    tolerance_db: float = 0.0
    unless: Mapping[str, tuple[str, ...]] = {}
    unless_own: Literal["lfos", "curves", ""] = ""
    reason: str


class Table(BaseModel):
    """Everything in `equivalences.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    rule: tuple[Rule, ...]


@lru_cache(maxsize=1)
def equivalence_rules() -> Table:
    """The rules that come with synthcore."""
    return Table(**tomllib.loads(files(__package__).joinpath("equivalences.toml").read_text()))


def equivalences(registry: Registry) -> Equivalences:
    """The shipped rules for one synth, looked up once."""
    if registry.fingerprint not in _looked_up:
        _looked_up[registry.fingerprint] = Equivalences(registry, equivalence_rules())
    return _looked_up[registry.fingerprint]


_looked_up: dict[str, Equivalences] = {}


class Equivalence(Protocol):
    """One rule, looked up."""

    def another(self, patch: Patch, rng: Generator) -> Patch:
        """A patch that is the same sound by the rule, drawn at random; the patch itself if the rule doesn't apply."""


class Equivalences:
    """The rules for the controls of one synth.

    Attributes
    ----------
    by_rule : tuple of (Rule, Equivalence)
        In the order of the table.
    swaps : tuple of Swap
    numbers : tuple of Numbers

    Raises
    ------
    SpecError
        A rule names a module, a control or an option that the synth doesn't have.
    """

    def __init__(self, registry: Registry, table: Table) -> None:
        self._registry = registry
        made: dict[str, Callable[[Rule, Registry], Equivalence]] = {"swap": Swap, "number": Numbers}
        exchanging = {rule.id: made[rule.kind](rule, registry) for rule in table.rule if rule.kind in made}
        unheard: dict[str, Unheard] = {
            "controls": Controls(
                registry,
                [rule.modules for rule in table.rule if rule.modules],
                {pattern: option for rule in table.rule for pattern, option in rule.rest.items()},
            ),
            "routes": Routes(registry),
            "assets": Assets(registry),
            "effects": Effects(registry),
        }
        self.by_rule = tuple((rule, exchanging.get(rule.id) or unheard[rule.kind]) for rule in table.rule)
        self.swaps = tuple(one for _, one in self.by_rule if isinstance(one, Swap))
        self.numbers = tuple(one for _, one in self.by_rule if isinstance(one, Numbers))
        self._unheard = [unheard[rule.kind] for rule in table.rule if rule.kind in unheard]

    def canonical(self, patch: Patch) -> Patch:
        """The one patch that stands for all that are the same sound by the rules."""
        return min(map(self._numbered, self.images(self._at_rest(patch))), key=self._rank)

    def images(self, patch: Patch) -> list[Patch]:
        """The patch with its modules swapped in all ways that the rules allow, itself first."""
        return [image for _, image in self.named_images(patch)]

    def named_images(self, patch: Patch) -> list[tuple[Names, Patch]]:
        """Likewise, each with the names that its modules have got."""
        found: dict[str, tuple[Names, Patch]] = {patch.hash: ({}, patch)}
        waiting = [patch.hash]
        while waiting:
            names, image = found[waiting.pop()]
            for swap in self.swaps:
                other = swap.of(image) if swap.applies(image) else image
                if other.hash not in found:
                    found[other.hash] = composed(names, swap.names), other
                    waiting.append(other.hash)
        return list(found.values())

    def relatives(self, patch: Patch, rng: Generator) -> Iterator[Patch]:
        """Walk at random, and without end, over the patches that are the same sound by the rules."""
        while True:
            _, rule = self.by_rule[rng.integers(len(self.by_rule))]
            patch = rule.another(patch, rng)
            yield patch

    def _at_rest(self, patch: Patch) -> Patch:
        """Bring what can't be heard to rest, until nothing more follows."""
        before = None
        while patch != before:
            before = patch
            for unheard in self._unheard:
                patch = unheard.at_rest(patch)
        return patch

    def _numbered(self, patch: Patch) -> Patch:
        kinds = [names for numbers in self.numbers if (names := numbers.free(patch))]
        return rename(patch, number(patch, kinds, self._registry), self._registry)

    def _rank(self, patch: Patch) -> tuple[Any, ...]:
        """Before which other images of a sound a patch comes: by what the rules put first, then by all of its label."""
        leading = [level for swap in self.swaps for level in swap.leading(patch)]
        label = (patch.continuous, patch.exact, patch.categorical, patch.modulation_slots)
        return ([-level for level in leading], *(np.nan_to_num(part).tolist() for part in label), patch.wavetables)


class Swap:
    """Two modules that trade places."""

    def __init__(self, rule: Rule, registry: Registry) -> None:
        self._registry = registry
        self.names = _checked(rule, swapped(*rule.modules), registry)
        self._options = [
            _traded(rule, name, pairs, registry)
            for pattern, pairs in rule.options.items()
            for name in _named(rule, pattern, registry)
        ]
        self._unless = [
            (registry.categorical.index(registry.by_name[name]), _places(rule, name, options, registry))
            for pattern, options in rule.unless.items()
            for name in _named(rule, pattern, registry)
        ]
        self._first = [
            (registry.continuous.index(registry.by_name[f"{module}_{rule.first}"]), _switch(module, registry))
            for module in rule.modules
        ]
        self._draws = frozenset(rule.draws)

    def applies(self, patch: Patch) -> bool:
        """Whether no option forbids it, and nothing modulates how random the draws of the modules are."""
        if any(patch.categorical[column] in options for column, options in self._unless):
            return False
        return not any(end in self._draws for end, _, _ in routes(patch, self._registry))

    def of(self, patch: Patch) -> Patch:
        """The patch with the modules swapped."""
        patch = rename(patch, self.names, self._registry)
        categorical = patch.categorical.copy()
        for column, becomes in self._options:
            categorical[column] = becomes[categorical[column]]
        return patch.moved(categorical=categorical)

    def another(self, patch: Patch, rng: Generator) -> Patch:  # noqa: ARG002  there is only one
        return self.of(patch) if self.applies(patch) else patch

    def leading(self, patch: Patch) -> list[float]:
        """How high the control is that decides which module comes first, in each; one that is off comes last."""
        return [
            -1.0 if switch is not None and not patch.categorical[switch] else float(patch.continuous[column])
            for column, switch in self._first
        ]


class Numbers:
    """Modules of one kind, or the modulation slots, in any order."""

    def __init__(self, rule: Rule, registry: Registry) -> None:
        self._rule, self._registry = rule, registry
        self.names = rule.modules or SLOTS
        _checked(rule, dict(zip(self.names, (*self.names[1:], self.names[0]), strict=True)), registry)

    def free(self, patch: Patch) -> tuple[str, ...]:
        """The names that may trade places in a patch: none if it has shapes or curves of its own for some of them."""
        is_bound = self._rule.unless_own and getattr(patch.extras, self._rule.unless_own) is not None
        return () if is_bound else self.names

    def another(self, patch: Patch, rng: Generator) -> Patch:
        names = self.free(patch)
        order = rng.permutation(len(names))
        ends: dict[str, list[int]] = {}
        for end, slot, _ in sorted(routes(patch, self._registry)):
            ends.setdefault(end, []).append(slot)
        if self.names == SLOTS and names:
            for slots in ends.values():  # those of one destination keep their order
                order[slots] = np.sort(order[slots])
        return rename(patch, {name: names[place] for name, place in zip(names, order, strict=True)}, self._registry)


def _checked(rule: Rule, names: Names, registry: Registry) -> Names:
    """Refuse modules that don't have the same controls, with the same ranges and options."""
    for control in registry.controls:
        other = registry.by_name.get(renamed(control.name, names))
        same = other and (other.low, other.high, other.options) == (control.low, control.high, control.options)
        if not same:
            raise SpecError(f"equivalences.toml: {rule.id} exchanges {control.name} for {other and other.name}")
    return names


def _named(rule: Rule, pattern: str, registry: Registry) -> list[str]:
    found = matching([c.name for c in registry.categorical], pattern)
    if not found:
        raise SpecError(f"equivalences.toml: {rule.id} names {pattern!r}, which the installed synth doesn't have")
    return found


def _traded(
    rule: Rule, name: str, pairs: Sequence[tuple[str, str]], registry: Registry
) -> tuple[int, NDArray[np.int32]]:
    """What becomes of each option of a control: its column, and an array of options."""
    control = registry.by_name[name]
    becomes = np.arange(len(control.options), dtype=np.int32)
    for pair in pairs:
        one, other = _places(rule, name, pair, registry)
        becomes[[one, other]] = other, one
    return registry.categorical.index(control), becomes


def _places(rule: Rule, name: str, wanted: Sequence[str], registry: Registry) -> list[int]:
    """The numbers of some options of a control."""
    options = registry.by_name[name].options
    places = {option: place for place, option in enumerate(options)}
    places |= {f"#{place}": place for place in range(len(options))}
    if not set(wanted) <= places.keys():
        raise SpecError(f"equivalences.toml: {rule.id} wants {name} at {wanted}; its options are {options}")
    return [places[option] for option in wanted]


def _switch(module: str, registry: Registry) -> int | None:
    """The column of the switch that turns a module on, if it has one."""
    control = registry.by_name.get(f"{module}_on")
    return registry.categorical.index(control) if control else None
