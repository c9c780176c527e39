"""Computing features: each row once, by content; a dataset that grew has only its new rows computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthcore.analysis.feature_specs import FeatureSpec, LogMel, Sketch
from synthcore.analysis.features import feature_of
from synthcore.base import progress
from synthcore.base.errors import DatasetError, SpecError
from synthcore.pipeline import features
from synthcore.pipeline.features import FeaturePlan, compute, plan, result_of, specs_of, store
from synthcore.storage.dataset import Dataset

MEL = LogMel(window_ms=50, bands=16)


def spans(file: Path, data_dir: Path, spec: LogMel = MEL) -> list[tuple[int, int]]:
    (planned,) = plan(file, [spec], data_dir)
    return [(one.start, one.stop) for one in planned.plans]


def plans_of(file: Path, data_dir: Path) -> list[FeaturePlan]:
    return plan(file, [MEL], data_dir)[0].plans


@pytest.mark.slow
def test_each_row_is_computed_and_stored(tier_1: Any, forge: Any, tmp_path: Path) -> None:
    path, told = forge(tier_1), list[int]()
    specs: list[FeatureSpec] = [MEL, Sketch()]
    planned = plan(path, specs, tmp_path)
    with progress.listening(lambda event: told.append(event.rows)):
        refs = [compute(one, tmp_path) for of_one in planned for one in of_one.plans]
    assert sum(told) == 30
    assert all(ref.is_intact(tmp_path) for ref in refs)
    store(path, planned, tmp_path)
    with Dataset(path) as dataset:
        audio, rate = dataset.column("audio", [7])[0], dataset.spec.audio.sample_rate
        for spec in specs:
            np.testing.assert_array_equal(dataset.feature(spec.kind, [7])[0], feature_of(audio, rate, spec))
    assert plan(path, specs, tmp_path) == []  # all is there
    assert len(plan(path, [LogMel(window_ms=50, bands=17)], tmp_path)) == 1
    text = result_of(path, specs, {"sketch": 15}).to_text()
    assert "features/log_mel: 15 x 2 x 16 x 41 of float16, 0.0 MB; computed for 0 rows" in text
    assert "features/sketch: 15 x 1024 of float32, 0.1 MB; computed for 15 rows" in text


@pytest.mark.slow
def test_a_dataset_that_grew_is_cut_where_it_was(tier_1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "ROWS", 8)
    paths = {}
    for rows in (3, 5, 11, 15):
        paths[rows] = tmp_path / f"{rows}.h5"
        tier_1.merge(paths[rows], spec=tier_1.spec.model_copy(update={"n_samples": rows}))
    assert spans(paths[15], tmp_path) == [(0, 8), (8, 15)]
    for rows in (3, 5, 11):
        for one in plans_of(paths[rows], tmp_path):
            compute(one, tmp_path)
    assert spans(paths[15], tmp_path) == [(0, 3), (3, 5), (5, 8), (8, 11), (11, 15)]
    computed = {path.stem for path in tmp_path.glob("features/*/*.npy")}
    assert [one.key in computed for one in plans_of(paths[15], tmp_path)] == [True] * 4 + [False]
    assert spans(paths[15], tmp_path, LogMel(window_ms=50, bands=17)) == [(0, 8), (8, 15)]


@pytest.mark.slow
def test_what_is_stale_is_what_is_made_anew(tier_1: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    tier_1.merge(path, spec=tier_1.spec.model_copy(update={"n_samples": 12}))
    planned = plan(path, [MEL], tmp_path)
    compute(planned[0].plans[0], tmp_path)
    store(path, planned, tmp_path)
    with pytest.raises(SpecError, match="no stale features to make anew; name some with --log-mel or --sketch"):
        specs_of(path, [])
    tier_1.merge(path)
    assert specs_of(path, []) == [MEL]
    assert specs_of(path, [Sketch()]) == [Sketch()]
    assert len(plan(path, [MEL], tmp_path)) == 1


@pytest.mark.slow
def test_values_never_come_from_another_file_that_took_the_name(tier_1: Any, tier_2: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    tier_1.merge(path)
    (one,) = plans_of(path, tmp_path)
    tier_2.merge(path)
    with pytest.raises(DatasetError, match="has been replaced meanwhile; run the same command again"):
        compute(one, tmp_path)
    assert not (tmp_path / one.name).exists()


def test_what_cannot_be_computed_is_refused_before_anything_is(tier_1: Any, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="mel bands would be empty"):
        plan(tier_1.path, [LogMel(window_ms=1)], tmp_path)
    with pytest.raises(DatasetError, match="is a shard"):
        plan(tier_1.data_dir / tier_1.shards[0].name, [MEL], tmp_path)
