"""What an earlier version left is opened by this one: its shards, its records, and its server's database."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from synthcore.engine.machine import engine
from synthcore.flows.running.serve import revision, revisions
from synthcore.storage.dataset import Dataset
from tests.conftest import ROOT
from tests.earlier.make import FLAGS

pytestmark = pytest.mark.slow
DIGEST = "48d041db3ac68afb79bd0e34317422ad7fe6ae01d0c0a07506cf867df00b3e6e"


@dataclass(frozen=True)
class Left:
    """The folder in which an earlier version ran."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "home" / "prefect.db"

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        ours = {"PREFECT_HOME": str(self.folder / "home"), "SYNTHCORE_DATA_DIR": str(self.folder / "data")}
        environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"} | ours
        command = [sys.executable, "-P", "-m", "synthcore.flows.cli", *map(str, words)]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def json(self, *words: object) -> dict[str, Any]:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        read: dict[str, Any] = json.loads(done.stdout)
        return read

    def found(self, check: str) -> list[dict[str, Any]]:
        return [finding for finding in self.json("doctor")["findings"] if finding["check"] == check]

    def flow_runs(self) -> set[str]:
        with closing(sqlite3.connect(self.database)) as connection:
            return {str(row[0]) for row in connection.execute("SELECT id FROM flow_run")}


@pytest.fixture
def left(tmp_path: Path) -> Left:
    with tarfile.open(ROOT / "tests" / "earlier" / "prefect-3.8.8.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    return Left(tmp_path)


@pytest.mark.long
def test_what_an_earlier_version_left_is_used_again_as_the_doctor_says(left: Left) -> None:
    (shard,) = (left.folder / "data" / "shards").rglob("*.h5")
    with Dataset(shard) as dataset:
        assert (len(dataset), dataset.version) == (1, "4.1.0")
        changed = dataset.engine.differences(engine())
    (database,) = left.found("database")
    assert database["state"] == "warning"
    assert "is of an earlier Prefect than" in database["what"]
    (reuse,) = left.found("reuse")
    if {"machine", "cpu_features"} & {*changed}:
        assert "1 of 1 shard made on another type of machine than here: " in reuse["what"]
    elif not changed:
        assert reuse["state"] == "ok"
    before = left.flow_runs()

    made = left.json("generate", *FLAGS, "-o", "again.h5")
    assert made["shards_cached"] == (0 if changed else 1)
    if not changed:
        assert made["digest"] == DIGEST
    assert left.run("down").returncode == 0
    assert revision(left.database) == revisions()[0]
    assert before < left.flow_runs()
    assert [finding["state"] for finding in left.found("database")] == ["ok"]


@pytest.mark.long
def test_a_database_of_a_later_prefect_is_a_problem(left: Left) -> None:
    with closing(sqlite3.connect(left.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
    done = left.run("doctor", "--json")
    (found,) = (finding for finding in json.loads(done.stdout)["findings"] if finding["check"] == "database")
    assert (done.returncode, found["state"]) == (1, "problem")
    assert "is of a later Prefect than" in found["what"]
