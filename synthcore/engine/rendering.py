"""What is asked of the engine, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Performance:
    """How a patch is played in one row. The tempo is not here: the synth reads it from the patch's document.

    Attributes
    ----------
    note : int
        MIDI note, 0..127.
    velocity : int
        MIDI velocity, 0..127.
    note_seconds : float
        How long the note is held.
    """

    note: int
    velocity: int
    note_seconds: float


@dataclass(frozen=True, slots=True)
class RenderFormat:
    """What a zygote is started for: it holds for all that it renders.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    places : int
        How many rows a patch can have; 0 if nothing is to be rendered.
    render_seconds : float
        How long is recorded.
    min_rms_dbfs, max_peak : float
        What `faults.judge` refuses.
    cpu_seconds : int
        CPU time one process of a candidate may take.
    """

    sample_rate: int
    places: int
    render_seconds: float
    min_rms_dbfs: float
    max_peak: float
    cpu_seconds: int

    @property
    def samples(self) -> int:
        """Length of one row in samples."""
        return int(self.render_seconds * self.sample_rate)

    def refusing_nothing(self) -> RenderFormat:
        """The same, for renders that are compared, whatever they sound like."""
        return replace(self, min_rms_dbfs=-1e9, max_peak=1e9)

    @property
    def row_bytes(self) -> int:
        """Size of one row's stereo float32 audio."""
        return self.samples * 2 * 4


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """One accepted render: `chunk` is its audio as a shuffled zlib stream, as HDF5 stores it."""

    performance: Performance
    rms_dbfs: float
    peak: float
    audio_sha256: str
    chunk: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """One refused render, with what was measured (None where there was nothing to measure)."""

    note: int
    reason: str
    rms_dbfs: float | None
    peak: float | None


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """Thread CPU time of the synth's renders, and of getting the pages they write."""

    settle: float = 0.0
    render: float = 0.0

    def __add__(self, other: CpuSeconds) -> CpuSeconds:
        return CpuSeconds(self.settle + other.settle, self.render + other.render)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one candidate: all its rows, or the fault that ended it.

    A document that was migrated comes back as `document`, and has no rows.
    """

    rows: tuple[RenderedRow, ...]
    fault: Fault | None
    cpu: CpuSeconds
    document: bytes = b""
