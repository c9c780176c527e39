"""What is set before a command is typed: environment variables, and `synthcore.toml` in the current folder.

A setting of one command (SYNTHCORE_INGEST_CHECK, the table [ingest]) beats the same one for all commands that share it
(SYNTHCORE_DATA_DIR, the top of the file), and a variable beats the file. The rest of the top is generate's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from synthcore.base.errors import SpecError
from synthcore.base.messages import Path as Keys
from synthcore.base.messages import group_fields
from synthcore.base.spelling import meant

SETTINGS_FILE = Path("synthcore.toml")  #: in the current folder
PREFIX = "SYNTHCORE_"
OF_TESTS = "SYNTHCORE_PRESETS"  #: no setting: it names a folder for tests and benchmarks, which also run commands


@dataclass(frozen=True, slots=True)
class Settable:
    """A model that variables and the file can set: where its own settings are, and which ones it shares."""

    model: type[BaseModel]
    table: str  #: in the file; "" for the top
    shared: Collection[str]
    tables: Collection[str]  #: of all commands; those of the others are skipped

    def variable(self, keys: Keys) -> str:
        """Name the variable of one setting."""
        return f"{_prefix(self.table)}{'__'.join(keys)}".upper()

    def in_file(self, keys: Keys) -> str:
        """Name one setting as the file does."""
        return ".".join((self.table, *keys)).lstrip(".")


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one place sets, and what it calls each setting."""

    values: Mapping[str, Any]
    where: str
    table: str

    def names(self, keys: Keys) -> str:
        if self.where:
            return f"{self.where}: {'.'.join((self.table, *keys)).lstrip('.')}"
        group, name = (f"{_prefix(self.table)}{'__'.join(part)}".upper() for part in (keys[:1], keys))
        return name if name in _variables() else group


def configured(settable: Settable, given: Mapping[str, Any]) -> dict[str, Any]:
    """Complete what was given with what the environment and the file set, group by group."""
    values: dict[str, Any] = {}
    for layer in reversed([given, *(layer.values for layer in _layers(settable))]):
        values = _over(values, layer)
    return values


def origin(settable: Settable, keys: Keys) -> str | None:
    """Name the variable or the line of the file that sets a setting; None if neither does."""
    return next((layer.names(keys) for layer in _layers(settable) if _says(layer.values, keys)), None)


def require_known_names(settables: Sequence[Settable]) -> None:
    """Refuse names in the environment and the file that no command has, whichever command is run.

    Raises
    ------
    SpecError
        It names the first one, and what may have been meant.
    """
    variables = {one.variable(keys) for one in settables for keys in paths(one.model)}
    known = {one.in_file(keys) for one in settables for keys in paths(one.model)}
    used = {one.in_file(keys) for one in settables for keys in _paths_set(one)}
    for name in _variables():
        _require_known(name, variables, "the environment")
    for name in sorted(used):
        _require_known(name, known, str(SETTINGS_FILE))


def paths(model: type[BaseModel]) -> Iterator[Keys]:
    """List the settings of a model and of its groups: ("tier",), ("audio",), ("audio", "notes")."""
    for name, field in model.model_fields.items():
        yield (name,)
        yield from ((name, inner) for inner in group_fields(field))


def _prefix(table: str) -> str:
    return f"{PREFIX}{table.replace('-', '_')}_" if table else PREFIX


def _variables() -> dict[str, str]:
    """Our variables, by their names in capitals; an empty one counts as unset."""
    ours = {name.upper(): text for name, text in os.environ.items() if name.upper().startswith(PREFIX)}
    return {name: text for name, text in ours.items() if name != OF_TESTS}


def _layers(settable: Settable) -> Iterator[_Layer]:
    """All that is set beforehand, what beats the others first."""
    table, shared = settable.table, settable.shared
    yield _Layer(_of_environment(settable.model, table), "", table)
    common = _of_environment(settable.model, "")
    yield _Layer({name: value for name, value in common.items() if name in shared}, "", "")
    yield _Layer(_part_of_file(settable), str(SETTINGS_FILE), table)
    top = _settings_file()
    yield _Layer({name: value for name, value in top.items() if name in shared}, str(SETTINGS_FILE), "")


def _of_environment(model: type[BaseModel], table: str) -> dict[str, Any]:
    variables, found = _variables(), dict[str, Any]()
    for keys in paths(model):
        name = f"{_prefix(table)}{'__'.join(keys)}".upper()
        if text := variables.get(name):
            of_group = len(keys) == 1 and group_fields(model.model_fields[keys[0]])
            found = _over(found, _nested(keys, _json(name, text) if of_group else text))
    return found


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SpecError(f"{name}: {text!r} is not JSON; set one of its settings alone, as {name}__...") from error


def _settings_file() -> dict[str, Any]:
    """Read all of `synthcore.toml`, if there is one."""
    if not SETTINGS_FILE.exists():
        return {}
    import tomllib

    try:
        return tomllib.loads(SETTINGS_FILE.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{SETTINGS_FILE} in this folder can't be read: {error.strerror}") from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise SpecError(f"{SETTINGS_FILE} in this folder is not TOML: {error}") from error


def _part_of_file(settable: Settable) -> dict[str, Any]:
    """What the file sets for one command alone."""
    file, table = _settings_file(), settable.table
    if not table:
        return {name: value for name, value in file.items() if name not in settable.tables}
    part = file.get(table, {})
    if not isinstance(part, dict):
        raise SpecError(f"{table} in {SETTINGS_FILE} is not a table: begin it with [{table}]")
    return part


def _require_known(name: str, known: set[str], where: str) -> None:
    if name not in known:
        raise SpecError(f"{where} sets {name}, which is not a setting{meant(name, sorted(known))}")


def _paths_set(settable: Settable) -> Iterator[Keys]:
    """The settings that the file sets, as `paths` lists them."""
    groups = {keys[0] for keys in paths(settable.model) if len(keys) > 1}
    for name, value in _part_of_file(settable).items():
        yield (name,)
        if name in groups and isinstance(value, dict):
            yield from ((name, inner) for inner in value)


def _nested(keys: Keys, value: Any) -> dict[str, Any]:
    for name in reversed(keys):
        value = {name: value}
    return dict(value)


def _over(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Put values over others, also inside groups."""
    merged = dict(values)
    for name, value in more.items():
        below = merged.get(name)
        merged[name] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _says(values: Any, keys: Keys) -> bool:
    for name in keys:
        if not isinstance(values, Mapping):
            return True
        if name not in values:
            return False
        values = values[name]
    return True
