"""Parts of a dataset: processes that share nothing but the data directory, and need neither Prefect nor a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synthcore.base.errors import Accident, IncompleteDataset
from synthcore.pipeline import part
from synthcore.pipeline.part import PartRenderer
from synthcore.pipeline.shard import ShardPlan, claimed, plan_shards, render_shard
from synthcore.settings.generate import Generate
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage import part_records
from tests.conftest import Fresh, Warm

PART = """
from synthcore.flows.cli import main
code = main(sys.argv[1:])
assert not code, code
"""
FLAGS: tuple[object, ...] = (
    "generate",
    "-n",
    20,
    "--data-dir",
    "data",
    "-o",
    "out.h5",
    "--rows-per-shard",
    4,
    "--notes",
    60,
)
FLAGS += ("--sample-rate", 22050, "--note-seconds", 0.1, "--render-seconds", 0.2, "--workers", 1, "--json")


@pytest.mark.long
def test_parts_without_prefect_render_each_shard_once(fresh: Fresh, tmp_path: Path) -> None:
    reports = [
        json.loads(fresh(PART, *FLAGS, "--part", wish, without=("prefect",)).stdout) for wish in ("1/2", "2/2", "1/2")
    ]
    told = ("shards", "shards_there", "rows_rendered")
    assert [tuple(report[name] for name in told) for report in reports] == [(3, 0, 12), (2, 0, 8), (3, 3, 0)]
    assert len(list(tmp_path.glob("data/shards/*/*.h5"))) == 5
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.slow
def test_a_whole_run_finds_what_parts_made_and_renders_only_what_is_damaged(warm: Warm) -> None:
    undisturbed = warm.json(*FLAGS[:-1], "--data-dir", "other", "-o", "other.h5")
    for wish in ("1/2", "2/2"):
        warm.json(*FLAGS[:-1], "--part", wish)
    assert warm.json(*FLAGS[:-1], "--dry-run")["shards_there"] == undisturbed["shards"]
    listed = warm.json("cache", "list", "--data-dir", "data")["entries"]
    assert [(entry["kind"], entry["state"]) for entry in listed] == [("shard", "reachable")] * 5
    victim = sorted(warm.folder.glob("data/shards/*/*.h5"))[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    whole = warm.json(*FLAGS[:-1])
    told = ("digest", "shards", "shards_cached")
    assert [whole[name] for name in told] == [undisturbed["digest"], 5, 4]
    assert warm.json(*FLAGS[:-1], "--refresh", "render")["shards_cached"] == 0


@pytest.fixture
def plans(short: AudioSpec) -> list[ShardPlan]:
    return plan_shards(DatasetSpec(n_samples=12, audio=short), 3)


@pytest.mark.slow
def test_accidents_are_tried_again_and_what_fails_for_good_leaves_the_others(
    plans: list[ShardPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def unlucky(plan: ShardPlan, *rest: Any) -> Any:
        tries.append(plan.index)
        if plan.index == 1 or tries.count(plan.index) < 2:
            raise Accident("bad luck")
        return render_shard(plan, *rest)

    monkeypatch.setattr(part, "render_shard", unlucky)
    renderer = PartRenderer(tmp_path, workers=1, render_timeout=60, retries=2)
    with pytest.raises(IncompleteDataset, match=f"1 of {len(plans)} shards failed"):
        renderer.render(plans, "1/1", print)
    assert sorted(tries) == sorted([1, *(plan.index for plan in plans for _ in range(2))])
    assert [(tmp_path / plan.name).exists() for plan in plans] == [plan.index != 1 for plan in plans]
    assert [part_records.find(plan.name, tmp_path) is None for plan in plans] == [plan.index == 1 for plan in plans]


@pytest.mark.slow
def test_what_a_part_made_is_known_by_its_record_alone(plans: list[ShardPlan], tmp_path: Path) -> None:
    PartRenderer(tmp_path, workers=1, render_timeout=60, retries=0).render(plans[:2], "1/1", print)
    first, second = (part_records.find(plan.name, tmp_path) for plan in plans[:2])
    assert first
    assert first.is_intact(tmp_path)
    assert (first.rows, first.tries) == (plans[0].rows, 0)
    with claimed(plans[0], tmp_path) as made_elsewhere:  # by whom it needn't wait for
        assert made_elsewhere == first
    assert second
    one, other = (tmp_path / "parts" / f"{plan.key}.json" for plan in plans[:2])
    for said in (b"", b"{}", other.read_bytes()):  # the last is of another shard
        one.write_bytes(said)
        assert part_records.find(plans[0].name, tmp_path) is None
    part_records.forget(plans[1].name, tmp_path)
    assert part_records.find(plans[1].name, tmp_path) is None


@pytest.mark.slow
def test_a_part_renders_again_what_is_gone_since(plans: list[ShardPlan], tmp_path: Path) -> None:
    renderer = PartRenderer(tmp_path, workers=1, render_timeout=60, retries=0)
    renderer.render(plans[:1], "1/1", print)
    (tmp_path / plans[0].name).unlink()
    assert part_records.find(plans[0].name, tmp_path) is None
    assert renderer.render(plans[:1], "1/1", print).rows_rendered == plans[0].rows
    assert part_records.find(plans[0].name, tmp_path)


def test_a_part_that_is_none_or_that_others_would_render_is_refused() -> None:
    for wish, message in (
        ({"part": "4/3"}, "there is no part 4 of 3"),
        ({"part": "0/3"}, "part"),
        ({"part": "1/3", "run": {"runner": "dask"}}, "rendered by this process"),
        ({"part": "1/3", "run": {"distribute": "pool:x"}}, "rendered by this process"),
        ({"part": "1/3", "run": {"refresh": "render"}}, "only shards that are missing"),
        ({"part": "1/3", "dry_run": True}, "what the whole dataset takes"),
    ):
        with pytest.raises(ValueError, match=message):
            Generate.model_validate(wish)


@pytest.mark.slow
def test_presets_that_were_never_read_are_no_part(fresh: Fresh, tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    done = fresh(PART, *FLAGS, "--community-dir", "presets", "--part", "1/2", check=False)
    assert "presets are read by a whole run only" in done.stderr
