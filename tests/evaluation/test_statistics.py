"""Summaries of scores: what doesn't apply is left out and counted, and families are drawn as wholes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from synthcore.base.errors import SynthcoreError
from synthcore.evaluation.statistics import (
    RESAMPLES,
    SEED,
    Summary,
    group_by,
    group_by_note,
    summarise,
    summarise_groups,
)


def same(one: Summary, other: Summary) -> bool:
    return repr(one) == repr(other)  # NaN isn't equal to itself


def test_mean_and_median_are_of_the_rows_that_have_a_score() -> None:
    summary = summarise([1.0, math.nan, 2.0, 9.0], ["a", "b", "c", "c"])
    assert (summary.rows, summary.without, summary.families) == (3, 1, 2)
    assert (summary.mean, summary.median) == (4.0, 2.0)


def test_the_interval_is_that_of_a_bootstrap_that_draws_families_with_all_their_rows() -> None:
    chance = np.random.default_rng(7)
    families = np.array([f"family {number}" for number in chance.integers(12, size=60)])
    scores = chance.gamma(2.0, size=60)
    names = sorted(set(families.tolist()))
    means, draws = [], np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        rows = [
            score for pick in draws.integers(len(names), size=len(names)) for score in scores[families == names[pick]]
        ]
        means.append(sum(rows) / len(rows))
    means.sort()
    edges = []
    for share in (0.025, 0.975):
        place = share * (RESAMPLES - 1)
        below = int(place)
        edges.append(means[below] + (place - below) * (means[below + 1] - means[below]))
    summary = summarise(scores, families)
    assert (summary.low, summary.high) == pytest.approx(edges, rel=1e-9)


def test_rows_of_one_family_say_little_more_than_one_row() -> None:
    scores = np.random.default_rng(1).normal(size=50)
    alone = summarise(scores, np.arange(50))
    repeated = summarise(np.repeat(scores, 20), np.repeat(np.arange(50), 20))
    as_if_independent = summarise(np.repeat(scores, 20), np.arange(1000))
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low)
    assert as_if_independent.high - as_if_independent.low < (alone.high - alone.low) / 3


@pytest.mark.slow
def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        families = np.repeat(np.arange(40), 5)
        scores = chance.normal(size=40)[families] + 0.1 * chance.normal(size=200)
        summary = summarise(scores, families)
        covered += summary.low <= 0.0 <= summary.high
    assert covered >= 16  # 19 expected; with 95 % each, fewer than 16 of 20 has a chance of 1 in 400


def test_it_always_gives_the_same() -> None:
    scores, families = np.random.default_rng(2).normal(size=30), np.arange(30) // 3
    assert summarise(scores, families) == summarise(scores, families)


@pytest.mark.parametrize("scores", [[], [math.nan, math.nan]])
def test_without_scores_there_is_no_number(scores: list[float]) -> None:
    summary = summarise(scores, range(len(scores)))
    assert (summary.rows, summary.without, summary.families) == (0, len(scores), 0)
    assert all(math.isnan(number) for number in (summary.mean, summary.median, summary.low, summary.high))


def test_one_family_has_a_mean_but_no_interval() -> None:
    summary = summarise([1.0, 3.0], ["a", "a"])
    assert summary.mean == 2.0
    assert math.isnan(summary.low)
    assert math.isnan(summary.high)


def test_equal_scores_have_an_interval_of_no_width() -> None:
    summary = summarise([5.0, 5.0, 5.0], [0, 1, 2])
    assert (summary.low, summary.high) == (5.0, 5.0)


def test_a_group_is_summed_up_as_if_there_were_no_other_rows() -> None:
    scores, families = np.random.default_rng(3).normal(size=12), np.arange(12) // 2
    notes = np.tile([48, 60], 6)
    modules = {"filter 1": np.arange(12) < 8, "reverb": np.arange(12) >= 4, "chorus": np.zeros(12, dtype=bool)}
    by_note = summarise_groups(scores, families, group_by(notes))
    assert list(by_note) == ["48", "60"]
    assert by_note["48"] == summarise(scores[::2], families[::2])
    by_module = summarise_groups(scores, families, modules)
    assert by_module["filter 1"] == summarise(scores[:8], families[:8])
    assert by_module["reverb"] == summarise(scores[4:], families[4:])
    assert same(by_module["chorus"], summarise([], []))


def test_a_dozen_notes_have_a_group_each_and_more_are_grouped_by_octaves() -> None:
    assert list(group_by_note(np.arange(48, 60))) == [str(note) for note in range(48, 60)]
    notes = np.array([50, 59, 60, 72, *range(100, 110)])
    groups = group_by_note(notes)
    assert list(groups) == ["50 to 59", "60", "72", "100 to 107", "108 to 109"]
    assert groups["50 to 59"].nonzero()[0].tolist() == [0, 1]
    assert np.sum([*groups.values()], axis=0).tolist() == [1] * len(notes)


def test_labels_from_a_file_are_read_as_text() -> None:
    assert list(group_by(np.array([b"synthetic", b"factory"]))) == ["factory", "synthetic"]


@pytest.mark.parametrize(
    ("scores", "families", "why"),
    [
        ([1.0, 2.0], ["a"], r"scores of shape \(2,\) need a family each, but families are \(1,\)"),
        ([1.0, math.inf], ["a", "b"], "1 scores are infinite"),
    ],
)
def test_what_makes_no_sense_is_refused(scores: list[float], families: list[str], why: str) -> None:
    with pytest.raises(SynthcoreError, match=why):
        summarise(scores, families)


def test_a_group_that_is_no_mask_is_refused() -> None:
    with pytest.raises(SynthcoreError, match=r"group a is int64 \(2,\); give a bool for each of 3 rows"):
        summarise_groups([1.0, 2.0, 3.0], [0, 1, 2], {"a": np.array([0, 1])})
