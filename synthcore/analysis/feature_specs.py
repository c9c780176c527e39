"""How features are computed: the settings of each kind, and what a file says of them. Needs neither numpy nor HDF5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from synthcore.base.quantities import Count, Typed

#: Raise it when a feature of the same settings would get other values.
VERSION = 1
Milliseconds = Annotated[float, Typed("MS")]
Hertz = Annotated[float, Typed("HZ")]


class LogMel(BaseModel):
    """Log-mel spectra: power in mel bands, in dB, frame by frame."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "log_mel"

    window_ms: Milliseconds = Field(
        25.0, gt=0, le=1_000, description="Length of the window, which is Hann's, in milliseconds."
    )
    hop_ms: Milliseconds = Field(10.0, gt=0, le=1_000, description="From one frame to the next, in milliseconds.")
    bands: Count = Field(128, ge=1, le=1_024, description="How many mel bands.")
    low_hz: Hertz = Field(20.0, ge=0, le=100_000, description="The lower end of the lowest band, in Hz.")
    high_hz: Hertz = Field(
        20_000.0, gt=0, le=100_000, description="The upper end of the highest band; at most half the sample rate."
    )
    floor_db: Annotated[float, Typed("DB")] = Field(
        -100.0, ge=-200, le=0, description="The lowest level: what is quieter is set to it."
    )
    mono: bool = Field(False, description="Of the mean of both channels, instead of each.")
    dtype: Literal["float16", "float32"] = Field("float16", description="How levels are stored.")


class Sketch(BaseModel):
    """What `compare` searches by: the log-mel spectrum at the finest pitch, averaged over quarters of the time."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "sketch"


FeatureSpec = LogMel | Sketch
KINDS: dict[str, type[LogMel] | type[Sketch]] = {kind.kind: kind for kind in (LogMel, Sketch)}


def stored_spec(spec: FeatureSpec, sample_rate: int) -> dict[str, Any]:
    """What a file says of a feature: all that its values follow from, besides the sound."""
    return {"kind": spec.kind, "version": VERSION, "sample_rate": sample_rate, **spec.model_dump()}


def spec_of(stored: Mapping[str, Any]) -> FeatureSpec | None:
    """The settings of a feature that a file says something of; None if it isn't of our kinds, or of this version."""
    kind = KINDS.get(stored.get("kind", ""))
    if kind is None or stored.get("version") != VERSION:
        return None
    return kind(**{name: stored[name] for name in kind.model_fields})
