"""`python flows/NAME.py` runs the flow that is in that file, with the flags of its command."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from tests.api import ask
from tests.conftest import ROOT
from tests.flows.test_flow import SHORT
from tests.servers import serving

FILES = [path for path in sorted((ROOT / "flows").glob("*.py")) if "run_file(" in path.read_text()]
#: The arguments of each, and its exit code: nothing can be downloaded here.
ARGUMENTS: dict[str, tuple[int, tuple[object, ...]]] = {
    "compare_datasets": (0, ("x.h5", "x.h5", "--data-dir", "data")),
    "compute_features": (0, ("x.h5", "--log-mel", "--window-ms", 50, "--data-dir", "data")),
    "compute_weights": (0, ("x.h5", "--n-base", 1, "--data-dir", "data")),
    "discover_wavetables": (0, ("-o", "catalog.json", "--data-dir", "data")),
    "download_presets": (1, ("-o", "presets", "--sources", "http://127.0.0.1:9/x.zip", "--data-dir", "data")),
    "evaluate_answers": (0, ("--baseline", "oracle", "--against", "x.h5", "--split", "all", "--data-dir", "data")),
    "fit_priors": (0, ("many", "-o", "mine.toml", "--data-dir", "data")),
    "generate": (0, ("-n", 6, "-o", "out.h5", "--data-dir", "data", *SHORT)),
    "import_dataset": (0, ("published", "-o", "again.h5", "--data-dir", "data")),
    "ingest_presets": (0, ("presets", "--data-dir", "data")),
    "inspect_dataset": (0, ("x.h5",)),
    "match_sound": (0, ("x.wav", "--in", "x.h5", "-o", "out", "--data-dir", "data")),
    "publish_dataset": (0, ("x.h5", "-o", "published", "--licence", "CC0-1.0", "--data-dir", "data")),
    "verify": (0, ("x.h5", "--rows", 1)),
}


def flow_of(file: Path) -> str:
    """The name under which a file's flow runs are listed."""
    (name,) = re.findall(r'^@flow\(name="([\w-]+)"', file.read_text(), re.MULTILINE)
    return str(name)


def runs_of(api: str, flow: str) -> list[dict[str, Any]]:
    return list(ask(f"{api}/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC"}))


@pytest.fixture
def run_file(cli: Any, tier_1: Any, preset_folder: Path) -> Callable[..., Any]:
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    soundfile.write(cli.folder / "x.wav", np.full((9_000, 2), 0.1), 22_050)
    (cli.folder / "presets").mkdir()
    shutil.copy(next(preset_folder.glob("sound*.vital")), cli.folder / "presets")
    (cli.folder / "many").mkdir()
    for preset in preset_folder.glob("sound*.vital"):
        shutil.copy(preset, cli.folder / "many")
    return lambda file, *arguments, **how: cli.run(*arguments, program=(str(file),), **how)


@pytest.mark.long
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_flow_file_runs_the_flow_that_is_in_it(run_file: Callable[..., Any], prefect_api: str, file: Path) -> None:
    code, arguments = ARGUMENTS[file.stem]
    if file.stem == "import_dataset":  # of what another has published
        assert run_file(ROOT / "flows" / "publish_dataset.py", *ARGUMENTS["publish_dataset"][1]).returncode == 0
    before = {run["id"] for run in runs_of(prefect_api, flow_of(file))}
    done = run_file(file, *arguments, "--json")
    assert done.returncode == code, done.stderr
    (new,) = [run for run in runs_of(prefect_api, flow_of(file)) if run["id"] not in before]
    assert new["state_type"] == ("FAILED" if code else "COMPLETED")
    assert json.loads(done.stdout)


@pytest.mark.long
def test_a_flow_file_ends_as_its_command_does_where_rows_differ(
    run_file: Callable[..., Any], cli: Any, prefect_api: str
) -> None:
    with h5py.File(cli.folder / "x.h5", "r+") as file:
        file["audio/waveforms"][2, 0, 100] += 1e-3
    done = run_file(ROOT / "flows" / "verify.py", "x.h5", "--all", "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["differing_rows"] == [2]
    assert "Traceback" not in done.stderr
    assert runs_of(prefect_api, "verify")[0]["state_type"] == "FAILED"


@pytest.mark.slow
def test_a_server_that_does_not_answer_costs_a_flow_file_one_line(run_file: Callable[..., Any]) -> None:
    done = run_file(ROOT / "flows" / "verify.py", "x.h5", env={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"synthcore: no Prefect server answers at http://127.0.0.1:9/api, .*\n", done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("file", [ROOT / "flows" / "verify.py", ROOT / "flows" / "inspect_dataset.py"])
def test_what_is_not_a_dataset_costs_a_flow_file_one_line(run_file: Callable[..., Any], file: Path) -> None:
    done = run_file(file, "nowhere.h5")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"synthcore: there is no file .*nowhere\.h5.*\n", done.stderr)


@pytest.mark.long
def test_a_flow_reads_from_afar_and_prefect_keeps_no_secret(
    run_file: Callable[..., Any], prefect_api: str, cli: Any
) -> None:
    """Neither in parameters nor in names, logs and artifacts."""
    pytest.importorskip("fsspec")
    with serving(cli.folder) as server:
        server.only_for = "Basic bWU6aHVudGVyMg=="  # me:hunter2
        url = server.url("x.h5").replace("127.0.0.1", "me:hunter2@127.0.0.1") + "?X-Amz-Signature=c0ffee"
        verified = run_file(ROOT / "flows" / "verify.py", url, "--rows", 1)
        assert verified.returncode == 0, verified.stderr
        called = cli.run(url, program=("-c", "import sys, synthcore; print(synthcore.inspect(sys.argv[1]).rows)"))
        assert called.stdout.endswith("15\n"), called.stderr
    kept = [runs_of(prefect_api, flow)[0] for flow in ("verify", "inspect")]
    assert [run["parameters"]["file"].partition("@")[0] for run in kept] == ["http://***"] * 2
    ids = {"flow_runs": {"id": {"any_": [run["id"] for run in kept]}}}
    tasks = ask(f"{prefect_api}/task_runs/filter", ids)
    logs = ask(f"{prefect_api}/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"] for run in kept]}}})
    artifacts = ask(f"{prefect_api}/artifacts/filter", {})
    said = json.dumps([kept, tasks, logs, artifacts]) + verified.stdout + verified.stderr + called.stderr
    assert "hunter2" not in said
    assert "c0ffee" not in said
