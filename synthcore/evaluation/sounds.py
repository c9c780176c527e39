"""Sounds: the audio files of a folder that are answered in place of a dataset's rows. They have no labels.

Owns which files these are, in which order, and at which note answers to each are played. Each file that can't be used
is named with its reason; what the others took to be compared is said as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.nearness import is_silent
from synthcore.base import progress, shell
from synthcore.base.counting import how_many
from synthcore.base.errors import PresetError, SpecError
from synthcore.base.hashing import content_hash, file_checksum
from synthcore.base.quantities import Span, ends, note
from synthcore.engine.rendering import Performance
from synthcore.evaluation.curves import Curve
from synthcore.evaluation.metrics import AUDIO_METRICS, Metric
from synthcore.evaluation.pitch import track_pitch
from synthcore.evaluation.statistics import group_by_note
from synthcore.ingest.files import walk
from synthcore.ingest.recordings import AUDIO_ENDINGS
from synthcore.pipeline.forms import Form
from synthcore.pipeline.nearness_report import LeftOut
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.vital.patch import Patch

NoteSource = Literal["name", "--note", "pitch", "no pitch"]
HIGHEST_NOTE = 127
NO_PITCH_NOTE = 60  #: at which answers to a sound without a pitch, such as a drum, are played
#: A note in a file's name: C4, F#3, Bb2 between other signs than letters and digits; note60, midi_60; or number and
#: velocity at the end, as in NSynth: bass_synthetic_033-050-100. A-1 is rather a take of A than 14 Hz.
_NAMED = re.compile(r"(?<![A-Za-z0-9#])([A-G][#b]?\d)(?![A-Za-z0-9#])")
_NUMBERED = re.compile(r"(?:note|midi)[-_ ]?(\d{1,3})(?!\d)|-(\d{3})-\d{3}$", re.IGNORECASE)


class TargetSound(BaseModel):
    """One sound that is answered."""

    model_config = ConfigDict(frozen=True)

    number: int  # in the folder, from 0: what predictions call its row
    file: str  # its path within the folder
    checksum: str  # of its bytes
    note: int  # MIDI, at which its answers are played
    note_from: NoteSource
    changes: tuple[str, ...]  # what it took to be compared: "resampled", "cut" and so on


class SoundFolder(BaseModel):
    """The sounds of a folder, and how each is answered: the `Targets` of an evaluation without labels."""

    model_config = ConfigDict(frozen=True)

    folder: str
    audio: AudioSpec  # the form that they are brought to, and that answers are rendered in
    sounds: tuple[TargetSound, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def path(self) -> str:
        """The folder."""
        return self.folder

    @property
    def digest(self) -> str:
        """SHA-256 in hex over names, bytes and notes of the files."""
        return content_hash(["sounds", [[one.file, one.checksum, one.note] for one in self.sounds]])

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Those of audio."""
        return AUDIO_METRICS

    @property
    def weights(self) -> None:
        """Sounds have no controls that could be important."""
        return

    @property
    def numbers(self) -> NDArray[np.intp]:
        """The numbers of the sounds."""
        return np.array([one.number for one in self.sounds], np.intp)

    @cached_property
    def _by_number(self) -> dict[int, TargetSound]:
        return {one.number: one for one in self.sounds}

    def only(self, numbers: Sequence[int]) -> SoundFolder:
        """Some of the sounds."""
        chosen = tuple(self._by_number[number] for number in sorted({*numbers}))
        return self.model_copy(update={"sounds": chosen, "left_out": ()})

    def content(self, numbers: Sequence[int]) -> list[list[str]]:
        """What is compared of each."""
        return [[self._by_number[number].checksum] for number in numbers]

    def performances(self, numbers: Sequence[int]) -> tuple[Performance, ...]:
        """How the answers to sounds are played."""
        velocity, held = round(_middle(self.audio.velocity)), _middle(self.audio.note_seconds)
        return tuple(Performance(self._by_number[number].note, velocity, held) for number in numbers)

    def sound(self, number: int) -> NDArray[np.float32]:
        """Read a sound, shape (2, S).

        Raises
        ------
        SpecError
            It is no longer what it was.
        """
        one = self._by_number[number]
        path = Path(self.folder) / one.file
        try:
            if file_checksum(path) == one.checksum:
                return _form_of(self.audio).read(path)[0]
        except (OSError, PresetError):
            pass
        raise SpecError(f"{path} has changed since the evaluation began; evaluate again")

    def label_scores(self, _number: int, _patch: Patch) -> dict[str, float]:
        """A sound has no label that an answer could be compared with."""
        return {}

    def families(self, numbers: Sequence[int]) -> NDArray[np.bytes_]:
        """The files: each is a family of its own."""
        return np.array([self._by_number[number].file.encode("utf-8", "replace") for number in numbers], np.bytes_)

    def groups(self, numbers: Sequence[int]) -> dict[str, dict[str, NDArray[np.bool_]]]:
        """Which sounds have their answers played at which note."""
        return {"note": group_by_note(np.array([self._by_number[number].note for number in numbers]))}

    def curves(self, _scores: NDArray[np.float64], _numbers: Sequence[int]) -> tuple[Curve, ...]:
        """There are no controls that the scores could follow."""
        return ()

    def title(self, number: int) -> str:
        """What a sound is called."""
        return self._by_number[number].file

    def preset_name(self, _number: int) -> str:
        """No preset is known to make it."""
        return ""

    def listen(self, number: int) -> str:
        """The file to play."""
        return shell.typed(Path(self.folder) / self.title(number))


def find_sounds(folder: str | Path) -> dict[str, str]:
    """Find the audio files of a folder: the sounds that `Predictions.create(..., sounds=...)` begins answers to.

    Parameters
    ----------
    folder : str or Path
        Searched with all it holds. Hidden files and folders are passed over, and no link is followed.

    Returns
    -------
    dict of str to str
        The checksum of each by its path in the folder, sorted. What predictions call its row is its place here, from 0.
        A file that can't be read counts as well; its checksum is empty.

    Raises
    ------
    SpecError
        There is no such folder, or no audio in it.
    """
    return {file: _checksum_of(Path(folder) / file) for file in audio_files(Path(folder))}


def survey(folder: Path, audio: AudioSpec, given_note: int | None, workers: int) -> SoundFolder:
    """Read each sound of a folder, and say at which note to answer it. Reports each to `synthcore.base.progress`.

    Parameters
    ----------
    folder : Path
    audio : AudioSpec
        What the sounds are brought to.
    given_note : int or None
        At which all are answered; otherwise the note is in the file's name, or estimated.
    workers : int
        Sounds that are read at a time.

    Raises
    ------
    SpecError
        As `find_sounds`; or no sound can be used.
    """
    found = find_sounds(folder)

    def examine(number: int, file: str) -> TargetSound | LeftOut:
        looked_at = _examine(folder, file, audio, given_note)
        progress.publish(progress.Progress(1, None))
        if isinstance(looked_at, str):
            return LeftOut(name=file, reason=looked_at)
        note, source, changes = looked_at
        return TargetSound(number=number, file=file, checksum=found[file], note=note, note_from=source, changes=changes)

    with ThreadPoolExecutor(workers) as pool:
        examined = list(pool.map(examine, range(len(found)), found))
    sounds = tuple(one for one in examined if isinstance(one, TargetSound))
    left_out = tuple(one for one in examined if isinstance(one, LeftOut))
    if not sounds:
        raise _nothing_usable(folder, left_out)
    return SoundFolder(folder=str(folder), audio=audio, sounds=sounds, left_out=left_out)


def require_usable(folder: Path, audio: AudioSpec) -> None:
    """Refuse a folder in which no sound can be used; reads only as many as it takes to find one.

    Raises
    ------
    SpecError
        As `survey`.
    """
    left_out = []
    for file in audio_files(folder):
        looked_at = _examine(folder, file, audio, NO_PITCH_NOTE)
        if not isinstance(looked_at, str):
            return
        left_out.append(LeftOut(name=file, reason=looked_at))
    raise _nothing_usable(folder, left_out)


def note_in(file: str) -> int | None:
    """The MIDI note that the name of a file states; None if it states none, or several.

    >>> note_in("strings/Violin_F#3_long.wav"), note_in("bass_033-050-100.wav"), note_in("note60.flac")
    (54, 50, 60)
    >>> note_in("take 03.wav"), note_in("C4 to E4.wav"), note_in("Kick_A-1.wav")
    (None, None, None)
    """
    stem = PurePosixPath(file).stem
    named = [note(name) for name in _NAMED.findall(stem)]
    named += [int(number or pitch) for number, pitch in _NUMBERED.findall(stem)]
    within = {one for one in named if 0 <= one <= HIGHEST_NOTE}
    return within.pop() if len(within) == 1 else None


def note_of(sound: NDArray[np.float32], sample_rate: int) -> int | None:
    """Estimate the MIDI note of a sound, shape (2, S): that of the median of its pitch; None if it has none."""
    pitches = track_pitch(sound, sample_rate)
    heard = pitches[~np.isnan(pitches)]
    return round(69 + 12 * math.log2(float(np.median(heard)) / 440)) if len(heard) else None


def _examine(
    folder: Path, file: str, audio: AudioSpec, given_note: int | None
) -> tuple[int, NoteSource, tuple[str, ...]] | str:
    """Say at which note to answer a sound, and what it took to be compared; or why it can't be used."""
    form = _form_of(audio)
    try:
        heard, changes = form.read(folder / file)
    except PresetError as error:
        return str(error)
    if is_silent(heard):
        return f"silent in its first {form.seconds:g} s"
    if given_note is not None:
        return given_note, "--note", changes
    if (named := note_in(file)) is not None:
        return named, "name", changes
    estimated = note_of(heard, form.sample_rate)
    return (NO_PITCH_NOTE, "no pitch", changes) if estimated is None else (estimated, "pitch", changes)


def audio_files(folder: Path) -> list[str]:
    """The audio files of a folder, sorted; and links and folders in it that can't be followed or opened."""
    if not folder.is_dir():
        raise SpecError(f"there is no folder {folder}; name a dataset, or a folder of sounds")
    try:
        found = sorted(file for file, _, _ in walk(folder, AUDIO_ENDINGS))
    except PresetError as error:
        raise SpecError(f"{folder} {error}") from error
    if not found:
        raise SpecError(f"{folder} holds no audio ({', '.join(AUDIO_ENDINGS)}); name a dataset, or a folder of sounds")
    return found


def _checksum_of(path: Path) -> str:
    """A file's checksum; what isn't a regular file, or can't be read, has none."""
    try:
        return file_checksum(path) if path.is_file() and not path.is_symlink() else ""
    except OSError:
        return ""


def _nothing_usable(folder: Path, left_out: Sequence[LeftOut]) -> SpecError:
    first = left_out[0]
    others = f"; nor can {how_many(len(left_out) - 1, 'other')}" * (len(left_out) > 1)
    return SpecError(f"{folder} holds no sound that can be used: {first.name}: {first.reason}{others}")


def _form_of(audio: AudioSpec) -> Form:
    fmt = DatasetSpec(audio=audio).render_format
    return Form(sample_rate=fmt.sample_rate, samples=fmt.samples)


def _middle(given: float | Span) -> float:
    """What is played where a dataset draws from a range."""
    low, high = ends(given)
    return (low + high) / 2
