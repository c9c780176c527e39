"""The commands: the settings of each, made of the words behind it; and its help."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TypeVar

from pydantic import ValidationError

from synthcore.base.errors import SpecError
from synthcore.settings import commandline, configuration
from synthcore.settings.command import Command, settable
from synthcore.settings.helptext import helptext, usage
from synthcore.settings.homes import HOMES

Parsed = TypeVar("Parsed", bound=Command)


def model_of(command: str) -> type[Command]:
    """Import the settings of one command.

    Raises
    ------
    KeyError
        There is no such command.
    """
    module, name = HOMES[command]
    model: type[Command] = getattr(import_module(f"{__package__}.{module}"), name)
    return model


def models() -> Iterator[type[Command]]:
    """Import the settings of every command."""
    yield from map(model_of, HOMES)


def _on_stderr(line: str) -> None:
    sys.stderr.write(f"synthcore: {line}\n")


def help_of(model: type[Command]) -> str:
    """Say what a command is for, and list its flags."""
    return helptext(settable(model), model.command, model.examples, model.groups)


def parse(model: type[Parsed], arguments: list[str], say: Callable[[str], object] = _on_stderr) -> Parsed:
    """Build a command's settings from its command line.

    Parameters
    ----------
    model : type
        The command's.
    arguments : list of str
        The words behind the command.
    say : callable, optional
        Takes a line for each spelling that the next version drops.

    Raises
    ------
    SpecError
        A flag, variable or line of `synthcore.toml` is unknown or out of range; one line says which and why. Where
        something is missing, another shows how the command is used.
    """
    configuration.require_known_names([settable(one) for one in models()])
    given = commandline.read(model, arguments, model.command, say)
    try:
        return model(**commandline.nested(given))
    except ValidationError as error:
        usage_line = usage(settable(model), model.command, model.examples)
        raise SpecError(commandline.complaint(error, settable(model), given, usage_line)) from error
