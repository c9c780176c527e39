"""What a dataset is: every choice that changes its bytes, and nothing that doesn't.

A dataset is a pure function of its spec. Where and how it is made: `synthcore.settings.generate`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from synthcore.base.hashing import content_hash
from synthcore.base.messages import clash
from synthcore.base.quantities import (
    Count,
    Hertz,
    OrSpan,
    Seconds,
    Span,
    Typed,
    WholeSeconds,
    count,
    ends,
    items,
    note,
    number,
    seconds,
    tempo,
)
from synthcore.engine.rendering import Performance, RenderFormat

VELOCITY = 100  #: unless another is asked for
NOTES_PER_PATCH = 3  #: of a range of notes, likewise
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Note = Annotated[int, Field(ge=0, le=127), BeforeValidator(note)]
#: The peak above which a note clips: near full scale, the most that anything but floats can hold.
CLIPS_ABOVE = 0.99
#: A peak that no note has: the synth holds its output within 2.1 of full scale.
ANY_PEAK = 10.0
Notes = Annotated[tuple[Note, ...], Field(min_length=1, max_length=128), BeforeValidator(items)]
Velocity = Annotated[int, Field(ge=1, le=127), BeforeValidator(count)]
Held = Annotated[float, Field(ge=0.01, le=60), BeforeValidator(seconds)]
NumberOfNotes = Annotated[int, Field(ge=1, le=128), BeforeValidator(count)]
Tempo = Annotated[float, Field(ge=20, le=300), BeforeValidator(tempo)]
#: What a row of the priors can be for: a tier, or tier 2 with fixed modulation.
Kind = Literal["tier-1", "tier-2", "tier-2-fixed", "tier-3"]
ShippedPriors = Literal["musical", "uniform"]  #: the priors that come with synthcore


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class AudioSpec(_Frozen):
    """What is played and recorded: the same of every patch, or, where it is a range, drawn from that."""

    sample_rate: Hertz = Field(44_100, ge=8_000, le=192_000, description="Sample rate.")
    notes: Annotated[Notes | Span, OrSpan("36..84", of_items=True), Typed("NOTES")] = Field(
        (48, 60, 72), description="MIDI notes of every patch, C4 = 60; or a range to draw from, as 36..84."
    )
    notes_per_patch: Annotated[NumberOfNotes | None, Typed("N")] = Field(
        None, validate_default=True, description="With a range of notes: how many each patch plays; by default 3."
    )
    velocity: Annotated[Velocity | Span, OrSpan("40..127"), Typed("N")] = Field(
        VELOCITY, description="MIDI velocity of every note, or a range, as 40..127."
    )
    note_seconds: Annotated[Held | Span, OrSpan("0.1..1.5"), Typed("SECONDS")] = Field(
        1.5, description="How long the note is held, or a range, as 0.1..1.5."
    )
    bpm: Annotated[Tempo | Span | None, OrSpan("80..160"), Typed("BPM")] = Field(
        None, description="Tempo of every patch, or a range, as 80..160; by default each patch's own."
    )
    render_seconds: Seconds = Field(2.0, ge=0.01, le=60, description="How long the recording is.")

    @field_validator("notes")
    @classmethod
    def _each_note_once(cls, notes: tuple[int, ...] | Span) -> tuple[int, ...] | Span:
        if isinstance(notes, tuple) and len(set(notes)) < len(notes):
            raise ValueError("names a note twice; name each once")
        return notes

    @field_validator("notes_per_patch")
    @classmethod
    def _as_many_as_there_are(cls, wanted: int | None, info: ValidationInfo) -> int | None:
        notes = info.data.get("notes")
        if isinstance(notes, Span):
            there = int(notes.high - notes.low) + 1
            if (wanted or 0) > there:
                raise PydanticCustomError(
                    "quantity",
                    "is more than the {there} notes of {notes}; choose fewer, or a wider range",
                    {"there": there, "notes": str(notes)},
                )
            return wanted or min(NOTES_PER_PATCH, there)
        if wanted and notes and (wanted, len(notes)) != (1, 1):  # a range of one note has become that note
            raise PydanticCustomError(
                "quantity",
                "goes with a range of notes, such as 36..84; every patch plays all {listed} notes that are listed",
                {"listed": len(notes)},
            )
        return None

    @model_validator(mode="after")
    def _note_fits(self) -> AudioSpec:
        longest = ends(self.note_seconds)[1]
        if longest > self.render_seconds:
            raise clash(
                f"{{note_seconds}} is {longest:g}, longer than {{render_seconds}} ({self.render_seconds:g}); "
                "record longer or hold the note shorter",
                "note_seconds",
                "render_seconds",
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # So a spec that draws nothing has the fingerprint and the content digest that it had before there were ranges.
        return {name: value for name, value in written(self).items() if value is not None}

    @property
    def rows_per_patch(self) -> int:
        """How many notes each patch plays."""
        return len(self.notes) if isinstance(self.notes, tuple) else (self.notes_per_patch or 0)

    @property
    def performances(self) -> tuple[Performance, ...]:
        """What every patch plays, row by row; nothing if it is drawn for each."""
        notes, velocity, held = self.notes, self.velocity, self.note_seconds
        if isinstance(notes, Span) or isinstance(velocity, Span) or isinstance(held, Span):
            return ()
        return tuple(Performance(note, velocity, held) for note in notes)


class AcceptanceSpec(_Frozen):
    """Which candidates (patches that are rendered to see whether they make a row) are refused."""

    min_rms_dbfs: Annotated[float, Typed("DB")] = Field(
        -50.0, ge=-200, lt=0, description="A note quieter than this is silent."
    )
    max_peak: Annotated[float | None, Typed("PEAK")] = Field(
        None,
        gt=0,
        le=ANY_PEAK,
        description=f"A note with a higher peak clips. By default {CLIPS_ABOVE}, but any peak of presets is kept.",
    )
    cpu_seconds: WholeSeconds = Field(20, ge=1, le=3_600, description="CPU time limit of a render; 0.4 is normal.")

    def with_peak(self, limit: float) -> AcceptanceSpec:
        """The same, with this limit of the peak unless it has one."""
        return self if self.max_peak is not None else self.model_copy(update={"max_peak": limit})


class DatasetSpec(_Frozen):
    """One dataset.

    `n_samples` is how much of it: specs that differ in nothing else share their beginning. It counts the synthetic
    rows; those made from presets come in front of them.
    """

    tier: Annotated[Literal[1, 2, 3], BeforeValidator(number)] = Field(
        1, description="How much of the synth varies: 1 = 82 controls, 2 = all 448, 3 = modulation as well."
    )
    n_samples: Count = Field(1_000, ge=1, description="Rows in the dataset; each patch makes one per note.")
    seed: Count = Field(0, ge=0, lt=2**32, description="Another seed, another dataset.")
    fixed_modulation: bool = Field(False, description="At tier 2: 8 fixed modulation routes, each on or off.")
    wavetables_from_tier: Annotated[Literal[1, 2], BeforeValidator(number)] = Field(
        1, description="The lowest tier that varies the wavetables."
    )
    priors: Annotated[str, Field(pattern=r"^(musical|uniform|[0-9a-f]{64})$")] = Field(
        "musical", description="What patches are drawn from: a set that comes with synthcore, or a file's digest."
    )
    catalog_digest: Digest = Field("", description="The wavetable catalog, by digest; the built-in one if empty.")
    presets_digest: Digest = Field("", description="The collection of presets, by digest; none if empty.")
    variations: Count = Field(0, ge=0, le=10_000_000, description="Patches to make by changing and mixing presets.")
    audio: AudioSpec = Field(default_factory=AudioSpec)
    acceptance: AcceptanceSpec = Field(default_factory=AcceptanceSpec, validate_default=True)

    @field_validator("acceptance")
    @classmethod
    def _peak_of_drawn_patches(cls, acceptance: AcceptanceSpec, info: ValidationInfo) -> AcceptanceSpec:
        """Without presets there is one limit, and the spec says it: specs that mean the same are the same."""
        return acceptance if info.data.get("presets_digest") else acceptance.with_peak(CLIPS_ABOVE)

    @model_validator(mode="after")
    def _fixed_modulation_is_of_tier_2(self) -> DatasetSpec:
        if self.fixed_modulation and self.tier != 2:
            raise clash(f"{{fixed_modulation}} belongs to tier 2, not to tier {self.tier}", "fixed_modulation")
        return self

    @model_validator(mode="after")
    def _variations_are_of_presets(self) -> DatasetSpec:
        if self.variations and not self.presets_digest:
            raise clash("{variations} are made from presets: name a folder of presets as well", "variations")
        return self

    @property
    def varied_oscillators(self) -> int:
        """How many oscillators, counted from the first, play other wavetables than the init preset's."""
        if self.tier < self.wavetables_from_tier:
            return 0
        return 2 if self.tier == 1 else 3

    @property
    def kind(self) -> Kind:
        """The name under which the priors know this kind of dataset."""
        plain: dict[int, Kind] = {1: "tier-1", 2: "tier-2", 3: "tier-3"}
        return "tier-2-fixed" if self.fixed_modulation else plain[self.tier]

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of everything but `n_samples`, and of the uniform priors, once the only ones."""
        left_out = {"n_samples", "priors"} if self.priors == "uniform" else {"n_samples"}
        return content_hash(self.model_dump(exclude=left_out))

    @property
    def patches(self) -> int:
        """Patches that `n_samples` rows need; the last one may lack some notes."""
        return -(-self.n_samples // self.audio.rows_per_patch)

    @property
    def render_format(self) -> RenderFormat:
        """What a zygote (the warm process that renders are forked from) is started for."""
        return RenderFormat(
            sample_rate=self.audio.sample_rate,
            places=self.audio.rows_per_patch,
            render_seconds=self.audio.render_seconds,
            min_rms_dbfs=self.acceptance.min_rms_dbfs,
            max_peak=ANY_PEAK if self.acceptance.max_peak is None else self.acceptance.max_peak,
            cpu_seconds=self.acceptance.cpu_seconds,
        )
