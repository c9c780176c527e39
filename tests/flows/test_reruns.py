"""What is done again, and what isn't: every line of the table in the documents, by counting the states of tasks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synthcore.storage.dataset import Dataset
from tests.conftest import ROOT
from tests.flows.test_flow import task_states

pytestmark = pytest.mark.long

PAGE = ROOT / "docs" / "operations.md"
STEPS = {
    "clone": "download",
    "ingest": "ingest",
    "render": "shard",
    "merge": "merge",
    "picture": "draw",
    "weigh": "probe",
}
AUDIO = {"sample_rate": 22050, "notes": [48, 60], "note_seconds": 0.2, "render_seconds": 0.3}
RUN = {"rows_per_shard": 8}
#: Presets of a repository and of a folder, variations and synthetic rows: every step has something to do.
BASE: dict[str, Any] = {
    "tier": 2,
    "n_samples": 16,
    "seed": 1,
    "variations": 4,
    "repos": True,
    "workers": 2,
    "community_dir": ["mine"],
    "output": "out.h5",
    "data_dir": "data",
    "audio": AUDIO,
    "run": RUN,
}
#: The flow is called in one process for all lines: starting Prefect would take longer than the lines do.
DRIVER = """
import json, sys
from synthcore import generate
for line in sys.stdin:
    print("made", generate(**json.loads(line)).digest, flush=True)
"""


#: Synthetic rows alone, weighed at one of them; in a folder of their own, as a run with BASE may hold the same shards.
WEIGHED: dict[str, Any] = {
    **{name: BASE[name] for name in ("n_samples", "seed", "workers", "audio")},
    "data_dir": "weighed",
    "tier": 1,
    "weights": 1,
    "output": "weighed.h5",
}


def lines(title: str) -> dict[str, dict[str, str]]:
    """The table under a heading: what is different -> step -> cached, run or some."""
    table = PAGE.read_text().split(f"# {title}\n")[1].split("\n##")[0]
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in re.findall(r"^\|.*", table, re.M)]
    head, _, *body = rows
    return {row[0]: dict(zip(head[1:-1], row[1:-1], strict=True)) for row in body}


class Runs:
    """A folder with presets, and a process that makes a dataset of them again and again."""

    def __init__(self, folder: Path, api: str, presets: Path) -> None:
        self.folder, self.api = folder, api
        self.output = folder / "out.h5"
        self.made = ("nothing", 0)  # digest and size of the output that BASE makes
        shutil.copytree(presets, folder / "mine", ignore=lambda _, names: [n for n in names if n > "sound 2.vital"])
        self.remote = folder / "remote"
        shutil.copytree(
            presets, self.remote, ignore=lambda _, names: [n for n in names if not "sound 3" <= n < "still"]
        )
        self.git("init", "-q")
        self.commit()
        (folder / "synthcore.toml").write_text(
            f'[[download-presets.sources]]\nurl = "{self.remote.as_uri()}"\nlicence = "CC0-1.0"\n'
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            cwd=folder,
            env={**os.environ, "PREFECT_API_URL": api, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, "-C", self.remote, *arguments], check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "-qm", "sounds")

    def digest(self) -> str:
        """The digest of the output; empty if there is none."""
        if not self.output.exists():
            return ""
        with Dataset(self.output) as dataset:
            return dataset.digest

    def size(self) -> int:
        return self.output.stat().st_size if self.output.exists() else 0

    def make(self, base: dict[str, Any] = BASE, **wishes: Any) -> tuple[str, dict[str, str]]:
        """Run once; return the digest, and what became of each step that was there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        since = time.time()
        run = {"run": {**RUN, **wishes.pop("run", {})}}
        self.process.stdin.write(json.dumps({**base, **wishes, **run}) + "\n")
        self.process.stdin.flush()
        fields = next((line.split() for line in self.process.stdout if line.startswith("made ")), None)
        assert fields is not None, "the run failed"
        counts = task_states(self.api, since)
        states = {
            step: state(step, Counter({was: n for (name, was), n in counts.items() if name == word}))
            for step, word in STEPS.items()
        }
        return fields[1], {step: found for step, found in states.items() if found != "absent"}


def state(step: str, counts: Counter[str]) -> str:
    assert set(counts) <= {"Cached", "Completed"}, counts
    if not counts["Completed"]:
        return "cached" if counts["Cached"] else "absent"
    # There are many shards, and one of each other task: cached first and then run, where its file was gone.
    return "some" if step == "render" and counts["Cached"] else "run"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, prefect_api: str, preset_folder: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path_factory.mktemp("reruns"), prefect_api, preset_folder)
    with contextlib.ExitStack() as stack:
        stack.callback(runs.process.kill)
        yield runs


@pytest.fixture
def made(runs: Runs) -> str:
    """Everything is there, made by the wishes of BASE; its digest."""
    if runs.made != (runs.digest(), runs.size()):  # the line before has left something else
        runs.output.unlink(missing_ok=True)
        runs.make()
        runs.made = runs.digest(), runs.size()
    return runs.digest()


def touch(runs: Runs) -> None:
    for preset in (runs.folder / "mine").glob("*.vital"):
        preset.write_bytes(preset.read_bytes())


def add_preset(like: Path) -> None:
    document = json.loads(like.read_text())
    document["settings"]["volume"] *= 0.9
    like.with_name("another.vital").write_text(json.dumps(document))


def add_commit(runs: Runs) -> None:
    add_preset(runs.remote / "sound 5.vital")  # one that can be heard in so short a note
    runs.commit()


def lose_shard(runs: Runs) -> None:
    next((runs.folder / "data" / "shards").rglob("*.h5")).unlink()


Change = Callable[[Runs], object]
#: In an order in which no line leaves shards behind that another one means to lose.
#: What is different -> what is done before the run, the run's wishes, and whether the rows stay the same.
CHANGES: dict[str, tuple[Change | None, dict[str, Any], bool]] = {
    "nothing": (None, {}, True),
    "a shard's file is gone or damaged": (lose_shard, {}, True),
    "the output is gone or changed": (lambda runs: runs.output.unlink(), {}, True),
    "`--workers`, `--retries` or `--render-timeout`": (
        None,
        {"workers": 1, "run": {"retries": 1, "render_timeout": 50.0}},
        True,
    ),
    "the output's name": (None, {"output": "other.h5"}, True),
    "`--merge virtual`": (None, {"run": {"merge": "virtual"}}, True),
    "`--chunk-rows`": (None, {"run": {"chunk_rows": 8}}, True),
    "a larger `-n`": (None, {"n_samples": 24}, False),
    "more `--variations`": (None, {"variations": 8}, False),
    "the seed": (None, {"seed": 2}, False),
    "the tier": (None, {"tier": 1}, False),
    "notes, velocity, length, tempo, sample rate, what is refused": (
        None,
        {"audio": {**AUDIO, "notes": [48, 61]}},
        False,
    ),
    "`--rows-per-shard`": (None, {"run": {"rows_per_shard": 6}}, True),
    "presets written again, unchanged": (touch, {}, True),
    "`--approximate`": (None, {"approximate": True}, True),
    "a new preset in a folder": (lambda runs: add_preset(runs.folder / "mine" / "sound 2.vital"), {}, False),
    "a new commit at a source": (add_commit, {}, False),
    **{
        f"`--refresh {step}`": (None, {"run": {"refresh": [step]}}, True)
        for step in (*STEPS, "all")
        if step not in ("picture", "weigh")
    },
}


CHANGES_OF_WEIGHED: dict[str, dict[str, Any]] = {
    "nothing at all": {},
    "the number after `--weights`": {"weights": 2},
    "the file's name": {"output": "other weighed.h5"},
    "the tier, with `--weights`": {"tier": 2, "output": "tier 2.h5"},
    "the seed, with `--weights`": {"seed": 3, "output": "seed 3.h5"},
    "`--refresh weights`": {"run": {"refresh": ["weights"]}},
}


def test_every_line_of_the_table_is_proven() -> None:
    assert list(CHANGES) == list(lines("Running it again"))
    assert list(CHANGES_OF_WEIGHED) == list(lines("With importance weights"))


@pytest.mark.parametrize("different", list(CHANGES))
def test_exactly_the_affected_steps_run(runs: Runs, made: str, different: str) -> None:
    change, wishes, keeps_digest = CHANGES[different]
    if change:
        change(runs)  # a preset that is added stays: then BASE makes something else from here on
    overwrite = {"overwrite": not keeps_digest}
    digest, states = runs.make(**{**wishes, "run": {**wishes.get("run", {}), **overwrite}})
    assert states == lines("Running it again")[different]
    assert (digest == made) == keeps_digest
    with Dataset(runs.folder / wishes.get("output", "out.h5")) as dataset:
        assert dataset.digest == digest
    if not keeps_digest:
        runs.made = ("something else", 0)


@pytest.mark.parametrize("different", list(CHANGES_OF_WEIGHED))
def test_weights_are_measured_only_where_it_matters(runs: Runs, different: str) -> None:
    runs.make(WEIGHED)
    wishes = CHANGES_OF_WEIGHED[different]
    _, states = runs.make(WEIGHED, **wishes)
    documented = lines("With importance weights")[different]
    assert {step: states[step] for step in documented} == documented
    with Dataset(runs.folder / wishes.get("output", "weighed.h5")) as dataset:
        assert dataset.weights_status == "complete"
