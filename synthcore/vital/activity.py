"""Activity: which controls can be heard in a patch, by rule, without rendering it.

The rules are data, in `activity.toml`; read and applied here, to many patches at once. A control that no rule names is
active. `synthcore verify --activity` holds the rules against the synth.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, field_validator

from synthcore.base.errors import SpecError
from synthcore.vital.controls import Registry
from synthcore.vital.normalize import to_units
from synthcore.vital.patch import MAX_SLOTS, Patch, SlotField, is_connected

Mask = NDArray[np.bool_]
#: The point that says what is made of the note.
NOTE = "note:way"


class Rule(BaseModel):
    """What can't be heard if all conditions hold.

    Names may be shell patterns. A name with a colon is a point on the way of the sound, such as `osc_1:wave`: rules
    say when nothing gets through it, and other rules build on that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    each: tuple[str, ...] = ()  # the rule applies once for each of these, in place of @ in its names
    controls: tuple[str, ...]
    spares: tuple[str, ...] = ()  # except these
    when: Mapping[str, tuple[str, ...]] = {}  # a categorical control shows one of these options, or "#7"
    unless: Mapping[str, tuple[str, ...]] = {}  # it shows none of these
    at: Mapping[str, tuple[float, ...]] = {}  # a continuous control isn't modulated, and has one of any values given
    silent: tuple[str, ...] = ()  # none of these can be heard
    unused: tuple[str, ...] = ()  # these modulation sources move nothing audible
    one_on: tuple[str, ...] = ()  # at most one of these switches is on
    one_frame: tuple[str, ...] = ()  # these oscillators play a wavetable of a single frame
    reason: str

    def one_by_one(self) -> Iterable[Rule]:
        """Write the rule out, once for each of `each`."""
        if not self.each:
            yield self
        for name in self.each:
            text = self.model_copy(update={"each": ()}).model_dump_json().replace("@", name)
            yield Rule.model_validate_json(text)


class Table(BaseModel):
    """Everything in `activity.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    rule: tuple[Rule, ...]
    digest: str

    @field_validator("rule")
    @classmethod
    def _written_out(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(single for rule in rules for single in rule.one_by_one())


@lru_cache(maxsize=1)
def activity_rules() -> Table:
    """The rules that come with synthcore."""
    text = files(__package__).joinpath("activity.toml").read_bytes()
    return Table(**tomllib.loads(text.decode()), digest=hashlib.sha256(text).hexdigest())


def active(patch: Patch, registry: Registry) -> Mask:
    """Say which controls can be heard in a patch.

    Returns
    -------
    ndarray, shape (448,), bool
        The continuous controls in the order of `params/continuous`, then the categorical ones.
    """
    heard: Mask = activity(registry).of(Labels.of([patch], registry))[0]
    return heard


def follows_note(patch: Patch, registry: Registry) -> bool:
    """Say whether anything that can be heard in a patch follows the note.

    False is a promise: whatever note is played, the audio is the same, bit for bit. True isn't: it only means that no
    rule says so.
    """
    return activity(registry).follows_note(Labels.of([patch], registry))


def activity(registry: Registry) -> Activity:
    """The shipped rules for one synth, looked up once."""
    if registry.fingerprint not in _looked_up:
        _looked_up[registry.fingerprint] = Activity(registry, activity_rules())
    return _looked_up[registry.fingerprint]


_looked_up: dict[str, Activity] = {}


@dataclass(frozen=True, slots=True)
class Labels:
    """What activity depends on, of N patches.

    Attributes
    ----------
    continuous : ndarray, shape (N, 322), float32
        Unit values.
    categorical : ndarray, shape (N, 126), int32
        Option indices.
    slots : ndarray, shape (N, 64, 7), float32
        See `synthcore.vital.patch.SlotField`.
    one_frame : ndarray, shape (N, 3), bool
        Whether each oscillator's wavetable is the init preset's, which has a single frame.
    """

    continuous: NDArray[np.float32]
    categorical: NDArray[np.int32]
    slots: NDArray[np.float32]
    one_frame: Mask

    @classmethod
    def of(cls, patches: Sequence[Patch], registry: Registry) -> Labels:
        """The labels of at least one patch."""
        init = set(Patch.init(registry).wavetables)
        return cls(
            continuous=np.stack([p.continuous for p in patches]),
            categorical=np.stack([p.categorical for p in patches]),
            slots=np.stack([p.modulation_slots for p in patches]),
            one_frame=np.array([[name in init for name in p.wavetables] for p in patches]),
        )


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """One rule, with its names looked up in a registry."""

    id: str
    silences: NDArray[np.intp]
    options: tuple[tuple[int, NDArray[np.intp], bool], ...]  # column, options, whether it must show one of them
    values: tuple[tuple[int, NDArray[np.float32]], ...]  # column, unit values
    silent: NDArray[np.intp]
    unused: NDArray[np.intp]
    one_on: NDArray[np.intp]  # columns
    one_frame: NDArray[np.intp]  # oscillators, from 0

    @property
    def follows_from_others(self) -> bool:
        """Whether it may hold only once another rule does."""
        return bool(self.silent.size or self.unused.size)


class Activity:
    """The rules for the controls of one synth.

    Whatever can be silent has a place: the controls in the order of the columns, then the points, then the modulation
    slots.

    Raises
    ------
    SpecError
        A rule names a control, an option or a source that the synth doesn't have.
    """

    def __init__(self, registry: Registry, table: Table) -> None:
        self.registry = registry
        self.names = tuple(c.name for c in (*registry.continuous, *registry.categorical))
        points = {name for rule in table.rule for name in rule.controls if ":" in name}
        self._places = {name: place for place, name in enumerate((*self.names, *sorted(points)))}
        self._first_slot = len(self._places)
        self._ends = np.array([self._end_of(name) for name in registry.destinations])
        self._rules = [self._look_up(rule) for rule in table.rule]
        self._naming: list[list[_LookedUp]] = [[] for _ in self._places]
        for rule in self._rules:
            for place in rule.silences.tolist():
                self._naming[place].append(rule)

    def of(self, labels: Labels) -> Mask:
        """Say which controls can be heard, in the order of `names`: shape (N, 448), bool."""
        silent, _, _ = self._silent(labels)
        heard: Mask = ~silent[:, : len(self.names)]
        return heard

    def slots_of(self, labels: Labels) -> Mask:
        """Say which modulation slots move something that can be heard: shape (N, 64), bool."""
        silent, _, _ = self._silent(labels)
        moving: Mask = ~silent[:, self._first_slot :]
        return moving

    def follows_note(self, labels: Labels) -> bool:
        """Say whether anything that can be heard in the first of some patches follows the note."""
        place = self._places[NOTE]
        if not self._may_be_silent(place, labels, {}):  # so for most patches, and known twenty times as fast
            return True
        silent, _, _ = self._silent(labels)
        return not silent[0, place]

    def rules_of(self, labels: Labels, control: str) -> tuple[str, ...]:
        """Name the rules by which a control can't be heard in the first of some patches; none if it is active."""
        silent, used, modulated = self._silent(labels)
        place = self._places[control]
        naming = [rule for rule in self._rules if place in rule.silences]
        return tuple(r.id for r in naming if (_fits(r, labels, modulated) & _follows(r, silent, used))[0])

    def _silent(self, labels: Labels) -> tuple[Mask, Mask, Mask]:
        """Find what is silent in each patch, which sources move something audible, and which controls are modulated.

        Rules are applied until nothing more follows. What a rule has found stays found, so this takes few rounds.
        """
        slots = _Slots.of(labels.slots, self._ends)
        silent = np.zeros((len(labels.slots), self._first_slot + MAX_SLOTS), dtype=bool)
        modulated = slots.ends_of(slots.is_connected, silent.shape[1])
        modulates = slots.moves(modulated[:, self._first_slot :])
        modulated = slots.ends_of(modulates, silent.shape[1])
        following = []
        for rule in self._rules:
            fit = _fits(rule, labels, modulated)
            if rule.follows_from_others:
                following.append((rule, fit))
            else:
                silent[:, rule.silences] |= fit[:, None]
        before, found = -1, int(np.count_nonzero(silent))
        while found > before:
            is_idle = ~modulates | np.take_along_axis(silent, slots.ends, axis=1)
            silent[:, self._first_slot :] = is_idle
            used = slots.sources_of(~is_idle, len(self.registry.sources))
            for rule, fit in following:
                silent[:, rule.silences] |= (fit & _follows(rule, silent, used))[:, None]
            before, found = found, int(np.count_nonzero(silent))
        return silent, used, modulated

    def _may_be_silent(self, place: int, labels: Labels, known: dict[int, bool]) -> bool:
        """Whether the options of the first patch leave any rule that could silence a place.

        Looks only at what leads there. Modulation is taken to be none, and a circle of rules to hold.
        """
        if place not in known:
            known[place] = True
            known[place] = any(
                _shows(rule, labels)[0] and all(self._may_be_silent(one, labels, known) for one in rule.silent.tolist())
                for rule in self._naming[place]
            )
        return known[place]

    def _end_of(self, destination: str) -> int:
        if destination in self._places:
            return self._places[destination]
        return self._first_slot + int(destination.split("_")[1]) - 1  # modulation_7_amount, modulation_7_power

    def _look_up(self, rule: Rule) -> _LookedUp:
        spared = set(self._match(rule, rule.spares))
        controls = [place for place in self._match(rule, rule.controls) if place not in spared]
        return _LookedUp(
            id=rule.id,
            silences=np.array(controls, dtype=np.intp),
            options=tuple(
                (*self._options(rule, name, options), wanted)
                for conditions, wanted in ((rule.when, True), (rule.unless, False))
                for name, options in conditions.items()
            ),
            values=tuple(self._values(rule, name, values) for name, values in rule.at.items()),
            silent=np.array(self._match(rule, rule.silent), dtype=np.intp),
            unused=np.array([self._source(rule, name) for name in rule.unused], dtype=np.intp),
            one_on=np.array([self._options(rule, name, ("On",))[0] for name in rule.one_on], dtype=np.intp),
            one_frame=np.array([int(name.removeprefix("osc_")) - 1 for name in rule.one_frame], dtype=np.intp),
        )

    def _match(self, rule: Rule, patterns: Sequence[str]) -> list[int]:
        found: list[int] = []
        for pattern in patterns:
            # "eq_*" means controls, never a point such as "eq_low:band".
            names = [name for name in self._places if (":" in name) == (":" in pattern) and fnmatchcase(name, pattern)]
            places = [self._places[name] for name in names]
            if not places:
                raise SpecError(f"activity.toml: {rule.id} names {pattern!r}, which the installed synth doesn't have")
            found += places
        return found

    def _options(self, rule: Rule, name: str, wanted: Sequence[str]) -> tuple[int, NDArray[np.intp]]:
        control = self.registry.by_name.get(name)
        known = control.options if control else ()
        found = [i for i, option in enumerate(known) if option in wanted or f"#{i}" in wanted]
        if control is None or len(found) < len(wanted):
            raise SpecError(f"activity.toml: {rule.id} wants {name} at {wanted}; its options are {known}")
        return self.registry.categorical.index(control), np.array(found)

    def _values(self, rule: Rule, name: str, wanted: Sequence[float]) -> tuple[int, NDArray[np.float32]]:
        control = self.registry.by_name.get(name)
        if control is None or control.is_categorical or not all(control.low <= v <= control.high for v in wanted):
            raise SpecError(
                f"activity.toml: {rule.id} wants {name} at {wanted}, which isn't a control or is out of range"
            )
        units = [to_units([control], np.array([value]))[0] for value in wanted]
        return self.registry.continuous.index(control), np.array(units, dtype=np.float32)

    def _source(self, rule: Rule, name: str) -> int:
        if name not in self.registry.source_index:
            raise SpecError(f"activity.toml: {rule.id} names {name!r}, which isn't a modulation source")
        return self.registry.source_index[name]


@dataclass(frozen=True, slots=True)
class _Slots:
    """The modulation slots of N patches: each array has shape (N, 64)."""

    is_connected: Mask
    has_amount: Mask
    sources: NDArray[np.intp]
    ends: NDArray[np.intp]  # the place of the control or slot that is moved

    @classmethod
    def of(cls, slots: NDArray[np.float32], ends: NDArray[np.intp]) -> _Slots:
        sources, destinations = (slots[:, :, field] for field in (SlotField.SOURCE, SlotField.DESTINATION))
        return cls(
            is_connected=is_connected(slots),
            has_amount=slots[:, :, SlotField.AMOUNT] != 0,
            sources=np.maximum(sources, 0).astype(np.intp),
            ends=ends[np.maximum(destinations, 0).astype(np.intp)],
        )

    def moves(self, is_modulated: Mask) -> Mask:
        """Which slots can move anything: one with an amount of 0 only if another slot modulates the amount."""
        return self.is_connected & (self.has_amount | is_modulated)

    def ends_of(self, which: Mask, places: int) -> Mask:
        """What some of the slots move: shape (N, places)."""
        return _marked(which, self.ends, places)

    def sources_of(self, which: Mask, sources: int) -> Mask:
        """Where some of the slots start: shape (N, sources)."""
        return _marked(which, self.sources, sources)


def _marked(which: Mask, values: NDArray[np.intp], size: int) -> Mask:
    marked = np.zeros((len(which), size), dtype=bool)
    patches, slots = np.nonzero(which)
    marked[patches, values[patches, slots]] = True
    return marked


def _fits(rule: _LookedUp, labels: Labels, modulated: Mask) -> Mask:
    """Say in which patches those of a rule's conditions hold that depend on no other rule: shape (N,)."""
    parts = [_shows(rule, labels), labels.one_frame[:, rule.one_frame].all(axis=1)]
    for column, values in rule.values:
        # A continuous control's place is its column.
        parts.append(~modulated[:, column])
        if values.size:
            parts.append((labels.continuous[:, column, None] == values).any(axis=1))
    holds: Mask = np.logical_and.reduce(parts)
    return holds


def _shows(rule: _LookedUp, labels: Labels) -> Mask:
    """Say in which patches a rule's conditions on options hold: shape (N,)."""
    parts = [labels.categorical[:, rule.one_on].sum(axis=1) <= 1]
    for column, options, wanted in rule.options:
        parts.append((labels.categorical[:, column, None] == options).any(axis=1) == wanted)
    holds: Mask = np.logical_and.reduce(parts)
    return holds


def _follows(rule: _LookedUp, silent: Mask, used: Mask) -> Mask:
    """Say in which patches a rule's other conditions hold, by what is known so far: shape (N,)."""
    holds: Mask = np.logical_not(used[:, rule.unused].any(axis=1)) & silent[:, rule.silent].all(axis=1)
    return holds
