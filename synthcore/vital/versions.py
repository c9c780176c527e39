"""Versions of Vital: what the Vital of today makes of a preset that vita plays differently.

What is known of it is data, in `versions.toml`, read, checked and applied here. Presets come with the numbers of the
Vital that wrote them and are given vita's; what vita can't play is named with its value.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from synthcore.base.errors import SpecError
from synthcore.vital.activity import active
from synthcore.vital.controls import VITAL_VERSION, Control, Registry
from synthcore.vital.normalize import to_units
from synthcore.vital.patch import MAX_SLOTS, Patch, SlotField, is_connected

SLOTS_PATTERN = "modulation_*"  #: what is heard if a modulation slot is in use
SLOTS = tuple(f"modulation_{number}" for number in range(1, MAX_SLOTS + 1))
Certainty = Literal["measured", "read", "told"]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    since: str
    vital: str
    vita: str
    source: str
    certainty: Certainty


class MissingOption(BaseModel):
    """Numbers of a control that stand for something vita lacks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: tuple[int, ...]
    name: str = ""  # Vital's, if it is known
    instead: str = ""  # an option of vita's; by default the one with that number


class ControlChange(_Entry):
    """A control whose options differ in Vital."""

    control: str
    when: Mapping[str, tuple[str, ...]] = {}
    moved: Mapping[int, str] = {}
    missing: tuple[MissingOption, ...] = ()
    unheard: Mapping[str, float] = {}


class KeyChange(_Entry):
    """Keys of a preset that vita lacks."""

    keys: tuple[str, ...]
    place: Literal["settings", "document"] = "settings"
    default: Any
    ignored: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    heard: str = ""


class Table(BaseModel):
    """Everything in `versions.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    own_mark: str
    newest: str
    control: tuple[ControlChange, ...]
    key: tuple[KeyChange, ...]
    digest: str


@lru_cache(maxsize=1)
def version_table() -> Table:
    """The table that comes with synthcore."""
    return read_table((files(__package__) / "versions.toml").read_bytes())


def read_table(text: bytes) -> Table:
    """Read a table.

    Raises
    ------
    SpecError
        It isn't TOML; or a field is missing, unknown or of another type.
    """
    try:
        return Table(**tomllib.loads(text.decode()), digest=hashlib.sha256(text).hexdigest())
    except ValidationError as error:
        found = error.errors()[0]
        raise SpecError(f"versions.toml: {'.'.join(map(str, found['loc']))}: {found['msg']}") from error
    except ValueError as error:
        raise SpecError(f"versions.toml is not TOML: {error}") from error


@dataclass(frozen=True)
class Difference:
    """Something in a preset that Vital plays and vita doesn't.

    Attributes
    ----------
    text : str
        What it is, with its value.
    can_sound : callable
        Whether it can be heard in the patch that was read, given what can be heard there.
    """

    text: str
    can_sound: Callable[[Heard], bool]


class Heard:
    """What can be heard in a patch, by name."""

    def __init__(self, patch: Patch, registry: Registry) -> None:
        self._patch, self._registry = patch, registry
        names = (c.name for c in (*registry.continuous, *registry.categorical))
        self._active = dict(zip(names, active(patch, registry).tolist(), strict=True))
        self._in_use = is_connected(patch.modulation_slots)

    def is_heard(self, name: str) -> bool:
        """Whether a control can be heard, or whether a modulation slot is in use."""
        return bool(self._in_use[SLOTS.index(name)]) if name in SLOTS else self._active[name]

    def stays_at(self, name: str, value: float) -> bool:
        """Whether a continuous control has a value, and nothing modulates it."""
        control = self._registry.by_name[name]
        unit = to_units([control], np.array([value]))[0]
        destinations = self._patch.modulation_slots[self._in_use, SlotField.DESTINATION]
        moved = destinations == self._registry.destination_index.get(name, -1)
        is_there = self._patch.continuous[self._registry.continuous.index(control)] == unit
        return bool(is_there and not moved.any())


def _always(_: Heard) -> bool:
    return True


class Versions:
    """The table for the controls of one synth.

    Raises
    ------
    SpecError
        The table names a control or an option that the synth doesn't have, or calls missing what it has.
    """

    def __init__(self, registry: Registry, table: Table) -> None:
        self.registry, self.table = registry, table
        self._changes = [(change, name) for change in table.control for name in self._matching(change.control)]
        for change, name in self._changes:
            self._check_control(change, name)
        # By place and key: what is known of it, and what makes it audible.
        self._keys = {place_and_key: found for entry in table.key for place_and_key, found in self._look_up(entry)}

    def translate(self, document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Difference]]:
        """Give a preset vita's numbers, and list what Vital plays differently.

        Parameters
        ----------
        document : mapping
            A preset that `validation.require_loadable` let pass. It isn't changed.

        Returns
        -------
        dict
            The preset with vita's numbers for its options, and a substitute for an option that vita lacks.
        list of Difference
            What can't be played.
        """
        version = str(document["synth_version"])
        settings: dict[str, Any] = dict(document["settings"])
        found = [*self._newer(version)]
        for change, name in self._changes:
            if self._holds(change, name, version, document["settings"]):
                found += self._read_option(change, name, settings)
        found += self._read_keys(document, "document")
        found += self._read_keys(document["settings"], "settings")
        return {**document, "settings": settings}, found

    def otherwise(self, patch: Patch) -> tuple[str, ...]:
        """List what Vital plays differently of a patch that is written as a preset, each with its value."""
        document = {"synth_version": VITAL_VERSION, "settings": patch.values(self.registry)}
        heard = Heard(patch, self.registry)
        return tuple(found.text for found in self.translate(document)[1] if found.can_sound(heard))

    def knows(self, key: str, place: str = "settings") -> bool:
        """Whether a key that vita lacks is one of a later Vital."""
        return (place, key) in self._keys

    def _newer(self, version: str) -> Iterator[Difference]:
        if version != self.table.own_mark and _parts(version)[:2] > _parts(self.table.newest):
            yield Difference(
                f"synth_version {version}: what came after Vital {self.table.newest} isn't known here", _always
            )

    def _holds(self, change: ControlChange, name: str, version: str, settings: Mapping[str, Any]) -> bool:
        if name not in settings or version == self.table.own_mark or _parts(version) < _parts(change.since):
            return False
        for pattern, options in change.when.items():
            other = self.registry.by_name[_filled(pattern, change.control, name)]
            number = round(settings.get(other.name, other.default) - other.low)
            if number not in (other.options.index(option) for option in options):
                return False
        return True

    def _read_option(self, change: ControlChange, name: str, settings: dict[str, Any]) -> Iterator[Difference]:
        control, value = self.registry.by_name[name], settings[name]
        number = round(value)
        missing = next((option for option in change.missing if number in option.numbers), None)
        if number in change.moved:  # a fraction stays, to be rounded where all are
            settings[name] = control.low + control.options.index(change.moved[number]) + (value - number)
        elif missing or number > control.high:  # no known Vital has the latter; `mend` brings it into range
            if missing and missing.instead:
                settings[name] = control.low + control.options.index(missing.instead)
            known_as = f" ({missing.name})" if missing and missing.name else ""
            yield Difference(f"{name} = {_short(number)}{known_as}", self._unless(change, name))

    def _unless(self, change: ControlChange, name: str) -> Callable[[Heard], bool]:
        at = {_filled(pattern, change.control, name): value for pattern, value in change.unheard.items()}
        return lambda heard: heard.is_heard(name) and not any(heard.stays_at(n, v) for n, v in at.items())

    def _read_keys(self, values: Mapping[str, Any], place: str) -> Iterator[Difference]:
        for key, value in values.items():
            if self.knows(key, place):
                yield from _key_differences(*self._keys[place, key], key, value)

    def _look_up(self, entry: KeyChange) -> Iterator[tuple[tuple[str, str], tuple[KeyChange, str]]]:
        """Write an entry out for every module there is."""
        for pattern in entry.keys:
            if any(_star(control.name, pattern) for control in self.registry.controls):
                raise SpecError(f"versions.toml calls {pattern!r} missing, which the installed synth has")
            if "*" not in pattern:
                yield (entry.place, pattern), (entry, entry.heard)
                continue
            for name in SLOTS if entry.heard == SLOTS_PATTERN else self._matching(entry.heard):
                yield (entry.place, _filled(pattern, entry.heard, name)), (entry, name)

    def _matching(self, pattern: str) -> list[str]:
        names = [control.name for control in self.registry.controls if _star(control.name, pattern)]
        if not names:
            raise SpecError(f"versions.toml names {pattern!r}, which the installed synth doesn't have")
        return names

    def _check_control(self, change: ControlChange, name: str) -> None:
        options = {*change.moved.values(), *(missing.instead for missing in change.missing)} - {""}
        self._require_options(name, options)
        for pattern, wanted in change.when.items():
            self._require_options(_filled(pattern, change.control, name), wanted)
        for pattern in change.unheard:
            control = self._control(_filled(pattern, change.control, name))
            if control.is_categorical:
                raise SpecError(f"versions.toml: {control.name} has options; unheard is for numbers")

    def _require_options(self, name: str, wanted: Iterable[str]) -> None:
        known = self._control(name).options
        for option in wanted:
            if option not in known:
                raise SpecError(f"versions.toml wants {name} at {option!r}; its options are {', '.join(known)}")

    def _control(self, name: str) -> Control:
        if name not in self.registry.by_name:
            raise SpecError(f"versions.toml names {name!r}, which the installed synth doesn't have")
        return self.registry.by_name[name]


def versions(registry: Registry) -> Versions:
    """The shipped table for one synth, looked up once."""
    if registry.fingerprint not in _looked_up:
        _looked_up[registry.fingerprint] = Versions(registry, version_table())
    return _looked_up[registry.fingerprint]


_looked_up: dict[str, Versions] = {}


def _key_differences(entry: KeyChange, heard_by: str, key: str, value: Any) -> Iterator[Difference]:
    owned = [(key, value, heard_by)]
    if value is None:  # as if it weren't there
        owned = []
    elif entry.items and isinstance(value, list) and len(value) <= len(entry.items):
        owners = zip(entry.items, value, strict=False)
        owned = [(f"{key} of {owner}", item, heard_by.replace("*", owner)) for owner, item in owners]
    elif entry.items:
        owned = [(key, value, "")]
    for name, item, heard in owned:
        if not _is_default(item, entry):
            can_sound = (lambda of, heard=heard: of.is_heard(heard)) if heard else _always
            yield Difference(f"{name} = {_short(item)}", can_sound)


def _is_default(value: Any, entry: KeyChange) -> bool:
    if isinstance(value, dict):
        value = {name: part for name, part in value.items() if name not in entry.ignored}
    return bool(value == entry.default)


def _star(name: str, pattern: str) -> re.Match[str] | None:
    """Match a name against a pattern in which * stands for anything."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", "(.+)"), name)


def _filled(other: str, pattern: str, name: str) -> str:
    """Replace * in one pattern by what it stands for in another's match."""
    found = _star(name, pattern)
    return other.replace("*", found[1]) if found and found.groups() else other


def _parts(version: str) -> tuple[int, ...]:
    """The four numbers of a version; missing ones are 0."""
    return tuple(map(int, (version.split(".") + ["0"] * 4)[:4]))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
