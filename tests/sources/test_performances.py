"""Performances: what each patch plays, by its number alone, evenly over the ranges of the spec."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from synthcore.engine.rendering import Performance
from synthcore.sources.base import Source
from synthcore.sources.performances import Performances
from synthcore.sources.synthetic import BLOCK
from synthcore.spec import AudioSpec, DatasetSpec

RANGES: dict[str, Any] = {
    "notes": "36..84",
    "notes_per_patch": 3,
    "velocity": "40..127",
    "note_seconds": "0.1..1.5",
    "bpm": "80..160",
}


def performances(seed: int = 0, source: Source = "synthetic", **audio: Any) -> Performances:
    return Performances(DatasetSpec(seed=seed, audio=AudioSpec(**audio)), source)


def test_what_is_not_drawn_is_the_same_for_every_patch():
    fixed = performances(notes=(48, 60))
    assert fixed.of(0) == fixed.of(5000) == (Performance(48, 100, 1.5), Performance(60, 100, 1.5))
    assert fixed.bpm(0) is None
    assert performances(bpm=90).bpm(7) == 90


@pytest.mark.slow
def test_a_patch_is_played_as_its_number_says_whatever_was_asked_before():
    one, other = performances(**RANGES), performances(**RANGES)
    backwards = [other.of(index) for index in reversed(range(0, 4000, 500))]
    assert [one.of(index) for index in range(0, 4000, 500)] == backwards[::-1]
    assert one.of(3) != performances(seed=1, **RANGES).of(3) != performances(source="variation", **RANGES).of(3)


def test_every_note_of_a_range_is_played_as_often_as_any_and_none_twice_by_a_patch():
    drawn = performances(**RANGES)
    played = [[one.note for one in drawn.of(index)] for index in range(BLOCK)]
    assert all(notes == sorted(set(notes)) for notes in played)
    counts = Counter(note for notes in played for note in notes)
    assert set(counts) == set(range(36, 85))
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({note for notes in played[:17] for note in notes}) == 49  # a small dataset has all of them too


def test_a_patch_can_play_all_notes_of_a_range():
    every = performances(notes="60..62", notes_per_patch=3)
    assert {tuple(one.note for one in every.of(index)) for index in range(50)} == {(60, 61, 62)}


@pytest.mark.parametrize("wide", [True, False])
def test_velocities_seconds_and_tempos_fill_their_ranges_evenly(wide):
    spans: dict[str, Any] = {"velocity": (40, 127), "note_seconds": (0.1, 1.5), "bpm": (80, 160)}
    if not wide:
        spans = {"velocity": (99, 101), "note_seconds": (0.5, 0.51), "bpm": (80, 80.1)}
    ranges: dict[str, Any] = {name: f"{low}..{high}" for name, (low, high) in spans.items()}
    drawn = performances(notes="36..84", **ranges)
    rows = [one for index in range(BLOCK) for one in drawn.of(index)]
    velocities = Counter(one.velocity for one in rows)
    assert set(velocities) == set(range(spans["velocity"][0], spans["velocity"][1] + 1))
    assert max(velocities.values()) - min(velocities.values()) <= 2
    seconds, tempos = [one.note_seconds for one in rows], [drawn.bpm(index) for index in range(BLOCK)]
    for values, (low, high) in ((seconds, spans["note_seconds"]), (tempos, spans["bpm"])):
        found = np.array(values, dtype=float)
        assert low <= found.min() <= found.max() <= high
        assert np.ptp(found) >= 0.9 * (high - low)
        if wide:
            counts, _ = np.histogram(found, bins=8, range=(low, high))
            assert np.ptp(counts) <= 0.02 * len(found)


def test_one_quantity_becomes_a_range_without_changing_the_others():
    plain = performances(**RANGES)
    steady = performances(**RANGES | {"velocity": 100})
    assert [one.note_seconds for one in plain.of(9)] == [one.note_seconds for one in steady.of(9)]
    assert [one.note for one in plain.of(9)] == [one.note for one in steady.of(9)]
