"""What is reported of the cache on disk, and what may be cleared away."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest
from pydantic import ValidationError

from synthcore.analysis.importance import ProbeRef
from synthcore.base.errors import SynthcoreError
from synthcore.engine.machine import engine
from synthcore.pipeline.cache import Cache, Records, prune, survey, verify
from synthcore.pipeline.doctor import contents, repair
from synthcore.storage.refs import DatasetRef, ShardRef


@pytest.fixture
def folder(tier_1: Any, tmp_path: Path) -> Path:
    """A data directory with the shards of a small dataset, a day old."""
    shutil.copytree(tier_1.data_dir / "shards", tmp_path / "shards")
    for path in (tmp_path / "shards").rglob("*.h5"):
        os.utime(path, (time.time() - 86_400,) * 2)
    return tmp_path


@pytest.fixture
def records(tier_1: Any, folder: Path) -> Records:
    (folder / "results").mkdir()
    files = {f"results/{index}": ref for index, ref in enumerate(tier_1.shards)}
    for file in files:
        (folder / file).write_text("{}")
    return Records(files, {})


def states(cache: Cache) -> list[tuple[str, str]]:
    return sorted((entry.kind, entry.state) for entry in cache.entries)


def prune_all(cache: Cache, **how: Any) -> list[str]:
    limits = {"older_than": 0.0, "spec": "", "other_engines": False, "dry_run": False}
    return [entry.path for entry in prune(cache, **{**limits, **how}).entries]


def test_what_a_run_would_find_is_reachable_and_stays(folder: Path, records: Records, tier_1: Any) -> None:
    cache = survey(folder, records)
    assert states(cache) == [("shard", "reachable")] * 2
    assert {entry.spec for entry in cache.entries} == {tier_1.plans[0].spec.fingerprint}
    assert all(23.9 < entry.hours < 24.1 for entry in cache.entries)
    assert "24 h" in cache.to_text()
    assert prune_all(cache) == []


def test_what_no_record_knows_is_unreachable_and_cleared(folder: Path, records: Records, tier_1: Any) -> None:
    known = Records({"results/0": tier_1.shards[0]}, {})
    cache = survey(folder, known)
    assert states(cache) == [("shard", "reachable"), ("shard", "unreachable")]
    assert prune_all(cache, dry_run=True) == [tier_1.shards[1].name]
    assert (folder / tier_1.shards[1].name).exists()
    assert prune_all(cache, older_than=48.0) == []
    assert prune_all(cache) == [tier_1.shards[1].name]
    assert not (folder / tier_1.shards[1].name).exists()
    assert (folder / tier_1.shards[0].name).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be someone else")
def test_what_belongs_to_someone_else_is_passed_over_or_named() -> None:
    with tempfile.TemporaryDirectory() as ours:
        folder = Path(ours)
        folder.chmod(0o755)
        (folder / ".x.h5.12345678.tmp").touch(mode=0o600)
        cache = survey(folder, Records({}, {}))
        assert states(cache) == [("left over", "unreachable")]
        os.seteuid(65_534)
        try:
            assert states(survey(folder, Records({}, {}))) == []
            with pytest.raises(SynthcoreError, match=r"can't remove .*\.tmp: Permission denied"):
                prune_all(cache)
        finally:
            os.seteuid(0)


def test_a_record_whose_shard_is_gone_is_cleared(folder: Path, records: Records, tier_1: Any) -> None:
    (folder / tier_1.shards[0].name).unlink()
    assert prune_all(survey(folder, records)) == ["results/0"]
    assert not (folder / "results" / "0").exists()


def test_a_shard_cut_short_is_damaged(folder: Path, records: Records, tier_1: Any) -> None:
    path = folder / tier_1.shards[0].name
    path.write_bytes(path.read_bytes()[:1000])
    assert ("shard", "damaged") in states(survey(folder, records))
    assert verify(folder, records).damaged == (tier_1.shards[0].name,)


def test_verifying_reads_every_byte(folder: Path, records: Records, tier_1: Any) -> None:
    assert verify(folder, records).damaged == ()
    path = folder / tier_1.shards[1].name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert verify(folder, records).damaged == (tier_1.shards[1].name,)


def test_shards_of_another_engine_go_only_when_asked(
    folder: Path, records: Records, tier_1: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthcore.pipeline.cache.drawn_with", lambda: {"numpy": "99"})
    cache = survey(folder, records)
    assert states(cache) == [("shard", "other engine")] * 2
    assert {entry.why for entry in cache.entries} == {"made with other versions of what draws patches than here"}
    assert prune_all(cache) == []
    assert len(prune_all(cache, other_engines=True)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "foreign"),
    [
        ({"cpu_features": "VeryOld 1"}, "on another type of machine"),
        ({"machine": "Linux riscv64", "cpu_features": "rv64gc"}, "on another type of machine"),
        ({"version": 0}, "with another engine version"),
        ({"vita": "0.0.9", "build": "0" * 64, "machine": "Plan 9"}, "with another synth, on another type of machine"),
    ],
)
def test_the_doctor_says_why_shards_are_not_used_again_even_if_a_dataset_refers_to_them(
    folder: Path, records: Records, tier_1: Any, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], foreign: str
) -> None:
    made = tier_1.merge(folder / "virtual.h5", data_dir=folder, mode="virtual")
    used = Records(records.shards, {"results/merge": made})
    before = next(f for f in contents(folder, used) if f.check == "reuse")
    assert before.state == "ok"
    other = replace(engine(), **changed)
    monkeypatch.setattr("synthcore.pipeline.cache.engine", lambda: other)
    assert states(survey(folder, used)) == [("shard", "in use")] * 2
    (found,) = (f for f in contents(folder, used) if f.check == "reuse")
    assert found.state == "warning"
    assert found.what == f"2 of 2 shards made {foreign} than here: runs here render their rows again"


def test_a_shard_that_a_newer_version_wrote_is_neither_damaged_nor_cleared_away(
    folder: Path, records: Records, tier_1: Any
) -> None:
    path = folder / tier_1.shards[0].name
    with h5py.File(path, "r+") as file:
        file["schema"].attrs["version"] = "99.0.0"
    cache = survey(folder, records)
    assert states(cache) == [("shard", "other engine"), ("shard", "reachable")]
    assert prune_all(cache) == []
    assert verify(folder, records).damaged == ()
    assert repair(folder, records) == ()
    findings = {finding.check: finding for finding in contents(folder, records)}
    assert findings["shards"].state == "ok"
    assert findings["reuse"].what == (
        "1 of 2 shards made by a newer synthcore than here: runs here render their rows again"
    )


def test_a_spec_that_makes_no_sense_is_damage_unless_the_schema_is_newer(
    folder: Path, records: Records, tier_1: Any
) -> None:
    path = folder / tier_1.shards[0].name
    with h5py.File(path, "r+") as file:
        file["schema"].attrs["spec"] = file["schema"].attrs["spec"].replace('"tier":1', '"tier":9')
    assert ("shard", "damaged") in states(survey(folder, records))
    assert verify(folder, records).damaged == (tier_1.shards[0].name,)
    with h5py.File(path, "r+") as file:
        file["schema"].attrs["version"] = "4.9.0"
    assert ("shard", "other engine") in states(survey(folder, records))
    assert verify(folder, records).damaged == ()


@pytest.mark.slow
def test_a_spec_can_be_cleared_but_not_what_a_virtual_dataset_refers_to(
    folder: Path, records: Records, tier_1: Any
) -> None:
    spec = tier_1.plans[0].spec.fingerprint[:12]
    made = tier_1.merge(folder / "virtual.h5", data_dir=folder, mode="virtual")
    used = survey(folder, Records(records.shards, {"results/merge": made}))
    assert states(used) == [("shard", "in use")] * 2
    assert prune_all(used, spec=spec, other_engines=True) == []
    assert prune_all(survey(folder, records), spec="0000") == []
    assert len(prune_all(survey(folder, records), spec=spec)) == 2


def test_what_was_left_half_written_and_what_no_shard_is_made_from_is_cleared(folder: Path, records: Records) -> None:
    (folder / "shards" / ".x.h5.12345678.tmp").write_bytes(b"half")
    for name in (
        "presets/" + "a" * 64 + ".h5",
        "catalogs/" + "b" * 64 + ".json",
        "priors/" + "c" * 64 + ".json",
        "presets/mine.h5",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    gone = prune_all(survey(folder, records))
    assert sorted(Path(path).name[:5] for path in gone) == [".x.h5", "aaaaa", "bbbbb", "ccccc"]
    assert (folder / "presets" / "mine.h5").exists()


def test_sketches_are_cleared_when_no_record_knows_them(folder: Path) -> None:
    for name in ("ab", "cd"):
        path = folder / "sketches" / name / f"{name}12.npz"
        path.parent.mkdir(parents=True)
        path.touch()
    cache = survey(folder, Records({}, {}, sketches=frozenset({"sketches/ab/ab12.npz"})))
    assert [entry.state for entry in cache.entries if entry.kind == "sketches"] == ["reachable", "unreachable"]
    assert "sketches/cd/cd12.npz" in prune_all(cache)


def test_what_was_measured_for_weights_is_cleared_when_no_record_knows_it(folder: Path) -> None:
    for name in ("ab", "cd"):
        path = folder / "weights" / name / f"{name}12.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    cache = survey(folder, Records({}, {}, probes=frozenset({"weights/ab/ab12.json"})))
    assert [entry.state for entry in cache.entries if entry.kind == "weights"] == ["reachable", "unreachable"]
    assert "weights/cd/cd12.json" in prune_all(cache)


def test_a_record_of_a_failure_is_called_so_and_cleared(folder: Path, records: Records) -> None:
    (folder / "results" / "failed").write_text("{}")
    cache = survey(folder, Records(records.shards, {}, failures=("results/failed",)))
    assert ("record", "unreachable") in states(cache)
    assert "of a task that failed or was stopped" in {entry.why for entry in cache.entries}
    assert prune_all(cache) == ["results/failed"]


def test_a_record_of_a_dataset_that_is_gone_is_cleared(folder: Path, records: Records) -> None:
    gone = DatasetRef(path=str(folder / "no.h5"), size=1, digest="", rows=1)
    (folder / "results" / "merge").write_text("{}")
    assert prune_all(survey(folder, Records(records.shards, {"results/merge": gone}))) == ["results/merge"]


def test_a_dataset_left_half_written_is_cleared_wherever_it_lies(
    folder: Path, tier_1: Any, tmp_path_factory: Any
) -> None:
    output = tmp_path_factory.mktemp("elsewhere") / "out [1].h5"
    shutil.copy(tier_1.path, output)
    names = ("out [1].h5.0123abcd", "out [1].h5.4567cdef", "more.h5.89ababcd", "out [1].h5.mine")
    half, held, *others = (output.with_name(f".{name}.tmp") for name in names)
    for path in (half, held, *others):
        path.write_bytes(b"x")
    made = DatasetRef(path=str(output), size=1, digest="", rows=1)
    with held.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert str(half) in prune_all(survey(folder, Records({}, {"results/merge": made})))
    assert sorted(output.parent.iterdir()) == sorted([output, held, *others])


def test_a_record_that_names_what_is_no_dataset_clears_nothing_beside_it(folder: Path, tmp_path_factory: Any) -> None:
    somebodys = tmp_path_factory.mktemp("elsewhere") / "thesis"
    somebodys.write_text("")
    draft = somebodys.with_name(".thesis.0123abcd.tmp")
    draft.write_text("")
    made = DatasetRef(path=str(somebodys), size=1, digest="", rows=1)
    assert prune_all(survey(folder, Records({}, {"results/merge": made}))) != []
    assert sorted(somebodys.parent.iterdir()) == sorted([somebodys, draft])


@pytest.mark.parametrize("name", ["../../thesis.txt", "/thesis.txt", "shards/../x.h5", "shards/ab/x.h5"])
def test_a_record_leads_nowhere_but_to_shards(tier_1: Any, name: str) -> None:
    with pytest.raises(ValidationError):
        ShardRef.model_validate({**tier_1.shards[0].model_dump(), "name": name})


@pytest.mark.parametrize("name", ["../../thesis.json", "/thesis.json", "weights/../x.json"])
def test_a_record_leads_nowhere_but_to_what_was_measured(name: str) -> None:
    with pytest.raises(ValidationError):
        ProbeRef(name=name, checksum="", renders=1, synth_cpu_seconds=1.0)


def test_an_empty_cache_is_said_to_be_one(tmp_path: Path) -> None:
    assert "nothing is cached" in survey(tmp_path, Records({}, {})).to_text()


#: Renders of a tenth of the usual length, in shards of four patches.
SHORT: tuple[object, ...] = ("--notes", 48, "--notes", 60, "--sample-rate", 22050)
SHORT += ("--note-seconds", 0.25, "--render-seconds", 0.4, "--rows-per-shard", 8)


@pytest.mark.long
def test_the_command_reads_the_records_that_runs_leave(cli: Any) -> None:
    cli.json("generate", "-n", 16, "--data-dir", "data", "-o", "out.h5", *SHORT)
    everything = cli.json("cache", "list", "--data-dir", "data")["entries"]
    assert [(entry["kind"], entry["state"]) for entry in everything] == [("shard", "reachable")] * 2
    (cli.folder / "data" / "results" / "broken").write_text("{")
    assert [e["why"] for e in cli.json("cache", "prune", "--older-than", 0, "--data-dir", "data")["entries"]] == [
        "can't be read"
    ]
    assert cli.json("cache", "verify", "--data-dir", "data") == {"checked": 2, "damaged": []}
    victim = cli.folder / "data" / everything[0]["path"]
    victim.unlink()
    done = cli.run("cache", "verify", "--data-dir", "data")
    assert done.returncode == 1
    assert everything[0]["path"] in done.stdout
    assert json.loads(cli.run("cache", "list", "--data-dir", "data", "--json").stdout)["entries"][1]["kind"] == "record"
