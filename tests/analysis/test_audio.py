"""Hearing rows: repeats and near-duplicates other than a patch's own notes are found in a bounded number of rows."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from synthcore.analysis.audio import (
    END_DB,
    NEAR_DB,
    QUICK,
    SPANS,
    AudioMeasurements,
    evenly_spaced,
    find_duplicates,
    measure_audio,
    seconds_of_sound,
    sketch,
)
from synthcore.analysis.distances import RESOLUTIONS
from synthcore.base import progress
from synthcore.storage.dataset import Dataset

RATE = 22_050


@pytest.fixture
def firsts(tier_1) -> list[int]:
    """The first rows of patches whose notes sound different: not all follow the key."""
    with Dataset(tier_1.path) as dataset:
        hashes = dataset.column("audio_sha256")
    return [row for row in range(0, 15, 2) if row == 14 or hashes[row] != hashes[row + 1]]


@pytest.fixture
def twins(tier_1, forge, firsts):
    """A dataset with a row that is another plus a little noise (c and a), and one that repeats another (d and b)."""
    a, b, c, d = firsts[:4]
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        audio, hashes = file["audio/waveforms"], file["metadata/audio_sha256"]
        noise = np.random.default_rng(0).normal(0, 1e-3 * audio[a].std(), audio[a].shape)
        audio[c] = audio[a] + noise.astype(np.float32)
        audio[d], hashes[d] = audio[b], hashes[b]
    with Dataset(path) as dataset:
        yield dataset


@pytest.mark.slow
def test_the_nearest_row_of_another_patch_is_found(twins, firsts):
    a, b, c, d = firsts[:4]
    heard = measure_audio(twins, QUICK)
    assert heard.rows.tolist() == list(range(15))
    assert heard.nearest[[a, b, c, d]].tolist() == [c, d, a, b]
    assert heard.nearest_db[b] == heard.nearest_db[d] == 0
    assert 0 < heard.nearest_db[a] == heard.nearest_db[c] < NEAR_DB


def test_pairs_are_named_once_and_the_nearest_first(twins, firsts):
    a, b, c, d = firsts[:4]
    pairs = measure_audio(twins, QUICK).pairs
    assert [pair.rows for pair in pairs[:2]] == [(b, d), (a, c)]
    assert [pair.apart_db for pair in pairs] == sorted(pair.apart_db for pair in pairs)
    assert len({pair.rows for pair in pairs}) == len(pairs)


def test_two_patches_are_one_pair_however_many_of_their_notes_are_near():
    flat, apart = np.zeros(6), np.array([0.2, 0.1, 0.2, 0.1, 0.5, 0.5])
    heard = AudioMeasurements(
        np.arange(6), np.array([0, 0, 1, 1, 2, 2]), flat, flat, np.array([2, 3, 0, 1, 0, 3]), apart
    )
    assert [(pair.rows, pair.apart_db) for pair in heard.pairs] == [((1, 3), 0.1), ((0, 4), 0.5), ((3, 5), 0.5)]


def test_shares_are_of_rows(twins):
    found = find_duplicates(twins, measure_audio(twins, QUICK))
    assert (found.rows_heard, found.near_db) == (15, NEAR_DB)
    assert found.near >= 4 / 15
    assert found.of_other_patches == pytest.approx(2 / 15)


@pytest.mark.slow
def test_a_patchs_own_notes_are_no_duplicates_but_their_repeats_are_told(tier_1, forge, firsts):
    path, row = forge(tier_1), firsts[0]
    with h5py.File(path, "r+") as file:
        for name in ("audio/waveforms", "metadata/audio_sha256"):
            file[name][row + 1] = file[name][row]
    with Dataset(tier_1.path) as before, Dataset(path) as after:
        plain, repeating = (find_duplicates(d, measure_audio(d, QUICK)) for d in (before, after))
        heard = measure_audio(after, QUICK)
    assert repeating.repeats == repeating.of_own_notes
    assert repeating.of_own_notes == pytest.approx(plain.of_own_notes + 2 / 15)
    assert repeating.of_other_patches == plain.of_other_patches == 0
    assert heard.nearest[row] != row + 1
    assert heard.nearest_db[row] > 0


def test_no_more_rows_are_heard_than_allowed_and_each_is_told(tier_1):
    told: list[int] = []
    with Dataset(tier_1.path) as dataset, progress.listening(lambda event: told.append(event.rows)):
        heard = measure_audio(dataset, 5)
        assert find_duplicates(dataset, heard).rows_heard == 5
    assert heard.rows.tolist() == [0, 3, 7, 10, 14]
    assert told == [1] * 5


def test_a_recipe_is_not_heard_but_its_repeats_are_known(twins, tmp_path):
    with h5py.File(twins.path, "r") as source, h5py.File(tmp_path / "recipe.h5", "w") as file:
        for name in source:
            if name != "audio":
                source.copy(name, file)
    with Dataset(tmp_path / "recipe.h5") as recipe:
        found = find_duplicates(recipe, measure_audio(recipe, QUICK))
    assert (found.rows_heard, found.near, found.pairs) == (0, 0, ())
    assert found.of_other_patches == pytest.approx(2 / 15)


@pytest.mark.parametrize(
    ("rows", "limit", "taken"), [(0, 5, []), (1, 5, [0]), (4, 9, [0, 1, 2, 3]), (101, 3, [0, 50, 100])]
)
def test_rows_are_evenly_spaced(rows, limit, taken):
    assert evenly_spaced(rows, limit).tolist() == taken


@pytest.mark.parametrize("samples", [1, 100, 2_000, 44_100])
def test_a_sketch_has_one_size_whatever_the_length(samples):
    audio = np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)
    drawn = sketch(audio, RATE)
    assert drawn.shape == (2 * RESOLUTIONS[0][1] * SPANS,)
    assert np.isfinite(drawn).all()


def test_sound_lasts_from_its_first_block_to_its_last():
    audio = np.zeros((2, RATE), np.float32)
    audio[:, RATE // 10 : RATE // 2] = 0.5
    audio[0, -5:] = 0.5 * 10 ** (-(END_DB + 20) / 20)  # too quiet to count
    assert seconds_of_sound(audio, RATE) == pytest.approx(0.4, abs=0.02)
    assert seconds_of_sound(np.zeros((2, 100), np.float32), RATE) == 0
    assert seconds_of_sound(np.ones((2, 100), np.float32), RATE) == pytest.approx(100 / RATE)
