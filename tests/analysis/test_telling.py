"""Telling apart: a classifier that sees a difference where there is one, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from synthcore.analysis.telling import FOLDS, Sounds, ToldApart, auc, tell_apart


def some(seed: int, count: int, centre: float = 0.0, spread: float = 1.0):
    sounds = np.random.default_rng(seed).normal(centre, spread, (count, 64)).astype(np.float32)
    return sounds, np.arange(count)


def judged(ours: Sounds, theirs: Sounds) -> ToldApart:
    told = tell_apart(ours, theirs)
    assert told is not None
    return told


@pytest.mark.parametrize(
    ("higher", "lower", "area"),
    [([2, 3], [1], 1.0), ([1], [2, 3], 0.0), ([1, 1], [1], 0.5), ([2, 3], [1, 2], 0.875), ([1, 4], [2, 3], 0.5)],
)
def test_the_area_is_the_share_of_pairs_in_order(higher, lower, area):
    assert auc(np.array(higher, float), np.array(lower, float)) == area


def test_two_draws_from_one_place_are_not_told_apart():
    told = judged(some(0, 300), some(1, 300))
    assert told.auc == pytest.approx(0.5, abs=0.08)
    assert len(told.folds) == FOLDS
    assert told.auc == pytest.approx(np.mean(told.folds), abs=1e-3)
    assert told.deviation == pytest.approx(np.std(told.folds, ddof=1), abs=1e-3)


@pytest.mark.parametrize(("centre", "spread"), [(0.5, 1.0), (0.0, 2.0)], ids=["elsewhere", "wider"])
def test_sounds_that_lie_elsewhere_or_more_widely_are_told_apart(centre, spread):
    assert judged(some(0, 200), some(1, 200, centre, spread)).auc > 0.9


@pytest.mark.slow
def test_a_set_of_another_size_weighs_the_same():
    assert judged(some(0, 1_000), some(1, 60)).auc == pytest.approx(0.5, abs=0.12)
    assert judged(some(0, 1_000), some(1, 60, centre=1.0)).auc > 0.95


def test_the_same_input_gives_the_same():
    assert judged(some(0, 50), some(1, 40)) == judged(some(0, 50), some(1, 40))


def test_no_patch_is_learned_from_and_tested_on():
    """Copies of a few patches, labelled by chance: whoever had seen a copy would know the label."""
    sounds, _ = some(0, 40)
    copies, patches = np.repeat(sounds, 10, axis=0), np.repeat(np.arange(40), 10)
    told = judged((copies[:200], patches[:200]), (copies[200:], patches[200:]))
    assert told.auc < 0.8


def test_few_sounds_are_judged_without_numbers_going_wild():
    told = judged(some(0, FOLDS), some(1, FOLDS, centre=3.0))
    assert told.auc > 0.9


@pytest.mark.parametrize("count", [0, 1, FOLDS - 1])
def test_fewer_patches_than_folds_are_not_judged(count):
    assert tell_apart(some(0, 50), some(1, count)) is None
    sounds, _ = some(1, 50)
    assert tell_apart(some(0, 50), (sounds, np.arange(50) % max(count, 1))) is None
