"""`synthcore features`: one command computes, stores, and computes nothing twice; what can't be costs one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from synthcore.flows.cli import main
from synthcore.storage.dataset import Dataset
from tests.flows.test_flow import SHORT

MEL = ("--log-mel", "--window-ms", 50, "--bands", 16)


@pytest.mark.slow
def test_features_are_computed_once_and_after_growing_only_of_new_rows(cli: Any, tier_1: Any) -> None:
    path = cli.folder / "x.h5"
    tier_1.merge(path, spec=tier_1.spec.model_copy(update={"n_samples": 12}))
    first = cli.json("features", path, *MEL, "--sketch", "--data-dir", "data")
    assert first["computed_rows"] == {"log_mel": 12, "sketch": 12}
    assert first["features"]["log_mel"]["shape"] == [12, 2, 16, 41]
    again = cli.json("features", path, *MEL, "--data-dir", "data")
    assert again["computed_rows"] == {}
    tier_1.merge(path)
    grown = cli.json("features", path, "--data-dir", "data")  # what is stale
    assert grown["computed_rows"] == {"log_mel": 3, "sketch": 3}
    with Dataset(path) as dataset:
        assert [feature.status for feature in dataset.features.values()] == ["complete"] * 2
    listed = cli.run("cache", "list", "--data-dir", "data").stdout
    assert "features" in listed
    assert "unreachable" not in listed
    cli.run("verify", path, "--rows", 1)


@pytest.mark.slow
def test_a_run_ends_with_features_also_when_it_adds_rows(cli: Any) -> None:
    for rows in (4, 6):
        made = cli.json("generate", "-n", rows, "-o", "x.h5", *SHORT, "--features", "log-mel", "--data-dir", "data")
        assert made["features"] == ["log_mel"]
        assert made["bytes"] == (cli.folder / "x.h5").stat().st_size
        with Dataset(cli.folder / "x.h5") as dataset:
            assert dataset.feature("log_mel").shape[:2] == (rows, 2)


def test_a_run_refuses_features_that_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--features", "mel"]) == 2
    assert "--features: must be log-mel or sketch, not 'mel'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "features needs FILE"),
        (("x.h5",), "x.h5 has no stale features to make anew; name some with --log-mel or --sketch"),
        (("x.h5", "--sketch", "--bands", "16"), "--bands is of log-mel spectra: give --log-mel as well"),
        (("x.h5", "--log-mel", "--bands", "0"), "--bands: must be at least 1, not 0"),
        (("x.h5", "--log-mel", "--window-ms", "1"), "mel bands would be empty, being narrower than the window"),
        (("x.h5", "--log-mel", "--dtype", "int8"), "--dtype: must be float16 or float32, not 'int8'"),
        (("gone.h5", "--log-mel"), "there is no file"),
        (("shard.h5", "--log-mel"), "is a shard, which has no features; name the dataset"),
    ],
)
def test_what_cannot_be_computed_costs_one_line(
    tier_1: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tier_1.path, "x.h5")
    shutil.copy(tier_1.data_dir / tier_1.shards[0].name, "shard.h5")
    before = Path("x.h5").read_bytes()
    assert main(["features", *arguments, "--data-dir", str(tmp_path / "data")]) == 2
    assert text in capsys.readouterr().err
    assert Path("x.h5").read_bytes() == before
