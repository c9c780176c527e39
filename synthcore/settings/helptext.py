"""What `synthcore COMMAND --help` says, made from the command's model: the most used flags first, with examples."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from synthcore.settings.commandline import Flag, flags
from synthcore.settings.configuration import Settable

WIDTH = 79  #: so that nothing breaks at 80 columns
COLUMN = 25  #: where descriptions begin


def usage(settable: Settable, command: str, examples: Mapping[str, str]) -> str:
    """Make the usage line: what is needed, what is used most, and ... for the rest."""
    known = flags(settable.model)
    needed = [flag for flag in known if flag.positional or flag.field.is_required()]
    parts = [_needed(flag) for flag in needed]
    rest = [flag for flag in known if flag not in needed]
    line = f"usage: synthcore {command} {' '.join(parts)}".rstrip()
    for flag in (flag for flag in _first(known, examples) if flag not in needed):
        if len(line) + len(flag.shown) + len(" [] ...") > WIDTH:
            break
        line += f" [{flag.shown}]"
    return f"{line} ..." if len(rest) > line.count("[") else line


def helptext(settable: Settable, command: str, examples: Mapping[str, str], groups: Mapping[str, Sequence[str]]) -> str:
    """Make the whole help of a command.

    Parameters
    ----------
    settable : Settable
        Its model, and where else its settings come from.
    command : str
        Such as generate.
    examples : mapping
        The flags to show first, by dotted name, and an example of each.
    groups : mapping
        The settings under each heading, by dotted name, or by the name of a group. The others come last.
    """
    known = flags(settable.model)
    first = _first(known, examples)
    blocks = [usage(settable, command, examples), _paragraphs(settable.model.__doc__ or "")]
    blocks += _block("Used most" if len(first) < len(known) else "", first, settable, examples)
    rest = [flag for flag in known if flag not in first]
    for heading, names in groups.items():
        under = [flag for flag in rest if ".".join(flag.keys) in names or flag.keys[0] in names]
        blocks += _block(heading, under, settable)
        rest = [flag for flag in rest if flag not in under]
    blocks += _block("More", rest, settable)
    blocks.append(
        _paragraphs(
            "In brackets: the default. A flag beats its variable, which beats synthcore.toml in the current folder; "
            "docs/operations.md says what can be set for all commands at once."
        )
    )
    return "\n\n".join(blocks) + "\n"


def _first(known: Sequence[Flag], examples: Mapping[str, str]) -> list[Flag]:
    named = {".".join(flag.keys): flag for flag in known}
    positional = [flag for flag in known if flag.positional]
    return positional + [named[name] for name in examples if named[name] not in positional]


def _needed(flag: Flag) -> str:
    if not flag.positional:
        return flag.shown
    words = f"{flag.metavar} ..." if flag.is_list else flag.metavar
    return words if flag.field.is_required() else f"[{words}]"


def _block(
    heading: str, members: Sequence[Flag], settable: Settable, examples: Mapping[str, str] | None = None
) -> Iterator[str]:
    """One group: its flags, and their names elsewhere."""
    if not members:
        return
    lines = [f"{heading}:"] if heading else []
    for flag in members:
        lines += _entry(flag, (examples or {}).get(".".join(flag.keys), ""))
    yield "\n".join([*lines, *_elsewhere(members, settable)])


def _entry(flag: Flag, example: str) -> list[str]:
    names = flag.shown if flag.positional or flag.is_switch else f"{flag.name} {flag.metavar}"
    names = f"  {flag.short}, {names}" if flag.short else f"  {names}"
    text = " ".join((flag.field.description or "").split())
    default = _default(flag)
    text += f" [{default}]" * bool(default) + f" Example: {example}" * bool(example)
    lines = textwrap.wrap(text, WIDTH - COLUMN, break_long_words=False, break_on_hyphens=False)
    if len(names) > COLUMN - 1:
        return [names, *(" " * COLUMN + line for line in lines)]
    return [f"{names:{COLUMN}}{lines[0]}", *(" " * COLUMN + line for line in lines[1:])]


def _elsewhere(members: Sequence[Flag], settable: Settable) -> list[str]:
    """The variables of some flags, and their names in `synthcore.toml`."""
    variables = " ".join(settable.variable(flag.keys) for flag in members)
    tables: dict[str, list[str]] = {}
    for flag in members:
        tables.setdefault(settable.in_file(flag.keys).rpartition(".")[0], []).append(flag.keys[-1])
    file = " ".join(f"[{table}] {' '.join(names)}" if table else " ".join(names) for table, names in tables.items())
    return [*_listed("variables: ", variables), *_listed("synthcore.toml: ", file)]


def _listed(label: str, names: str) -> list[str]:
    wrapper = textwrap.TextWrapper(
        WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(label + names)


def _default(flag: Flag) -> str:
    """A default as a person would write it; "" where there is none, or where the description says it."""
    default: Any = flag.field.default
    if default in (PydanticUndefined, None, "", ()) or isinstance(default, bool):
        return ""
    if isinstance(default, tuple):
        return ",".join(map(str, default)) if isinstance(default[0], int | str) else ""
    if isinstance(default, float):
        return f"{default:g}"
    return str(default) if isinstance(default, int | str | Path) else ""


def _paragraphs(text: str) -> str:
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs)
