"""Nearness: how far sounds are from the rows of a dataset, loudness matched and as they are, both ways."""

from __future__ import annotations

import numpy as np
import pytest

from synthcore.analysis import nearness
from synthcore.analysis.audio import sketch
from synthcore.analysis.nearness import Sketches, find_nearest, measure, rms_dbfs, sketch_sounds, take
from synthcore.base import progress
from synthcore.base.errors import SynthcoreError

RATE = 22_050


def sounds(seed: int, count: int, loudness: float = 0.1):
    """Noises, each in a band of its own."""
    chance = np.random.default_rng(seed)
    spectra = np.fft.rfft(chance.normal(0, loudness, (count, 2, 4_096)))
    for spectrum in spectra:
        spectrum[:, : chance.integers(1, 2_000)] *= 0.01
    return list(np.fft.irfft(spectra).astype(np.float32))


def test_a_louder_copy_is_no_distance_away_once_loudness_is_matched():
    ours, theirs = sounds(0, 3), [2 * sound for sound in sounds(0, 3)]
    sides = [sketch_sounds(ours, RATE)], sketch_sounds(theirs, RATE)
    assert measure(*sides, matched=True).to_rows.quantiles_db["100%"] < 0.01
    as_it_is = find_nearest(*sides, matched=False)
    assert as_it_is.row_db[0] == pytest.approx(np.abs(sketch(theirs[0], RATE) - sketch(ours[0], RATE)).mean(), abs=0.01)


def test_the_distance_is_the_mean_difference_of_two_sketches_of_equal_loudness():
    one, other = sounds(1, 2)
    equal = [sound / np.sqrt(np.square(sound).mean()) for sound in (one, other)]
    by_hand = np.abs(sketch(equal[0], RATE) - sketch(equal[1], RATE)).mean()
    found = find_nearest([sketch_sounds([one], RATE)], sketch_sounds([other], RATE), matched=True)
    assert found.row_db[0] == pytest.approx(by_hand, abs=1e-3)
    assert found.other_db[0] == found.row_db[0]


def numbers(seed: int, count: int) -> Sketches:
    levels = np.random.default_rng(seed).normal(0, 5, (count, 16)).astype(np.float32)
    return Sketches(levels, np.zeros(count, np.float32), np.arange(count))


def by_hand(ours: Sketches, theirs: Sketches):
    return np.abs(ours.levels[:, None].astype(float) - theirs.levels[None]).mean(axis=2)


@pytest.mark.parametrize("sizes", [(300,), (1, 0, 129, 170), (128, 128, 44)])
def test_the_nearest_are_found_whatever_the_batches(sizes):
    ours, theirs = numbers(0, 300), numbers(1, 7)
    ends = np.cumsum((0, *sizes))
    batches = [take([ours], np.arange(*ends[i : i + 2])) for i in range(len(sizes))]
    found, apart = find_nearest(batches, theirs, matched=True, workers=2), by_hand(ours, theirs)
    assert found.row.tolist() == apart.argmin(axis=0).tolist()
    assert found.other.tolist() == apart.argmin(axis=1).tolist()
    np.testing.assert_allclose(found.row_db, apart.min(axis=0))
    np.testing.assert_allclose(found.other_db, apart.min(axis=1))


def test_of_equally_near_rows_the_first_is_named():
    ours = numbers(0, 200)
    ours.levels[150] = ours.levels[3]
    assert find_nearest([ours], take([ours], np.array([150])), matched=True, workers=2).row.tolist() == [3]


def test_figures_sum_up_both_directions():
    ours, theirs = numbers(0, 40), numbers(1, 9)
    found, apart = measure([ours], theirs, matched=True), by_hand(ours, theirs)
    assert found.to_rows.median_db == pytest.approx(np.median(apart.min(axis=0)), abs=1e-3)
    assert found.to_others.quantiles_db["100%"] == pytest.approx(apart.min(axis=1).max(), abs=1e-3)
    for text, share in found.to_rows.within.items():
        assert share == pytest.approx((apart.min(axis=0) <= float(text)).mean(), abs=1e-3)
    assert found.told_apart is not None


def test_rows_are_told_as_they_are_compared():
    told: list[int] = []
    with progress.listening(lambda event: told.append(event.rows)):
        find_nearest([numbers(0, nearness.BLOCK + 1), numbers(2, 2)], numbers(1, 3), matched=True)
    assert sum(told) == nearness.BLOCK + 3


def test_an_empty_side_costs_one_line():
    for ours, theirs in (([numbers(0, 3)], numbers(1, 0)), ([], numbers(1, 3)), ([numbers(0, 0)], numbers(1, 3))):
        with pytest.raises(SynthcoreError, match="nothing to compare"):
            measure(ours, theirs, matched=True)


def test_silence_has_no_loudness_to_match():
    with pytest.raises(SynthcoreError, match="silent"):
        rms_dbfs(np.zeros((2, 100), np.float32))
    assert rms_dbfs(np.full((2, 100), 0.1, np.float32)) == pytest.approx(-20, abs=1e-3)
