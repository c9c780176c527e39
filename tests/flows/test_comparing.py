"""`synthcore compare`: a dataset beside other sounds, as text and as JSON; what was done once is cached."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from synthcore.flows.cli import main


@pytest.fixture
def files(cli: Any, tier_1: Any, tier_3: Any) -> Any:
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    shutil.copy(tier_3.path, cli.folder / "y.h5")
    return cli


@pytest.mark.slow
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


@pytest.mark.slow
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
