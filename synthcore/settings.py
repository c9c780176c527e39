"""What can be asked for, and where and how it is done: flags, environment, `synthcore.toml` and flow parameters.

One model serves them all, so a default or a description is written once. A flag beats the environment
(`SYNTHCORE_TIER`, `SYNTHCORE_RUN__MERGE`), which beats `synthcore.toml` in the current folder. What several commands
share (`Common`) is said for all of them, as SYNTHCORE_DATA_DIR or at the top of the file; what is said of one command
alone, as SYNTHCORE_INGEST_DATA_DIR or in its table [ingest], beats it.
"""

from __future__ import annotations

import difflib
import os
import re
import textwrap
import tomllib
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliPositionalArg,
    CliSettingsSource,
    CliSuppress,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from synthcore.errors import SpecError
from synthcore.presets.masking import masked
from synthcore.presets.sources import KNOWN, Sources
from synthcore.presets.transfer import Limits
from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec, Digest
from synthcore.storage import MergeMode


def _absolute(path: Path | None) -> Path | None:
    return path and path.expanduser().absolute()


SETTINGS_FILE = Path("synthcore.toml")  #: in the current folder
Output = Annotated[
    Path | None,
    AfterValidator(_absolute),
    Field(description="The file to make. By default DATA_DIR/tier1-seed0.h5 or alike."),
]
RequiredOutput = Annotated[Path, AfterValidator(_absolute), Field(description="The file to make.")]
CatalogFile = Annotated[
    Path | None,
    AfterValidator(_absolute),
    Field(description="Wavetable catalog that discover-wt made. By default the built-in one."),
]
CommunityDirs = Annotated[
    tuple[Annotated[Path, AfterValidator(_absolute)], ...],
    Field(description="Folder of presets (.vital, .vitalbank), whose rows come first. Can be given again."),
]
PresetDirs = Annotated[
    tuple[Annotated[Path, AfterValidator(_absolute)], ...],
    Field(description="Folders of presets; also single presets, banks and zip archives."),
]
CollectionFile = Annotated[
    Path | None,
    AfterValidator(_absolute),
    Field(description="The file to make. By default DATA_DIR/presets.h5."),
]
Check = Annotated[bool, Field(description="Render each preset and its patch, and say how near they are.")]
Approximate = Annotated[
    bool, Field(description="Also presets that Vital plays differently: they use what it has and vita lacks.")
]
Factory = Annotated[bool, Field(description="Also the factory presets, if Vital is installed here.")]
Repos = Annotated[bool, Field(description="Also the presets of the repositories that download-presets knows.")]
PresetsDir = Annotated[
    Path,
    AfterValidator(_absolute),
    Field(description="Folder in which each source gets a folder of its own.", validate_default=True),
]
CatalogOutput = Annotated[
    Path | None, AfterValidator(_absolute), Field(description="The catalog to make. By default DATA_DIR/catalog.json.")
]
ExtraDirs = Annotated[
    tuple[Annotated[Path, AfterValidator(_absolute)], ...],
    Field(description="Folder to search besides Vital's own. Can be given again."),
]
ExtraFiles = Annotated[
    tuple[Annotated[Path, AfterValidator(_absolute)], ...],
    Field(description="File to read: .vital, .vitalbank, .vitaltable, .wav or .zip. Can be given again."),
]
Strict = Annotated[bool, Field(description="Fail when one source fails, not only when all do.")]
GrowBy = Annotated[
    int,
    Field(ge=0, description="Rows to add to the output. If there is none yet, n-samples says how many to begin with."),
]
WeighedFile = Annotated[
    Path, AfterValidator(_absolute), Field(description="The dataset; its weights are written into it.")
]
Bases = Annotated[
    int, Field(ge=1, description="Rows whose controls are moved, drawn from the dataset; all if it has fewer.")
]
BASES = 500  #: at tier 1 about 40 minutes on two quiet cores, at tier 2 four hours
Weights = Annotated[
    int, Field(ge=0, description="Compute importance weights from so many rows as the last step; 0 for none.")
]
DatasetFile = Annotated[Path, Field(description="The dataset or shard.")]
OtherFile = Annotated[
    Path | None, Field(description="Another dataset: say how the two differ, and what they have in common.")
]
Row = Annotated[int | None, Field(description="Describe one row in words instead.")]
InWhole = Annotated[bool, Field(description="With --row: what can't be heard as well, marked.")]
Html = Annotated[
    Path | None,
    AfterValidator(_absolute),
    Field(description="Write a page to look at and listen to as well: one HTML file that needs nothing else."),
]
RowsToExport = Annotated[
    tuple[int, ...],
    Field(min_length=1, description="Which row; several as 3,5,8. Negative ones count from the end."),
]
ExportDir = Annotated[Path, AfterValidator(_absolute), Field(description="Folder for the files; made if need be.")]
RowsToVerify = Annotated[int, Field(ge=1, description="How many rows, drawn at random.")]
EveryRow = Annotated[bool, Field(description="Every row.")]
OfActivity = Annotated[
    bool,
    Field(description="Move controls of the rows instead: what the file calls inactive must not change the sound."),
]
ControlsToMove = Annotated[
    int,
    Field(ge=1, description="With --activity: how many controls of a row, of the active and of the inactive ones."),
]
ToleranceDb = Annotated[float, Field(description="On another type of machine: allowed error, relative to the row.")]
Port = Annotated[int, Field(ge=1, le=65_535, description="Port of the Prefect server, on this machine alone.")]
AsJson = Annotated[bool, Field(description="Print one JSON document on stdout, everything else on stderr.")]
Workers = Annotated[int, Field(ge=1, le=1024, description="Renders at a time; by default one for each core.")]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_data_dir() -> Path:
    """The one place for shards, caches and results, whatever the working directory.

    The checkout's `data/`; where the package was installed without one, the user's data directory.
    """
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    return Path(platformdirs.user_data_path("synthcore"))


DataDir = Annotated[
    Path,
    AfterValidator(_absolute),
    Field(description="Folder for shards, caches and results. By default the checkout's data/, else your data folder."),
]


#: Steps that are cached, by the name under which they are done again.
Step = Literal["clone", "ingest", "render", "merge", "weights", "all"]
Refresh = Annotated[bool, Field(description="Do it again, even if it is cached.")]


class RunSettings(BaseModel):
    """How it is done; none of this changes a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_per_shard: int = Field(
        192, ge=1, le=100_000, description="Rows in a shard, the unit of work. Another size makes other shards."
    )
    merge: MergeMode = Field("copy", description="Copy the audio into the output, or only refer to the shards.")
    chunk_rows: int = Field(1, ge=1, le=4096, description="Audio rows to an HDF5 chunk of the output.")
    render_timeout: float = Field(5.0, gt=0, description="Wall-clock seconds for one render before it is tried again.")
    retries: int = Field(2, ge=0, le=100, description="How often a shard that met with accidents is tried again.")
    overwrite: bool = Field(False, description="Replace an output that was made from another spec, or is longer.")
    runner: Literal["threads", "dask"] = Field(
        "threads", description="What renders shards side by side: threads of this machine, or a Dask cluster."
    )
    runner_address: str | None = Field(
        None,
        pattern=r"^(\w+://)?\S+:\d+$",
        description="Dask scheduler, as in tcp://host:8786. By default a cluster of this machine, for this run.",
    )
    distribute: str | None = Field(
        None,
        pattern=r"^pool:[^/%&<>]+$",
        description="pool:NAME lets workers of that work pool render, as runs of the deployment render-shards/NAME.",
    )
    batch: int = Field(50, ge=1, le=1_000, description="Shards in each run that distribute submits.")
    lost_after: float = Field(
        600.0, gt=0, description="Seconds without a finished shard after which a submitted run counts as lost."
    )
    allow_partial: bool = Field(
        False, description="Merge even if shards failed for good; the file says what it lacks in its attribute gaps."
    )
    refresh: tuple[Step, ...] = Field((), description="Do this step again, even if it is cached. Can be given again.")

    def refreshes(self, step: Step) -> bool:
        """Whether a step is to be done again though it is cached."""
        return step in self.refresh or "all" in self.refresh

    @model_validator(mode="after")
    def _copied_where_chunked(self) -> RunSettings:
        if self.merge == "virtual" and self.chunk_rows != 1:
            raise ValueError("chunk_rows belongs to a copy: a virtual merge leaves the audio in the shards")
        return self

    @model_validator(mode="after")
    def _rendered_in_one_way(self) -> RunSettings:
        if self.runner_address and self.runner != "dask":
            raise ValueError("runner_address belongs to the runner dask: add --runner dask")
        if self.distribute and self.runner != "threads":
            raise ValueError("distribute leaves the rendering to a work pool: leave out --runner")
        if self.distribute and self.refreshes("render"):
            raise ValueError("distribute asks for shards that aren't there: leave it out to refresh those that are")
        return self


def _command(name: str, shortcuts: dict[str, str] | None = None) -> SettingsConfigDict:
    return SettingsConfigDict(
        cli_prog_name=f"synthcore {name}",
        cli_shortcuts={**(shortcuts or {}), "as-json": "json"},
        env_prefix=f"SYNTHCORE_{name.replace('-', '_').upper()}_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
        cli_use_class_docs_for_groups=True,
        extra="forbid",
        frozen=True,
    )


def _shortcuts(group: str, model: type[BaseModel]) -> dict[str, str]:
    """Let `--run.merge` be written `--merge`."""
    names = [name.replace("_", "-") for name in model.model_fields]
    return {f"{group}.{name}": name for name in names}


class _Command(BaseSettings):
    """What every command has: how it answers, and where its settings come from."""

    as_json: AsJson = False

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read no .env and no secrets: flags, environment, synthcore.toml; its own part before the common one."""
        file, shared = _settings_file(), Common.model_fields.keys() & settings_cls.model_fields.keys()
        in_environment = {name: value for name, value in EnvSettingsSource(Common)().items() if name in shared}
        at_the_top = {name: value for name, value in file.items() if name in shared}
        further = (in_environment, _part_of(file, settings_cls), at_the_top)
        return init_settings, env_settings, *(InitSettingsSource(settings_cls, fields) for fields in further)


class _Rendering(_Command):
    """A command that renders."""

    workers: Workers = CORES


class _Cached(_Command):
    """A command that uses a data directory."""

    data_dir: DataDir = Field(default_factory=default_data_dir)

    @property
    def results_dir(self) -> Path:
        """Where Prefect keeps what tasks returned: JSON, beside the shards that it refers to."""
        return self.data_dir / "results"


class Common(_Cached, _Rendering):
    """What means the same to every command that has it, and can be set for all of them at once."""

    model_config = SettingsConfigDict(
        env_prefix="SYNTHCORE_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        nested_model_default_partial_update=True,
    )


class Generate(_Cached, _Rendering, DatasetSpec):
    """Make a dataset of (audio, parameters) pairs, or continue one.

    Running the same command again continues where it stopped; a larger -n extends the file. Every flag can also be
    set in the environment (SYNTHCORE_TIER=2, SYNTHCORE_DATA_DIR=/data) or in ./synthcore.toml.
    """

    model_config = _command(
        "generate",
        {
            "n-samples": "n",
            "output": "o",
            **_shortcuts("audio", AudioSpec),
            **_shortcuts("acceptance", AcceptanceSpec),
            **_shortcuts("run", RunSettings),
        },
    ) | SettingsConfigDict(env_prefix="SYNTHCORE_")

    catalog_digest: CliSuppress[Digest] = Field("", description="Found out by the flow.")
    presets_digest: CliSuppress[Digest] = Field("", description="Found out by the flow.")
    catalog: CatalogFile = None
    community_dir: CommunityDirs = ()
    factory: Factory = False
    repos: Repos = False
    approximate: Approximate = False
    output: Output = None
    grow_by: GrowBy = 0
    weights: Weights = 0
    html: Html = None
    run: RunSettings = Field(default_factory=RunSettings)

    @model_validator(mode="after")
    def _variations_are_of_presets(self) -> Generate:
        if self.variations and not self.has_presets:
            raise ValueError("variations are made from presets: name a folder of them with --community-dir as well")
        return self

    @model_validator(mode="after")
    def _grows_or_replaces(self) -> Generate:
        if self.grow_by and self.run.overwrite:
            raise ValueError("grow_by continues the output, and overwrite replaces it: choose one")
        return self

    @property
    def has_presets(self) -> bool:
        """Whether rows are to be made from presets as well."""
        return bool(self.community_dir or self.factory or self.repos)

    def spec_of(self, catalog_digest: str, presets_digest: str) -> DatasetSpec:
        """The part that says what the dataset is, with what was found."""
        found = {"catalog_digest": catalog_digest, "presets_digest": presets_digest}
        return DatasetSpec(**{name: getattr(self, name) for name in DatasetSpec.model_fields} | found)

    @property
    def output_path(self) -> Path:
        """The file to make, absolute."""
        return self.output or self.data_dir / f"{self.kind.replace('-', '')}-seed{self.seed}.h5"


class RenderShards(Common):
    """Where and how a worker renders the shards it is given. Its own environment says where, as SYNTHCORE_DATA_DIR."""

    run: RunSettings = Field(default_factory=RunSettings)


class Inspect(_Command):
    """Say what is in a dataset: spec, provenance, faults, acceptance, coverage, distributions."""

    model_config = _command("inspect")

    file: CliPositionalArg[DatasetFile]
    other: CliPositionalArg[OtherFile] = None
    row: Row = None
    all: InWhole = False
    html: Html = None

    @model_validator(mode="after")
    def _of_all_rows(self) -> Inspect:
        if self.all and self.row is None:
            raise ValueError("all is about one row: name it with --row, or leave out --all")
        if self.other and self.row is not None:
            raise ValueError("row is one of one dataset: leave out --row, or the other dataset")
        if self.html and self.row is not None:
            raise ValueError("html is a page of the whole dataset: leave out --row, or --html")
        return self


class Verify(_Rendering):
    """Render rows again from their stored labels alone, and compare bit for bit.

    Exits with 1 when a row differs, and names it. On another type of machine than the file was made on, where
    bits may differ, the difference is measured against a tolerance instead.

    With --activity it holds the rules by which controls are called inactive against the synth: each control is moved
    alone, and the row rendered before and after. Exits with 1 when an inactive one changed a bit.
    """

    model_config = _command("verify")

    file: CliPositionalArg[DatasetFile]
    rows: RowsToVerify = 10
    all: EveryRow = False
    tolerance_db: ToleranceDb = -60.0
    activity: OfActivity = False
    controls: ControlsToMove = 20


class DownloadPresets(_Cached):
    """Download the presets of public repositories and archives, each into a folder that says where it is from.

    A source that can't be had is reported, and the others still come. Running the same command again downloads only
    what changed. Other sources than the known ones can be listed in ./synthcore.toml, each as a table
    [[download-presets.sources]] with url, ref, licence and sha256, or given as JSON.
    """

    model_config = _command("download-presets", {"output": "o", **_shortcuts("limits", Limits)})

    output: PresetsDir = Path("presets/community")
    sources: Sources = KNOWN
    strict: Strict = False
    refresh: Refresh = False
    limits: Limits = Field(default_factory=Limits)


class DiscoverWavetables(_Cached):
    """Make a wavetable catalog of what is built in, and of what Vital's folders and the ones given hold.

    A .wav is a wavetable if it is 1 to 257 whole frames, of as many samples as its clm chunk says, or else of 2,048.
    Finding nothing is no failure: then the catalog is the built-in one. Nothing but the catalog is written.
    """

    model_config = _command("discover-wt", {"output": "o"})

    output: CatalogOutput = None
    extra_dir: ExtraDirs = ()
    extra_file: ExtraFiles = ()
    refresh: Refresh = False

    @property
    def output_path(self) -> Path:
        """The catalog to make, absolute."""
        return self.output or self.data_dir / "catalog.json"


class Ingest(_Cached, _Rendering):
    """Read presets that people wrote (.vital, .vitalbank, zip) into one file of patches, each sound once.

    Whatever the synth wouldn't survive is refused before it gets there, and named with its reason. Beside the file
    lies a report of every preset as JSON.
    """

    model_config = _command("ingest", {"output": "o"})

    folders: CliPositionalArg[PresetDirs] = ()
    factory: Factory = False
    output: CollectionFile = None
    check: Check = False
    approximate: Approximate = False
    refresh: Refresh = False

    @model_validator(mode="after")
    def _of_something(self) -> Ingest:
        if not self.folders and not self.factory:
            raise ValueError("name a folder of presets: synthcore ingest DIR, or --factory")
        return self

    @property
    def output_path(self) -> Path:
        """The file to make, absolute."""
        return self.output or self.data_dir / "presets.h5"


class CacheCommand(_Cached):
    """List what lies in the data directory, remove what no run would find again, or read every shard.

    list says size, age and spec of what is cached, and whether a run would find it. prune removes half-written files,
    shards that no record knows, and records of what is gone; never a dataset, nor a shard that one refers to. verify
    exits with 1 when a shard is damaged; a run that needs it renders it again.
    """

    model_config = _command("cache")

    action: CliPositionalArg[Literal["list", "prune", "verify"]] = Field(description="What to do.")
    older_than: float = Field(1.0, ge=0, description="prune: spare what is younger, in hours.")
    spec: str = Field(
        "", pattern="^[0-9a-f]*$", description="prune: also every shard of this spec; list shows fingerprints."
    )
    other_engines: bool = Field(
        False, description="prune: also what another synth, machine or version made; it may be in use there."
    )
    dry_run: bool = Field(False, description="prune: only say what would be removed.")


class Doctor(_Cached):
    """Say what is wrong with this installation or a data directory, and what to do.

    It looks at the system, the packages, the synth (which renders a note twice), Prefect and its server, and reads
    every shard that is remembered. Exits with 1 when something stands in the way of a run.
    """

    model_config = _command("doctor")

    repair: bool = Field(
        False,
        description="Remove what is provably stale: files that a killed run left half-written, damaged shards, "
        "records of what is gone. A run makes again what it needs of them.",
    )


class ComputeWeights(_Cached, _Rendering):
    """Measure how much each control moves the sound, and write it into the dataset as weights for a training loss.

    Of rows drawn from the dataset, each control that can be heard is moved a step both ways, or to other options, and
    the sounds are compared with synthcore.distance. Running the same command again measures nothing; a larger n-base
    goes on from what is there.
    """

    model_config = _command("compute-weights", {"output": "o"})

    output: WeighedFile
    n_base: Bases = BASES
    refresh: Refresh = False


class WriteRecipe(_Command):
    """Write a dataset without its audio, and without the wavetables, LFO shapes, samples and curves of other people.

    What is left can be shared freely: labels, measurements, hashes and where each preset is from. Whoever has the
    presets makes the audio again with synthcore render.
    """

    model_config = _command("recipe", {"output": "o"})

    file: CliPositionalArg[Path] = Field(description="The dataset.")
    output: RequiredOutput


class RenderRecipe(_Rendering):
    """Make a dataset again from its recipe and the presets it was made from, and say whether it is the same.

    Exits with 1 when a row's audio differs on the type of machine that the recipe was made on.
    """

    model_config = _command("render", {"output": "o"})

    file: CliPositionalArg[Path] = Field(description="The recipe.")
    output: RequiredOutput
    assets: CommunityDirs = Field(
        (), description="Folder of presets, or catalog that discover-wt made. Can be given again."
    )


class Export(_Command):
    """Write rows of a dataset as a .wav, the very samples in 32-bit float, and a .vital preset that plays them.

    The preset has the keys and types of one that Vital 1.0 saved, and says so: later ones bring it to their own
    numbers. Read again with synthcore ingest it is the same patch, with the same audio. It was not tried in Vital
    itself.
    """

    model_config = _command("export", {"output": "o"})

    file: CliPositionalArg[DatasetFile]
    row: RowsToExport
    output: ExportDir


class Up(_Command):
    """Keep a Prefect server, all deployments and a worker running in the background; down ends them.

    A server that answers at the port already is used, and left alone by down. What is running already stays as it is.
    """

    model_config = _command("up")

    port: Port = 4200


class Down(_Command):
    """End what up started, and nothing else: the worker with its runs, then the server. Nothing on disk is lost."""

    model_config = _command("down")


def _settings_file() -> dict[str, Any]:
    """Read all of `synthcore.toml` in the current folder, if there is one."""
    if not SETTINGS_FILE.exists():
        return {}
    try:
        return tomllib.loads(SETTINGS_FILE.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{SETTINGS_FILE} in this folder can't be read: {error.strerror}") from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise SpecError(f"{SETTINGS_FILE} in this folder is not TOML: {error}") from error


def _table_of(model: type[BaseSettings]) -> str:
    """The command's table in the settings file; "" for generate, whose settings are in none."""
    name = (model.model_config["cli_prog_name"] or "").removeprefix("synthcore ")
    return "" if name == "generate" else name


def _part_of(file: Mapping[str, Any], model: type[BaseSettings]) -> dict[str, Any]:
    """What the settings file says of one command alone."""
    table = _table_of(model)
    if not table:
        return {name: value for name, value in file.items() if name not in map(_table_of, _commands())}
    part = file.get(table, {})
    if not isinstance(part, dict):
        raise SpecError(f"{table} in {SETTINGS_FILE} is not a table: begin it with [{table}]")
    return part


class _Paragraphs(RawDescriptionHelpFormatter):
    """Fits what a model says of itself to the terminal, paragraph by paragraph."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
        return "\n\n".join(textwrap.fill(p, width, initial_indent=indent) for p in paragraphs)

    def _get_help_string(self, action: Action) -> str | None:
        """Leave out the name of the function that makes a default: the description says what comes of it."""
        return re.sub(r" \(default factory: \w+\)$", "", action.help or "")


def parse(model: type[BaseSettings], arguments: list[str]) -> Any:
    """Build a command's settings from its command line.

    Raises
    ------
    SpecError
        A flag, variable or line of `synthcore.toml` is unknown or out of range; one line says which and why.
    """
    _require_known_names()
    source = CliSettingsSource[Any](model, formatter_class=_Paragraphs)
    try:
        return CliApp.run(model, cli_args=arguments, cli_settings_source=source)
    except SettingsError as error:
        raise SpecError(f"{str(error).removeprefix('error parsing CLI: ')}; see --help") from error
    except ValidationError as error:
        raise SpecError(explain(error)) from error


def _commands(model: type[BaseSettings] = _Command) -> Iterator[type[BaseSettings]]:
    for child in model.__subclasses__():
        if child.model_config["cli_prog_name"]:
            yield child
        yield from _commands(child)


def _require_known_names() -> None:
    """Refuse what is no command's setting, in the environment and the file, whichever command is run."""
    file, variables, keys, used = _settings_file(), set[str](), set[str](), set[str]()
    for model in _commands():
        prefix, table = model.model_config["env_prefix"], _table_of(model)
        variables |= {f"{prefix}{'__'.join(path)}".upper() for path in _paths(model)}
        keys |= {".".join((table, *path)).lstrip(".") for path in _paths(model)}
        used |= {".".join((table, *path)).lstrip(".") for path in _paths_set(model, _part_of(file, model))}
    for name in os.environ:
        if name.startswith("SYNTHCORE_"):
            _require_known(name, variables, "the environment")
    for name in sorted(used):
        _require_known(name, keys, str(SETTINGS_FILE))


def _require_known(name: str, known: set[str], where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise SpecError(f"{where} sets {name}, which is not a setting{f'; {near[0]} is one' if near else ''}")


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Each setting of a model, and those of its groups: ("tier",), ("audio",), ("audio", "notes")."""
    for name, field in model.model_fields.items():
        yield (name,)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((name, inner) for inner in field.annotation.model_fields)


def _paths_set(model: type[BaseModel], part: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The same of what a part of the file sets."""
    groups = {path[0] for path in _paths(model) if len(path) > 1}
    for name, value in part.items():
        yield (name,)
        if name in groups and isinstance(value, dict):
            yield from ((name, inner) for inner in value)


def explain(error: ValidationError) -> str:
    """Put pydantic's findings into one line: where, what, and what was given."""
    lines = []
    errors = error.errors()
    places = [found["loc"] for found in errors]
    for found in errors:
        place = found["loc"]
        if any(other[: len(place)] == place for other in places if len(other) > len(place)):
            continue  # a list lacks what is wrong with one of its items
        where = ".".join(str(part) for part in place).replace("_", "-") or "settings"
        if found["type"] == "missing":
            lines.append(f"{where} is missing; see --help")
            continue
        message = found["msg"].removeprefix("Value error, ")
        given = f", not {masked(repr(found['input']))}" if isinstance(found["input"], str | int | float) else ""
        lines.append(f"{where}: {message[0].lower()}{message[1:]}{given}")
    return "; ".join(lines)
