"""The settings of publish and import."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from synthcore.base.messages import clash
from synthcore.base.quantities import Bytes, Typed
from synthcore.settings.command import DIR, FILE, AbsolutePath, AbsolutePlace, Batched, FlowCommand, Rendering
from synthcore.settings.commandline import Positional
from synthcore.storage import AudioCoding, PublishedFormat


class Publish(Batched):
    """Write a dataset as a folder that others can load, cite and trust, without synthcore.

    The rows become Parquet files that datasets.load_dataset reads, audio included, or tar files for WebDataset, by
    split. FLAC rounds audio to 24 bits; WAV keeps every bit. The folder also gets the wavetables and other assets, the
    sources of the presets, and all that synthcore import needs to make the dataset again.

    Rows made from presets whose licences don't allow sharing, or that state none, are left out and counted. Files are
    cached: after Ctrl-C, the same command continues. It needs pip install 'synthcore[publish]'.
    """

    command = "publish"
    examples = {"output": "-o out", "licence": "--licence CC-BY-4.0", "audio": "--audio wav"}

    file: Annotated[AbsolutePath, Positional(), FILE, Field(description="The dataset.")]
    output: Annotated[AbsolutePlace, DIR] = Field(description="The folder to make, here or in a bucket: s3://bucket/x.")
    format: PublishedFormat = Field("parquet", description="Parquet files, or tar files for WebDataset.")
    audio: AudioCoding = Field("flac", description="FLAC of 24 bits, or WAV with every bit.")
    licence: Annotated[str | None, Typed("ID")] = Field(
        None, description="The licence of what is your own, as SPDX spells it: of rows drawn from priors."
    )
    recipe: bool = Field(False, description="All rows, but without audio and other people's assets.")
    file_bytes: Bytes = Field(500_000_000, ge=1_000_000, description="How large a file becomes, about.")

    @model_validator(mode="after")
    def _recipe_has_no_audio(self) -> Publish:
        if self.recipe and self.audio != type(self).model_fields["audio"].default:
            raise clash("{recipe} has no audio: leave out one of {recipe} and {audio}", "recipe", "audio")
        return self


class Import(FlowCommand, Rendering):
    """Make a dataset again from a folder that synthcore publish made.

    Every file is checked first. From WAV, the dataset is the same: rows, labels and digest. From FLAC, its audio is
    rounded to 24 bits and its digest says so; synthcore verify rounds what it renders in the same way. From a recipe,
    it is one again: synthcore render makes it whole.
    """

    command = "import"
    examples = {"output": "-o again.h5"}

    folder: Annotated[AbsolutePath, Positional(), DIR, Field(description="The published folder.")]
    output: Annotated[AbsolutePath, FILE, Field(description="The file to make.")]
