"""Playing a patch: from knobs, also those that a model predicted, to the sound they make."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synthcore.base.errors import RenderError, SpecError
from synthcore.base.messages import explain
from synthcore.engine.play import audio_of, play
from synthcore.engine.rendering import Fault, RenderFormat
from synthcore.engine.turns import CORES
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch, with_builtin

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
        Sample rate and seconds: of a dataset, `dataset.spec.audio`. Its notes and velocity are ignored.
    assets : mapping of str to bytes, optional
        What the patch refers to: of a dataset, `dataset.assets`. Built-in wavetables and samples needn't be given.

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
        The synth doesn't survive the patch, or its sound isn't finite; an `Accident` if the synth was killed.
    """
    sound = _play(patch, note, _format(audio, velocity), with_builtin(assets))
    if isinstance(sound, Fault):
        raise RenderError(f"the patch can't be rendered at note {note}: {sound.reason}")
    return sound


def render_many(
    patches: Iterable[Patch],
    notes: int | np.integer[Any] | Iterable[int] = 60,
    velocity: int = AUDIO.velocity,
    *,
    audio: AudioSpec = AUDIO,
    assets: Mapping[str, bytes] | None = None,
    workers: int = CORES,
) -> Generator[NDArray[np.float32] | Fault]:
    """Play a note of each of many patches, over all cores; the sounds come in the order of the patches.

    Parameters
    ----------
    patches : iterable of Patch
    notes : int, or iterable of int
        The MIDI note of all, or of each.
    velocity, audio, assets
        As in `render`, the same for all.
    workers : int
        Renders at a time.

    Yields
    ------
    ndarray, shape (2, S), float32, or Fault
        As `render` returns it; or why the patch can't be rendered. The others go on.

    Raises
    ------
    SpecError, SynthcoreError, Accident
        As `render`.
    ValueError
        There are more patches than notes, or the other way round.
    """
    fmt, given = _format(audio, velocity), with_builtin(assets)
    each: Iterable[tuple[Patch, int]]
    if isinstance(notes, int | np.integer):
        each = zip(patches, itertools.repeat(int(notes)), strict=False)
    else:
        each = zip(patches, notes, strict=True)
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[NDArray[np.float32] | Fault]] = deque()
        try:
            for patch, note in each:
                ahead.append(pool.submit(_play, patch, note, fmt, given))
                if len(ahead) > 2 * workers:  # as many sounds wait in memory, however many patches there are
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:  # no longer wanted
                future.cancel()


def _format(audio: AudioSpec, velocity: int) -> RenderFormat:
    try:
        # One note, so that whatever is played at one velocity shares a synth; each call names its own.
        played = AudioSpec.model_validate({**audio.model_dump(), "notes": (0,), "velocity": velocity})
    except ValidationError as error:
        raise SpecError(explain(error, AudioSpec)) from error
    return DatasetSpec(audio=played).render_format.refusing_nothing()


def _play(patch: Patch, note: int, fmt: RenderFormat, assets: Mapping[str, bytes]) -> NDArray[np.float32] | Fault:
    if not 0 <= note <= 127 or note != int(note):
        raise SpecError(f"there is no MIDI note {note}; there are the whole numbers 0 to 127")
    document = patch.to_json(installed(), patch.held_in(assets)).encode()
    outcome = play(document, fmt, (int(note),))
    return outcome.fault or audio_of(outcome.rows[0], fmt)
