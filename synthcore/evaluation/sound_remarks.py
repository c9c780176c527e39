"""What a reader of an evaluation against a folder of sounds should know, in sentences. Names are people's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from synthcore.base.counting import how_many
from synthcore.evaluation.sounds import NO_PITCH_NOTE, SoundFolder, TargetSound

NAMED = 3  #: of many sounds, that are named
NOTES = {
    "name": "note in the file's name",
    "--note": "note given by --note",
    "pitch": "note estimated from the pitch",
    "no pitch": f"no note in the name and no pitch, so played at note {NO_PITCH_NOTE}",
}


def remarks_of(folder: SoundFolder) -> list[str]:
    """What is left out, what comparing the others took, where notes come from, and how answers are played."""
    more = len(folder.left_out) - NAMED
    return [
        *(f"left out: {one.name}: {one.reason}" for one in folder.left_out[:NAMED]),
        *([f"left out as well: {how_many(more, 'sound')}"] if more > 0 else []),
        *_changes(folder.sounds),
        *_notes(folder.sounds),
        _played(folder),
    ]


def _changes(sounds: Sequence[TargetSound]) -> Iterator[str]:
    for change in sorted({change for one in sounds for change in one.changes}):
        yield f"{change}: {named([one.file for one in sounds if change in one.changes], 'sound')}"


def _notes(sounds: Sequence[TargetSound]) -> Iterator[str]:
    for source, text in NOTES.items():
        of_source = [f"{one.file}: {one.note}" for one in sounds if one.note_from == source]
        if of_source:
            yield f"{text}: {named(of_source, 'sound')}"


def _played(folder: SoundFolder) -> str:
    (first,) = folder.performances([folder.sounds[0].number])
    return (
        f"compared in stereo at {folder.audio.sample_rate:,} Hz, {folder.audio.render_seconds:g} s long; answers are "
        f"played at velocity {first.velocity}, held for {first.note_seconds:g} s"
    )


def named(names: Sequence[str], what: str) -> str:
    """Count names, and give the first of them."""
    more = ", ..." if len(names) > NAMED else ""
    return f"{how_many(len(names), what)} ({', '.join(names[:NAMED])}{more})"
