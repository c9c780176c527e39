"""Fidelity: how near a patch's audio is to that of the preset it was read from, and what a difference comes from.

Both are rendered in fresh children of the same kind of zygote (the warm process that renders are forked from), the
original as its author wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, computed_field

from synthcore.base.hashing import canonical_json
from synthcore.engine import faults
from synthcore.engine.client import Performances
from synthcore.engine.play import audio_of, migrate, play
from synthcore.engine.rendering import RenderFormat
from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec
from synthcore.vital import validation
from synthcore.vital.controls import Registry
from synthcore.vital.parsing import parse
from synthcore.vital.reading import ReadPreset
from synthcore.vital.versions import versions

CLOSE, NEAR = 1e-4, 1e-3  #: largest difference of two samples, where full scale is 1
VERDICTS = ("identical", "within 1e-4", "within 1e-3", "worse", "not compared")
CPU_SECONDS = 60
#: The steps from a preset to a patch, named where the audio changes.
MENDING = "values brought into range"
MIGRATION = "the synth's own rewriting of an old preset or of its wavetables"
LABEL = "rounding to the label's float32"


class Fidelity(BaseModel):
    """How a patch compares with its original.

    Attributes
    ----------
    difference : float or None
        Largest difference of two samples over all notes, full scale 1; None if one of the two can't be rendered.
    cause : str
        What most of a difference over `CLOSE` comes from; or why nothing could be compared.
    """

    model_config = ConfigDict(frozen=True)

    difference: float | None
    cause: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> str:
        """The difference, in words."""
        identical, close, near, worse, not_compared = VERDICTS
        if self.difference is None:
            return not_compared
        steps = ((0.0, identical), (CLOSE, close), (NEAR, near))
        return next((verdict for most, verdict in steps if self.difference <= most), worse)

    def to_text(self) -> str:
        """Describe it in a line."""
        return self.cause if self.difference is None else f"{self.difference:.2g} ({self.cause})"


def measure(content: bytes, preset: ReadPreset, registry: Registry, audio: AudioSpec) -> Fidelity:
    """Render a preset and its patch, and compare.

    Parameters
    ----------
    content : bytes
        The preset's file, as its author wrote it.
    preset : ReadPreset
        What was read from it.
    registry : Registry
    audio : AudioSpec
        What is played and recorded; without ranges.

    Raises
    ------
    Accident, Interrupted
        As `Renderer.receive`.
    """
    # Nothing is refused: silence and clipping are compared as well.
    fmt = DatasetSpec(audio=audio, acceptance=AcceptanceSpec(cpu_seconds=CPU_SECONDS)).render_format.refusing_nothing()
    render = partial(_render, fmt, audio.performances)
    try:
        # As its author left it, but written again by the parser that let it pass, so that duplicate keys mean one thing
        # only; and with vita's numbers: vita would take those of a later Vital for its own.
        document, _ = versions(registry).translate(parse(content))
        original = render(canonical_json(document).encode(), "original")
        patch = render(preset.patch.to_json(registry, preset.assets).encode(), "patch")
        difference = _difference(original, patch)
        cause = _cause(document, registry, render, original, patch) if difference > CLOSE else ""
    except _NotRendered as reason:
        return Fidelity(difference=None, cause=str(reason))
    return Fidelity(difference=difference, cause=cause)


class _NotRendered(Exception):
    """There is no audio to compare."""


def _render(fmt: RenderFormat, performances: Performances, document: bytes, what: str) -> NDArray[np.float32]:
    """Render a document at every note: shape (notes, 2, S)."""
    outcome = play(document, fmt, performances)
    if outcome.fault:
        raise _NotRendered(f"the {what} can't be rendered: {faults.REASONS[outcome.fault.reason]}")
    return np.stack([audio_of(row, fmt) for row in outcome.rows])


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).max())


def _cause(
    document: dict[str, Any],
    registry: Registry,
    render: Callable[[bytes, str], NDArray[np.float32]],
    original: NDArray[np.float32],
    patch: NDArray[np.float32],
) -> str:
    """Render the steps between the original and the patch, and name the one that changes most."""
    mended = canonical_json(validation.mend(document, registry)[0]).encode()
    migrated = migrate(mended) or b""
    sounds = [original, render(mended, "mended original"), render(migrated, "migrated"), patch]
    steps = dict(zip((MENDING, MIGRATION, LABEL), map(_difference, sounds, sounds[1:]), strict=False))
    return max(steps, key=lambda step: steps[step])
