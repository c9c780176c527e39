"""Matching: a row's own sound finds the row, and a search of any other sound comes nearer than the rows do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synthcore
from synthcore.analysis.distances import RANGE_DB, distance
from synthcore.base.errors import DatasetError, EngineMismatch, SpecError
from synthcore.engine import faults
from synthcore.engine.rendering import Fault
from synthcore.evaluation import matching, search
from synthcore.pipeline.forms import Form
from synthcore.pipeline.target import to_target
from synthcore.playback import render
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.dataset import Dataset
from tests.conftest import make_dataset


@pytest.fixture(autouse=True)
def _data_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHCORE_DATA_DIR", str(tmp_path_factory.getbasetemp() / "matched"))


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 3, 14])
def test_a_rows_own_audio_finds_the_row(row: int, tier_3: Any) -> None:
    with Dataset(tier_3.path) as dataset:
        audio, patch = dataset[row]["audio"], dataset.patch(row)
    found = synthcore.match(audio, 22_050, tier_3.path, top=3)
    assert (found.rows[0], found.distances_db[0], found.answers[0].sketch_db) == (row, 0, 0)
    assert found.patches[0] == patch
    assert len(set(found.patches)) == 3  # of each patch, its nearest row
    assert list(found.distances_db) == sorted(found.distances_db)


def test_how_loud_a_sound_is_does_not_change_which_rows_are_found(tier_1: Any) -> None:
    with Dataset(tier_1.path) as dataset:
        audio = dataset[4]["audio"]
    found = synthcore.match(audio / 8, 22_050, tier_1.path, top=1)
    assert found.rows == (4,)
    assert found.answers[0].sketch_db == pytest.approx(0, abs=0.01)
    assert found.distances_db == (distance(audio / 8, audio, 22_050),)


@pytest.mark.slow
def test_a_note_keeps_to_its_rows_and_takes_the_nearest_that_there_is(tier_1: Any) -> None:
    with Dataset(tier_1.path) as dataset:
        audio, notes = dataset[1]["audio"], dataset.column("midi_note")
    found = synthcore.match(audio, 22_050, tier_1.path, top=100, note=40)
    assert found.note == 48
    assert {int(notes[row]) for row in found.rows} == {48}
    assert len(found.rows) == 8


@pytest.mark.slow
def test_all_patches_are_found_where_there_are_no_more(tier_1: Any) -> None:
    with Dataset(tier_1.path) as dataset:
        audio, patches = dataset[1]["audio"], {dataset.patch(row) for row in range(len(dataset))}
    assert set(synthcore.match(audio, 22_050, tier_1.path, top=100).patches) == patches


def started(dataset: Dataset, target_row: int, from_row: int) -> Any:
    target = to_target(dataset[target_row]["audio"], 22_050, Form.of(dataset))
    audio, (performance,) = dataset[from_row]["audio"], dataset.performances([from_row])
    apart_db = distance(target.audio, audio, 22_050)
    return target.audio, search.Played(dataset.patch(from_row), performance, audio, apart_db)


@pytest.mark.long
def test_a_search_comes_nearer_and_always_to_the_same_patch(tier_1: Any) -> None:
    with Dataset(tier_1.path) as dataset:
        target, start = started(dataset, 0, 2)
        spec, assets = dataset.spec.audio, dataset.assets_of(start.patch)
    seen: list[tuple[int, float]] = []
    found = search.search(
        target, start, assets, spec, search.Budget(30, 2), lambda renders, best: seen.append((renders, best))
    )
    assert found.best.distance_db < start.distance_db
    assert (found.renders, found.is_interrupted) == (30, False)
    assert seen[-1] == (30, found.best.distance_db)
    assert [best for _, best in seen] == sorted((best for _, best in seen), reverse=True)
    again = search.search(target, start, assets, spec, search.Budget(30, 1))
    assert again.best.patch == found.best.patch
    # What is returned is what the patch plays, and only knobs have moved.
    heard = render(found.best.patch, start.performance, audio=spec, assets=assets)
    np.testing.assert_array_equal(heard, found.best.audio)
    assert distance(heard, target, 22_050) == found.best.distance_db
    np.testing.assert_array_equal(found.best.patch.categorical, start.patch.categorical)


def test_nothing_is_searched_where_the_target_is_found(tier_1: Any) -> None:
    with Dataset(tier_1.path) as dataset:
        audio = dataset[6]["audio"]
    found = synthcore.match(audio, 22_050, tier_1.path, top=2, search=50)
    assert (found.rows[0], found.distances_db[0], found.renders) == (6, 0, 0)
    assert len(found.answers) == 2


@pytest.mark.slow
def test_ctrl_c_ends_a_search_and_keeps_its_best(tier_1: Any) -> None:
    with Dataset(tier_1.path) as dataset:
        target, start = started(dataset, 0, 2)
        spec, assets = dataset.spec.audio, dataset.assets_of(start.patch)

    def interrupt(renders: int, best_db: float) -> None:
        if best_db < start.distance_db:
            raise KeyboardInterrupt

    found = search.search(target, start, assets, spec, search.Budget(10_000, 2), interrupt)
    assert found.is_interrupted
    assert found.best.distance_db < start.distance_db
    assert found.renders < 10_000


def test_a_candidate_that_cannot_be_rendered_is_the_farthest(tier_1: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Dataset(tier_1.path) as dataset:
        target, start = started(dataset, 0, 2)
        spec, assets = dataset.spec.audio, dataset.assets_of(start.patch)
    fault = Fault(60, next(iter(faults.REASONS)), None, None)
    monkeypatch.setattr(search, "render_many", lambda patches, *_, **__: (fault for _ in patches))
    seen: list[float] = []
    found = search.search(target, start, assets, spec, search.Budget(5, 1), lambda _, best: seen.append(best))
    assert search.WORST == RANGE_DB
    assert found.best is start
    assert seen == [start.distance_db]


@pytest.mark.slow
def test_without_the_library_a_search_costs_one_line(tier_1: Any, fresh: Any) -> None:
    code = """
import numpy as np
import synthcore
try:
    synthcore.match(np.ones(9), 22_050, sys.argv[1], search=9)
except synthcore.SynthcoreError as error:
    print(error)
"""
    said = fresh(code, tier_1.path, without=("cma",)).stdout
    assert said == "searching needs the library cma: pip install 'synthcore[match]'\n"


@pytest.mark.parametrize("wrong", [{"top": 0}, {"search": -1}, {"note": 128}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int], tier_1: Any) -> None:
    with pytest.raises(SpecError, match="give at least 1"):
        synthcore.match(np.ones(9), 22_050, tier_1.path, **wrong)


def test_a_search_needs_the_synth_that_a_dataset_was_made_with(tier_1: Any, forge: Any, forgeries: Any) -> None:
    path = forge(tier_1)
    forgeries.registry(path, lambda config: config["controls"].pop())
    with pytest.raises(EngineMismatch):
        synthcore.match(np.ones(9), 22_050, path, search=5)


def test_what_is_not_a_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("no dataset")
    with pytest.raises(DatasetError):
        synthcore.match(np.ones(9), 22_050, tmp_path / "x.h5")


@pytest.mark.long
def test_other_rows_are_matched_nearer_by_a_search_than_by_any_row(
    tier_1: Any, short: AudioSpec, tmp_path: Path
) -> None:
    audio = short.model_copy(update={"notes": (60,)})
    others = make_dataset(DatasetSpec(tier=1, priors="uniform", seed=5, n_samples=10, audio=audio), tmp_path)
    with Dataset(others.path) as dataset:
        sounds = dataset.column("audio")
    nearer = 0
    for sound in sounds:
        found = synthcore.match(sound, 22_050, tier_1.path, top=15, search=40)
        nearer += found.answers[0].is_searched and found.distances_db[0] < min(found.distances_db[1:])
    assert nearer >= 9


def test_the_plan_of_a_dataset_is_of_all_its_rows_in_order(tier_1: Any) -> None:
    (plan,) = matching.plan(tier_1.path)
    assert plan.rows == tuple(range(15))
