"""Records of results: ours are read, under former names as well; whatever else a stranger may put there is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer

from synthcore.evaluation.scoring import ScoreRef
from synthcore.pipeline.features import FeatureRef
from synthcore.pipeline.nearness_report import Nearness
from synthcore.pipeline.sketching import SketchRef
from synthcore.publishing.planning import FileRef
from synthcore.tasks.records import FORMER_NAMES, RESULTS, is_failure, is_ours, read_records
from tests.test_security import planted


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write a record as Prefect does."""
    (tmp_path / "results").mkdir()
    store = ResultStore(result_storage=LocalFileSystem(basepath=str(tmp_path / "results")), serializer=JSONSerializer())

    def written(key: str, result: Any) -> Path:
        store.write(result, key)
        return tmp_path / "results" / key

    return written


def test_a_record_under_a_former_name_is_read_and_renamed(
    tmp_path: Path, write: Callable[[str, Any], Path], tier_1: Any
) -> None:
    refs = {"shard": tier_1.shards[0], "merge": tier_1.ref}
    for key, ref in refs.items():
        path = write(key, ref)
        former = next(name for name, model in FORMER_NAMES.items() if model is type(ref))
        path.write_text(path.read_text().replace(f"{type(ref).__module__}.{type(ref).__name__}", former))
        assert former in path.read_text()
        assert not is_ours(path)
    records = read_records(tmp_path, tmp_path / "results")
    assert records.shards == {"results/shard": refs["shard"]}
    assert records.datasets == {"results/merge": refs["merge"]}
    assert all(is_ours(tmp_path / "results" / key) for key in refs)


def test_every_result_of_before_the_rooms_has_a_former_name() -> None:
    assert set(RESULTS) - set(FORMER_NAMES.values()) == {
        *(Nearness, SketchRef, FeatureRef, ScoreRef, FileRef),  # which came later
    }


def test_what_a_stranger_plants_is_not_ours_and_stays_unread(tmp_path: Path) -> None:
    marker, results = tmp_path / "ran", tmp_path / "results"
    results.mkdir()
    attacks = planted(marker)
    for number, attack in enumerate(attacks):
        (results / f"{number}").write_bytes(attack)
    (results / "link").symlink_to(results / "0")
    (results / "folder").mkdir()
    assert not any(is_ours(path) for path in results.iterdir())
    known = read_records(tmp_path, results)
    assert len(known.unreadable) == len(attacks) + 2
    assert (known.shards, known.datasets, known.failures) == ({}, {}, ())
    assert not marker.exists()


def test_a_former_name_makes_no_planted_record_ours(tmp_path: Path, write: Callable[[str, Any], Path]) -> None:
    path = write("shard", {"x": "y"})
    record = json.loads(path.read_text())
    former = next(iter(FORMER_NAMES))
    record["result"] = json.dumps({"__class__": former, "data": {"__class__": "subprocess.getoutput", "data": {}}})
    path.write_text(json.dumps(record))
    assert read_records(tmp_path, tmp_path / "results").unreadable == ("results/shard",)


def test_the_record_of_an_error_is_told_apart(write: Callable[[str, Any], Path], tmp_path: Path) -> None:
    path = write("shard", ValueError("bad luck"))
    assert is_failure(path)
    assert not is_ours(path)
    assert read_records(tmp_path, tmp_path / "results").failures == ("results/shard",)
