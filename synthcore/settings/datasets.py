"""The settings of commands that take a dataset: inspect, diff, compare, verify, features, export, recipe and others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from synthcore.analysis.feature_specs import FeatureSpec, LogMel, Sketch
from synthcore.base.messages import clash
from synthcore.base.quantities import Count, Typed, items, rows
from synthcore.settings.command import (
    DIR,
    FILE,
    AbsolutePath,
    AnyPlace,
    Approximate,
    Batched,
    Command,
    CommunityDirs,
    Html,
    LocalPath,
    Rendering,
    RunnerSettings,
)
from synthcore.settings.commandline import Positional
from synthcore.spec import Note

DatasetFile = Annotated[AnyPlace, Positional(), FILE, Field(description="The dataset or shard, or its address.")]
NewFile = Annotated[AbsolutePath, FILE, Field(description="The file to make.")]
Rows = Annotated[tuple[int, ...], BeforeValidator(rows), Typed("ROWS")]


class Inspect(Command):
    """Say what is in a dataset: how much, of what, how it sounds, what was refused, what its controls cover.

    Or describe rows in words, or, of two datasets, how they differ.
    """

    command = "inspect"
    examples = {"row": "--row 3,5-8,-1", "html": "--html page.html"}

    file: DatasetFile
    other: Annotated[AnyPlace | None, Positional(), FILE] = Field(
        None, description="Another dataset: say how the two differ, and what they have in common."
    )
    row: Rows = Field(
        (), description="Describe rows in words instead: 3, or 3,5-8,-1; negative ones count from the end."
    )
    all: bool = Field(False, description="With --row: also what can't be heard, marked as such.")
    html: Html = None
    near: Annotated[AbsolutePath | None, Typed("OTHER")] = Field(
        None, description="With --html: also how near its rows come to other sounds, as synthcore compare says it."
    )

    @model_validator(mode="after")
    def _of_all_rows(self) -> Inspect:
        if self.all and not self.row:
            raise clash("{all} needs a row: name it with {row}, or leave it out", "all", "row")
        if self.other and self.row:
            raise clash("{row} takes one dataset: leave it out, or the other dataset", "row")
        if self.html and self.row:
            raise clash("{html} is a page of the whole dataset: leave it out, or {row}", "html", "row")
        if self.near and (self.other or not self.html):
            raise clash("{near} belongs to the page of one dataset: give {html}, and no other dataset", "near", "html")
        return self


class Diff(Command):
    """Say what two datasets have in common and what differs, row by row: for a dataset that was made again.

    Rows are matched by their labels, how they are played, and the hash of their audio; no audio is read. Exits with 0
    when both hold the same, whatever made them, and with 1 when something differs, which may lie beside the rows: the
    spec, splits, features, weights.
    """

    command = "diff"

    file: DatasetFile
    other: Annotated[AnyPlace, Positional(), FILE] = Field(description="The other dataset, shard or recipe.")


class Compare(Batched):
    """Say how near the rows of a dataset come to other sounds, and whether the two can be told apart.

    Two sounds are as far apart as their log-mel spectra, averaged over quarters of the time: the mean difference, in
    dB. Each other sound is held against every row, whatever its note, and each row against every other sound; the
    farthest are named. The AUC says how often a simple classifier, tested on sounds that it hasn't seen, ranks a pair
    of one sound from each side rightly: 0.5 is chance. Both are given with loudness matched and as it is.

    Presets are played as the rows are, at each of their notes. Recordings get the rows' sample rate and length: they
    are resampled, cut, or padded with silence. What can't be read or played is left out and named. Sketches of all
    sounds are cached by content, so a second comparison is quick.
    """

    command = "compare"
    examples = {"notes": "--notes 60", "sounds": "--sounds 500"}

    file: Annotated[LocalPath, Positional(), FILE, Field(description="The dataset or shard.")]
    other: Annotated[AbsolutePath, Positional(), Typed("OTHER")] = Field(
        Path("presets/community"),
        description="The other sounds: a folder of presets or recordings, one such file, a collection, or a dataset.",
        validate_default=True,
    )
    notes: Annotated[tuple[Note, ...], BeforeValidator(items), Typed("NOTES")] = Field(
        (), description="Only these notes of both; by default all."
    )
    sounds: Count = Field(
        2_000, ge=1, le=20_000, description="How many of the other sounds at most, evenly spaced over them."
    )
    approximate: Approximate = False
    html: Html = None


class Verify(Rendering):
    """Render rows again from their stored labels alone, and compare bit for bit.

    Exits with 1 when a row differs, and names it. On another type of machine than the file was made on, bits may
    differ: there, the difference is held against a tolerance.

    With --activity, it tests the rules that call controls inactive: each control is moved alone, and the row rendered
    before and after. Exits with 1 when moving an inactive one changed a bit.

    With --equivalences, it tests the rules that call patches the same sound: each row is rendered under other labels,
    rule by rule. Exits with 1 when one is another sound.
    """

    command = "verify"
    examples = {"rows": "--rows 100", "all": "--all"}

    file: DatasetFile
    rows: Count = Field(10, ge=1, description="How many rows, drawn at random.")
    all: bool = Field(False, description="Every row.")
    tolerance_db: Annotated[float, Typed("DB")] = Field(
        -60.0, description="On another type of machine: allowed error, relative to the row."
    )
    activity: bool = Field(
        False,
        description="Move controls of the rows instead: what the file calls inactive must not change the sound.",
    )
    controls: Count = Field(
        20,
        ge=1,
        description="With --activity: how many active and how many inactive controls per row.",
    )
    equivalences: bool = Field(
        False, description="Render the rows under other labels instead, which the rules call the same sound."
    )

    @model_validator(mode="after")
    def _one_thing_at_a_time(self) -> Verify:
        if self.activity and self.equivalences:
            raise clash("{activity} and {equivalences} are two tests: leave one out", "activity", "equivalences")
        return self

    @property
    def rows_requested(self) -> int | None:
        """How many rows to verify; None for all."""
        return None if self.all else self.rows


class ComputeWeights(Batched):
    """Measure how much each control moves the sound, and write it into the dataset as weights for a training loss.

    In rows drawn from the dataset, each control that can be heard is moved a step both ways, or to other options, and
    the sounds are compared with synthcore.distance. Running the same command again measures nothing; a larger n-base
    continues from what is there.
    """

    command = "compute-weights"
    examples = {"n_base": "--n-base 2k"}

    output: Annotated[AbsolutePath, Positional(formerly=("-o", "--output")), FILE] = Field(
        description="The dataset; its weights are written into it."
    )
    n_base: Count = Field(
        500,  # at tier 1 about 40 minutes on two quiet cores, at tier 2 four hours
        ge=1,
        description="Rows whose controls are moved, drawn from the dataset; all if it has fewer.",
    )


class Features(Batched):
    """Compute features of each row's sound and keep them in the dataset, where they are read much faster than audio.

    Log-mel spectra are librosa's; sketches are what synthcore compare searches by. Both are computed in batches of
    rows that are cached by content: after the dataset has grown, only new rows are computed. Features of rows that have
    changed are stale, and not read; without a flag, this command makes them anew as they were.
    """

    command = "features"
    examples = {"log_mel": "--log-mel", "sketch": "--sketch"}
    groups = {"How log-mel spectra are computed": ("mel",), "Where they are computed": ("run",)}

    file: Annotated[AbsolutePath, Positional(), FILE, Field(description="The dataset.")]
    log_mel: bool = Field(False, description="Log-mel spectra, as features/log_mel.")
    sketch: bool = Field(False, description="What synthcore compare searches by, as features/sketch.")
    mel: LogMel = Field(default_factory=LogMel)
    run: RunnerSettings = Field(default_factory=RunnerSettings)

    @model_validator(mode="after")
    def _settings_are_of_what_is_computed(self) -> Features:
        if not self.log_mel and (changed := self.mel.model_fields_set):
            name = f"mel.{sorted(changed)[0]}"
            raise clash(f"{{{name}}} is of log-mel spectra: give {{log_mel}} as well", name, "log_mel")
        return self

    @property
    def specs(self) -> list[FeatureSpec]:
        """What is to be computed; nothing if no feature is named."""
        return [*[self.mel] * self.log_mel, *[Sketch()] * self.sketch]


class Export(Command):
    """Write rows of a dataset as a .wav, the exact samples in 32-bit float, and a .vital preset that plays them.

    The preset has the keys and types of one saved by Vital 1.0, and says so: later versions convert it. Read again with
    synthcore ingest, it is the same patch with the same audio. It has not been tried in Vital itself.
    """

    command = "export"
    examples = {"output": "-o out"}

    file: DatasetFile
    row: Annotated[Rows, Positional(formerly=("--row",))] = Field(
        min_length=1, description="Which rows: 3, or 3,5-8,-1; negative ones count from the end."
    )
    output: Annotated[AbsolutePath, DIR] = Field(description="Folder for the files; created if it is missing.")


class WriteRecipe(Command):
    """Write a dataset without its audio, and without other people's wavetables, LFO shapes, samples and curves.

    What is left can be shared freely: labels, measurements, hashes and where each preset is from. Whoever has the
    presets can make the audio again with synthcore render.
    """

    command = "recipe"
    examples = {"output": "-o recipe.h5"}

    file: Annotated[LocalPath, Positional(), FILE] = Field(description="The dataset.")
    output: NewFile


class RenderRecipe(Rendering):
    """Make a dataset again from its recipe and the presets it was made from, and say whether it is the same.

    Exits with 1 when a row's audio differs on the type of machine that the recipe was made on.
    """

    command = "render"
    examples = {"output": "-o again.h5", "assets": "--assets presets/community"}

    file: Annotated[LocalPath, Positional(), FILE] = Field(description="The recipe.")
    output: NewFile
    assets: CommunityDirs = Field((), description="Folder of presets, or a catalog from discover-wt. Repeatable.")
