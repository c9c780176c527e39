"""Answers are rendered as their rows are played and scored; baselines are floor and ceiling."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from synthcore import Dataset, Patch, Predictions, playback
from synthcore.analysis.distances import distance
from synthcore.analysis.importance import measure, plan_probes
from synthcore.base.errors import DatasetError, SpecError
from synthcore.engine.rendering import Fault
from synthcore.evaluation import scoring
from synthcore.evaluation.answers import Answers, Origin
from synthcore.evaluation.baselines import answers_of, answers_of_nearest, mean_label, plan_nearest, written
from synthcore.evaluation.choices import Baseline, Choice
from synthcore.evaluation.curves import POINTS, ROWS, find_curves
from synthcore.evaluation.metrics import AUDIO_METRICS
from synthcore.evaluation.report import Evaluation, per_row, report
from synthcore.evaluation.scoring import Scores, plan_scores, read_scores, score_plan
from synthcore.evaluation.searching import answers_of_searches, plan_searches, search_plan
from synthcore.evaluation.targets import RowTargets
from synthcore.pipeline.forms import Form
from synthcore.pipeline.sketching import sketch_plan
from synthcore.pipeline.sounds import row_plans
from synthcore.vital.patch import LABELS


def choice(against: Path, baseline: Baseline | None = None, answers: Path | None = None, **others: Any) -> Choice:
    return Choice(against, "all", answers, baseline, others.get("train", against), others.get("seed", 0))


def evaluated(answers: Answers, against: Path, data_dir: Path) -> Evaluation:
    with Dataset(against) as dataset:
        plans = plan_scores(answers, RowTargets(dataset))
        for plan in plans:
            score_plan(plan, data_dir)
        return report(answers, RowTargets(dataset), "all", read_scores(plans, data_dir))


@pytest.mark.long
def test_the_labels_themselves_are_exactly_the_best_by_every_metric(tier_3: Any, tmp_path: Path) -> None:
    found = evaluated(answers_of(choice(tier_3.path, "oracle"), tmp_path), tier_3.path, tmp_path)
    assert (found.rows, found.answered, found.answers_given) == (15, 15, 15)
    for metric in (*found.audio, *found.labels):
        if metric.mean_answer.rows:  # it says something about these rows
            best = float(metric.higher_is_better)
            assert (metric.mean_answer.median, metric.mean_answer.mean) == (best, best)
            assert metric.mean_answer.interval == (best, best)
    assert {"tier", "source", "note", "module"} == found.audio[0].groups.keys()
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_a_module_is_heard_only_where_it_is_switched_on(tier_1: Any) -> None:
    """A control of a module that is off may be active: the type of an oscillator's distortion decides an order."""
    with Dataset(tier_1.path) as dataset:
        heard = RowTargets(dataset).groups(range(len(dataset)))["module"]
        switches = {control.name: place for place, control in enumerate(dataset.registry.categorical)}
        chosen = dataset.column("categorical")
        assert {"osc_1", "osc_2", "filter_1"} & heard.keys()
        for module, rows in heard.items():
            if f"{module}_on" in switches:
                assert chosen[rows, switches[f"{module}_on"]].all(), module


@pytest.mark.long
def test_an_answer_that_cannot_be_rendered_is_scored_as_silence_and_counted(
    tier_1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def render_many(patches: list[Patch], *arguments: Any, **how: Any) -> Iterator[Any]:
        for place, sound in enumerate(playback.render_many(patches, *arguments, **how)):
            yield Fault(60, "crash", None, None) if place == 2 else sound

    monkeypatch.setattr(scoring, "render_many", render_many)
    answers = answers_of(choice(tier_1.path, "oracle"), tmp_path)
    with Dataset(tier_1.path) as dataset:
        (plan,) = plan_scores(answers, RowTargets(dataset))
        score_plan(plan, tmp_path)
        scores = read_scores([plan], tmp_path)
        target = dataset.column("audio", [2])[0]
        for metric in AUDIO_METRICS.values():
            silence = metric.measure(target, np.zeros_like(target), 22_050)  # NaN where it says nothing of silence
            np.testing.assert_equal(scores.values[metric.name][2], silence)
        found = report(answers, RowTargets(dataset), "all", scores)
    assert found.faults == {"crash": 1}
    assert "can't be rendered, and scored as silence: 1 answer (the synth crashed" in found.to_text()
    assert 2 in [example.row for example in found.examples if example.kind == "worst"]


@pytest.mark.slow
def test_a_plan_is_known_by_what_is_compared(tier_1: Any, forge: Any, tmp_path: Path) -> None:
    def keys(path: Path, baseline: Baseline, seed: int = 0) -> list[str]:
        with Dataset(path) as dataset:
            return [
                plan.key
                for plan in plan_scores(answers_of(choice(path, baseline, seed=seed), tmp_path), RowTargets(dataset))
            ]

    own = keys(tier_1.path, "oracle")
    assert keys(forge(tier_1), "oracle") == own
    assert keys(tier_1.path, "random") == keys(tier_1.path, "random") != own
    assert keys(tier_1.path, "random", seed=1) != keys(tier_1.path, "random")


@pytest.mark.slow
def test_a_dataset_that_is_replaced_meanwhile_is_not_taken_for_the_one_that_was_planned(
    tier_1: Any, tier_3: Any, tmp_path: Path
) -> None:
    path = Path(shutil.copy(tier_1.path, tmp_path / "x.h5"))
    answers = answers_of(choice(path, "oracle"), tmp_path)
    with Dataset(path) as dataset:
        (scores,) = plan_scores(answers, RowTargets(dataset))
        searches = plan_searches(answers, RowTargets(dataset), 1)[0]
        (sketches,) = row_plans(dataset, Form.of(dataset), np.arange(len(dataset)))
        (weights,) = plan_probes(dataset, 1)
    shutil.copy(tier_3.path, path)
    tasks: list[tuple[Any, Any]] = [
        (score_plan, scores),
        (search_plan, searches),
        (sketch_plan, sketches),
        (measure, weights),
    ]
    for doing, plan in tasks:
        with pytest.raises(DatasetError, match=r"x.h5 has been replaced meanwhile; run the same command again"):
            doing(plan, tmp_path)


def test_a_random_answer_is_another_rows_patch(tier_1: Any, tmp_path: Path) -> None:
    answers = answers_of(choice(tier_1.path, "random"), tmp_path)
    with Dataset(tier_1.path) as dataset:
        own, given = (dataset.column("preset_hash", list(rows)) for rows in (answers.rows, answers.places))
    assert answers.rows == tuple(range(15))
    assert not (own == given).any()


@pytest.mark.slow
def test_the_nearest_answer_to_a_rows_own_audio_is_that_row(tier_1: Any, train: Path, tmp_path: Path) -> None:
    asked = choice(tier_1.path, "nearest", train=train)
    sides = plan_nearest(asked)
    for plan in (*sides[0], *sides[1]):
        sketch_plan(plan, tmp_path)
    answers = answers_of_nearest(asked, *sides, tmp_path)
    with Dataset(train) as dataset:
        sounds = dataset.column("audio_sha256")
    assert answers.rows == tuple(range(15))
    assert (sounds[list(answers.places)] == sounds).all()  # some patches sound alike at both notes
    assert (answers.unanswered, answers.origin.file) == (0, str(train))


@pytest.mark.slow
def test_a_search_comes_nearer_to_a_row_than_the_training_row_where_it_begins(
    tier_1: Any, train: Path, tmp_path: Path
) -> None:
    origin = Origin(file=str(train), assets=str(train))
    nearest = Answers(name="nearest", origin=origin, rows=(0, 1), places=(2, 1))
    with Dataset(tier_1.path) as dataset:
        targets = RowTargets(dataset)
        (plan,) = plan_searches(nearest, targets, 20)
        search_plan(plan, tmp_path)
        found = answers_of_searches(nearest, [plan], tmp_path)
        begun, ended = distances(nearest, targets), distances(found, targets)
        assert ended[0] < begun[0]
        assert (begun[1], ended[1]) == (0, 0)  # nothing is nearer than the row itself
        assert found.origin.patches([1]) == [dataset.patch(1)]
    assert (found.name, found.rows, found.places) == ("search, 20 renders a row", (0, 1), (0, 1))
    assert answers_of_searches(nearest, [plan], tmp_path) == found


def distances(answers: Answers, targets: RowTargets) -> list[float]:
    sounds: list[Any] = list(scoring.play(answers.origin, answers.places, targets, answers.rows))
    return [
        distance(targets.sound(row), sound, targets.audio.sample_rate)
        for row, sound in zip(answers.rows, sounds, strict=True)
    ]


@pytest.mark.slow
def test_the_mean_is_one_patch_for_every_row(tier_1: Any, train: Path, tmp_path: Path) -> None:
    answers = answers_of(choice(tier_1.path, "mean", train=train), tmp_path)
    assert (len(answers.rows), set(answers.places)) == (15, {0})
    (patch,) = answers.origin.patches([0])
    with Dataset(train) as dataset:
        continuous, categorical = dataset.column("continuous"), dataset.column("categorical")
        drawn = [not control.is_whole for control in dataset.registry.continuous]
    np.testing.assert_allclose(patch.continuous[drawn], continuous.mean(axis=0)[drawn], atol=1e-6)
    counts = [np.bincount(options).argmax() for options in categorical.T]
    assert patch.categorical.tolist() == counts
    assert answers_of(choice(tier_1.path, "mean", train=train), tmp_path) == answers
    assert answers.origin.patches([0]) == [patch]


def test_answers_of_a_baseline_are_written_whole_or_not_at_all(tier_1: Any, tmp_path: Path) -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    with Dataset(tier_1.path) as dataset, pytest.raises(KeyboardInterrupt):
        written(tmp_path / "x.h5", dataset, [0], interrupted)
    assert not [*tmp_path.iterdir()]


def test_the_mean_connects_what_most_rows_do(tier_3: Any) -> None:
    with Dataset(tier_3.path) as dataset:
        slots = dataset.column("modulation_slots", [0, 0, 1])
        found = mean_label(dataset, np.array([0, 0, 1]))["modulation_slots"][0]
    connected = slots[0, :, 0] >= 0
    np.testing.assert_allclose(found[connected], slots[0][connected], atol=1e-6)
    assert connected.any()


def test_of_several_answers_the_best_and_the_mean_are_given() -> None:
    metric = next(metric for metric in AUDIO_METRICS.values() if not metric.higher_is_better)
    nan = float("nan")
    values = {metric.name: np.array([3.0, 1.0, 5.0, nan, nan])}
    scores = Scores(np.array([7, 7, 2, 2, 4]), np.arange(5), values, np.array([""] * 5))
    mean, best = per_row(metric, scores)
    np.testing.assert_array_equal(mean, [5, nan, 2])
    np.testing.assert_array_equal(best, [5, nan, 1])


def test_rows_without_an_answer_and_answers_to_other_rows_are_counted(tier_1: Any, train: Path, tmp_path: Path) -> None:
    with h5py.File(train, "r+") as file:
        file["metadata/split"][:10] = b"test"
    with Dataset(train) as dataset:
        predictions = Predictions.create(tmp_path / "answers.h5", dataset)
        predictions.append([3, 12], **{name: dataset.column(name, [3, 12]) for name in LABELS})
    answers = answers_of(Choice(train, "test", predictions.path, None, train, 0), tmp_path)
    assert (answers.rows, answers.places, answers.unanswered, answers.others) == ((3,), (0,), 9, 1)


def test_a_dataset_answers_another_whose_rows_are_played_alike(
    tier_1: Any, forge: Callable[..., Path], tmp_path: Path
) -> None:
    same = forge(tier_1)
    assert answers_of(choice(tier_1.path, answers=same), tmp_path).places == tuple(range(15))
    with h5py.File(same, "r+") as file:
        file["metadata/velocity"][4] = 3
    with pytest.raises(SpecError, match="row 4 is played at note 48, velocity 3, for 0.25 s there, and at note 48"):
        answers_of(choice(tier_1.path, answers=same), tmp_path)


def test_a_curve_follows_the_control_that_the_error_follows(tier_1: Any) -> None:
    rows = np.repeat(np.arange(15), 10)
    with Dataset(tier_1.path) as dataset:
        place = [control.name for control in dataset.registry.continuous].index("volume")
        volume = dataset.column("continuous", rows)[:, place]
        (curve,) = [curve for curve in find_curves(10.0 * volume, dataset, rows) if curve.control == "volume"]
        assert find_curves(volume[: ROWS + 1].astype(float), dataset, rows[: ROWS + 1]) == ()  # of one point
    assert 1 < len(curve.scores) <= POINTS
    assert list(curve.values) == sorted(set(curve.values))  # rows with one value are in one point
    np.testing.assert_allclose(curve.scores, 10 * np.array(curve.values), rtol=1e-5)
    assert curve.rows == 150
