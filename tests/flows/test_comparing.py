"""`synthcore compare`: a dataset beside other sounds, as text and as JSON; what was done once is cached."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from synthcore.flows.cli import main


@pytest.fixture
def files(cli: Any, tier_1: Any, tier_3: Any) -> Any:
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    shutil.copy(tier_3.path, cli.folder / "y.h5")
    return cli


@pytest.mark.long
def test_a_dataset_is_compared_with_another_and_nothing_is_done_twice(files: Any) -> None:
    first = files.json("compare", "x.h5", "y.h5", "--data-dir", "data")
    assert (first["rows"], first["sounds"], first["kind"]) == (15, 15, "dataset")
    assert len(first["worst"]) == len(first["far"]) == 10
    apart = [pair["apart_db"] for pair in first["worst"]]
    assert apart == sorted(apart, reverse=True)
    assert apart[0] == first["matched"]["to_rows"]["quantiles_db"]["100%"]
    assert 0 <= first["matched"]["told_apart"]["auc"] <= 1
    made = {path: path.stat().st_mtime_ns for path in (files.folder / "data" / "sketches").rglob("*.npz")}
    assert len(made) == 2
    assert files.json("compare", "x.h5", "y.h5", "--data-dir", "data") == first
    assert {path: path.stat().st_mtime_ns for path in made} == made


@pytest.mark.long
def test_a_dataset_lies_nowhere_from_itself(files: Any) -> None:
    same = files.json("compare", "x.h5", "x.h5", "--notes", 60, "--data-dir", "data")
    assert same["rows"] == same["sounds"] == 7
    assert same["matched"]["to_rows"]["within"]["2"] == same["as_it_is"]["to_others"]["within"]["2"] == 1
    told = files.run("compare", "x.h5", "x.h5", "--data-dir", "data")
    assert told.returncode == 0
    assert "nearest row of a sound: median" in told.stdout
    assert "0.00 dB" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.h5", "x.h5"), "there is no file"),
        (("x.h5", "nowhere.h5"), "there is no"),
        (("x.h5", "empty"), "holds neither presets (.vital, .vitalbank) nor audio"),
        (("x.h5", "notes.txt"), "is not an HDF5 file"),
        ((), "compare needs FILE"),
        (("x.h5",), "presets/community"),
        (("x.h5", "x.h5", "--notes", "61"), "has no row of note 61; it has 48, 60"),
        (("x.h5", "x.h5", "--sounds", "0"), "--sounds"),
        (("recipe.h5", "x.h5"), "is a recipe, without audio"),
        (("x.h5", "recipe.h5"), "is a recipe, without audio"),
    ],
)
def test_what_cannot_be_compared_costs_one_line(
    arguments: tuple[str, ...],
    says: str,
    tier_1: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tier_1.path, tmp_path / "x.h5")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no sound")
    assert main(["recipe", "x.h5", "-o", "recipe.h5", "--json"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # were a server asked, that would be the complaint
    assert main(["compare", *arguments, "--data-dir", str(tmp_path / "data"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err.splitlines()[0]
    assert not (tmp_path / "data").exists()


@pytest.mark.long
def test_recordings_are_compared_and_both_pages_show_it(files: Any) -> None:
    (files.folder / "mine").mkdir()
    chance = np.random.default_rng(0)
    for name in "abcdef":
        soundfile.write(files.folder / "mine" / f"{name}.wav", chance.normal(0, 0.1, (5_000, 1)), 16_000)
    done = files.run("compare", "x.h5", "mine", "--html", "near.html", "--data-dir", "data")
    assert done.returncode == 0, done.stderr
    assert "- resampled to be compared: 6 of 6 sounds" in done.stdout
    assert "a.wav" in (files.folder / "near.html").read_text()
    settings = {"SYNTHCORE_DATA_DIR": "data"}
    shown = files.run("inspect", "x.h5", "--html", "page.html", "--near", "mine", "--json", env=settings)
    assert shown.returncode == 0, shown.stderr
    assert 'id="nearness"' in (files.folder / "page.html").read_text()
    assert "sketches" in files.run("cache", "list", "--data-dir", "data").stdout


@pytest.mark.long
def test_presets_are_read_first_and_those_that_cannot_be_are_named(files: Any, preset_folder: Path) -> None:
    shutil.copytree(preset_folder, files.folder / "presets")
    (files.folder / "presets" / "broken.vital").write_text("{")
    found = files.json("compare", "x.h5", "presets", "--notes", 60, "--data-dir", "data")
    assert (found["kind"], found["rows"]) == ("presets", 7)
    left_out = {one["name"]: one["reason"] for one in found["left_out"]}
    assert "broken.vital" in left_out
    assert left_out["still, note 60"].startswith("silent")
    assert found["sounds"] + len(left_out) == 8


@pytest.mark.parametrize("flags", [("--near", "x.h5"), ("--near", "x.h5", "--row", "3"), ("x.h5", "--near", "x.h5")])
def test_near_belongs_to_the_page_of_one_dataset(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "x.h5", *flags]) == 2
    assert "--near belongs to the page of one dataset" in capsys.readouterr().err
