"""The form that Prefect's UI shows for a flow: ranges and choices are the types'; descriptions it reads elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from synthcore.base.errors import SpecError
from synthcore.base.messages import explain
from synthcore.settings.models import Common

RunDataset = Annotated[
    Path | None,
    Field(description="The dataset. By default DATA_DIR/tier1-seed0.h5, which generate/tier1-1k makes."),
]
Settings = TypeVar("Settings", bound=BaseModel)
Function = TypeVar("Function", bound=Callable[..., Any])


def described(function: Function) -> Function:
    """Put the descriptions of the parameters' types into the docstring, where Prefect looks for them."""
    hints = get_type_hints(function, include_extras=True)
    told = {name: next(_descriptions(hints[name]), None) for name in inspect.signature(function).parameters}
    lines = "".join(f"\n    {name}: {description}" for name, description in told.items() if description)
    function.__doc__ = f"{inspect.getdoc(function)}\n\nArgs:{lines}\n"
    return function


def settings_from(model: type[Settings], parameters: Mapping[str, Any]) -> Settings:
    """Make settings of what a flow was asked: its `locals()`, before it has named anything else.

    Left out, what commands share is the worker's own: a deployment doesn't know where it will run.

    Raises
    ------
    SpecError
        A parameter is out of range, or clashes with another.
    """
    try:
        return model(**{k: v for k, v in parameters.items() if k not in Common.model_fields or v is not None})
    except ValidationError as error:
        raise SpecError(explain(error, model)) from error


def dataset_of(file: Path | str | None, data_dir: Path | None = None) -> Path:
    """The dataset that a run is about, by default the first one that people make in the worker's data directory.

    Raises
    ------
    SpecError
        As `settings_from`, of the worker's own settings.
    """
    return Path(file) if file else (data_dir or settings_from(Common, {}).data_dir) / "tier1-seed0.h5"


def _descriptions(hint: Any) -> Iterator[str]:
    """Find the descriptions within a type, outermost first."""
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, FieldInfo) and part.description:
            yield part.description
    for part in get_args(hint):
        yield from _descriptions(part)
