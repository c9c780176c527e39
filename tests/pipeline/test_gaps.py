"""Shards that fail for good: alone, named, merged without only when asked, and rendered by the next run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synthcore.base.errors import Accident, DiskError, IncompleteDataset, Interrupted, LowAcceptance
from synthcore.pipeline.gaps import GIVE_UP_AFTER, as_gap, split_outcomes, stop_if_all_failed
from synthcore.pipeline.shard import plan_shards
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.refs import Gap

GAP = Gap(source="synthetic", first_patch=2, patches=2, reason="bad luck")


def test_a_failed_shard_becomes_a_gap_and_what_ails_all_is_raised() -> None:
    plan = plan_shards(DatasetSpec(n_samples=30), 12)[1]
    gap = as_gap(plan, LowAcceptance("accepted nothing"))
    assert (gap.first_patch, gap.patches, gap.reason) == (plan.first_patch, plan.patches, "accepted nothing")
    assert as_gap(plan, TypeError("a mistake")).reason == "TypeError: a mistake"
    for error in (Interrupted("stopped"), DiskError("the disk is full"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            as_gap(plan, error)


def test_gaps_are_refused_unless_allowed(tier_1: Any) -> None:
    made = [tier_1.shards[0], GAP]
    with pytest.raises(IncompleteDataset, match="1 of 2 shards failed .*patches from 2: bad luck.*--allow-partial"):
        split_outcomes(made, allow_partial=False)
    assert split_outcomes(made, allow_partial=True) == ([tier_1.shards[0]], [GAP])
    with pytest.raises(IncompleteDataset, match="1 of 1 shard failed"):
        split_outcomes([GAP], allow_partial=True)


def test_a_run_whose_first_shards_all_fail_stops(tier_1: Any) -> None:
    stop_if_all_failed([GAP] * (GIVE_UP_AFTER - 1))
    stop_if_all_failed([GAP] * 10 + tier_1.shards[:1])
    with pytest.raises(IncompleteDataset, match="stopped: 3 of 3"):
        stop_if_all_failed([GAP] * GIVE_UP_AFTER)


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_merge_with_a_gap_holds_the_other_rows_and_says_what_it_lacks(
    tier_1: Any, tmp_path: Path, lacking: int
) -> None:
    plan = tier_1.plans[lacking]
    gap = as_gap(plan, Accident("again and again"))
    rest = [shard for shard in tier_1.shards if shard.name != plan.name]
    tier_1.merge(tmp_path / "partial.h5", rest, gaps=[gap])
    with Dataset(tier_1.path) as whole, Dataset(tmp_path / "partial.h5") as partial:
        patches = whole.column("patch_index")
        there = (patches < plan.first_patch) | (patches >= plan.first_patch + plan.patches)
        assert (partial.column("audio_sha256") == whole.column("audio_sha256")[there]).all()
        assert (partial.gaps, whole.gaps) == ([gap.model_dump()], [])


# --------------------------------------------------------------------------------------------------- as users run it

#: Renders of a tenth of the usual length, in shards of four patches.
SHORT: tuple[object, ...] = ("--notes", 48, "--notes", 60, "--notes", 72, "--sample-rate", 22050)
SHORT += ("--note-seconds", 0.25, "--render-seconds", 0.4, "--rows-per-shard", 12)
RUN = ("generate", "-n", 60, "--data-dir", "data", "-o", "out.h5", *SHORT)
FAILING = """
import sys
from synthcore.pipeline import shard
from synthcore.base.errors import LowAcceptance
render = shard.render_shard

def failing(plan, *arguments):
    if plan.first_patch in (4, 16):
        raise LowAcceptance(f"shard {plan.index} was made to fail")
    return render(plan, *arguments)

shard.render_shard = failing
from synthcore.flows.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_failing(cli: Any, *flags: object) -> subprocess.CompletedProcess[str]:
    """The command, with two of its five shards failing for good."""
    environment = {**os.environ, "PREFECT_API_URL": cli.api}
    command = [sys.executable, "-c", FAILING, *map(str, RUN), *map(str, flags)]
    return subprocess.run(command, cwd=cli.folder, env=environment, capture_output=True, text=True)


@pytest.mark.long
def test_shards_that_fail_fail_alone_and_the_next_run_renders_just_those(cli: Any, latest: Any) -> None:
    refused = run_failing(cli)
    assert refused.returncode == 1
    said = refused.stderr.splitlines()[-1]
    assert "nothing was merged: 2 of 5 shards failed" in said
    assert "shard 1 was made to fail" in said
    assert not (cli.folder / "out.h5").exists()
    table = json.loads(latest("shards"))
    assert [row["shard"] for row in table] == ["0001", "0004", "0000", "0002", "0003"]
    assert [row["state"] for row in table] == ["failed"] * 2 + ["rendered"] * 3

    partial = run_failing(cli, "--allow-partial")
    assert partial.returncode == 0, partial.stderr
    assert "36 rows of tier 1 in out.h5, without 2 shards that failed" in partial.stdout
    assert "2 shards failed; the same command again renders just these" in partial.stdout
    assert "shard 4 was made to fail" in latest("summary")
    found = cli.json("inspect", "out.h5")
    assert (found["rows"], [gap["first_patch"] for gap in found["gaps"]]) == (36, [4, 16])
    assert cli.json("verify", "out.h5", "--all")["exact"] == 36

    whole = cli.json(*RUN)
    assert (whole["rows"], whole["shards"], whole["shards_cached"], whole["gaps"]) == (60, 5, 3, [])
    assert cli.json("inspect", "out.h5")["gaps"] == []
