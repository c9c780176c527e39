"""What all commands share: how a command line, the environment and `synthcore.toml` become a command's settings.

One model serves them all, and the parameters of the command's flow too, so each default and description is written
once. A flag beats the environment (`SYNTHCORE_TIER`, `SYNTHCORE_RUN__MERGE`), which beats `synthcore.toml` in the
current folder. What several commands share (`Common`) can be set for all of them, as SYNTHCORE_DATA_DIR or at the top
of the file; what is set for one command, as SYNTHCORE_INGEST_DATA_DIR or in its table [ingest], beats that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from synthcore.base.errors import SpecError
from synthcore.base.quantities import Count, Typed, whole_items
from synthcore.engine.turns import CORES
from synthcore.settings import commandline, configuration
from synthcore.settings.commandline import CommandOnly
from synthcore.settings.commands import HOMES, models
from synthcore.settings.configuration import Settable
from synthcore.settings.helptext import helptext, usage


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


FILE, DIR = Typed("FILE"), Typed("DIR")
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Paths = Annotated[tuple[AbsolutePath, ...], BeforeValidator(whole_items)]

# What several commands have, but not all.
CommunityDirs = Annotated[Paths, DIR, Field(description="Folder of presets; their rows come first. Repeatable.")]
Approximate = Annotated[bool, Field(description="Also presets that Vital plays differently from vita.")]
Factory = Annotated[bool, Field(description="Also Vital's own, if it is installed here.")]
Html = Annotated[AbsolutePath | None, FILE, Field(description="Also write one HTML file to look at and listen to.")]
Refresh = Annotated[bool, Field(description="Do it again, even if it is cached.")]


def default_data_dir() -> Path:
    """The one place for shards, caches and results, whatever the working directory.

    The checkout's `data/`; where the package was installed without one, the user's data directory.
    """
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    return Path(platformdirs.user_data_path("synthcore"))


class Command(BaseModel):
    """What every command has: how it answers, and where its settings come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    command: ClassVar[str] = ""  #: the word behind synthcore
    examples: ClassVar[Mapping[str, str]] = {}  #: of the flags that --help shows first
    groups: ClassVar[Mapping[str, Sequence[str]]] = {}  #: of the others, by heading

    as_json: Annotated[bool, CommandOnly()] = Field(
        False, description="Print JSON on stdout, everything else on stderr."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_what_is_set_beforehand(cls, given: Any) -> Any:
        return configuration.configured(settable(cls), given) if isinstance(given, dict) else given


class Rendering(Command):
    """A command that renders."""

    workers: Count = Field(CORES, ge=1, le=1024, description="Renders at a time; by default one for each core.")


class Cached(Command):
    """A command that uses a data directory."""

    data_dir: Annotated[AbsolutePath, DIR] = Field(
        default_factory=default_data_dir,
        description="Folder for shards, caches and results. By default the checkout's data/, else your data folder.",
    )

    @property
    def results_dir(self) -> Path:
        """Where Prefect keeps what tasks returned: JSON, beside the shards that it refers to."""
        return self.data_dir / "results"


class FlowCommand(Cached):
    """A command that runs a flow."""

    keep: Annotated[bool, CommandOnly()] = Field(
        True,
        description="Let a Prefect server that is started for this run stay for the next ones, 15 idle minutes.",
    )


class Common(FlowCommand, Rendering):
    """What means the same to every command that has it, and can be set for all of them at once."""

    model_config = ConfigDict(extra="ignore")


Parsed = TypeVar("Parsed", bound=Command)


def settable(model: type[Command]) -> Settable:
    """Say where else a command's settings come from."""
    shared = frozenset(Common.model_fields.keys() & model.model_fields.keys())
    return Settable(model, _table_of(model.command), shared, frozenset(map(_table_of, HOMES)))


def _table_of(command: str) -> str:
    """The command's table in the settings file; "" for generate, whose settings are in none."""
    return "" if command == "generate" else command


def _on_stderr(line: str) -> None:
    sys.stderr.write(f"synthcore: {line}\n")


def help_of(model: type[Command]) -> str:
    """Tell what a command is for, and its flags."""
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
        Given a line for each spelling that goes with the next version.

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
