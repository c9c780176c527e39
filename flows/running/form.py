"""A flow's parameters, made from its command's settings: what it can be called with, and what Prefect's form shows.

Prefect reads names, types, ranges and defaults off the signature, and the descriptions out of the docstring.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from synthcore.base.addresses import Place, place_of
from synthcore.base.errors import SpecError
from synthcore.base.messages import explain
from synthcore.settings.command import AnyPlace, Batched, Cached, Command, Common
from synthcore.settings.commandline import CommandOnly, Hidden

RunDataset = Annotated[
    AnyPlace | None,
    Field(description="The dataset. By default DATA_DIR/tier1-seed0.h5, which generate/tier1-1k makes."),
]
FIRST_DATASET = "tier1-seed0.h5"  #: what generate makes of a spec's defaults
Model = TypeVar("Model", bound=BaseModel)
Settings = TypeVar("Settings", bound=Command)
Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])


class Parameters(inspect.Signature):
    """A signature that shows names and defaults. The types say too much for a line; Prefect's form shows them."""

    def __str__(self) -> str:
        return str(inspect.Signature([one.replace(annotation=one.empty) for one in self.parameters.values()]))


def parameters_of(
    model: type[Settings], *, first: Sequence[str] = (), dataset: str = ""
) -> Callable[[Callable[[Settings], Result]], Callable[..., Result]]:
    """Let a flow be called with each setting of its command, and give it the settings. Stands below Prefect's `flow`.

    Parameters
    ----------
    model : type
        The command's. Its `CommandOnly` and `Hidden` settings are no parameters.
    first : sequence of str, optional
        The parameters in front. The model's others follow, and then what commands share: left out, that is the
        worker's own, because a deployment doesn't know where it will run.
    dataset : str, optional
        The parameter that is the dataset. It may be left out as well: see `dataset_of`.
    """
    signature = Parameters([_parameter(model, name, dataset) for name in _names(model, first)])

    def decorate(function: Callable[[Settings], Result]) -> Callable[..., Result]:
        @functools.wraps(function)
        def flow_function(*arguments: Any, **parameters: Any) -> Result:
            given = signature.bind(*arguments, **parameters)
            given.apply_defaults()
            return function(_settings_from(model, given.arguments, dataset))

        returned = inspect.signature(function).return_annotation
        flow_function.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
        return described(flow_function)

    return decorate


def described(function: Function) -> Function:
    """Put the descriptions of the parameters' types into the docstring, where Prefect looks for them."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    texts = {one.name: next(descriptions(one.annotation), None) for one in parameters}
    lines = "".join(f"\n    {name}: {text}" for name, text in texts.items() if text)
    function.__doc__ = f"{inspect.getdoc(function)}\n\nArgs:{lines}\n"
    return function


def settings_from(model: type[Model], parameters: Mapping[str, Any]) -> Model:
    """Make settings of a flow's parameters. What commands share is the worker's own where it is None.

    Raises
    ------
    SpecError
        A parameter is out of range, or clashes with another.
    """
    try:
        return model(**{k: v for k, v in parameters.items() if k not in Common.model_fields or v is not None})
    except ValidationError as error:
        raise SpecError(explain(error, model)) from error


def dataset_of(file: Place | str | None) -> Place:
    """The dataset that a run is about, by default the first one that people make in the worker's data directory.

    Raises
    ------
    SpecError
        As `settings_from`, of the worker's own settings.
    """
    return place_of(file) if file else settings_from(Common, {}).data_dir / FIRST_DATASET


def _settings_from(model: type[Settings], parameters: Mapping[str, Any], dataset: str) -> Settings:
    """Make settings of parameters, one of which may be a dataset that was left out."""
    if not dataset or parameters[dataset]:
        return settings_from(model, parameters)
    settings = settings_from(model, {**parameters, dataset: FIRST_DATASET})
    # Where the command's own setting says, which beats the common one.
    file = settings.data_dir / FIRST_DATASET if isinstance(settings, Cached) else dataset_of(None)
    return settings.model_copy(update={dataset: file})


def _names(model: type[Command], first: Sequence[str]) -> list[str]:
    """The settings that are parameters, in their order."""
    fields = model.model_fields.items()
    names = [n for n, field in fields if not any(isinstance(one, CommandOnly | Hidden) for one in field.metadata)]
    rest = [name for name in names if name not in first]
    shared = Counter([*Batched.model_fields, *Common.model_fields])  # the more commands share one, the later it comes
    return [*first, *sorted(rest, key=lambda name: shared[name])]


def _parameter(model: type[Command], name: str, dataset: str) -> inspect.Parameter:
    field = model.model_fields[name]
    text = Field(description=field.description, validate_default=field.validate_default)
    annotation: Any = Annotated[(field.annotation, *field.metadata, text)]
    default: Any = None
    if name == dataset:
        annotation = RunDataset
    elif name in Common.model_fields:
        annotation = annotation | None
    elif field.is_required():
        default = inspect.Parameter.empty
    else:
        default = field.get_default(call_default_factory=True)
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def descriptions(hint: Any) -> Iterator[str]:
    """Find the descriptions within a type, outermost first."""
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, FieldInfo) and part.description:
            yield part.description
    for part in get_args(hint):
        yield from descriptions(part)
