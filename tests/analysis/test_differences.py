"""Two datasets held against each other, row by row: as a result, as text, and as an exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

import synthcore
from synthcore.analysis.differences import Difference, diff
from synthcore.flows.cli import main
from synthcore.publishing.recipe import write_recipe
from synthcore.storage.dataset import Dataset
from tests.conftest import make_dataset


@pytest.fixture
def copy(tier_1: Any, tmp_path: Path) -> Path:
    """The dataset of tier 1 once more, to be changed."""
    return Path(shutil.copy(tier_1.path, tmp_path / "copy.h5"))


def change(path: Path, column: str, rows: slice, value: Any) -> None:
    with h5py.File(path, "r+") as file:
        file[column][rows] = value


def test_a_copy_is_the_same_dataset(tier_1: Any, copy: Path) -> None:
    found = synthcore.diff(tier_1.path, copy)
    assert found.is_same
    assert found.headline == "The same dataset: 15 rows, with the same labels and audio in the same order."
    assert (found.spec, found.header, found.beside) == ({}, {}, {})


@pytest.mark.slow
def test_neither_shards_nor_the_way_of_merging_make_a_difference(tier_1: Any, tmp_path: Path) -> None:
    view = tier_1.merge(tier_1.data_dir / "view.h5", mode="virtual")
    assert diff(tier_1.path, view.path).is_same


@pytest.mark.slow
def test_a_beginning_is_recognised_from_either_side(tier_1: Any, tmp_path: Path) -> None:
    part = tier_1.merge(tmp_path / "part.h5", tier_1.shards[:1])
    assert diff(part.path, tier_1.path).headline == "B holds all 10 rows of A, and 5 more after them."
    found = diff(tier_1.path, part.path)
    assert found.headline == "A holds all 10 rows of B, and 5 more after them."
    assert (found.rows.same, found.rows.alone, found.rows.beginning) == (10, (5, 0), 10)
    assert found.rows.first["only_a"] == [(row, None) for row in range(10, 15)]
    assert "5 rows only in A: 10, 11, 12, 13, 14\n" in found.to_text()


@pytest.mark.slow
def test_the_end_of_another_dataset_is_not_taken_for_its_beginning(tier_1: Any, tmp_path: Path) -> None:
    spec = tier_1.spec.model_copy(update={"n_samples": 20})
    whole, end = (
        tier_1.merge(tmp_path / f"{name}.h5", shards, spec=spec)
        for name, shards in (("whole", tier_1.shards), ("end", tier_1.shards[1:]))
    )
    found = diff(end.path, whole.path)
    assert found.headline == "B holds all 10 rows of A, and 10 more besides."
    assert (found.rows.beginning, found.rows.in_order) == (0, True)


@pytest.mark.slow
def test_the_same_rows_in_another_order_are_no_more_than_that(tier_1: Any, tmp_path: Path) -> None:
    spec = tier_1.spec.model_copy(update={"n_samples": 20})
    whole, turned = (
        tier_1.merge(tmp_path / f"{name}.h5", shards, spec=spec)
        for name, shards in (("whole", tier_1.shards), ("turned", tier_1.shards[::-1]))
    )
    found = diff(whole.path, turned.path)
    assert found.headline == "The same 20 rows, in another order."
    assert not found.is_same
    assert "digest" in found.header


@pytest.mark.slow
def test_other_recordings_of_the_same_patches(tier_1: Any, tmp_path: Path) -> None:
    audio = tier_1.spec.audio.model_copy(update={"render_seconds": 0.3})
    spec = tier_1.spec.model_copy(update={"audio": audio, "n_samples": 4})
    found = diff(tier_1.path, make_dataset(spec, tmp_path).path)
    assert (found.rows.other_audio, found.rows.same, found.rows.alone) == (4, 0, (11, 0))
    assert found.headline == (
        "They share 4 labels and no audio: they were recorded otherwise, audio.render_seconds (0.4 and 0.3)."
    )


def test_other_audio_on_another_type_of_machine(tier_1: Any, copy: Path, forgeries: Any) -> None:
    forgeries.engine(copy)
    change(copy, "metadata/audio_sha256", slice(None), b"0" * 64)
    forgeries.sign(copy, tier_1.spec)
    text = diff(tier_1.path, copy).to_text()
    assert "The same patches, played the same way, with other audio: they were rendered on machines or" in text
    assert "differ in cpu_features." in text
    assert "sse9" in text


def test_another_type_of_machine_that_renders_the_same_makes_no_other_dataset(
    tier_1: Any, copy: Path, forgeries: Any
) -> None:
    forgeries.engine(copy)
    found = diff(tier_1.path, copy)
    assert found.is_same
    assert found.headline.endswith("in the same order, made otherwise: engine cpu_features differ.")


def test_other_audio_from_the_same_machine_is_a_case_for_verify(tier_1: Any, copy: Path) -> None:
    change(copy, "metadata/audio_sha256", slice(3, 5), b"0" * 64)
    found = diff(tier_1.path, copy)
    assert found.rows.first["other_audio"] == [(3, 3), (4, 4)]
    assert "2 rows with the same label and other audio: 3, 4\n" in found.to_text()
    assert "so one is not what it says; synthcore verify --all tells which" in found.to_text()


def test_the_same_audio_under_another_label(tier_1: Any, copy: Path) -> None:
    change(copy, "metadata/preset_hash", slice(1), b"0" * 64)
    found = diff(tier_1.path, copy)
    assert (found.rows.same, found.rows.other_label) == (14, 1)
    assert found.rows.first["other_label"] == [(0, 0)]


@pytest.mark.parametrize("column", ["midi_note", "velocity", "note_seconds"])
def test_another_performance_is_another_row(column: str, tier_1: Any, copy: Path) -> None:
    change(copy, f"metadata/{column}", slice(1), 1)
    change(copy, "metadata/audio_sha256", slice(1), b"0" * 64)
    assert diff(tier_1.path, copy).rows.alone == (1, 1)


def test_rows_that_moved_to_another_split_or_family_are_counted(tier_1: Any, copy: Path) -> None:
    change(copy, "metadata/split", slice(2), b"test")
    change(copy, "metadata/family", slice(3), b"f" * 64)
    with Dataset(tier_1.path) as dataset:
        before = dataset.column("split")[:2]
    found = diff(tier_1.path, copy)
    assert found.rows.splits == {f"{split.decode()} to test": 2 for split in set(before.tolist())}
    assert found.rows.families == 3
    assert not found.is_same
    assert found.headline.startswith("The same 15 rows in the same order. What differs beside them: splits, families")


def test_features_weights_and_gaps_lie_beside_the_rows(tier_3: Any, learnable: Path) -> None:
    found = diff(tier_3.path, learnable)
    assert found.rows.are_same
    assert found.beside["weights"][0] is None
    assert found.beside["weights"][1].startswith("complete, ")


def test_a_recipe_is_its_dataset_without_audio(tier_1: Any, tmp_path: Path) -> None:
    with Dataset(tier_1.path) as dataset:
        write_recipe(dataset, tmp_path / "recipe.h5")
    found = diff(tier_1.path, tmp_path / "recipe.h5")
    assert found.beside == {"audio": ("there", "left out: a recipe")}
    assert found.rows.are_same


def test_a_file_of_an_older_schema_holds_the_same_rows(tier_1: Any, copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        del file["metadata/note_seconds"], file["metadata/bpm"]
        file["schema"].attrs["version"] = "4.0.0"
    found = diff(tier_1.path, copy)
    assert found.is_same
    assert found.header == {"schema": (Dataset(tier_1.path).version, "4.0.0")}


def test_datasets_of_different_tiers_differ_in_all_rows(tier_1: Any, tier_2: Any) -> None:
    found = diff(tier_1.path, tier_2.path)
    assert found.headline == "They have no row in common."
    assert found.spec["tier"] == (1, 2)


def test_an_empty_shard_has_nothing_in_common(tier_1: Any, short: Any, tmp_path: Path, preset_folder: Path) -> None:
    with h5py.File(copied := shutil.copy(tier_1.path, tmp_path / "none.h5"), "r+") as file:
        for group in ("audio", "params", "metadata"):
            for name, column in list(file[group].items()):
                del file[group][name]
                file[group].create_dataset(name, (0, *column.shape[1:]), column.dtype)
    found = diff(copied, tier_1.path)
    assert found.rows.total == (0, 15)
    assert found.headline == "They have no row in common."


def test_the_command_says_it_in_its_exit_code(
    tier_1: Any, tier_2: Any, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(tier_1.path), str(copy)]) == 0
    assert "The same dataset" in capsys.readouterr().out
    assert main(["diff", str(tier_1.path), str(tier_2.path), "--json"]) == 1
    found = Difference.model_validate_json(capsys.readouterr().out)
    assert found.rows.alone == (15, 15)


@pytest.mark.parametrize("place", [0, 1])
def test_bad_input_costs_one_line(place: int, tier_1: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.h5").write_text("not a dataset")
    files = [str(tier_1.path), str(tier_1.path)]
    files[place] = str(tmp_path / "text.h5")
    assert main(["diff", *files]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "text.h5 is not an HDF5 file" in err


def test_what_it_says_can_be_read_by_a_program(tier_1: Any, copy: Path, forgeries: Any) -> None:
    forgeries.engine(copy)
    found = json.loads(diff(tier_1.path, copy).model_dump_json())
    assert found["header"]["engine cpu_features"][1] == "sse9"
