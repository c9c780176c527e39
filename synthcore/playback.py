"""Playing a patch: from knobs, also those that a model predicted, to the sound they make."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synthcore.base.errors import RenderError, SpecError
from synthcore.base.messages import explain
from synthcore.base.quantities import Span
from synthcore.engine.capacity import RENDERERS
from synthcore.engine.play import audio_of, play
from synthcore.engine.rendering import Fault, Performance, RenderFormat
from synthcore.spec import VELOCITY, AudioSpec, DatasetSpec
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch, with_builtin

AUDIO = AudioSpec()
Sound = NDArray[np.float32] | Fault


def render(
    patch: Patch,
    note: int | Performance = 60,
    velocity: int = VELOCITY,
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
    note : int or Performance
        MIDI note, 0 to 127; or all of how it is played, as `dataset.performances([row])[0]`.
    velocity : int
        1 to 127; ignored beside a `Performance`.
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
        The note, the velocity or the length of the note is out of range, or the length is left to a range of `audio`.
    SynthcoreError
        An asset of the patch is not given.
    RenderError
        The synth doesn't survive the patch, or its sound isn't finite; an `Accident` if the synth was killed.
    """
    sound = _play(patch, _performance(note, velocity, audio), _format(audio), with_builtin(assets))
    if isinstance(sound, Fault):
        raise RenderError(f"the patch can't be rendered at note {sound.note}: {sound.reason}")
    return sound


def render_many(
    patches: Iterable[Patch],
    notes: int | np.integer[Any] | Iterable[int | Performance] = 60,
    velocity: int = VELOCITY,
    *,
    audio: AudioSpec = AUDIO,
    assets: Mapping[str, bytes] | None = None,
    workers: int = RENDERERS,
) -> Generator[Sound]:
    """Play a note of each of many patches, over all cores; the sounds come in the order of the patches.

    Parameters
    ----------
    patches : iterable of Patch
    notes : int, or iterable of int or Performance
        The MIDI note of all, or of each; or how each is played, as `dataset.performances(rows)`.
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
    fmt, given = _format(audio), with_builtin(assets)
    each: Iterable[tuple[Patch, int | Performance]]
    if isinstance(notes, int | np.integer):
        each = zip(patches, itertools.repeat(int(notes)), strict=False)
    else:
        each = zip(patches, notes, strict=True)
    jobs = (partial(_play, patch, _performance(note, velocity, audio), fmt, given) for patch, note in each)
    yield from _in_order(jobs, workers)


def _in_order(jobs: Iterable[Callable[[], Sound]], workers: int) -> Generator[Sound]:
    """Do jobs side by side; what they give comes in their order."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Sound]] = deque()
        try:
            for job in jobs:
                ahead.append(pool.submit(job))
                if len(ahead) > 2 * workers:  # as many sounds wait in memory, however many patches there are
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:  # no longer wanted
                future.cancel()


def _format(audio: AudioSpec) -> RenderFormat:
    # One place, so that all calls share a synth.
    return replace(DatasetSpec(audio=audio).render_format.refusing_nothing(), places=1)


def _performance(note: int | Performance, velocity: int, audio: AudioSpec) -> Performance:
    """Complete how a patch is played, and refuse what can't be."""
    if not isinstance(note, Performance):
        if isinstance(audio.note_seconds, Span):
            raise SpecError(f"note_seconds is drawn from {audio.note_seconds}: give a Performance instead of a note")
        note = Performance(note, velocity, audio.note_seconds)
    if not 0 <= note.note <= 127 or note.note != int(note.note):
        raise SpecError(f"there is no MIDI note {note.note}; there are the whole numbers 0 to 127")
    played = {"notes": (int(note.note),), "velocity": note.velocity, "note_seconds": note.note_seconds}
    try:
        found = AudioSpec.model_validate({**audio.model_dump(exclude={"notes_per_patch"}), **played})
    except ValidationError as error:
        raise SpecError(explain(error, AudioSpec)) from error
    (performance,) = found.performances
    return performance


def _play(patch: Patch, performance: Performance, fmt: RenderFormat, assets: Mapping[str, bytes]) -> Sound:
    document = patch.to_json(installed(), patch.held_in(assets)).encode()
    outcome = play(document, fmt, (performance,))
    return outcome.fault or audio_of(outcome.rows[0], fmt)
