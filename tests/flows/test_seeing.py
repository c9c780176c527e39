"""What a run leaves in Prefect's web page: names, artifacts, logs."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from synthcore.analysis import picture
from tests.api import ask
from tests.flows.test_flow import SHORT

pytestmark = pytest.mark.slow
SEED = 4711


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cli_in: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A run: the command line it had, what the server knows of it, and its report."""
    cli = cli_in(tmp_path_factory.mktemp("seeing"))
    report = cli.json(
        "generate", "-n", 60, "--seed", SEED, "--data-dir", "data", "-o", "out.h5", "--html", "out.html", *SHORT
    )
    named = {"flow_runs": {"name": {"any_": [f"tier1 60 seed {SEED}"]}}}
    return cli, ask(f"{cli.api}/flow_runs/filter", named)[0], report


@pytest.fixture(scope="module")
def artifacts(run: Any) -> dict[str, Any]:
    cli, flow_run, _ = run
    found = ask(f"{cli.api}/artifacts/filter", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}})
    return {artifact["key"]: artifact for artifact in found}


def test_runs_and_tasks_are_named_after_what_they_do(run: Any) -> None:
    cli, flow_run, _ = run
    tasks = ask(f"{cli.api}/task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}})
    assert sorted(task["name"] for task in tasks) == [
        "draw picture",
        "merge 60 rows",
        *(f"shard {index:04d}" for index in range(5)),
        "summarize",
        "write page",
    ]


def test_progress_ends_at_the_whole_and_says_the_pace(artifacts: dict[str, Any]) -> None:
    assert float(artifacts["progress"]["data"]) == 100.0
    assert artifacts["progress"]["description"].startswith("60 of 60 rows, 5 of 5 shards; ")
    assert "rows/s" in artifacts["progress"]["description"]


def test_the_table_says_what_became_of_each_shard(run: Any, artifacts: dict[str, Any]) -> None:
    rows = json.loads(artifacts["shards"]["data"])
    assert [row["shard"] for row in rows] == [f"{index:04d}" for index in range(5)]
    assert {row["state"] for row in rows} == {"rendered"}
    assert sum(row["candidates"] for row in rows) == run[2]["candidates"]


def test_the_summary_names_file_digest_and_spec(run: Any, artifacts: dict[str, Any]) -> None:
    _, _, report = run
    page = artifacts["summary"]["data"]
    for words in (report["digest"], str(Path(report["output"])), "rows/s", '"n_samples": 60', "with Dataset("):
        assert words in page


def test_the_picture_is_held_by_its_address(artifacts: dict[str, Any]) -> None:
    head, _, content = artifacts["picture"]["data"].removesuffix(")").partition("base64,")
    assert head == f"![{picture.CAPTION}](data:image/png;"
    assert base64.b64decode(content).startswith(b"\x89PNG")
    assert len(content) < 200_000


def test_the_page_that_was_asked_for_is_linked_with_what_it_found(run: Any, artifacts: dict[str, Any]) -> None:
    cli, _, report = run
    assert (cli.folder / "out.html").as_uri() in artifacts["page"]["data"]
    found = {line["what"]: line["found"] for line in json.loads(artifacts["findings"]["data"])}
    assert found["digest"] == report["digest"][:12]
    assert "of 60 rows heard" in found["near-duplicates"]


def test_what_synthcore_logs_is_with_the_run_and_its_task_in_few_lines(run: Any) -> None:
    cli, flow_run, _ = run
    wanted = {"flow_run_id": {"any_": [flow_run["id"]]}, "level": {"ge_": 20}}
    lines = ask(f"{cli.api}/logs/filter", {"logs": wanted, "limit": 200})
    ours = [line for line in lines if line["name"].startswith("synthcore.")]
    assert sum("12 rows of" in line["message"] and line["task_run_id"] is not None for line in ours) == 5
    assert any("merged 60 rows of 5 shards" in line["message"] for line in ours)
    assert len(lines) <= 2 * 5 + 10  # 1,000 rows are six shards of the usual size


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium here")
@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("run", (f"tier1 60 seed {SEED}", "Completed", "Artifacts")),
        ("shards", ("refused", "0004", "rendered")),
        ("summary", ("Refused candidates", "throughput", "Open it")),
        ("picture", ('src="data:image/png;base64', "Spectrograms of rows")),
    ],
)
def test_a_browser_shows_it(run: Any, artifacts: dict[str, Any], page: str, words: tuple[str, ...]) -> None:
    cli, flow_run, _ = run
    where = f"runs/flow-run/{flow_run['id']}" if page == "run" else f"artifacts/artifact/{artifacts[page]['id']}"
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000", "--timeout=20000")
    command = ["chromium", *flags, "--dump-dom", f"{cli.api.removesuffix('/api')}/{where}"]
    for _ in range(3):  # on a busy machine, a page may be written down half drawn
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if all(word in shown for word in words):
            break
    for word in words:
        assert word in shown
