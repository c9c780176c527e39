"""The settings of generate: the spec, which says what is made, and where and how, which changes no row."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from synthcore.base.messages import clash
from synthcore.base.quantities import Count, Seconds, Typed, items
from synthcore.settings.command import (
    FILE,
    AbsolutePath,
    Approximate,
    Common,
    CommunityDirs,
    Factory,
    FlowCommand,
    Html,
    Rendering,
    RunnerSettings,
)
from synthcore.settings.commandline import CommandOnly, Hidden
from synthcore.spec import AcceptanceSpec, DatasetSpec, Digest
from synthcore.storage import MergeMode

#: Steps that are cached, as --refresh names them.
Step = Literal["clone", "ingest", "render", "merge", "weights", "all"]


class RunSettings(RunnerSettings):
    """How a dataset is made; none of this changes a row."""

    rows_per_shard: Count = Field(192, ge=1, le=100_000, description="Rows per shard, the unit of work.")
    merge: MergeMode = Field("copy", description="Copy the audio into the output, or only refer to the shards.")
    chunk_rows: Count = Field(1, ge=1, le=4096, description="Rows per HDF5 chunk of the output's audio.")
    render_timeout: Seconds = Field(
        5.0, gt=0, description="Wall-clock limit of a render, after which it is tried again."
    )
    retries: Count = Field(2, ge=0, le=100, description="How often a failed shard is tried again.")
    overwrite: bool = Field(False, description="Replace an output that has another spec, or more rows.")
    distribute: Annotated[str | None, Typed("pool:NAME", "pool:render")] = Field(
        None,
        pattern=r"^pool:[^/%&<>]+$",
        description="Let the workers of a Prefect work pool render.",
    )
    batch: Count = Field(50, ge=1, le=1_000, description="With distribute: shards per submitted run.")
    lost_after: Seconds = Field(
        600.0, gt=0, description="With distribute: a run that finishes no shard for this long is lost."
    )
    allow_partial: bool = Field(False, description="Merge even if shards failed; inspect says which.")
    refresh: Annotated[tuple[Step, ...], BeforeValidator(items), Typed("STEP")] = Field(
        (), description="Do this step again even if it is cached: clone, ingest, render, merge, weights, or all."
    )

    def refreshes(self, step: Step) -> bool:
        """Whether a step is to be done again even if it is cached."""
        return step in self.refresh or "all" in self.refresh

    @model_validator(mode="after")
    def _copied_where_chunked(self) -> RunSettings:
        if self.merge == "virtual" and self.chunk_rows != 1:
            raise clash("{chunk_rows} is for a copy: a virtual merge leaves the audio in the shards", "chunk_rows")
        return self

    @model_validator(mode="after")
    def _rendered_in_one_way(self) -> RunSettings:
        if self.distribute and self.runner != "threads":
            raise clash("{distribute} leaves the rendering to a work pool: leave out {runner}", "distribute", "runner")
        if self.distribute and self.refreshes("render"):
            raise clash(
                "{distribute} renders only shards that are missing: leave it out to render all again",
                "distribute",
                "refresh",
            )
        return self


PRIORS: str = DatasetSpec.model_fields["priors"].default


class Generate(FlowCommand, Rendering, DatasetSpec):
    """Make a dataset of (audio, parameters) pairs, or continue one.

    Running the same command again continues where it stopped; a larger -n extends the file.
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
            *("priors", "catalog", "wavetables_from_tier", "fixed_modulation"),
        ),
        "How it is made; none of this changes a row": ("run",),
    }

    catalog_digest: Annotated[Digest, Hidden()] = Field("", description="Found out by the flow.")
    presets_digest: Annotated[Digest, Hidden()] = Field("", description="Found out by the flow.")
    priors: Annotated[str, Typed("PRIORS")] = Field(
        PRIORS,
        description="What patches are drawn from: musical (what people do), uniform (every control over its whole "
        "range), or a file from fit-priors.",
    )
    catalog: Annotated[AbsolutePath | None, FILE] = Field(
        None, description="Wavetable catalog from discover-wt; by default the built-in one."
    )
    community_dir: CommunityDirs = ()
    factory: Factory = False
    repos: bool = Field(False, description="Also the presets of the sources that download-presets knows.")
    approximate: Approximate = False
    output: Annotated[AbsolutePath | None, FILE] = Field(
        None, description="The file to make. By default DATA_DIR/tier1-seed0.h5 or similar."
    )
    grow_by: Count = Field(0, ge=0, description="Rows to add to the output; a new one begins with n-samples.")
    weights: Count = Field(0, ge=0, description="Measure importance weights at so many rows, at the end.")
    with_features: Annotated[tuple[Literal["log-mel", "sketch"], ...], BeforeValidator(items), Typed("FEATURES")] = (
        Field((), description="Compute features at the end, as synthcore features does by default: log-mel, sketch.")
    )
    html: Html = None
    dry_run: Annotated[bool, CommandOnly()] = Field(
        False,
        description="Make nothing; say what it would take: rows, bytes, minutes on this machine, free disk.",
    )
    part: Annotated[str | None, CommandOnly(), Typed("PART", "3/20")] = Field(
        None,
        pattern=r"^[1-9]\d*/[1-9]\d*$",
        description="Render a part of the shards only, without any server, such as 3/20: the third of twenty. The same "
        "command without it then merges them.",
    )
    run: RunSettings = Field(default_factory=RunSettings)

    @property
    def remark(self) -> str:
        """What is to be said of more workers than fit here; nothing where others render."""
        return "" if self.run.distribute or self.run.is_elsewhere else super().remark

    @field_validator("acceptance")
    @classmethod
    def _peak_of_drawn_patches(cls, acceptance: AcceptanceSpec, info: ValidationInfo) -> AcceptanceSpec:  # noqa: ARG003
        """Whether there are presets is found out later."""
        return acceptance

    @model_validator(mode="after")
    def _variations_are_of_presets(self) -> Generate:
        if self.variations and not self.has_presets:
            raise clash(
                "{variations} are made from presets: name a folder of them with {community_dir} as well",
                "variations",
                "community_dir",
            )
        return self

    @field_validator("part")
    @classmethod
    def _part_of_so_many(cls, part: str | None) -> str | None:
        if part:
            number, parts = map(int, part.split("/"))
            if number > parts:
                raise ValueError(f"there is no part {number} of {parts}")
        return part

    @model_validator(mode="after")
    def _part_is_rendered_here(self) -> Generate:
        if self.part and (self.run.distribute or self.run.runner != "threads"):
            raise clash(
                "{part} is rendered by this process: leave out {run.distribute} and {run.runner}",
                *("part", "run.distribute", "run.runner"),
            )
        if self.part and self.run.refresh:
            raise clash(
                "{part} renders only shards that are missing: leave it out for {run.refresh}", "part", "run.refresh"
            )
        if self.part and self.dry_run:
            raise clash("{dry_run} says what the whole dataset takes: leave out {part}", "dry_run", "part")
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

    def spec_of(self, catalog_digest: str, presets_digest: str, priors: str = PRIORS) -> DatasetSpec:
        """The spec among the settings, with what the flow found out."""
        found = {"catalog_digest": catalog_digest, "presets_digest": presets_digest, "priors": priors}
        return DatasetSpec(**{name: getattr(self, name) for name in DatasetSpec.model_fields} | found)

    @property
    def output_path(self) -> Path:
        """The file to make, absolute."""
        return self.output or self.data_dir / f"{self.kind.replace('-', '')}-seed{self.seed}.h5"


class RenderShards(Common):
    """Where and how a worker renders its shards. Its own environment says where, as SYNTHCORE_DATA_DIR."""

    run: RunSettings = Field(default_factory=RunSettings)
