"""What pydantic finds wrong with settings, in our words: where, what was given, what is allowed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from synthcore.base.masking import masked
from synthcore.base.quantities import Typed
from synthcore.base.spelling import meant

Path = tuple[str, ...]  #: of a setting in its model: ("audio", "notes")
Place = Callable[[Path], str]  #: names a setting as the reader knows it: as a flag, say
LONGEST = 100  #: characters of a value that are quoted

#: By pydantic's type of error: what follows the setting's name. `given` is the value, the rest is pydantic's context.
SENTENCES = {
    "int_type": "{given} is not a whole number",
    "int_parsing": "{given} is not a whole number",
    "int_parsing_size": "{given} is too large",
    "int_from_float": "{given} is not a whole number",
    "float_type": "{given} is not a number",
    "float_parsing": "{given} is not a number",
    "finite_number": "{given} is not a finite number",
    "bool_type": "{given} is neither true nor false",
    "bool_parsing": "{given} is neither true nor false",
    "string_type": "{given} is not text",
    "string_unicode": "{given} is not text",
    "string_too_long": "takes at most {max_length} characters, not {given}",
    "string_pattern_mismatch": "{given} is not {form}",
    "literal_error": "must be {choices}, not {given}{meant}",
    "greater_than": "must be more than {gt}, not {bare}",
    "greater_than_equal": "must be at least {ge}, not {bare}",
    "less_than": "must be less than {lt}, not {bare}",
    "less_than_equal": "must be at most {le}, not {bare}",
    "too_short": "takes {min_length} or more, not {actual_length}",
    "too_long": "takes {max_length} or fewer, not {actual_length}",
    "tuple_type": "{given} is not a list",
    "path_type": "{given} is not a path",
    "model_type": "{given} is not a table of settings",
    "model_attributes_type": "{given} is not a table of settings",
    "extra_forbidden": "is not a setting{meant}",
    "missing": "is missing",
    "frozen_instance": "can't be changed",
    "frozen_field": "can't be changed",
    "secret": "{complaint}",  # without the value, which may hold a password
}


def clash(sentence: str, *names: str) -> PydanticCustomError:
    """Make an error of settings that don't go together; `{name}` stands for a setting as the reader knows it."""
    return PydanticCustomError("clash", sentence, {"sentence": sentence} | {name: name for name in names})


def needs(what: str) -> PydanticCustomError:
    """Make an error of settings of which one must be given."""
    return PydanticCustomError("needs", "{what}", {"what": what})


def dotted(path: Path) -> str:
    """Name a setting as Python does."""
    return ".".join(path)


def explain(error: ValidationError, model: type[BaseModel], place: Place = dotted) -> str:
    """Put pydantic's findings into one line: which setting, what is wrong, and what was given.

    Parameters
    ----------
    error : ValidationError
        What was found.
    model : type
        The model that refused: it knows how its settings are written.
    place : callable, optional
        Names a setting as the reader knows it; by default as Python does.
    """
    found = error.errors(include_url=False)
    places = [one["loc"] for one in found]
    outer = {loc[:i] for loc in places for i in range(len(loc))}  # a list "lacks" an item that is merely wrong
    lines = (_line(one, model, place) for one in found if one["loc"] not in outer or not one["loc"])
    return "; ".join(dict.fromkeys(lines))


def field_of(model: type[BaseModel], path: Path) -> FieldInfo | None:
    """Find a setting in its model or in one of the model's groups."""
    if not path:
        return None
    fields = model.model_fields if len(path) == 1 else group_fields(model.model_fields.get(path[0]))
    return fields.get(path[-1])


def group_fields(field: FieldInfo | None) -> dict[str, FieldInfo]:
    """The settings in a group of settings; none if the field isn't a group."""
    annotation: Any = field.annotation if field else None
    is_group = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return dict(annotation.model_fields) if is_group else {}


def typed(field: FieldInfo | None) -> Typed | None:
    """Find how a setting is written."""
    return next((one for one in field.metadata if isinstance(one, Typed)), None) if field else None


def _line(found: ErrorDetails, model: type[BaseModel], place: Place) -> str:
    loc = list(itertools.takewhile(lambda part: isinstance(part, str), found["loc"]))
    path, inner = tuple(map(str, loc)), [str(part) for part in found["loc"][len(loc) :] if isinstance(part, str)]
    context = dict(found.get("ctx", {}))
    if found["type"] == "clash":
        return re.sub(r"\{([\w.]+)\}", lambda name: place((*path, *name[1].split("."))), context["sentence"])
    if found["type"] == "needs":
        return f"needs {found['msg']}"
    sentence = SENTENCES.get(found["type"]) or _own(found)
    numbers = [part for part in found["loc"] if isinstance(part, int)]
    is_table = bool(inner) or isinstance(found["input"], dict)  # of several: else the value itself says which it is
    row = f" {numbers[0] + 1}" if numbers and is_table else ""
    where = ": ".join([place(path) + row, *inner]) if path else "settings"
    return f"{where}: {sentence.format_map(_words(found, model, path))}"


def _own(found: ErrorDetails) -> str:
    """Take the words of our own validators, and quote the value where they don't."""
    text = found["msg"].removeprefix("Value error, ").replace("{", "{{").replace("}", "}}")
    if found["type"] == "quantity":
        return f"{{given}} {text}"
    return f"{text}, not {{given}}" if isinstance(found["input"], str | int | float) else text


def _words(found: ErrorDetails, model: type[BaseModel], path: Path) -> dict[str, Any]:
    context = dict(found.get("ctx", {}))
    given = context.get("given", found["input"])
    shown = masked(repr(given)) if isinstance(given, str | int | float) else f"a {type(given).__name__}"
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
    choices = context.get("expected", "").replace("'", "")
    near: list[str] = re.split(r", | or ", choices)
    if found["type"] == "extra_forbidden":
        near, given = list(group_fields(model.model_fields.get(path[0]))) if len(path) > 1 else [], path[-1]
    is_whole = found["loc"] == path  # else only a part of it is wrong, which is written differently
    written = typed(field_of(model, path)) if is_whole else None
    written = written or Typed(f"of the form {context.get('pattern')}")
    form = written.metavar + f", such as {written.example}" * bool(written.example)
    bare = shown[1:-1] if isinstance(given, str) else shown
    limits = {name: f"{limit:g}" for name, limit in context.items() if isinstance(limit, float)}
    words = {"given": shown, "bare": bare, "choices": choices, "form": form, "meant": meant(str(given), near)}
    return context | limits | words
