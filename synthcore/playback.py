"""Playing a patch: from knobs, also those that a model predicted, to the sound they make."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synthcore.controls import installed
from synthcore.engine.chunk import inflate
from synthcore.engine.client import borrow_renderer
from synthcore.errors import RenderError, SpecError, SynthcoreError
from synthcore.patch import Patch, init_assets
from synthcore.settings import explain
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.wavetables.catalog import builtin

#: Wall clock for one render; nobody waits for a batch of others here.
TIMEOUT_SECONDS = 30.0
AUDIO = AudioSpec()


def render(
    patch: Patch,
    note: int = 60,
    velocity: int = AUDIO.velocity,
    *,
    audio: AudioSpec = AUDIO,
    assets: Mapping[str, bytes] | None = None,
) -> NDArray[np.float32]:
    """Play one note of a patch, exactly as a dataset's rows are played.

    A row's own patch gives the row's audio, bit for bit on the type of machine that it was made on. The first call
    starts a synth, which takes a second; it is kept for the next ones.

    Parameters
    ----------
    patch : Patch
        `Dataset.patch(row)`, or `Patch.from_vectors(...)` of a prediction.
    note, velocity : int
        MIDI note, 0 to 127, and velocity, 1 to 127.
    audio : AudioSpec
        Sample rate and seconds: of a dataset, `dataset.spec.audio`. Its notes and velocity don't count.
    assets : mapping of str to bytes, optional
        What the patch refers to: of a dataset, `dataset.assets`. Built-in wavetables needn't be given.

    Returns
    -------
    ndarray, shape (2, S), float32
        Left and right, full scale 1; S = render_seconds * sample_rate.

    Raises
    ------
    SpecError
        The note or the velocity is out of range.
    SynthcoreError
        An asset of the patch is not given.
    RenderError
        The synth doesn't survive the patch, or makes no finite sound of it; as `Accident`, when it was killed.
    """
    try:
        played = AudioSpec.model_validate({**audio.model_dump(), "notes": (note,), "velocity": velocity})
    except ValidationError as error:
        raise SpecError(explain(error)) from error
    fmt = DatasetSpec(audio=played).render_format.refusing_nothing()
    with borrow_renderer(fmt, TIMEOUT_SECONDS) as renderer:
        outcome = renderer.render(_document(patch, assets or {}))
    if outcome.fault:
        raise RenderError(f"the patch can't be rendered at note {note}: {outcome.fault.reason}")
    return inflate(outcome.rows[0].chunk, (2, fmt.samples))


def _document(patch: Patch, given: Mapping[str, bytes]) -> bytes:
    assets = {**init_assets(installed()), **builtin().assets, **given}
    missing = [name for name in (*patch.wavetables, *patch.extras) if name is not None and name not in assets]
    if missing:
        raise SynthcoreError(
            f"the patch plays asset {missing[0]}, which isn't built in; give it as assets=dataset.assets"
        )
    return patch.to_json(installed(), assets).encode()
