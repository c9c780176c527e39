"""Nearness on a page: its figures, and the farthest sounds beside their nearest, to look at and listen to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthcore.base import progress
from synthcore.page.clips import picture_and_sound
from synthcore.pipeline.nearness_report import Nearness, Pair
from synthcore.pipeline.sounds import NamedSound, SketchPlan, find

LISTED = 20  #: sounds left out that are named


@dataclass(frozen=True, slots=True)
class SoundClip:
    """One sound of either side to listen to. Its name is people's: anything can be in it."""

    title: str
    name: str
    note: int | None
    listen: str  # a command that exports it, or its file
    picture: str  # data: address
    sound: str  # data: address


@dataclass(frozen=True, slots=True)
class NearnessContent:
    """What a page shows of how near a dataset comes to other sounds."""

    found: Nearness
    title: str
    worst: list[tuple[float, SoundClip, SoundClip]]
    far: list[tuple[float, SoundClip, SoundClip]]
    listed: int = LISTED


def sounds_heard(found: Nearness) -> int:
    """How many sounds `gather_nearness` reports to `synthcore.base.progress`."""
    return 2 * (len(found.worst) + len(found.far))


def gather_nearness(found: Nearness, ours: Sequence[SketchPlan], theirs: Sequence[SketchPlan]) -> NearnessContent:
    """Read or render again what is listened to.

    Parameters
    ----------
    found : Nearness
    ours, theirs : sequence of SketchPlan
        What was sketched of the dataset, and of the other sounds.

    Raises
    ------
    SynthcoreError
        A sound is gone since it was compared.
    """
    return NearnessContent(
        found=found,
        title=f"{Path(found.file).name} and {Path(found.other).name}",
        worst=[_pair(pair, theirs, ours) for pair in found.worst],
        far=[_pair(pair, ours, theirs) for pair in found.far],
    )


def _pair(pair: Pair, sounds: Sequence[SketchPlan], others: Sequence[SketchPlan]) -> tuple[float, SoundClip, SoundClip]:
    return pair.apart_db, _clip(pair.sound, sounds), _clip(pair.nearest, others)


def _clip(named: NamedSound, plans: Sequence[SketchPlan]) -> SoundClip:
    plan, place = find(plans, named.number)
    picture, sound = picture_and_sound(plan.audio_at(place), plan.form.sample_rate)
    progress.publish(progress.Progress(1, None))
    title = named.name if named.row is None else f"row {named.row}"
    return SoundClip(title, "" if named.row is None else named.name, named.note, named.listen, picture, sound)
