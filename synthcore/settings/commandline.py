"""The command line of a settings model: which flags it has, and how words become settings.

A flag is named after its setting (`note_seconds`: --note-seconds), whatever group that is in. Words are only sorted
here; what they mean is up to the model, as it is for variables and the file.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from synthcore.base.errors import SpecError
from synthcore.base.messages import Path as Keys
from synthcore.base.messages import explain, group_fields, typed
from synthcore.base.quantities import OrSpan
from synthcore.base.spelling import meant
from synthcore.settings.configuration import Settable, origin

SHORT = {"n_samples": "-n", "output": "-o"}  #: flags of one letter, for every command that has the setting
NAMES = {"as_json": "json", "dataset": "in", "with_features": "features"}  #: settings whose flags have another name
Say = Callable[[str], object]
_A_FLAG = re.compile(r"-{1,2}[^-\d\s]")  # -1 and -1,3 are values


@dataclass(frozen=True, slots=True)
class Positional:
    """Marks a setting whose value stands by itself on the command line, without a flag."""

    formerly: tuple[str, ...] = ()  #: its flags in the last version, which still work in this one


@dataclass(frozen=True, slots=True)
class Hidden:
    """Marks a setting that nobody sets: a flow finds it out."""


@dataclass(frozen=True, slots=True)
class CommandOnly:
    """Marks a setting that the command has and its flow hasn't."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting, as the command line has it."""

    keys: Keys
    field: FieldInfo

    @property
    def name(self) -> str:
        """Its flag, such as --notes."""
        return f"--{NAMES.get(self.keys[-1], self.keys[-1]).replace('_', '-')}"

    @property
    def short(self) -> str:
        """Its flag of one letter, if it has one."""
        return "" if self.positional else SHORT.get(self.keys[-1], "")

    @property
    def positional(self) -> Positional | None:
        """Its mark, if it stands by itself."""
        return next((one for one in self.field.metadata if isinstance(one, Positional)), None)

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return self.field.annotation is bool

    @property
    def is_list(self) -> bool:
        """Whether it can be repeated."""
        of_items = any(isinstance(one, OrSpan) and one.of_items for one in self.field.metadata)
        return of_items or get_origin(self.field.annotation) is tuple

    @property
    def choices(self) -> tuple[str, ...]:
        """Its possible values, if they are a short list."""
        annotation = get_args(self.field.annotation)[0] if self.is_list else self.field.annotation
        if type(None) in get_args(annotation):  # one that may be left out
            annotation = get_args(annotation)[0]
        return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()

    @property
    def metavar(self) -> str:
        """What a person types for it, such as FILE."""
        if written := typed(self.field):
            return written.metavar
        return "|".join(self.choices)

    @property
    def shown(self) -> str:
        """How it is typed, such as `--tier 1|2|3`; a switch in the direction that changes something.

        Its description is shown beside it, so that of a switch says what this direction does.
        """
        if self.positional:
            return self.metavar
        if self.is_switch:
            return self.name.replace("--", "--no-") if self.field.default is True else self.name
        return f"{self.short or self.name} {self.metavar}"

    @property
    def formerly(self) -> tuple[str, ...]:
        """Spellings that the next version drops."""
        if self.positional:
            return self.positional.formerly
        dotted = f"--{'.'.join(self.keys).replace('_', '-')}"
        return (dotted,) if dotted != self.name else ()


def flags(model: type[BaseModel]) -> list[Flag]:
    """List the flags of a command, those of groups included, in the order of the model."""
    found = []
    for name, field in model.model_fields.items():
        if group := group_fields(field):
            found += [Flag((name, inner), one) for inner, one in group.items()]
        elif not any(isinstance(one, Hidden) for one in field.metadata):
            found.append(Flag((name,), field))
    return found


def read(model: type[BaseModel], words: list[str], command: str, say: Say) -> dict[Keys, Any]:
    """Sort the words behind a command.

    Returns
    -------
    dict of tuple of str to bool, str or list of str
        What was given, by setting.

    Raises
    ------
    SpecError
        A flag is unknown or lacks its value, or a word is left over.
    """
    known = flags(model)
    positionals = [flag for flag in known if flag.positional]
    spellings = dict(_spellings(known))
    given: dict[Keys, Any] = {}
    rest, alone = deque(words), list[str]()
    while rest:
        word = rest.popleft()
        if word == "--":
            alone += rest
            break
        if not _A_FLAG.match(word):
            alone.append(word)
            continue
        name, value = _split_flag(word)
        if name not in spellings:
            raise SpecError(f"{command} has no flag {name}{meant(name, _offered(spellings))}")
        flag, on = spellings[name]
        _put(given, flag, on if flag.is_switch else _value_of(flag, name, value, rest))
        if flag.is_switch and value is not None:
            raise SpecError(f"{name} takes no value, and was given {value!r}")
        if name in flag.formerly:
            instead = " ".join(["synthcore", command, *(p.metavar for p in positionals)])
            say(
                f"{name} will be removed in the next version: write {instead if flag.positional else flag.name} instead"
            )
    _put_alone(given, positionals, alone, command)
    return given


def nested(given: Mapping[Keys, Any]) -> dict[str, Any]:
    """Put flat settings into the groups of the model."""
    values: dict[str, Any] = {}
    for keys, value in given.items():
        inside = values
        for name in keys[:-1]:
            inside = inside.setdefault(name, {})
        inside[keys[-1]] = value
    return values


def complaint(error: ValidationError, settable: Settable, given: Mapping[Keys, Any], usage: str) -> str:
    """Say what is wrong with settings, each named the way it was set; or what is missing, and the usage."""
    known = {flag.keys: flag for flag in flags(settable.model)}
    missing = [one for one in error.errors() if one["type"] in ("missing", "needs")]
    if missing:
        words = [_missing_text(known, one) for one in missing]
        command = usage.removeprefix("usage: synthcore ").split(" ")[0]
        return f"{command} needs {' and '.join(words)}\n{usage}"

    def place(keys: Keys) -> str:
        flag = known.get(keys)
        name = (flag.metavar if flag.positional else flag.name) if flag else ".".join(keys)
        return name if keys in given else origin(settable, keys) or name

    return explain(error, settable.model, place)


def _missing_text(known: Mapping[Keys, Flag], missing: ErrorDetails) -> str:
    if missing["type"] == "needs":
        return missing["msg"]
    return known[tuple(map(str, missing["loc"]))].shown


def _spellings(known: list[Flag]) -> Iterator[tuple[str, tuple[Flag, bool]]]:
    for flag in known:
        for name in (flag.short, *flag.formerly, *([] if flag.positional else [flag.name])):
            if name:
                yield name, (flag, True)
            if flag.is_switch and name:
                yield name.replace("--", "--no-", 1), (flag, False)


def _offered(spellings: Mapping[str, tuple[Flag, bool]]) -> list[str]:
    return [name for name, (flag, _) in spellings.items() if name not in flag.formerly and len(name) > 2]


def _split_flag(word: str) -> tuple[str, str | None]:
    """Split a flag from the value in the same word: --tier=2, -n2."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:].removeprefix("=") or None


def _value_of(flag: Flag, name: str, value: str | None, rest: deque[str]) -> str:
    if value is not None:
        return value
    if not rest or _A_FLAG.match(rest[0]) or rest[0] == "--":
        raise SpecError(f"{name} needs a value: {name} {flag.metavar}")
    return rest.popleft()


def _put(given: dict[Keys, Any], flag: Flag, value: bool | str) -> None:
    if flag.is_list:
        given.setdefault(flag.keys, []).append(value)
    else:
        given[flag.keys] = value


def _put_alone(given: dict[Keys, Any], positionals: list[Flag], alone: list[str], command: str) -> None:
    for flag in positionals:
        if flag.keys in given:  # by its former flag
            continue
        taken = len(alone) if flag.is_list else 1
        for word in alone[:taken]:
            _put(given, flag, word)
        alone = alone[taken:]
    if alone:
        takes = " ".join(flag.metavar for flag in positionals)
        raise SpecError(f"{command} takes {takes or 'only flags'}: {alone[0]!r} is left over")
