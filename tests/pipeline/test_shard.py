"""Shards: what one says of itself, and what those side by side share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthcore.pipeline.shard import header_of, opened, supply
from synthcore.sources.prior_rows import PriorRow
from synthcore.sources.priors import shipped_priors
from synthcore.sources.synthetic import SyntheticSource
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import new_file
from synthcore.storage.writer import ShardWriter
from synthcore.vital.catalog import builtin
from synthcore.vital.controls import installed


def test_a_shard_states_the_priors_that_its_source_draws_from(tier_1: Any, tmp_path: Path) -> None:
    narrow = PriorRow(controls=("osc_1_level",), range=(0.25, 0.5), reason="a test")
    rows = (*shipped_priors("uniform").prior, narrow)
    priors = shipped_priors("uniform").model_copy(update={"prior": rows, "digest": "f" * 64})
    plan = tier_1.plans[0]
    with new_file(tmp_path / "shard.h5") as file:
        source = SyntheticSource(plan.spec, installed(), priors)
        ShardWriter(file, header_of(plan, source), builtin(), patches=1).finish({}, [])
    with Dataset(tmp_path / "shard.h5") as shard, Dataset(tier_1.data_dir / plan.name) as usual:
        assert (shard.priors_digest, usual.priors_digest) == ("f" * 64, shipped_priors("uniform").digest)
        assert shard.priors.continuous == {**usual.priors.continuous, "osc_1_level": (0.25, 0.5)}
        assert usual.priors.continuous["osc_1_level"] != (0.25, 0.5)


def test_shards_of_one_source_share_what_they_draw_from(tier_1: Any) -> None:
    first, second = (supply(plan, *opened(plan, tier_1.data_dir)) for plan in tier_1.plans)
    assert first is second
    plan = tier_1.plans[0]
    other = plan.model_copy(update={"spec": plan.spec.model_copy(update={"seed": 1})})
    assert supply(other, *opened(other, tier_1.data_dir)) is not first
