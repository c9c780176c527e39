"""Audio without labels: the sounds of a folder are answered, and nothing of them is dropped or changed in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from synthcore import Dataset, Predictions, find_sounds
from synthcore.base.errors import EngineMismatch, SpecError
from synthcore.evaluation.answers import Answers
from synthcore.evaluation.baselines import answers_of_nearest, answers_to_sounds, look, plan_nearest
from synthcore.evaluation.choices import Baseline, Choice
from synthcore.evaluation.report import Evaluation, report
from synthcore.evaluation.scoring import plan_scores, read_scores, score_plan
from synthcore.evaluation.sound_answers import audio_of
from synthcore.evaluation.sounds import SoundFolder, note_in, note_of, survey
from synthcore.page.evaluation import gather_evaluation
from synthcore.page.writing import write_evaluation
from synthcore.pipeline.sketching import sketch_plan
from synthcore.vital.patch import LABELS

RATE = 22_050


@pytest.fixture
def dataset(tier_1: Any) -> Any:
    with Dataset(tier_1.path) as opened:
        yield opened


@pytest.fixture
def folder(dataset: Dataset, tmp_path: Path) -> Path:
    """The audio of two rows, of which the first says its note in its name, and a file that isn't audio."""
    found = tmp_path / "sounds"
    (found / "low").mkdir(parents=True)
    write(found / "b C4.wav", dataset.column("audio", [1])[0].T)
    write(found / "low" / "a_note48.flac.wav", dataset.column("audio", [0])[0].T)
    (found / "c.wav").write_text("no audio")
    (found / ".hidden.wav").write_text("passed over")
    (found / "README").write_text("passed over")
    return found


def write(path: Path, samples: Any, rate: int = RATE) -> None:
    soundfile.write(path, samples, rate, subtype="FLOAT")


def saw(hertz: float, seconds: float, rate: int = RATE) -> Any:
    return 0.3 * (2 * ((hertz * np.arange(int(seconds * rate)) / rate) % 1) - 1)


def choice(folder: Path, answers: Path | None = None, baseline: Baseline | None = None, **others: Any) -> Choice:
    return Choice(folder, "test", answers, baseline, others.get("train", folder), 0, others.get("note"))


def sounds_of(asked: Choice) -> SoundFolder:
    look(asked)
    return survey(asked.against, audio_of(asked), asked.note, workers=1)


def evaluated(answers: Answers, sounds: SoundFolder, data_dir: Path) -> Evaluation:
    plans = plan_scores(answers, sounds)
    for plan in plans:
        score_plan(plan, data_dir)
    return report(answers, sounds, "test", read_scores(plans, data_dir))


def require_best(found: Evaluation) -> None:
    for metric in found.audio:
        if metric.mean_answer.rows:
            assert metric.mean_answer.mean == float(metric.higher_is_better), metric.name


def predicted(dataset: Dataset, folder: Path, path: Path) -> Predictions:
    """The rows' own labels as answers to their audio: sounds are counted in the order of their names."""
    answers = Predictions.create(path, dataset, sounds=find_sounds(folder))
    answers.append([0, 2], **{name: dataset.column(name, [1, 0]) for name in LABELS})
    return answers


@pytest.mark.slow
def test_the_labels_that_sounds_were_made_from_are_exactly_the_best_answers(
    dataset: Dataset, folder: Path, tmp_path: Path
) -> None:
    asked = choice(folder, predicted(dataset, folder, tmp_path / "answers.h5").path)
    sounds = sounds_of(asked)
    assert [(one.number, one.file, one.note) for one in sounds.sounds] == [
        (0, "b C4.wav", 60),
        (2, "low/a_note48.flac.wav", 48),
    ]
    found = evaluated(answers_to_sounds(asked, sounds, tmp_path, 1), sounds, tmp_path)
    assert (found.rows, found.answered, found.unanswered, found.labels, found.curves) == (2, 2, 0, (), ())
    assert found.split == "all"
    require_best(found)
    assert found.audio[0].groups.keys() == {"note"}
    assert Evaluation.model_validate_json(found.model_dump_json()) == found
    told = found.to_text()
    assert "sounds 2: 2 answered, 0 without an answer" in told
    assert "- left out: c.wav: not audio that can be read" in told
    assert "- note in the file's name: 2 sounds (b C4.wav: 60, low/a_note48.flac.wav: 48)" in told
    write_evaluation(
        gather_evaluation(found, answers_to_sounds(asked, sounds, tmp_path, 1).origin), tmp_path / "x.html"
    )
    page = (tmp_path / "x.html").read_text()
    assert "answer to low/a_note48.flac.wav" in page
    assert "left out: c.wav" in page


@pytest.mark.slow
def test_presets_answer_the_sound_of_their_name_or_of_their_folder(
    dataset: Dataset, folder: Path, tmp_path: Path
) -> None:
    answers = tmp_path / "answers"
    of_first = preset(dataset, 1, answers / "b C4" / "1.vital")
    preset(dataset, 14, answers / "b C4" / "2.vital")
    preset(dataset, 0, answers / "low" / "a_note48.flac.vital")
    preset(dataset, 0, answers / "nobody.vital")
    asked = choice(folder, answers, train=dataset.path)
    sounds = sounds_of(asked)
    given = answers_to_sounds(asked, sounds, tmp_path, 1)
    assert given.rows == (0, 0, 2)
    assert [patch.hash for patch in given.origin.patches(given.places)][:1] == [of_first]
    found = evaluated(given, sounds, tmp_path)
    assert "mean of a sound's answers" in found.to_text()
    assert found.to_text().count("3 answers: the best of a sound, and the mean of all of a sound") == 1
    assert {metric.best_answer.mean for metric in found.audio if metric.best_answer.rows} == {0, 1}
    assert "left out: 1 preset (nobody.vital) named after no sound" in found.to_text()
    (answers / "b C4" / "3.vital").write_text("{}")
    with pytest.raises(SpecError, match=r"b C4/3.vital can't be read as an answer: "):
        answers_to_sounds(asked, sounds, tmp_path, 1)
    (answers / "b C4" / "0.vital").symlink_to(tmp_path / "elsewhere.vital")
    with pytest.raises(SpecError, match=r"b C4/0.vital can't be read as an answer: a link that leads nowhere; nor can"):
        answers_to_sounds(asked, sounds, tmp_path, 1)


def preset(dataset: Dataset, row: int, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    patch = dataset.patch(row)
    path.write_text(json.dumps(patch.to_preset(dataset.registry, dataset.assets_of(patch), path.stem)))
    return patch.hash


@pytest.mark.slow
def test_the_nearest_training_row_answers_a_sound(tier_1: Any, train: Path, folder: Path, tmp_path: Path) -> None:
    asked = choice(folder, baseline="nearest", train=train)
    sounds = sounds_of(asked)
    sides = plan_nearest(asked, sounds)
    for plan in (*sides[0], *sides[1]):
        sketch_plan(plan, tmp_path)
    require_best(evaluated(answers_of_nearest(asked, *sides, tmp_path, sounds), sounds, tmp_path))


def test_answers_to_other_sounds_are_refused(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    answers = predicted(dataset, folder, tmp_path / "answers.h5")
    with pytest.raises(SpecError, match="answers sounds, not the rows of"):
        answers.require_of(dataset)
    with pytest.raises(SpecError, match="answers the rows of a dataset, not the sounds in"):
        look(choice(folder, Predictions.create(tmp_path / "rows.h5", dataset).path))
    look(choice(folder, answers.path))
    other_synth = Path(shutil.copy(answers.path, tmp_path / "other.h5"))
    with h5py.File(other_synth, "r+") as file:
        file["schema"].attrs["registry"] = "0" * 64
    with pytest.raises(EngineMismatch, match="the controls of another synth"):
        look(choice(folder, other_synth))
    (folder / "c.wav").write_text("changed")
    (folder / "b C4.wav").rename(folder / "d.wav")
    with pytest.raises(SpecError, match=r"1 sound gone \(b C4.wav\); 1 sound new \(d.wav\); 1 sound changed \(c.wav\)"):
        look(choice(folder, answers.path))


def test_what_it_took_to_compare_a_sound_and_where_its_note_is_from_is_said(dataset: Dataset, tmp_path: Path) -> None:
    write(tmp_path / "long.wav", np.stack([saw(220, 2, 192_000)] * 8, axis=1), 192_000)
    write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.1, (8_820, 2)))
    write(tmp_path / "silent.wav", np.zeros((8_820, 2)))
    write(tmp_path / "tiny A2.wav", saw(110, 0.005))
    said = {one.file: one for one in survey(tmp_path, dataset.spec.audio, None, 1).sounds}
    assert {file: (one.note, one.note_from, one.changes) for file, one in said.items()} == {
        "long.wav": (57, "pitch", ("left with their first two channels", "resampled", "cut")),
        "noise.wav": (60, "no pitch", ()),
        "tiny A2.wav": (45, "name", ("given a second channel like the first", "padded with silence")),
    }
    all_by_one = survey(tmp_path, dataset.spec.audio, 50, 1)
    assert {(one.note, one.note_from) for one in all_by_one.sounds} == {(50, "--note")}
    assert [(one.name, one.reason) for one in all_by_one.left_out] == [("silent.wav", "silent in its first 0.4 s")]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("x/Violin_F#3_long.wav", 54),
        ("bass_synthetic_033-050-100.wav", 50),
        ("Note 72.flac", 72),
        ("Bb2.wav", 46),
        ("take 03.wav", None),
        ("Kick_A-1.wav", None),
        ("C4 to E4.wav", None),
        ("C4/kick.wav", None),
        ("Bassline2.wav", None),
        ("C12 note200.wav", None),
    ],
)
def test_a_note_is_read_from_a_name_that_states_one(name: str, note: int | None) -> None:
    assert note_in(name) == note


def test_a_note_is_estimated_from_the_pitch() -> None:
    sound = np.stack([saw(440, 0.4)] * 2).astype(np.float32)
    assert note_of(sound, RATE) == 69
    assert note_of(np.zeros_like(sound), RATE) is None


def test_two_sounds_of_one_name_cannot_share_presets(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    preset(dataset, 0, tmp_path / "answers" / "b C4.vital")
    write(folder / "b C4.flac.wav", saw(220, 0.1))
    look(choice(folder, tmp_path / "answers"))
    soundfile.write(folder / "b C4.flac", saw(220, 0.1), RATE)
    with pytest.raises(SpecError, match=r"b C4.flac and b C4.wav would have the same presets; rename one"):
        look(choice(folder, tmp_path / "answers"))
