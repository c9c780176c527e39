"""Shards: what one says of itself, and what those side by side share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import pytest

from synthcore.analysis.inspection import inspect
from synthcore.base.errors import LowAcceptance
from synthcore.engine.faults import NO_NOTE
from synthcore.ingest.collecting import ingest
from synthcore.pipeline.shard import ShardWork, header_of, opened, plan_shards, supply
from synthcore.sources.presets import PresetSource
from synthcore.sources.prior_rows import PriorRow
from synthcore.sources.priors import Priors, shipped_priors
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import new_file
from synthcore.storage.writer import ShardWriter
from synthcore.vital.catalog import builtin
from synthcore.vital.controls import installed
from tests.conftest import TIMEOUT_SECONDS


def test_a_shard_states_the_priors_that_its_source_draws_from(tier_1: Any, tmp_path: Path) -> None:
    narrow = PriorRow(controls=("osc_1_level",), range=(0.25, 0.5), reason="a test")
    rows = (*shipped_priors("uniform").prior, narrow)
    priors = shipped_priors("uniform").model_copy(update={"prior": rows, "digest": "f" * 64})
    plan = tier_1.plans[0]
    with new_file(tmp_path / "shard.h5") as file:
        source = SyntheticSource(plan.spec, installed(), priors)
        ShardWriter(file, header_of(plan, source), builtin(), patches=1).finish({}, [])
    with Dataset(tmp_path / "shard.h5") as shard, Dataset(tier_1.data_dir / plan.name) as usual:
        assert [s.drawing.drawn_from.digest for s in (shard, usual)] == ["f" * 64, shipped_priors("uniform").digest]
        assert shard.priors.continuous == {**usual.priors.continuous, "osc_1_level": (0.25, 0.5)}
        assert usual.priors.continuous["osc_1_level"] != (0.25, 0.5)


def test_shards_of_one_source_share_what_they_draw_from(tier_1: Any) -> None:
    first, second = (supply(plan, *opened(plan, tier_1.data_dir)) for plan in tier_1.plans)
    assert first is second
    plan = tier_1.plans[0]
    other = plan.model_copy(update={"spec": plan.spec.model_copy(update={"seed": 1})})
    assert supply(other, *opened(other, tier_1.data_dir)) is not first


# ------------------------------------------------------------------------------------------------------------- repeats

PITCHLESS = (
    PriorRow(controls=("osc_?_midi_track", "filter_1_on"), options={"Off": 1.0}, reason="a test"),
    PriorRow(controls=("osc_1_distortion_type", "osc_2_distortion_type"), pin=True, reason="a test"),
)


def refusing(repeats: Literal["keep", "refuse"], *more: PriorRow) -> Priors:
    return shipped_priors("uniform").model_copy(
        update={"repeats": repeats, "prior": (*shipped_priors("uniform").prior, *more)}
    )


def made(path: Path, spec: DatasetSpec, priors: Priors, patches: int) -> Dataset:
    """A shard of patches drawn from these priors, written to a file."""
    plan = plan_shards(spec, patches * spec.audio.rows_per_patch)[0]
    source = SyntheticSource(plan.spec, installed(), priors)
    with new_file(path) as file:
        writer = ShardWriter(file, header_of(plan, source), builtin(), plan.patches)
        ShardWork(plan, source, writer, TIMEOUT_SECONDS).run()
        writer.finish(source.wavetable_names, [])
    return Dataset(path)


@pytest.mark.slow
def test_a_patch_whose_notes_are_one_sound_is_refused_where_the_priors_say_so(short: AudioSpec, tmp_path: Path) -> None:
    spec = DatasetSpec(audio=short)
    with (
        made(tmp_path / "kept.h5", spec, refusing("keep"), 8) as kept,
        made(tmp_path / "refused.h5", spec, refusing("refuse"), 8) as refused,
    ):
        assert kept.column("audio_sha256")[::2].tolist() != kept.column("audio_sha256")[1::2].tolist()
        repeats = kept.column("audio_sha256")[::2] == kept.column("audio_sha256")[1::2]
        assert 0 < repeats.sum() < 8
        assert len({*refused.column("audio_sha256").tolist()}) == 16
        found = refused.rejections()
        is_repeat = found["reason"] == b"repeats"
        assert {*np.flatnonzero(repeats).tolist()} <= {*found["patch_index"][is_repeat].tolist()}
        assert {*found["midi_note"][is_repeat].tolist()} == {NO_NOTE}
        assert np.isnan([found["rms_dbfs"][is_repeat], found["peak"][is_repeat]]).all()
        # What is neither kept nor a repeat is what it would have been.
        unlike = np.repeat(~np.isin(np.arange(8), found["patch_index"][is_repeat]), 2)
        assert unlike.any()
        np.testing.assert_array_equal(kept.column("audio_sha256")[unlike], refused.column("audio_sha256")[unlike])
        counted = inspect(refused)
        assert counted.faults["repeats"] == is_repeat.sum()
        assert "repeats" in counted.to_text()


@pytest.mark.slow
def test_a_single_note_repeats_nothing(short: AudioSpec, tmp_path: Path) -> None:
    spec = DatasetSpec(audio=short.model_copy(update={"notes": (60,)}))
    with made(tmp_path / "shard.h5", spec, refusing("refuse", *PITCHLESS), 2) as shard:
        assert len(shard) == 2
        assert b"repeats" not in shard.rejections()["reason"]


@pytest.mark.slow
def test_what_would_repeat_is_known_without_a_synth(tmp_path: Path) -> None:
    """A format of its own: no renderer that is warm already could be borrowed."""
    audio = AudioSpec(sample_rate=22_060, notes=(48, 60), note_seconds=0.1, render_seconds=0.2)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(LowAcceptance, match=r"refused: repeats \d+"):
        made(tmp_path / "shard.h5", DatasetSpec(audio=audio), refusing("refuse", *PITCHLESS), 2)
    assert {child.pid for child in psutil.Process().children()} <= before


@pytest.mark.slow
def test_presets_are_never_refused_as_repeats(short: AudioSpec, preset_folder: Path) -> None:
    presets, _ = ingest([preset_folder], installed(), check=False, workers=1)
    source = PresetSource(DatasetSpec(tier=1, audio=short), installed(), presets, "community")
    assert not source.refuses_repeats
