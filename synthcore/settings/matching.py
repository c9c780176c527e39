"""The settings of match: a sound, and the dataset whose patches are held against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from synthcore.base.quantities import Count, Typed
from synthcore.settings.command import DIR, FILE, AbsolutePath, Batched
from synthcore.settings.commandline import Positional
from synthcore.spec import Note

if TYPE_CHECKING:  # --help does without
    from synthcore.evaluation.matching import Wanted


class Match(Batched):
    """Find the patches of a dataset that sound most like a sound, and write them as presets for Vital.

    The sound may be any audio file: it is brought to the rows' sample rate and length (resampled, cut, padded with
    silence), and what that took is said. Rows are found by their sketches, as synthcore compare does, with loudness
    matched: of each patch the nearest row. Then they are held against the sound by synthcore.distance.

    With --search, patches around the nearest are rendered to find one that is nearer still (CMA-ES over the continuous
    controls that can be heard; pip install 'synthcore[match]'). Ctrl-C ends the search and keeps the best.

    The folder gets a .vital and a .wav of each patch, the sound as it was compared, and a page to listen to them side
    by side. The sketches are cached by content, so a second sound takes seconds.
    """

    command = "match"
    examples = {"dataset": "--in data/train.h5", "output": "-o out", "search": "--search 500", "note": "--note 60"}

    sound: Annotated[AbsolutePath, Positional(), FILE, Field(description="The sound: an audio file.")]
    dataset: Annotated[AbsolutePath, FILE] = Field(description="The dataset to find patches in.")
    output: Annotated[AbsolutePath, DIR] = Field(description="Folder for the files: a new one, or empty.")
    top: Count = Field(5, ge=1, le=100, description="How many patches to find.")
    search: Count = Field(0, ge=0, le=1_000_000, description="How many candidates to render around the nearest.")
    note: Annotated[Note | None, Typed("NOTE", "60")] = Field(
        None, description="Only rows of this note, or of the nearest that the dataset has; by default of all."
    )

    @property
    def wanted(self) -> Wanted:
        """What is to be found."""
        from synthcore.evaluation.matching import Wanted

        return Wanted(self.top, self.search, self.note, self.workers)
