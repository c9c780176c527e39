"""Features in the file: what was stored is read, a crash leaves a readable file, and what is stale is never used."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from synthcore.base.errors import DatasetError
from synthcore.publishing.recipe import write_recipe
from synthcore.storage import features
from synthcore.storage.dataset import Dataset
from synthcore.storage.features import NewFeature
from synthcore.storage.opening import Disk
from synthcore.storage.reader import Reader
from tests.children import wait_status

SHAPE = (2, 16, 32)  #: channels, bands, frames


def made(rows: int = 15, *, seed: int = 0, dtype: str = "float16", batch: int = 4) -> tuple[np.ndarray, NewFeature]:
    """Random values, and a feature that has them in batches."""
    values = np.random.default_rng(seed).normal(-40, 9, (rows, *SHAPE)).astype(dtype)
    batches = (values[start : start + batch] for start in range(0, rows, batch))
    return values, NewFeature("log_mel", {"kind": "mine", "seed": seed}, batches)


@pytest.fixture
def path(tier_1: Any, forge: Callable[[Any], Path]) -> Path:
    return forge(tier_1)


def test_values_are_read_as_stored_in_any_order(path: Path) -> None:
    values, feature = made()
    features.write(path, [feature])
    with Dataset(path) as dataset:
        for rows in (slice(None), [3, 0, 3, -1], [], np.arange(15) % 2 == 0, slice(12, None)):
            np.testing.assert_array_equal(dataset.feature("log_mel", rows), values[rows])
        out = np.empty((2, *SHAPE), np.float16)
        assert dataset.feature("log_mel", [1, 5], out) is out
        np.testing.assert_array_equal(out, values[[1, 5]])
        train = dataset.split("train")
        np.testing.assert_array_equal(train.feature("log_mel"), values[train.rows])
        said = dataset.features["log_mel"]
        assert said.text == "log_mel (2 x 16 x 32, float16, complete)"
        assert said.spec == {"kind": "mine", "seed": 0}
        assert "log_mel" not in dataset[0]  # only who names it reads it
    with h5py.File(path) as file:  # as anybody reads it
        np.testing.assert_array_equal(file["features/log_mel"][:], values)
        assert (file["features/log_mel"].chunks, file["features/log_mel"].compression) == ((1, *SHAPE), None)


def test_statistics_are_by_band_over_the_training_split(path: Path) -> None:
    values, feature = made()
    features.write(path, [feature])
    with Dataset(path) as dataset:
        said, train = dataset.features["log_mel"], dataset.split("train").rows
        assert (said.averaged_over, 0 < len(train) < 15) == ("train", True)
        wide = values[train].astype(np.float64)
        np.testing.assert_allclose(said.mean, wide.mean(axis=(0, 1, 3)), rtol=1e-5)
        np.testing.assert_allclose(said.deviation, wide.std(axis=(0, 1, 3)), rtol=1e-4)
        normalised = said.normalised(values[train])
        np.testing.assert_allclose(normalised.mean(axis=(0, 1, 3)), 0, atol=1e-3)
        np.testing.assert_allclose(normalised.std(axis=(0, 1, 3)), 1, atol=1e-3)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4)])
def test_any_shape_is_a_feature(path: Path, shape: tuple[int, ...]) -> None:
    values = np.full((15, *shape), 7, np.int32)
    features.write(path, [NewFeature("mine", {}, [values])])
    with Dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.feature("mine", [14, 2]), values[:2])
        assert (dataset.features["mine"].normalised(values) == 0).all()  # a deviation of 0 divides nothing
        assert dataset.features["mine"].mean.shape == shape[:1]


def test_features_change_neither_rows_nor_digest_and_replacing_them_takes_no_more_room(path: Path) -> None:
    with Dataset(path) as dataset:
        before, rows = dataset.digest, dataset[:]
    features.write(path, [made()[1]])
    size = path.stat().st_size
    for seed in (1, 2, 3):
        values, feature = made(seed=seed)
        features.write(path, [feature])
    assert path.stat().st_size < size + values.nbytes / 2
    with Dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.feature("log_mel"), values)
        assert dataset.digest == before
        for name, stored in dataset[:].items():
            np.testing.assert_array_equal(stored, rows[name])


def test_a_dataset_that_is_being_read_stays_readable_and_its_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    reader = Reader(path)
    features.write(link, [made()[1]])
    assert reader.read("audio/waveforms", [3]).any()
    assert link.is_symlink()
    assert "log_mel" in Dataset(path).features


@pytest.mark.parametrize("writes", [0, 3, 10, None])
def test_a_crash_while_writing_leaves_the_file_as_it_was(path: Path, writes: int | None) -> None:
    before = path.read_bytes()

    def work() -> None:
        _die_after(writes)
        features.write(path, [made()[1]])

    assert os.WTERMSIG(wait_status(work)) == signal.SIGKILL
    assert path.read_bytes() == before
    features.write(path, [made()[1]])  # what the dead one left doesn't stand in the way
    assert "log_mel" in Dataset(path).features


def _die_after(writes: int | None) -> None:
    """Be killed at a write into the new file; None: when it is whole, before it gets its name."""
    left, write = iter(range(writes or 0)), Disk.write

    def dying(disk: Disk, data: Any) -> int:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(disk, data)

    if writes is None:
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,method-assign]
    else:
        Disk.write = dying  # type: ignore[assignment,method-assign]


def short_of_rows() -> Iterator[np.ndarray]:
    yield np.zeros((14, 2), np.float32)


@pytest.mark.parametrize(
    ("batches", "text"),
    [
        (short_of_rows(), "mine has values for 14 rows of 15"),
        ([np.zeros((15, 2)), np.zeros((1, 2))], "from row 15 on; the first rows' is float64 of shape"),
        ([np.zeros((8, 2)), np.zeros((7, 3))], r"gave float64 of shape \(7, 3\) from row 8 on"),
        ([np.zeros((8, 2)), np.full((7, 2), np.nan)], "mine of row 8 of .* holds NaN or infinity"),
    ],
)
def test_values_that_do_not_fit_are_refused_and_nothing_is_written(path: Path, batches: Any, text: str) -> None:
    before = path.read_bytes()
    with pytest.raises(DatasetError, match=text):
        features.write(path, [NewFeature("mine", {}, batches)])
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_shard_and_a_recipe_take_no_features_and_a_recipe_holds_none(tier_1: Any, path: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is a shard, which has no features; name the dataset"):
        features.require_addable(tier_1.data_dir / tier_1.shards[0].name)
    features.write(path, [made()[1]])
    with Dataset(path) as dataset:
        write_recipe(dataset, tmp_path / "recipe.h5")
    with Dataset(tmp_path / "recipe.h5") as recipe:
        assert recipe.features == {}
    with pytest.raises(DatasetError, match="is a recipe, without audio; make it whole with synthcore render"):
        features.require_addable(tmp_path / "recipe.h5")


@pytest.mark.slow
def test_merging_again_carries_features_over_and_those_of_other_rows_are_stale(
    tier_1: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "again.h5"
    tier_1.merge(output)
    values, feature = made()
    features.write(output, [feature])
    ref = tier_1.merge(output)
    assert ref.is_intact()
    with Dataset(output) as dataset:
        np.testing.assert_array_equal(dataset.feature("log_mel"), values)
    assert caplog.messages == []
    smaller = tier_1.spec.model_copy(update={"n_samples": 12})
    tier_1.merge(output, spec=smaller)
    assert (
        f"features of {output} are of other rows, so stale: log_mel; synthcore features makes them anew" in caplog.text
    )
    with Dataset(output) as dataset:
        assert dataset.features["log_mel"].status == "stale"
        with pytest.raises(
            DatasetError, match=r"log_mel of .* is stale: its rows have changed; .*features .*--log-mel"
        ):
            dataset.feature("log_mel")
        with pytest.raises(DatasetError, match="has no feature mine: it has log_mel; add it again"):
            dataset.feature("mine")
    tier_1.merge(output)  # the rows are what they were
    assert Dataset(output).features["log_mel"].status == "complete"


@pytest.mark.slow
def test_features_of_another_spec_are_left_behind(tier_1: Any, tier_2: Any, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    tier_2.merge(output)
    features.write(output, [made()[1]])
    tier_1.merge(output)
    assert Dataset(output).features == {}


def test_a_merged_file_that_got_features_is_still_the_merged_file(tier_1: Any, tmp_path: Path) -> None:
    ref = tier_1.merge(tmp_path / "out.h5")
    features.write(tmp_path / "out.h5", [made()[1]])
    assert ref.is_intact()  # so a run doesn't merge it again
