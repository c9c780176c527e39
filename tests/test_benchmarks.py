"""What benchmarks compute and compare with: the model of scale, the page made of it, the baselines themselves."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import h5py
import pytest

from benchmarks import baseline_plan, baseline_threads, costs, scale_page
from benchmarks.baselines import write_presets
from benchmarks.scale_model import Stages, sleeping_seconds
from synthcore.flows.running.runners import AHEAD
from synthcore.spec import AudioSpec

STAGES = Stages(
    row_seconds=0.1,
    rows_per_shard=100,
    row_bytes=1e6,
    flow_cpu=0.1,
    api_cpu=0.05,
    worker_cpu=0.1,
    latency=0.0,
    write_rate=5e9,
    merge_rate=1e8,
    view_rate=1e9,
    start=10.0,
)
SHORT = AudioSpec(sample_rate=22_050, note_seconds=0.2, render_seconds=0.25)


def test_few_workers_set_the_pace_themselves():
    assert STAGES.saturates(8) == "workers"
    assert STAGES.rate(8) == pytest.approx(80)


def test_many_workers_are_held_back_by_what_all_shards_pass_through():
    assert STAGES.saturates(512) == "scheduler"
    assert STAGES.rate(512) == pytest.approx(1000)
    assert replace(STAGES, api_cpu=0.2).saturates(512) == "API"
    assert replace(STAGES, write_rate=1e8).saturates(512) == "file system"
    handed_out = replace(STAGES, flow_cpu=1e-3, api_cpu=1e-3)
    assert str(AHEAD) in handed_out.saturates(512)
    assert handed_out.rate(512) == pytest.approx(handed_out.rate(AHEAD))


def test_a_run_takes_its_start_its_last_shard_its_rows_and_its_merge():
    assert STAGES.seconds(10, 10_000) == pytest.approx(10 + 10 + 100 + 100)
    assert STAGES.seconds(10, 10_000, view=True) == pytest.approx(10 + 10 + 100 + 10)
    assert STAGES.merge_share(10) == pytest.approx(0.5)


def test_stages_are_named_in_the_order_in_which_they_saturate():
    workers = list(STAGES.saturating_workers().values())
    assert workers == sorted(workers)
    for name, count in STAGES.saturating_workers().items():
        if "merge" in name:
            assert STAGES.merge_share(round(count), view="reference" in name) <= 0.5 + 1e-9


def test_sleeps_take_their_waves_or_what_their_tasks_cost():
    assert sleeping_seconds(STAGES, 128, 100, slots=64, cores=64, processes=64) == pytest.approx(200)
    assert sleeping_seconds(STAGES, 128, 0, slots=64, cores=2, processes=2) == pytest.approx(128 * 0.125)


def test_the_page_says_what_was_measured_and_what_was_not():
    run = {
        "name": "a-run", "rows": 1000, "tier": 1, "sample_rate": 22050, "render_seconds": 1.0, "workers": 2,
        "seconds": 100.0, "stops": 1, "rejection_rate": 0.2, "bytes": 10**6, "shard_bytes": 10**9, "digest": "f" * 64,
        "peak_rss_flow": 1, "peak_rss_tree": 2, "date": "2026-01-01", "machine": "a machine",
    }  # fmt: skip
    check = {"name": "a check", "tasks": 10, "sleep": 1.0, "ideal": 1.0, "predicted": 2.0, "simulated": 2.5}
    curve = {"one": 10.0, "two": 19.0, "raw": 2.0}
    measured = {"stages": asdict(STAGES), "curve": curve, "checks": [check], "date": "today", "machine": "here"}
    page = scale_page.text(measured, [], [run])
    assert "-20%" in page  # the model was too fast by so much
    assert "0.95 of that" in page
    assert "a-run" in page
    assert "not measured yet" in scale_page.text(None, [], [])


def test_costs_are_those_of_a_row_times_the_rows():
    latest = [{"name": "1,000 rows tier 1", "value": 90.0}, {"name": "bytes per row tier 1", "value": 5e5}]
    assert "| tier 1, 44,100 Hz, 2 s | 5.0 | 50.0 | 50.0 | 500.0 |" in costs.table(latest, [])


@pytest.mark.slow
def test_the_baselines_render_the_patches_of_a_dataset(tier_1, tmp_path: Path):
    presets = write_presets(tier_1.path, tmp_path / "presets")
    output = tmp_path / "plan.h5"
    request = baseline_plan.Request(tier=1, rows=24, workers=1, output=output, presets=presets, audio=SHORT)
    assert baseline_plan.generate(request)["rows"] == 24
    with h5py.File(output) as file:
        assert file["audio/waveforms"].chunks == (64, 2, 5512)
        assert abs(file["audio/waveforms"][:]).max(axis=(1, 2)).min() > 0
    assert baseline_threads.generate(presets, 1, tmp_path / "wav", SHORT)["rows"] == 24
    assert len(list((tmp_path / "wav").iterdir())) == 24


@pytest.mark.slow
def test_the_pool_fills_a_file_from_its_own_sampler(tmp_path: Path):
    request = baseline_plan.Request(tier=1, rows=2, workers=1, output=tmp_path / "plan.h5", audio=SHORT)
    report = baseline_plan.generate(request)
    assert report["rows"] >= 2
    assert report["refused"] > 0
