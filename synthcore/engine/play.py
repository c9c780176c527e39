"""Playing one preset on a borrowed renderer: for everyone who doesn't render a shard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthcore.engine.chunk import inflate
from synthcore.engine.client import Changes, Performances
from synthcore.engine.lending import borrow_renderer
from synthcore.engine.rendering import Outcome, RenderedRow, RenderFormat

PLAY_SECONDS = 30.0  #: wall clock for one render: nobody waits for a batch of others here
#: Nothing is heard of a migration: any format will do.
MIGRATION = RenderFormat(
    sample_rate=44_100,
    places=0,
    render_seconds=0.1,
    min_rms_dbfs=-200,
    max_peak=10,
    cpu_seconds=20,
)


def play(preset: bytes, fmt: RenderFormat, performances: Performances, changes: Changes = ()) -> Outcome:
    """Render a preset.

    Parameters
    ----------
    preset : bytes
        A `.vital` document.
    fmt : RenderFormat
    performances : tuple of Performance
        At most as many as the format has places.
    changes : sequence of mapping, optional
        For each performance, the values of controls to set before it is played.

    Raises
    ------
    Accident, Interrupted
        As `Renderer.receive`.
    """
    with borrow_renderer(fmt, PLAY_SECONDS) as renderer:
        return renderer.render(preset, performances, changes)


def audio_of(row: RenderedRow, fmt: RenderFormat) -> NDArray[np.float32]:
    """The sound of a rendered row: shape (2, S), float32."""
    return inflate(row.chunk, (2, fmt.samples))


def migrate(document: bytes) -> bytes | None:
    """Let the synth read a preset and write it again: the same sound, in the form of the installed version.

    Parameters
    ----------
    document : bytes
        A `.vital` document that `vital.validation` let pass.

    Returns
    -------
    bytes or None
        None when the synth refuses the document, or dies of it.

    Raises
    ------
    Accident, Interrupted
        As `Renderer.receive`.
    """
    outcome = play(document, MIGRATION, ())
    return None if outcome.fault else outcome.document
