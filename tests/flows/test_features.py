"""`synthcore features`: one command computes, stores, and computes nothing twice; what can't be costs one line."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthcore.analysis.feature_specs import FeatureSpec, LogMel, Sketch
from synthcore.flows.cli import main
from synthcore.pipeline import features
from synthcore.storage.dataset import Dataset
from tests.flows.test_flow import SHORT

MEL = ("--log-mel", "--window-ms", 50, "--bands", 16)
SPECS: tuple[FeatureSpec, ...] = (LogMel(window_ms=50, bands=16), Sketch())  #: of those flags, and of --sketch
#: A command whose batches are single rows, killed at the eighth. Three rows repeat others, and are found cached.
KILLED = """
import os, signal, sys
from synthcore.base import progress
from synthcore.pipeline import features
features.ROWS, rows = 1, []
def hear(event):
    rows.append(event)
    if len(rows) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
from synthcore.flows.cli import main
with progress.listening(hear):
    main(sys.argv[1:])
"""
GOES_ON = "import sys\nfrom synthcore.pipeline import features\nfeatures.ROWS = 1\n"
GOES_ON += "from synthcore.flows.cli import main\nsys.exit(main(sys.argv[1:]))"


def written(folder: Path) -> dict[Path, int]:
    """The files of finished batches, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "data" / "features").rglob("[0-9a-f]*.npy")}


def require_features(path: Path, tmp_path: Path, specs: tuple[FeatureSpec, ...]) -> None:
    """Require that a file has the features, bit for bit, that its rows get from one thread that is left alone."""
    other = Path(shutil.copy(path, tmp_path / "undisturbed.h5"))
    planned = features.plan(other, specs, tmp_path / "undisturbed", again=True)
    for plan in [plan for one in planned for plan in one.plans]:
        features.compute(plan, tmp_path / "undisturbed")
    features.store(other, planned, tmp_path / "undisturbed")
    with Dataset(path) as found, Dataset(other) as expected:
        assert [*found.features] == [spec.kind for spec in specs]
        for name, feature in expected.features.items():
            np.testing.assert_array_equal(found.feature(name), expected.feature(name))
            np.testing.assert_array_equal(found.features[name].mean, feature.mean)


@pytest.mark.long
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


@pytest.mark.long
def test_a_run_that_is_killed_leaves_the_file_and_is_continued(cli: Any, tier_1: Any, tmp_path: Path) -> None:
    path = Path(shutil.copy(tier_1.path, cli.folder / "x.h5"))
    command = ("features", "x.h5", *MEL, "--data-dir", "data", "--workers", 1)
    killed = cli.run(*command, program=("-c", KILLED))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert path.read_bytes() == tier_1.path.read_bytes()
    before = written(cli.folder)
    assert len(before) >= 3
    cli.json(*command, program=("-c", GOES_ON))
    kept = before.items() & written(cli.folder).items()
    assert len(kept) >= len(before) - 1  # of one, whose file was there, the record may not have been
    require_features(path, tmp_path, SPECS[:1])


@pytest.mark.long
def test_dask_computes_the_same_and_what_it_computed_is_cached(cli: Any, tier_1: Any, tmp_path: Path) -> None:
    for name in ("x.h5", "y.h5"):
        shutil.copy(tier_1.path, cli.folder / name)
    flags = (*MEL, "--sketch", "--data-dir", "data")
    made = cli.json("features", "x.h5", *flags, "--runner", "dask", "--workers", 2)
    assert made["computed_rows"] == {"log_mel": 15, "sketch": 15}
    assert cli.json("features", "y.h5", *flags)["computed_rows"] == {}
    for name in ("x.h5", "y.h5"):
        require_features(cli.folder / name, tmp_path, SPECS)


@pytest.mark.slow
def test_what_a_worker_puts_elsewhere_is_missed(cli: Any, tier_1: Any) -> None:
    """As by a Dask worker that has another folder under the path of the data directory."""
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    code = "import sys\nfrom pathlib import Path\nfrom synthcore.pipeline import features\ncompute = features.compute\n"
    code += "features.compute = lambda plan, _: compute(plan, Path('elsewhere'))\n"
    code += "from synthcore.flows.cli import main\nsys.exit(main(sys.argv[1:]))"
    done = cli.run("features", "x.h5", "--sketch", "--data-dir", "data", program=("-c", code))
    assert (done.returncode, done.stderr.count("Traceback")) == (2, 0), done.stderr
    assert f"what was computed isn't in {cli.folder / 'data'}: every worker must have" in done.stderr
    assert (cli.folder / "x.h5").read_bytes() == tier_1.path.read_bytes()


@pytest.mark.long
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
        (("x.h5", "--sketch", "--runner-address", "here:1"), "is for dask or ray: set --runner to one"),
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
