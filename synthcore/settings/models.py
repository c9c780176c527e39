"""What can be asked for, and where and how it is done: flags, environment, `synthcore.toml` and flow parameters.

One model serves them all, so a default or a description is written once. A flag beats the environment
(`SYNTHCORE_TIER`, `SYNTHCORE_RUN__MERGE`), which beats `synthcore.toml` in the current folder. What several commands
share (`Common`) is said for all of them, as SYNTHCORE_DATA_DIR or at the top of the file; what is said of one command
alone, as SYNTHCORE_INGEST_DATA_DIR or in its table [ingest], beats it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

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
from synthcore.base.messages import clash, needs
from synthcore.base.quantities import COUNT, Count, Hours, N, Seconds, Typed, items, rows, whole_items
from synthcore.engine.turns import CORES
from synthcore.ingest.remotes import KNOWN, Sources
from synthcore.ingest.transfer import Limits
from synthcore.settings import commandline, configuration
from synthcore.settings.commandline import Hidden, Positional
from synthcore.settings.configuration import Settable
from synthcore.settings.helptext import helptext, usage
from synthcore.spec import DatasetSpec, Digest
from synthcore.storage import MergeMode


def _absolute(path: Path | None) -> Path | None:
    return path and path.expanduser().absolute()


FILE, DIR = Typed("FILE"), Typed("DIR")
Output = Annotated[
    Path | None,
    AfterValidator(_absolute),
    FILE,
    Field(description="The file to make. By default DATA_DIR/tier1-seed0.h5 or similar."),
]
RequiredOutput = Annotated[Path, AfterValidator(_absolute), FILE, Field(description="The file to make.")]
CatalogFile = Annotated[
    Path | None,
    AfterValidator(_absolute),
    FILE,
    Field(description="Wavetables that discover-wt found, else built in."),
]
CommunityDirs = Annotated[
    tuple[Annotated[Path, AfterValidator(_absolute)], ...],
    BeforeValidator(whole_items),
    DIR,
    Field(description="Folder of presets; their rows come first. Repeatable."),
]
PresetDirs = Annotated[
    tuple[Annotated[Path, AfterValidator(_absolute)], ...],
    BeforeValidator(whole_items),
    Positional(),
    DIR,
    Field(description="Folders of presets; also single presets, banks and zip archives."),
]
CollectionFile = Annotated[
    Path | None,
    AfterValidator(_absolute),
    FILE,
    Field(description="The file to make. By default DATA_DIR/presets.h5."),
]
Check = Annotated[bool, Field(description="Render each preset and its patch, and say how near they are.")]
Approximate = Annotated[bool, Field(description="Also presets that Vital plays differently from vita.")]
Factory = Annotated[bool, Field(description="Also Vital's own, if it is installed here.")]
Repos = Annotated[bool, Field(description="Also those that download-presets knows.")]
PresetsDir = Annotated[
    Path,
    AfterValidator(_absolute),
    DIR,
    Field(description="Folder in which each source gets a folder of its own.", validate_default=True),
]
CatalogOutput = Annotated[
    Path | None,
    AfterValidator(_absolute),
    FILE,
    Field(description="The catalog to make. By default DATA_DIR/catalog.json."),
]
ExtraDirs = Annotated[
    tuple[Annotated[Path, AfterValidator(_absolute)], ...],
    BeforeValidator(whole_items),
    DIR,
    Field(description="Folder to search besides Vital's own. Can be given again."),
]
ExtraFiles = Annotated[
    tuple[Annotated[Path, AfterValidator(_absolute)], ...],
    BeforeValidator(whole_items),
    FILE,
    Field(description="File to read: .vital, .vitalbank, .vitaltable, .wav or .zip. Can be given again."),
]
Strict = Annotated[bool, Field(description="Fail when one source fails, not only when all do.")]
GrowBy = Annotated[
    int,
    Field(ge=0, description="Rows to add; n-samples are what a new output begins with."),
    COUNT,
    N,
]
WeighedFile = Annotated[
    Path,
    AfterValidator(_absolute),
    Positional(formerly=("-o", "--output")),
    FILE,
    Field(description="The dataset; its weights are written into it."),
]
Bases = Annotated[
    int,
    Field(ge=1, description="Rows whose controls are moved, drawn from the dataset; all if it has fewer."),
    COUNT,
    N,
]
BASES = 500  #: at tier 1 about 40 minutes on two quiet cores, at tier 2 four hours
Weights = Annotated[int, Field(ge=0, description="Measure importance weights at so many rows, last."), COUNT, N]
DatasetFile = Annotated[Path, Positional(), FILE, Field(description="The dataset or shard.")]
RowsInWords = Annotated[
    tuple[int, ...],
    BeforeValidator(rows),
    Typed("ROWS"),
    Field(description="Describe rows in words instead: 3, or 3,5-8,-1; negative ones count from the end."),
]
OtherFile = Annotated[
    Path | None,
    Positional(),
    FILE,
    Field(description="Another dataset: say how the two differ, and what they have in common."),
]
InWhole = Annotated[bool, Field(description="With --row: what can't be heard as well, marked.")]
Html = Annotated[
    Path | None,
    AfterValidator(_absolute),
    FILE,
    Field(description="Also write one HTML file to look at and listen to."),
]
RowsToExport = Annotated[
    tuple[int, ...],
    BeforeValidator(rows),
    Positional(formerly=("--row",)),
    Typed("ROWS"),
    Field(min_length=1, description="Which rows: 3, or 3,5-8,-1; negative ones count from the end."),
]
ExportDir = Annotated[Path, AfterValidator(_absolute), DIR, Field(description="Folder for the files; made if need be.")]
RowsToVerify = Annotated[int, Field(ge=1, description="How many rows, drawn at random."), COUNT, N]
EveryRow = Annotated[bool, Field(description="Every row.")]
OfActivity = Annotated[
    bool,
    Field(description="Move controls of the rows instead: what the file calls inactive must not change the sound."),
]
ControlsToMove = Annotated[
    int,
    Field(ge=1, description="With --activity: how many controls of a row, of the active and of the inactive ones."),
    COUNT,
    N,
]
ToleranceDb = Annotated[
    float, Typed("DB"), Field(description="On another type of machine: allowed error, relative to the row.")
]
Port = Annotated[
    int, Typed("PORT"), Field(ge=1, le=65_535, description="Port of the Prefect server, on this machine alone.")
]
Pool = Annotated[
    str,
    Typed("POOL"),
    Field(pattern=r"^[^/%&<>]+$", description="Work pool that all of them run in; render-shards is named after it."),
]
DeploymentsFile = Annotated[
    Path,
    AfterValidator(_absolute),
    FILE,
    Field(
        description="The file to write, or the folder for it. There, a prefect.yaml that is not the same is left as it "
        "is, and synthcore-prefect.yaml written.",
        validate_default=True,
    ),
]
DryRun = Annotated[
    bool,
    Field(description="Say what it would take, and make nothing: rows, bytes, minutes on this machine, free disk."),
]
AsJson = Annotated[bool, Field(description="Print JSON on stdout, everything else on stderr.")]
Keep = Annotated[
    bool,
    Field(description="Let a Prefect server that is started for this run stay for the next ones, 15 idle minutes."),
]
Workers = Annotated[int, Field(ge=1, le=1024, description="Renders at a time; by default one for each core."), COUNT, N]


def default_data_dir() -> Path:
    """The one place for shards, caches and results, whatever the working directory.

    The checkout's `data/`; where the package was installed without one, the user's data directory.
    """
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    return Path(platformdirs.user_data_path("synthcore"))


DataDir = Annotated[
    Path,
    AfterValidator(_absolute),
    DIR,
    Field(description="Folder for shards, caches and results. By default the checkout's data/, else your data folder."),
]


#: Steps that are cached, by the name under which they are done again.
Step = Literal["clone", "ingest", "render", "merge", "weights", "all"]
Refresh = Annotated[bool, Field(description="Do it again, even if it is cached.")]


class RunSettings(BaseModel):
    """How it is done; none of this changes a row."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    rows_per_shard: Count = Field(192, ge=1, le=100_000, description="Rows in a shard, the unit of work.")
    merge: MergeMode = Field("copy", description="Copy the audio, or only refer to the shards.")
    chunk_rows: Count = Field(1, ge=1, le=4096, description="Rows of audio in an HDF5 chunk of the output.")
    render_timeout: Seconds = Field(5.0, gt=0, description="Wall-clock time of a render, then it is tried again.")
    retries: Count = Field(2, ge=0, le=100, description="How often a shard that failed is tried again.")
    overwrite: bool = Field(False, description="Replace an output of another spec, or longer one.")
    runner: Literal["threads", "dask"] = Field("threads", description="Threads of this machine, or a Dask cluster.")
    runner_address: Annotated[str | None, Typed("HOST:PORT", "tcp://10.0.0.5:8786")] = Field(
        None,
        pattern=r"^(\w+://)?\S+:\d+$",
        description="Dask scheduler, as tcp://host:8786; else one is started.",
    )
    distribute: Annotated[str | None, Typed("pool:NAME", "pool:render")] = Field(
        None,
        pattern=r"^pool:[^/%&<>]+$",
        description="Let the workers of a Prefect work pool render.",
    )
    batch: Count = Field(50, ge=1, le=1_000, description="With distribute: shards in each submitted run.")
    lost_after: Seconds = Field(600.0, gt=0, description="With distribute: a run without a new shard is lost.")
    allow_partial: bool = Field(False, description="Merge even if shards failed; inspect says which.")
    refresh: Annotated[tuple[Step, ...], BeforeValidator(items), Typed("STEP")] = Field(
        (), description="Do this step again, even if it is cached: clone, ingest, render, merge, weights, or all."
    )

    def refreshes(self, step: Step) -> bool:
        """Whether a step is to be done again though it is cached."""
        return step in self.refresh or "all" in self.refresh

    @model_validator(mode="after")
    def _copied_where_chunked(self) -> RunSettings:
        if self.merge == "virtual" and self.chunk_rows != 1:
            raise clash("{chunk_rows} belongs to a copy: a virtual merge leaves the audio in the shards", "chunk_rows")
        return self

    @model_validator(mode="after")
    def _rendered_in_one_way(self) -> RunSettings:
        if self.runner_address and self.runner != "dask":
            raise clash("{runner_address} belongs to dask: say dask for {runner}", "runner_address", "runner")
        if self.distribute and self.runner != "threads":
            raise clash("{distribute} leaves the rendering to a work pool: leave out {runner}", "distribute", "runner")
        if self.distribute and self.refreshes("render"):
            raise clash(
                "{distribute} asks for shards that aren't there: leave it out to refresh those that are",
                "distribute",
                "refresh",
            )
        return self


class _Command(BaseModel):
    """What every command has: how it answers, and where its settings come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    command: ClassVar[str] = ""  #: the word behind synthcore
    examples: ClassVar[Mapping[str, str]] = {}  #: of the flags that --help shows first
    groups: ClassVar[Mapping[str, Sequence[str]]] = {}  #: of the others, by heading

    as_json: AsJson = False

    @model_validator(mode="before")
    @classmethod
    def _with_what_is_set_beforehand(cls, given: Any) -> Any:
        return configuration.configured(settable(cls), given) if isinstance(given, dict) else given


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


class _Flow(_Cached):
    """A command that runs a flow."""

    keep: Keep = True


class Common(_Flow, _Rendering):
    """What means the same to every command that has it, and can be set for all of them at once."""

    model_config = ConfigDict(extra="ignore")


class Generate(_Flow, _Rendering, DatasetSpec):
    """Make a dataset of (audio, parameters) pairs, or continue one.

    Running the same command again continues where it stopped; a larger -n extends
    the file.
    """

    command = "generate"
    examples = {
        "n_samples": "-n 20k",
        "tier": "--tier 2",
        "output": "-o data/train.h5",
        "seed": "--seed 7",
        "audio.notes": "--notes C3,C4,C5",
        "workers": "--workers 4",
    }
    groups = {
        "What is played": ("audio",),
        "What is refused": ("acceptance",),
        "Presets, wavetables and modulation": (
            *("community_dir", "repos", "factory", "approximate", "variations"),
            *("catalog", "wavetables_from_tier", "fixed_modulation"),
        ),
        "How it is made; none of this changes a row": ("run",),
    }

    catalog_digest: Annotated[Digest, Hidden()] = Field("", description="Found out by the flow.")
    presets_digest: Annotated[Digest, Hidden()] = Field("", description="Found out by the flow.")
    catalog: CatalogFile = None
    community_dir: CommunityDirs = ()
    factory: Factory = False
    repos: Repos = False
    approximate: Approximate = False
    output: Output = None
    grow_by: GrowBy = 0
    weights: Weights = 0
    html: Html = None
    dry_run: DryRun = False
    run: RunSettings = Field(default_factory=RunSettings)

    @model_validator(mode="after")
    def _variations_are_of_presets(self) -> Generate:
        if self.variations and not self.has_presets:
            raise clash(
                "{variations} are made from presets: name a folder of them with {community_dir} as well",
                "variations",
                "community_dir",
            )
        return self

    @model_validator(mode="after")
    def _grows_or_replaces(self) -> Generate:
        if self.grow_by and self.run.overwrite:
            raise clash(
                "{grow_by} continues the output, and {run.overwrite} replaces it: choose one",
                "grow_by",
                "run.overwrite",
            )
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
    """Say what is in a dataset: how much, of what, how it sounds, what was refused, what its controls cover.

    Or describe rows in words, or, of two datasets, how they differ.
    """

    command = "inspect"
    examples = {"row": "--row 3,5-8,-1", "html": "--html page.html"}

    file: DatasetFile
    other: OtherFile = None
    row: RowsInWords = ()
    all: InWhole = False
    html: Html = None

    @model_validator(mode="after")
    def _of_all_rows(self) -> Inspect:
        if self.all and not self.row:
            raise clash("{all} is about a row: name it with {row}, or leave it out", "all", "row")
        if self.other and self.row:
            raise clash("{row} is one of one dataset: leave it out, or the other dataset", "row")
        if self.html and self.row:
            raise clash("{html} is a page of the whole dataset: leave it out, or {row}", "html", "row")
        return self


class Verify(_Rendering):
    """Render rows again from their stored labels alone, and compare bit for bit.

    Exits with 1 when a row differs, and names it. On another type of machine than the file was made on, where
    bits may differ, the difference is measured against a tolerance instead.

    With --activity it holds the rules by which controls are called inactive against the synth: each control is moved
    alone, and the row rendered before and after. Exits with 1 when an inactive one changed a bit.
    """

    command = "verify"
    examples = {"rows": "--rows 100", "all": "--all"}

    file: DatasetFile
    rows: RowsToVerify = 10
    all: EveryRow = False
    tolerance_db: ToleranceDb = -60.0
    activity: OfActivity = False
    controls: ControlsToMove = 20

    @property
    def rows_asked(self) -> int | None:
        """How many rows; None for all."""
        return None if self.all else self.rows


class DownloadPresets(_Flow):
    """Download the presets of public repositories and archives, each into a folder that says where it is from.

    A source that can't be had is reported, and the others still come. Running the same command again downloads only
    what changed. Other sources than the known ones can be listed in ./synthcore.toml, each as a table
    [[download-presets.sources]] with url, ref, licence and sha256, or given as JSON.
    """

    command = "download-presets"
    examples = {"output": "-o presets/community"}

    output: PresetsDir = Path("presets/community")
    sources: Sources = KNOWN
    strict: Strict = False
    refresh: Refresh = False
    limits: Limits = Field(default_factory=Limits)


class DiscoverWavetables(_Flow):
    """Make a wavetable catalog of what is built in, and of what Vital's folders and the ones given hold.

    A .wav is a wavetable if it is 1 to 257 whole frames, of as many samples as its clm chunk says, or else of 2,048.
    Finding nothing is no failure: then the catalog is the built-in one. Nothing but the catalog is written.
    """

    command = "discover-wt"
    examples = {"extra_dir": "--extra-dir ~/tables", "output": "-o catalog.json"}

    output: CatalogOutput = None
    extra_dir: ExtraDirs = ()
    extra_file: ExtraFiles = ()
    refresh: Refresh = False

    @property
    def output_path(self) -> Path:
        """The catalog to make, absolute."""
        return self.output or self.data_dir / "catalog.json"


class Ingest(_Flow, _Rendering):
    """Read presets that people wrote (.vital, .vitalbank, zip) into one file of patches, each sound once.

    Whatever the synth wouldn't survive is refused before it gets there, and named with its reason. Beside the file
    lies a report of every preset as JSON.
    """

    command = "ingest"
    examples = {"output": "-o presets.h5", "check": "--check"}

    folders: PresetDirs = ()
    factory: Factory = False
    output: CollectionFile = None
    check: Check = False
    approximate: Approximate = False
    refresh: Refresh = False

    @model_validator(mode="after")
    def _of_something(self) -> Ingest:
        if not self.folders and not self.factory:
            raise needs("a folder of presets: DIR, or --factory")
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

    command = "cache"
    examples = {"dry_run": "prune --dry-run", "older_than": "prune --older-than 7d"}

    action: Annotated[Literal["list", "prune", "verify"], Positional()] = Field(description="What to do.")
    older_than: Hours = Field(1.0, ge=0, description="prune: spare what is younger; a bare number is in hours.")
    spec: Annotated[str, Typed("FINGERPRINT", "3fa9c1")] = Field(
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

    command = "doctor"
    examples = {"repair": "--repair"}

    repair: bool = Field(
        False,
        description="Remove what is provably stale: files that a killed run left half-written, damaged shards, "
        "records of what is gone. A run makes again what it needs of them.",
    )


class ComputeWeights(_Flow, _Rendering):
    """Measure how much each control moves the sound, and write it into the dataset as weights for a training loss.

    Of rows drawn from the dataset, each control that can be heard is moved a step both ways, or to other options, and
    the sounds are compared with synthcore.distance. Running the same command again measures nothing; a larger n-base
    goes on from what is there.
    """

    command = "compute-weights"
    examples = {"n_base": "--n-base 2k"}

    output: WeighedFile
    n_base: Bases = BASES
    refresh: Refresh = False


class WriteRecipe(_Command):
    """Write a dataset without its audio, and without the wavetables, LFO shapes, samples and curves of other people.

    What is left can be shared freely: labels, measurements, hashes and where each preset is from. Whoever has the
    presets makes the audio again with synthcore render.
    """

    command = "recipe"
    examples = {"output": "-o recipe.h5"}

    file: Annotated[Path, Positional(), FILE] = Field(description="The dataset.")
    output: RequiredOutput


class RenderRecipe(_Rendering):
    """Make a dataset again from its recipe and the presets it was made from, and say whether it is the same.

    Exits with 1 when a row's audio differs on the type of machine that the recipe was made on.
    """

    command = "render"
    examples = {"output": "-o again.h5", "assets": "--assets presets/community"}

    file: Annotated[Path, Positional(), FILE] = Field(description="The recipe.")
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

    command = "export"
    examples = {"output": "-o out"}

    file: DatasetFile
    row: RowsToExport
    output: ExportDir


class Deploy(_Command):
    """Write our deployments into a folder of yours, for Prefect's own deploy to read.

    Workers that run them need synthcore installed, and no checkout of it. Relative paths begin in that folder.
    """

    command = "deploy"
    examples = {"pool": "--pool mine", "output": "-o deployments.yaml"}

    pool: Pool = "local"
    output: DeploymentsFile = Path()


class Up(_Command):
    """Keep a Prefect server, all deployments and workers running in the background; down ends them.

    A server that answers at the port already is used, and left alone by down. What is running already stays as it is.
    """

    command = "up"
    examples = {"port": "--port 4201"}

    port: Port = 4200


class Down(_Command):
    """End what up started: the worker with its runs, then the server; and the server that other commands share.

    Nothing on disk is lost, and the next command starts a server again.
    """

    command = "down"


class Completion(_Command):
    """Print a script that makes a shell complete commands, flags and what they can be. Its first lines say where to.

    It is made for this version: print it again after an update.
    """

    command = "completion"

    shell: Annotated[Literal["bash", "zsh", "fish"], Positional()] = Field(description="The shell.")


Parsed = TypeVar("Parsed", bound=_Command)


def settable(model: type[_Command]) -> Settable:
    """Say where else a command's settings come from."""
    shared = frozenset(Common.model_fields.keys() & model.model_fields.keys())
    return Settable(model, _table_of(model), shared, frozenset(map(_table_of, commands())))


def commands(model: type[_Command] = _Command) -> Iterator[type[_Command]]:
    """Find the model of each command."""
    for child in model.__subclasses__():
        if child.command:
            yield child
        yield from commands(child)


def _table_of(model: type[_Command]) -> str:
    """The command's table in the settings file; "" for generate, whose settings are in none."""
    return "" if model.command == "generate" else model.command


def _on_stderr(line: str) -> None:
    sys.stderr.write(f"synthcore: {line}\n")


def help_of(model: type[_Command]) -> str:
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
        Told of spellings that go with the next version.

    Raises
    ------
    SpecError
        A flag, variable or line of `synthcore.toml` is unknown or out of range; one line says which and why. Where
        something is missing, another shows how the command is used.
    """
    configuration.require_known_names([settable(one) for one in commands()])
    given = commandline.read(model, arguments, model.command, say)
    try:
        return model(**commandline.nested(given))
    except ValidationError as error:
        usage_line = usage(settable(model), model.command, model.examples)
        raise SpecError(commandline.complaint(error, settable(model), given, usage_line)) from error
