"""The settings of `synthcore evaluate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from synthcore.base.messages import clash, needs
from synthcore.base.quantities import Count, Typed
from synthcore.evaluation.choices import Baseline, Choice, Part
from synthcore.settings.command import FILE, AbsolutePath, Batched, Html
from synthcore.settings.commandline import Positional
from synthcore.spec import Note


class Evaluate(Batched):
    """Say how good answers to the rows of a dataset are: render each as its row is played, and measure both sounds.

    ANSWERS is a file that synthcore.Predictions wrote, or a dataset whose rows answer those of the other by their
    numbers: it must have as many, at its tier, each played alike. What can't be rendered is scored as silence, and
    counted; so are rows without an answer. Scores are cached by content, so a second evaluation renders nothing.

    --against a folder of sounds (WAV, FLAC: recordings, other synths) has no labels, so audio alone is measured.
    ANSWERS is then a file of predictions that was made for these sounds, or a folder of presets: x.vital, or all that
    is in x/, answers x.wav. Sounds are resampled, cut or padded to the form of --train (by default 44.1 kHz, 2 s), or
    of the dataset that the predictions are from. Answers are played at the note in the sound's name (C4, note60), or
    else at an estimate of its pitch. The result says all of that.

    A baseline takes the place of ANSWERS, so that every table has a floor and a ceiling: oracle, each row's own label;
    mean, the mean patch of a training split; random, another row's patch; nearest, the training row whose sketch (see
    synthcore compare) is nearest; search, that row brought nearer by rendering (CMA-ES: it needs
    pip install 'synthcore[match]').
    """

    command = "evaluate"
    examples = {"against": "--against test.h5", "baseline": "--baseline oracle"}

    answers: Annotated[AbsolutePath | None, Positional(), FILE] = Field(
        None, description="The answers: predictions, a dataset, or a folder of presets."
    )
    against: Annotated[AbsolutePath, FILE] = Field(
        description="The dataset whose rows are answered, or a folder of sounds."
    )
    split: Part = Field("test", description="Which of the dataset's rows.")
    note: Annotated[Note | None, Typed("NOTE", "60")] = Field(
        None, description="At which note answers to a folder of sounds are played; by default each at its sound's own."
    )
    baseline: Baseline | None = Field(None, description="What answers instead of a file.")
    train: Annotated[AbsolutePath | None, FILE] = Field(
        None,
        description="With --baseline mean, nearest or search: the dataset whose training split they learn from. "
        "With presets: the dataset as whose rows they are played.",
    )
    seed: Count = Field(0, ge=0, description="With --baseline random: which other rows.")
    renders: Count = Field(100, ge=1, le=1_000_000, description="With --baseline search: candidates to render a row.")
    html: Html = None

    @model_validator(mode="after")
    def _answers_once(self) -> Evaluate:
        if self.answers and self.baseline:
            raise clash("{baseline} takes the place of answers: give one of them", "baseline")
        if not self.answers and not self.baseline:
            raise needs("ANSWERS: a file of predictions, or a dataset; or --baseline oracle")
        return self

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Evaluate:
        fields = type(self).model_fields
        if self.baseline != "random" and self.seed != fields["seed"].default:
            raise clash("{seed} is for {baseline} random", "seed", "baseline")
        if self.baseline != "search" and self.renders != fields["renders"].default:
            raise clash("{renders} is for {baseline} search", "renders", "baseline")
        if self.baseline in ("oracle", "random") and self.train:
            raise clash("{train} is for a {baseline} that learns: mean, nearest or search", "train", "baseline")
        return self

    @property
    def choice(self) -> Choice:
        """Which rows are answered, and by what."""
        train = self.train or self.against
        return Choice(self.against, self.split, self.answers, self.baseline, train, self.seed, self.note)
