"""Predictions: what a model gives is stored as it will be played, readable whenever its writer is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthcore import Dataset, Patch, Predictions
from synthcore.base.errors import DatasetError, EngineMismatch, SpecError, SynthcoreError
from synthcore.storage import predictions
from synthcore.storage.dense import dense_shape, from_dense, to_dense
from synthcore.storage.predictions import is_predictions
from synthcore.vital.patch import LABELS

MENUS = ("continuous", "categorical")


@pytest.fixture
def dataset(tier_1: Any) -> Any:
    with Dataset(tier_1.path) as opened:
        yield opened


@pytest.fixture
def answers(dataset: Dataset, tmp_path: Path) -> Predictions:
    return Predictions.create(tmp_path / "answers.h5", dataset)


def labels_of(dataset: Dataset, rows: list[int], names: tuple[str, ...] = LABELS) -> dict[str, Any]:
    return {name: dataset.column(name, rows) for name in names}


def test_labels_given_as_answers_are_the_rows_own_patches(each_tier: Any, tmp_path: Path) -> None:
    rows = [3, 14, 0]
    with Dataset(each_tier.path) as dataset:
        answers = Predictions.create(tmp_path / "answers.h5", dataset)
        answers.append(rows[:2], **labels_of(dataset, rows[:2]))
        answers.append(rows[2:], **labels_of(dataset, rows[2:]))
        again = Predictions(tmp_path / "answers.h5")
        assert (len(again), again.rows.tolist()) == (3, rows)
        assert again.patches([0, 1, 2]) == [dataset.patch(row) for row in rows]
        assert again.patch_hashes == [dataset.patch(row).hash for row in rows]
        again.require_of(dataset)


def test_what_a_model_gives_is_stored_as_it_will_be_played(answers: Predictions, dataset: Dataset) -> None:
    continuous, categorical = np.random.default_rng(0).normal(size=(2, 322)), np.full((2, 126), 1.4)
    answers.append([5, 7], continuous=continuous, categorical=categorical)
    wanted = [Patch.from_vectors(*one, classes=dataset.classes) for one in zip(continuous, categorical, strict=True)]
    assert answers.patches([0, 1]) == wanted


def test_tier_1s_columns_are_enough(answers: Predictions, dataset: Dataset) -> None:
    knobs, menus = dataset.columns(tier=1)
    label = dataset[4]
    vectors = {"continuous": label["continuous"][knobs], "categorical": label["categorical"][menus]}
    vectors["wavetables"] = label["wavetables"]
    answers.append([4], **{name: vector[None] for name, vector in vectors.items()})
    assert answers.patches([0]) == [dataset.patch(4)]


def test_the_option_with_the_highest_score_is_taken(answers: Predictions, dataset: Dataset) -> None:
    menus = dataset.columns(tier=1)[1]
    chosen = dataset.column("categorical", [2, 6])[:, menus]
    scores = [np.eye(len(dataset.registry.categorical[i].options))[chosen[:, n]] - 9 for n, i in enumerate(menus)]
    answers.append([2, 6], **labels_of(dataset, [2, 6], ("continuous", "wavetables")), option_scores=scores)
    assert answers.patches([0, 1]) == [dataset.patch(2), dataset.patch(6)]


def test_dense_modulation_connects_the_same(tier_3: Any, tmp_path: Path) -> None:
    with Dataset(tier_3.path) as dataset:
        dense = dataset.column("modulation_t3", [1, 2])
        assert dense[:, 0].any()
        answers = Predictions.create(tmp_path / "answers.h5", dataset)
        answers.append([1, 2], **labels_of(dataset, [1, 2], MENUS), modulation_t3=dense)
        for patch, wanted in zip(answers.patches([0, 1]), dense, strict=True):
            found = to_dense(patch.modulation_slots, dataset.registry)
            np.testing.assert_array_equal(found[0], wanted[0])
            np.testing.assert_array_equal(found[:, found[0] != 0], wanted[:, found[0] != 0])


def test_of_more_connections_than_slots_the_largest_are_kept(dataset: Dataset) -> None:
    dense = np.zeros(dense_shape(dataset.registry))
    dense[0, 0, :70] = np.linspace(0.9, 0.1, 70)
    slots = from_dense(dense, dataset.registry)
    assert slots[:, 1].tolist() == list(range(64))


def test_a_row_has_one_answer_unless_several_are_meant(dataset: Dataset, tmp_path: Path) -> None:
    label = labels_of(dataset, [1, 1], MENUS)
    several = Predictions.create(tmp_path / "several.h5", dataset, several=True)
    several.append([1, 1], **label)
    assert several.rows.tolist() == [1, 1]
    one = Predictions.create(tmp_path / "one.h5", dataset)
    with pytest.raises(SpecError, match="row 1 is answered twice; give one answer, or create the file with several"):
        one.append([1, 1], **label)
    one.append([1], **labels_of(dataset, [1], MENUS))
    with pytest.raises(SpecError, match="row 1 is answered twice"):
        one.append([1], **labels_of(dataset, [1], MENUS))
    assert len(one) == 1


@pytest.mark.slow
def test_a_file_grows_beyond_what_was_reserved(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "RESERVED", 2)
    answers = Predictions.create(tmp_path / "answers.h5", dataset)
    for row in range(15):
        answers.append([row], **labels_of(dataset, [row]))
    assert answers.patches(range(15)) == list(dataset.patches(0, 15))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.h5"]


GOOD: dict[str, Any] = {"continuous": np.zeros((1, 322)), "categorical": np.zeros((1, 126))}


@pytest.mark.parametrize(
    ("rows", "vectors", "says"),
    [
        ([15], GOOD, "there is no row 15: the dataset has rows 0 to 14"),
        ([-1], GOOD, "there is no row -1"),
        ([0.5], GOOD, "rows must be a list of whole numbers, not float64"),
        (3, GOOD, "rows must be a list of whole numbers"),
        ([3], GOOD | {"continuous": np.full((1, 322), np.nan)}, r"answer 0 \(to row 3\): continuous holds nan at 0"),
        ([3], GOOD | {"continuous": np.zeros((1, 321))}, r"continuous has shape \(321,\); a patch needs \(322,\)"),
        ([3], GOOD | {"continuous": np.zeros((2, 322))}, "give a line for each of 1 row"),
        ([3], GOOD | {"continuous": [[1], [1, 2]]}, "continuous has lines of several lengths"),
        ([3], {"continuous": np.zeros((1, 322))}, "an answer needs categorical"),
        ([3], GOOD | {"wavetables": [[0, 0, 999]]}, "wavetables names class 999"),
        ([3], GOOD | {"knobs": [1]}, "answers have no 'knobs'; they have continuous, categorical"),
        ([3], GOOD | {"option_scores": []}, "categorical and option_scores say the same thing"),
        ([3], {"continuous": np.zeros((1, 322)), "option_scores": [[[1]]]}, "option_scores are given for 1 controls"),
        ([3], GOOD | {"modulation_t3": np.zeros((1, 4, 32))}, "modulation_t3 has shape"),
    ],
)
def test_bad_answers_are_refused_in_one_line_and_nothing_is_added(
    rows: Any, vectors: dict[str, Any], says: str, answers: Predictions
) -> None:
    with pytest.raises(SynthcoreError, match=says) as refused:
        answers.append(rows, **vectors)
    assert "\n" not in str(refused.value)
    assert len(answers) == 0


def test_answers_are_to_the_dataset_that_they_were_created_for(
    answers: Predictions, tier_2: Any, forge: Any, forgeries: Any, tier_1: Any, tmp_path: Path
) -> None:
    with Dataset(tier_2.path) as other, pytest.raises(SpecError, match=r"answers another dataset \(tier 1, 15 rows"):
        answers.require_of(other)
    path = forge(tier_1)
    forgeries.registry(path, lambda config: config["controls"].pop())
    with Dataset(path) as other, pytest.raises(EngineMismatch, match="was made with another synth"):
        Predictions.create(tmp_path / "never.h5", other)
    assert not (tmp_path / "never.h5").exists()


def test_another_file_is_not_taken_for_answers(answers: Predictions, dataset: Dataset, tmp_path: Path) -> None:
    assert is_predictions(answers.path)
    assert not is_predictions(dataset.local_path)
    assert not is_predictions(tmp_path / "nowhere.h5")
    with pytest.raises(SpecError, match="is there already"):
        Predictions.create(answers.path, dataset)
    with pytest.raises(DatasetError, match="doesn't hold predictions"):
        Predictions(dataset.local_path)
    with pytest.raises(DatasetError, match="there is no such file"):
        Predictions(tmp_path / "nowhere.h5")
    with pytest.raises(DatasetError, match="holds synthcore predictions, not a dataset"):
        Dataset(answers.path)


#: Adds the labels of rows as answers, one at a time and without an end, and says so after each.
APPENDS = """
import itertools, sys
from synthcore import Dataset, Predictions
from synthcore.vital.patch import LABELS
answers = Predictions(sys.argv[1])
with Dataset(sys.argv[2]) as dataset:
    labels = [{name: dataset.column(name, [row]) for name in LABELS} for row in range(len(dataset))]
    for number in itertools.count(len(answers)):
        row = number % len(dataset)
        answers.append([row], **labels[row])
        print(number + 1, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_all_that_it_said_it_had_added(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "RESERVED", 4)  # so that the file grows as well
    answers = Predictions.create(tmp_path / "answers.h5", dataset, several=True)
    patches = list(dataset.patches(0, 15))
    for kill_after in (3, 9, 20):
        command = [sys.executable, "-c", APPENDS, str(answers.path), str(dataset.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            added = [int(process.stdout.readline()) for _ in range(kill_after)][-1]
            process.kill()
        found = Predictions(answers.path)
        assert len(found) >= added
        assert found.rows.tolist() == [number % 15 for number in range(len(found))]
        assert found.patches(range(len(found))) == [patches[row] for row in found.rows]
