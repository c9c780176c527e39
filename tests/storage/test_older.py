"""Files of schema 3.0.0 are read: what they lack is made, and what they number otherwise is renumbered."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from synthcore.analysis.differences import diff
from synthcore.base.errors import DatasetError
from synthcore.storage.dataset import Dataset
from synthcore.training.batches import Examples
from synthcore.verification.rerendering import verify
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch
from synthcore.vital.shapes import lfo_asset
from tests.conftest import Forge, Made, forge_registry

LFOS, SHAPES = lfo_asset([1, 0, 0, 0, 0, 0, 0, 0], installed())
UNTOUCHED = ("audio", "continuous", "categorical", "modulation_slots", "note_seconds", "bpm", "preset_hash", "split")


@pytest.fixture
def version_3(tier_3: Made, forge: Forge) -> Path:
    """A dataset as 3.0.0 wrote it: numbers are places among all assets, -1 the init preset's. Row 4 has LFO shapes."""
    path = forge(tier_3)
    with Dataset(tier_3.path) as dataset, h5py.File(path, "r+") as file:
        names = [LFOS, *sorted(dataset.asset_names)]
        known = dict(zip(dataset.classes.wavetables, dataset.classes.wavetable_names, strict=True))
        places = np.array([names.index(name) if name in names else -1 for name in dataset.classes.wavetables])
        file["params/wavetables"][:] = places[dataset.column("wavetables")]
        file["params/extras"][:] = -1
        file["params/extras"][4, 0] = names.index(LFOS)
        del file["schema/classes"], file["schema/assets"], file["schema/drawn_from"], file["params/exact_values"]
        del file["metadata/note_seconds"], file["metadata/bpm"], file["metadata/clips"]
        del file["schema"].attrs["exact_value_rows"]
        file["assets"].create_dataset(LFOS, data=np.frombuffer(SHAPES, np.uint8))
        file["schema"].create_dataset("assets", data=np.array(names, "S64"))
        called = [known.get(name, "") for name in names]
        file["schema"].create_dataset("wavetable_names", data=called, dtype=h5py.string_dtype())
        file["schema"].attrs["version"] = "3.0.0"
    forge_registry(path, name_tempos_of_delays_from_the_slowest)
    return path


def name_tempos_of_delays_from_the_slowest(config: dict[str, Any]) -> None:
    """As files of 3.0.0 do, although the delays' first tempo is the fifth."""
    (every,) = (control["options"] for control in config["controls"] if control["name"] == "lfo_1_tempo")
    for control in config["controls"]:
        if control["name"] in ("delay_tempo", "delay_aux_tempo"):
            control["options"] = every[: len(control["options"])]


@pytest.mark.slow
def test_every_column_of_3_0_0_says_what_it_said(version_3: Path, tier_3: Made) -> None:
    with Dataset(version_3) as older, Dataset(tier_3.path) as dataset:
        assert older.version == "3.0.0"
        for name in UNTOUCHED:
            np.testing.assert_array_equal(older.column(name), dataset.column(name))
            np.testing.assert_array_equal(older.column(name, [7, 2]), dataset.column(name, [7, 2]))
        assert np.isnan(older.column("exact_values")).all()
        row, batch = older[3], older[2:5]
        for name in ("exact_values", "wavetables", "extras", "bpm"):
            np.testing.assert_array_equal(batch[name][1], row[name])
            np.testing.assert_array_equal(older.column(name, [4, 3])[1], row[name])


def test_numbers_of_3_0_0_mean_the_same_assets_as_before(version_3: Path, tier_3: Made) -> None:
    with pickle.loads(pickle.dumps(Dataset(version_3))) as older, Dataset(tier_3.path) as dataset:
        assert older.classes.catalog_size == 0
        assert set(older.classes.wavetables) == set(dataset.asset_names)  # no class is of what isn't a wavetable
        assert older.classes.extras == ((None, LFOS), (None,), (None,))
        named = dict(zip(dataset.classes.wavetables, dataset.classes.wavetable_names, strict=True))
        assert older.classes.wavetable_names == tuple(named[name] for name in older.classes.wavetables)
        for row, (ours, theirs) in enumerate(zip(older.patches(0, 15), dataset.patches(0, 15), strict=True)):
            assert ours.wavetables == theirs.wavetables
            assert ours.extras.lfos == (LFOS if row == 4 else None)
            assert (ours == theirs) is (row != 4)
        assert older.asset(LFOS) == SHAPES


def test_a_batch_of_3_0_0_is_the_whole_label(version_3: Path) -> None:
    examples = Examples(version_3)
    batch = examples.read(np.array([4, 8]))
    labels = {name: batch[name] for name in examples.dataset.varied_labels}
    for place, row in enumerate((4, 8)):
        patch = Patch.from_vectors(
            **{name: values[place] for name, values in labels.items()}, classes=examples.dataset.classes
        )
        assert patch == examples.dataset.patch(row)


@pytest.mark.slow
def test_rows_of_3_0_0_are_known_again_and_verify(version_3: Path, tier_3: Made) -> None:
    assert diff(version_3, tier_3.path).rows.are_same
    with h5py.File(version_3, "r+") as file:  # of which the hash of row 4 says nothing
        file["params/extras"][4, 0] = -1
    with Dataset(version_3) as older, Dataset(tier_3.path) as dataset:
        assert older.registry == dataset.registry
        assert verify(older, 3, tolerance_db=-60, workers=1).holds


@pytest.mark.parametrize(("column", "number"), [("wavetables", -1), ("wavetables", 99), ("extras", -2), ("extras", 99)])
def test_a_number_of_3_0_0_that_no_asset_has_is_damage(version_3: Path, column: str, number: int) -> None:
    with h5py.File(version_3, "r+") as file:
        file[f"params/{column}"][6, 0] = number
    with Dataset(version_3) as older, pytest.raises(DatasetError, match=r"is damaged: a label refers to no asset"):
        older.patch(0)


@pytest.mark.parametrize("name", ["exact_values", "bpm", "wavetables"])
def test_what_is_made_is_put_only_where_it_fits(version_3: Path, name: str) -> None:
    with Dataset(version_3) as older:
        made = older.column(name, [2, 3])
        out = np.empty_like(made)
        assert older.column(name, [2, 3], out=out) is out
        np.testing.assert_array_equal(out, made)
        for wrong in (out.astype("f2"), np.empty((1, *made.shape), made.dtype)):
            with pytest.raises(ValueError, match="out must be"):
                older.column(name, [2, 3], out=wrong)
