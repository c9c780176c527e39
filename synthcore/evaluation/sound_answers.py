"""Answers to the sounds of a folder: predictions that were made for it, or presets named after them.

Owns in which form answers are rendered, and the rule by which a preset answers a sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, PresetError, SpecError
from synthcore.evaluation.answers import Answers, Origin, chosen_answers
from synthcore.evaluation.choices import Choice
from synthcore.evaluation.sound_remarks import named
from synthcore.evaluation.sounds import SoundFolder, audio_files, find_sounds, require_usable
from synthcore.ingest.collecting import ingest
from synthcore.ingest.files import ENDINGS, walk
from synthcore.ingest.report import FileReport
from synthcore.pipeline import library
from synthcore.spec import AudioSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.storage.predictions import Predictions, is_predictions
from synthcore.vital.controls import installed

ENDING = ".vital"
RULE = "a preset answers the sound of its name (x.vital: x.wav), or of its folder's (x/1.vital, x/2.vital)"


def audio_of(choice: Choice) -> AudioSpec:
    """The form in which answers are rendered: that of the dataset that was learned from, if one is known.

    Raises
    ------
    DatasetError
        The dataset can't be read.
    """
    if choice.answers and is_predictions(choice.answers):
        return Predictions(choice.answers).audio
    if choice.train == choice.against:  # none is named
        return AudioSpec()
    with damage_named(choice.train), Dataset(choice.train) as train:
        return train.spec.audio


def look_at_sounds(choice: Choice) -> None:
    """Refuse answers that can't be to the sounds of a folder, and a folder without any; renders nothing.

    Raises
    ------
    SpecError, DatasetError, EngineMismatch
    """
    if choice.split not in ("test", "all"):  # the default, and what it comes to
        raise SpecError(f"{choice.against} is a folder of sounds, which has no splits; leave out --split")
    if choice.baseline in ("oracle", "random"):
        raise SpecError(f"the sounds in {choice.against} have no labels; take --baseline mean, nearest or search")
    if choice.baseline and choice.train == choice.against:
        raise SpecError(f"{choice.baseline} learns from a dataset; name it with --train")
    if choice.answers and choice.answers.is_dir():
        preset_files(choice.answers, audio_files(choice.against))
    elif choice.answers:
        _predictions(choice.answers, choice.against)
        if choice.train != choice.against:
            raise SpecError(f"{choice.answers} itself says what it was learned from; leave out --train")
    require_usable(choice.against, audio_of(choice))


def given_answers_to_sounds(choice: Choice, sounds: SoundFolder, data_dir: Path, workers: int) -> Answers:
    """The answers that predictions, or a folder of presets, give to sounds.

    Parameters
    ----------
    choice : Choice
        Its `answers` are given.
    sounds : SoundFolder
    data_dir : Path
        Where presets are kept as a collection.
    workers : int
        Presets that are read at a time, each reported to `synthcore.base.progress`.

    Raises
    ------
    SpecError
        They answer other sounds, or none that can be used; or a preset can't be read.
    DatasetError
        The file isn't predictions.
    """
    if choice.answers is None:
        raise TypeError("there is no file of answers")
    if choice.answers.is_dir():
        return _presets(choice.answers, sounds, data_dir, workers)
    predictions = _predictions(choice.answers, Path(sounds.folder))
    origin = Origin(file=str(predictions.path), assets=str(predictions.path))
    return chosen_answers(str(choice.answers), origin, predictions.rows, sounds.numbers, _wanted(sounds))


def presets_in(choice: Choice) -> int:
    """How many files `given_answers_to_sounds` reports to `synthcore.base.progress`."""
    folder = choice.answers
    return sum(1 for _ in walk(folder, ENDINGS)) if folder and folder.is_dir() else 0


def preset_files(folder: Path, sounds: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Which presets answer which sound: the number of each one's sound, by the preset's path in the folder, sorted.

    Those that answer none are named as well.

    Raises
    ------
    SpecError
        No preset answers a sound, or two sounds would have the same presets.
    """
    numbers: dict[PurePosixPath, int] = {}
    for number, name in enumerate(sounds):
        stem = _without_ending(name)
        if stem in numbers:
            raise SpecError(f"{sounds[numbers[stem]]} and {name} would have the same presets; rename one: {RULE}")
        numbers[stem] = number
    try:
        presets = sorted(file for file, _, _ in walk(folder, (ENDING,)))  # what can't be opened is refused when read
    except PresetError as error:
        raise SpecError(f"{folder} {error}") from error
    found = {}
    for preset in presets:
        answered = numbers.get(_without_ending(preset), numbers.get(PurePosixPath(preset).parent))
        if answered is not None:
            found[preset] = answered
    if not found:
        raise SpecError(f"{folder} has {how_many(len(presets), 'preset')}, none of them named after a sound; {RULE}")
    return found, [preset for preset in presets if preset not in found]


def _without_ending(file: str) -> PurePosixPath:
    path = PurePosixPath(file)
    return path.parent / path.stem


def _predictions(file: Path, folder: Path) -> Predictions:
    """Predictions that answer the sounds of a folder."""
    if not file.exists():
        raise DatasetError(f"there is no file {file}")
    if not is_predictions(file):
        raise DatasetError(
            f"{file} can't answer the sounds in {folder}; name predictions that were created with sounds=, or a folder "
            f"of presets: {RULE}"
        )
    predictions = Predictions(file)
    predictions.require_of_sounds(find_sounds(folder), folder)
    return predictions


def _presets(folder: Path, sounds: SoundFolder, data_dir: Path, workers: int) -> Answers:
    """The answers that a folder of presets gives, which are kept as a collection."""
    numbers, others = preset_files(folder, audio_files(Path(sounds.folder)))
    collection, report = ingest([folder], installed(), check=False, workers=workers, approximate=True)
    read = {file.file: file for file in report.files}
    _require_read(folder, numbers, read)
    place = {preset.patch.hash: number for number, preset in enumerate(collection.presets)}
    kept = str(library.keep_collection(collection, data_dir))
    answers = chosen_answers(
        str(folder),
        Origin(file=kept, assets=kept),
        np.array(list(numbers.values()), np.intp),
        sounds.numbers,
        _wanted(sounds),
    )
    files = list(numbers)
    places = tuple(place[read[files[one]].patch] for one in answers.places)
    otherwise = [file for file in files if read[file].otherwise]
    remarks = [f"left out: {named(others, 'preset')} named after no sound"] if others else []
    remarks += [f"Vital plays differently: {named(otherwise, 'preset')}"] if otherwise else []
    return answers.model_copy(update={"places": places, "remarks": tuple(remarks)})


def _require_read(folder: Path, wanted: Mapping[str, int], read: Mapping[str, FileReport]) -> None:
    """Refuse answers that can't be read."""
    reasons = {file: read[file].reason if file in read else "not a preset" for file in wanted}
    broken = [file for file in wanted if file not in read or not read[file].patch]
    if broken:
        others = f"; nor can {how_many(len(broken) - 1, 'other')}" * (len(broken) > 1)
        raise SpecError(f"{folder / broken[0]} can't be read as an answer: {reasons[broken[0]]}{others}")


def _wanted(sounds: SoundFolder) -> str:
    return f"a sound in {sounds.folder} that can be used"
