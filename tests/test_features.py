"""Features from Python: one's own functions, features of new sounds, and batches for training."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synthcore
from synthcore import Dataset, Examples
from synthcore.base.errors import DatasetError, SpecError
from synthcore.features import LogMel
from synthcore.pipeline.features import compute, plan, store

MEL = LogMel(window_ms=50, bands=16)


@pytest.fixture
def path(tier_1: Any, forge: Callable[[Any], Path], tmp_path: Path) -> Path:
    """A dataset with log-mel spectra."""
    found = forge(tier_1)
    planned = plan(found, [MEL], tmp_path)
    for one in planned[0].plans:
        compute(one, tmp_path)
    store(found, planned, tmp_path)
    return found


def test_a_function_is_mapped_over_all_rows_in_batches(path: Path) -> None:
    sizes = []

    def loudest(audio: np.ndarray) -> np.ndarray:
        sizes.append(len(audio))
        return np.abs(audio).max(axis=2)

    said = synthcore.features.add(path, "loudest", loudest, batch=6)
    assert sizes == [6, 6, 3]
    assert said.text == "loudest (2, float32, complete)"
    assert said.spec["function"].endswith("loudest")
    with Dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.feature("loudest").max(axis=1), dataset.column("peak"))
        assert {*dataset.features} == {"log_mel", "loudest"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function", "text"),
    [
        ("Mine", np.abs, "can't be called 'Mine': give it another name, of small letters, digits and underscores"),
        ("../mine", np.abs, "can't be called"),
        ("continuous", np.abs, "can't be called"),
        ("log_mel", np.abs, "can't be called"),
        ("mine", lambda audio: audio[:-1], r"returned float32 of shape \(14, 2, 8820\) for 15 rows; it must return"),
        ("mine", lambda audio: 3.0, r"returned float64 of shape \(\) for 15 rows"),
        ("mine", lambda audio: np.array(["x"] * 15), "one row for each"),
        ("mine", lambda audio: audio[:, :0], "one row for each"),
    ],
)
def test_what_is_not_a_feature_is_refused(path: Path, name: str, function: Any, text: str) -> None:
    before = path.read_bytes()
    with pytest.raises(SpecError, match=text):
        synthcore.features.add(path, name, function)
    assert path.read_bytes() == before


def test_an_error_of_the_function_leaves_the_file_as_it_was(path: Path) -> None:
    def fails(audio: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError

    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        synthcore.features.add(path, "mine", fails)
    assert path.read_bytes() == before


def test_a_new_sound_gets_the_feature_that_rows_have(path: Path) -> None:
    with Dataset(path) as dataset:
        spec, rate = dataset.features["log_mel"].spec, dataset.spec.audio.sample_rate
        found = synthcore.features.compute(dataset[4]["audio"], rate, spec)
        np.testing.assert_array_equal(found, dataset.feature("log_mel", [4])[0])
        np.testing.assert_array_equal(found, synthcore.features.compute(dataset[4]["audio"], rate, MEL))
        with pytest.raises(SpecError, match="the sound has 8000 Hz, the feature is of 22050 Hz: resample it"):
            synthcore.features.compute(dataset[4]["audio"], 8_000, spec)
        with pytest.raises(SpecError, match="kind 'function' can't be computed"):
            synthcore.features.compute(dataset[4]["audio"], rate, {"kind": "function"})


def test_batches_hold_features_that_are_named(path: Path) -> None:
    rows = np.array([1, 4, 9])
    examples = pickle.loads(pickle.dumps(Examples(path, parts=("log_mel", "continuous"))))
    batch = examples.read(rows)
    assert batch.keys() == {"row", "log_mel", "continuous"}
    with Dataset(path) as dataset:
        stored, said = dataset.feature("log_mel", rows), dataset.features["log_mel"]
    np.testing.assert_array_equal(batch["log_mel"], stored)
    normalised = Examples(path, parts=("log_mel",), normalise=True).read(rows)["log_mel"]
    wanted = (stored.astype(np.float32) - said.mean[:, None]) / said.deviation[:, None]
    np.testing.assert_allclose(normalised, wanted, rtol=1e-5)
    assert normalised.dtype == np.float32
    assert "log_mel" not in Examples(path).parts


@pytest.mark.slow
def test_batches_never_hold_features_that_are_stale_or_absent(path: Path, tier_1: Any) -> None:
    with pytest.raises(DatasetError, match="has no feature sketch: it has log_mel; .*features .* --sketch makes it"):
        Examples(path, parts=("sketch",))
    with pytest.raises(SpecError, match="a batch has no logmel; it can have audio, .*log_mel, sketch"):
        Examples(path, parts=("logmel",))
    tier_1.merge(path, spec=tier_1.spec.model_copy(update={"n_samples": 12}))
    with pytest.raises(DatasetError, match="the feature log_mel of .* is stale"):
        Examples(path, parts=("log_mel",))
