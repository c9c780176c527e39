"""What the reference says of flows and settings beyond their source: it is read from the objects themselves.

A flow's parameters are its command's settings, and a model's fields have their descriptions in `Field(...)`.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import re
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import griffe
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from synthcore.flows.running.form import descriptions


class Signatures(griffe.Extension):
    """Completes what griffe has read of the package."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Give a flow the parameters that it can be called with, and say what they are."""
        if not func.docstring or all(one.callable_path != "prefect.flow" for one in func.decorators):
            return
        parameters = inspect.signature(_object(func).fn, eval_str=True).parameters.values()
        func.parameters = griffe.Parameters(*map(_parameter, parameters))
        lines = (
            f"{one.name} : {written(one.annotation)}\n    {next(descriptions(one.annotation), '')}\n"
            for one in parameters
        )
        summary, blank, rest = func.docstring.value.partition("\n\n")
        func.docstring.value = f"{summary}\n\nParameters\n----------\n{''.join(lines)}{blank}{rest}"

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Give the fields of a model their types, defaults and descriptions."""
        model = _object(cls) if cls.parent is cls.module and _is_model(cls) else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return
        for name, field in model.model_fields.items():
            if (member := cls.members.get(name)) and isinstance(member, griffe.Attribute):
                default = field.get_default(call_default_factory=True)
                member.annotation = written(field.annotation)
                member.value = None if default is PydanticUndefined else _short(default)
                member.docstring = griffe.Docstring(field.description or "", parent=member)

    def on_attribute(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Give an attribute the comment above it, if that begins with #: as those for readers do."""
        if attr.docstring or not attr.lineno or not isinstance(attr.filepath, Path):
            return
        above = reversed(attr.lines_collection[attr.filepath][: attr.lineno - 1])
        lines = [*itertools.takewhile(lambda line: line.lstrip().startswith("#:"), above)][::-1]
        if lines:
            attr.docstring = griffe.Docstring("\n".join(line.lstrip(" #:") for line in lines), parent=attr)


def written(hint: Any) -> str:
    """Write a type as its reader would: without what validates it, and without modules."""
    (plain,) = get_type_hints(SimpleNamespace(__annotations__={"it": hint})).values()
    if get_origin(plain) in (Union, UnionType):
        return " | ".join(map(written, get_args(plain)))
    return "None" if plain is NoneType else re.sub(r"\b(?:[a-z_]\w*\.)+", "", inspect.formatannotation(plain))


def _parameter(parameter: inspect.Parameter) -> griffe.Parameter:
    default = None if parameter.default is parameter.empty else _short(parameter.default)
    return griffe.Parameter(parameter.name, kind=griffe.ParameterKind.positional_or_keyword, default=default)


def _short(default: Any) -> str:
    """Write a default; a model has a page of its own, which says its defaults."""
    return f"{type(default).__name__}()" if isinstance(default, BaseModel) else repr(default)


def _is_model(cls: griffe.Class) -> bool:
    """Whether a class may be pydantic's: only then is it worth importing."""
    members = cls.members.values()
    return any("Field(" in str(member.value) for member in members if isinstance(member, griffe.Attribute))


def _object(found: griffe.Object) -> Any:
    logging.disable(logging.WARNING)  # Prefect reads docstrings with griffe too, and needs no types in them
    try:
        return getattr(importlib.import_module(found.module.path), found.name)
    finally:
        logging.disable(logging.NOTSET)
