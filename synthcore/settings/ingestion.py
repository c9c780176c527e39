"""The settings of commands that bring in other people's presets and wavetables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from synthcore.base.messages import needs
from synthcore.ingest.remotes import KNOWN, Sources
from synthcore.ingest.transfer import Limits
from synthcore.settings.command import (
    DIR,
    FILE,
    AbsolutePath,
    Approximate,
    Factory,
    FlowCommand,
    Paths,
    Refresh,
    Rendering,
)
from synthcore.settings.commandline import Positional


class DownloadPresets(FlowCommand):
    """Download the presets of public repositories and archives, each into a folder that says where it is from.

    A source that can't be downloaded is reported, and the others still are. Running the same command again downloads
    only what changed. Other sources than the known ones can be listed in ./synthcore.toml, each as a table
    [[download-presets.sources]] with url, ref, licence and sha256, or given as JSON.
    """

    command = "download-presets"
    examples = {"output": "-o presets/community"}

    output: Annotated[AbsolutePath, DIR] = Field(
        Path("presets/community"),
        description="Folder in which each source gets a folder of its own.",
        validate_default=True,  # in the flow as well, whose runs are named after it
    )
    sources: Sources = KNOWN
    strict: bool = Field(False, description="Fail when one source fails, not only when all do.")
    refresh: Refresh = False
    limits: Limits = Field(default_factory=Limits)


class DiscoverWavetables(FlowCommand):
    """Make a catalog of the built-in wavetables, and of those in Vital's folders and in the folders and files given.

    A .wav is a wavetable if it is 1 to 257 whole frames, of as many samples as its clm chunk says, or else of 2,048.
    Finding nothing isn't an error: the catalog is then the built-in one. Nothing but the catalog is written.
    """

    command = "discover-wt"
    examples = {"extra_dir": "--extra-dir ~/tables", "output": "-o catalog.json"}

    output: Annotated[AbsolutePath | None, FILE] = Field(
        None, description="The catalog to make. By default DATA_DIR/catalog.json."
    )
    extra_dir: Annotated[Paths, DIR] = Field((), description="Folder to search besides Vital's own. Repeatable.")
    extra_file: Annotated[Paths, FILE] = Field(
        (), description="File to read: .vital, .vitalbank, .vitaltable, .wav or .zip. Repeatable."
    )
    refresh: Refresh = False

    @property
    def output_path(self) -> Path:
        """The catalog to make, absolute."""
        return self.output or self.data_dir / "catalog.json"


class FitPriors(FlowCommand, Rendering):
    """Fit a file of priors to presets: what people do with each control, together, and how they connect modulation.

    `generate --priors FILE` draws patches like them. What is written are shares and quantiles, no preset's settings.
    The file names the licences of the presets.
    """

    command = "fit-priors"
    examples = {"output": "-o mine.toml"}

    folders: Annotated[Paths, Positional(), DIR] = Field(
        (), description="Folders of presets; also single presets, banks and zip archives."
    )
    output: Annotated[AbsolutePath | None, FILE] = Field(
        None, description="The file to make. By default DATA_DIR/priors.toml."
    )
    approximate: Approximate = False

    @model_validator(mode="after")
    def _of_something(self) -> FitPriors:
        if not self.folders:
            raise needs("a folder of presets: DIR")
        return self

    @property
    def output_path(self) -> Path:
        """The file to make, absolute."""
        return self.output or self.data_dir / "priors.toml"


class Ingest(FlowCommand, Rendering):
    """Read presets that people wrote (.vital, .vitalbank, zip) into one file of patches, each sound once.

    Whatever would crash the synth is refused before it gets there, and listed with its reason. A report of every preset
    is written beside the file, as JSON.
    """

    command = "ingest"
    examples = {"output": "-o presets.h5", "check": "--check"}

    folders: Annotated[Paths, Positional(), DIR] = Field(
        (), description="Folders of presets; also single presets, banks and zip archives."
    )
    factory: Factory = False
    output: Annotated[AbsolutePath | None, FILE] = Field(
        None, description="The file to make. By default DATA_DIR/presets.h5."
    )
    check: bool = Field(False, description="Render each preset and its patch, and say how close they are.")
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
