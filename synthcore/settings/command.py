"""What the settings of all commands share: where they come from, and the settings that several have.

One model serves them all, and the parameters of the command's flow too, so each default and description is written
once. A flag beats the environment (`SYNTHCORE_TIER`, `SYNTHCORE_RUN__MERGE`), which beats `synthcore.toml` in the
current folder. What several commands share (`Common`) can be set for all of them, as SYNTHCORE_DATA_DIR or at the top
of the file; what is set for one command, as SYNTHCORE_INGEST_DATA_DIR or in its table [ingest], beats that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from synthcore.base.addresses import Address, Place, local, place_of
from synthcore.base.messages import clash
from synthcore.base.places import default_data_dir
from synthcore.base.quantities import Count, Typed, whole_items
from synthcore.base.resources import resources
from synthcore.engine.capacity import RENDERERS, remark_on
from synthcore.settings import configuration
from synthcore.settings.commandline import CommandOnly
from synthcore.settings.configuration import Settable
from synthcore.settings.homes import HOMES


def _local(given: Any) -> Any:
    """Refuse what as a path would name something else: an address, and nothing, which is the current folder."""
    if given == "":
        raise ValueError("must name a file or folder")
    return local(place_of(given)) if isinstance(given, str | Address) else given


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _place_schema(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    def read(given: Any, as_path: ValidatorFunctionWrapHandler) -> Place:
        place = place_of(given) if isinstance(given, str | Address) else given
        return place if isinstance(place, Address) else as_path(given)

    written = core_schema.to_string_ser_schema()
    return core_schema.no_info_wrap_validator_function(read, handler(Path), serialization=written)


#: A file on this machine, or behind an address. Prefect's form shows it as any file.
AnyPlace = Annotated[Place, GetPydanticSchema(_place_schema)]
AbsolutePlace = Annotated[
    AnyPlace, AfterValidator(lambda place: place if isinstance(place, Address) else _absolute(place))
]
FILE, DIR = Typed("FILE"), Typed("DIR")
LocalPath = Annotated[Path, BeforeValidator(_local)]
AbsolutePath = Annotated[LocalPath, AfterValidator(_absolute)]
Paths = Annotated[tuple[AbsolutePath, ...], BeforeValidator(whole_items)]

# What several commands have, but not all.
CommunityDirs = Annotated[Paths, DIR, Field(description="Folder of presets; their rows come first. Repeatable.")]
Approximate = Annotated[bool, Field(description="Also presets that Vital plays differently from vita.")]
Factory = Annotated[bool, Field(description="Also Vital's factory presets, if Vital is installed here.")]
Html = Annotated[AbsolutePath | None, FILE, Field(description="Also write an HTML page to look at and listen to.")]
Refresh = Annotated[bool, Field(description="Do it again even if it is cached.")]


class RunnerSettings(BaseModel):
    """What runs tasks side by side."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    runner: Literal["threads", "dask", "slurm", "ray"] = Field(
        "threads", description="Threads of this machine, a Dask cluster, jobs of Slurm, or a Ray cluster."
    )
    runner_address: Annotated[str | None, Typed("HOST:PORT", "tcp://10.0.0.5:8786")] = Field(
        None,
        pattern=r"^(\w+://)?\S+:\d+$",
        description="Dask scheduler or head of Ray, such as tcp://host:8786 or host:6379; by default one is started.",
    )

    @field_validator("runner_address")
    @classmethod
    def _with_a_port_that_there_is(cls, address: str | None) -> str | None:
        # Here, because libraries take 99999 for another port, or try for minutes.
        if address and not 0 < int(address.rpartition(":")[2]) < 2**16:
            raise ValueError("takes a port from 1 to 65535")
        return address

    @model_validator(mode="after")
    def _addressed_where_there_is_a_scheduler(self) -> Self:
        if self.runner_address and self.runner not in ("dask", "ray"):
            raise clash("{runner_address} is for dask or ray: set {runner} to one", "runner_address", "runner")
        return self

    @property
    def is_elsewhere(self) -> bool:
        """Whether other machines may do the work."""
        return self.runner == "slurm" or self.runner_address is not None


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

    workers: Count = Field(
        RENDERERS, ge=1, le=1024, description="Renders at a time; by default one per core, if memory allows."
    )

    @property
    def remark(self) -> str:
        """What is to be said of more workers than fit here; nothing of others."""
        return remark_on(self.workers, resources())


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
        description="End a Prefect server that this run starts with the run. Otherwise it stays for 15 idle minutes.",
    )


class Batched(FlowCommand, Rendering):
    """A command whose work is done in batches, each of which is cached."""

    refresh: Refresh = False


class Common(FlowCommand, Rendering):
    """What means the same for every command that has it, and can be set for all of them at once."""

    model_config = ConfigDict(extra="ignore")


def settable(model: type[Command]) -> Settable:
    """Say where a command's settings can be set besides its flags."""
    shared = frozenset(Common.model_fields.keys() & model.model_fields.keys())
    return Settable(model, _table_of(model.command), shared, frozenset(map(_table_of, HOMES)))


def _table_of(command: str) -> str:
    """The command's table in the settings file; "" for generate, whose settings are in none."""
    return "" if command == "generate" else command
