"""What people see of a run: the tally, the table of shards, the picture, the summary."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthcore.analysis import picture, spectrogram
from synthcore.analysis.axes import Axis
from synthcore.analysis.overview import look
from synthcore.base.progress import Progress
from synthcore.pipeline import tally as report
from synthcore.pipeline.shard import plan_shards
from synthcore.pipeline.summary import RunStats, Summary
from synthcore.pipeline.tally import Tally, duration, shard_rows, short_count
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.refs import Gap


class Clock:
    """A clock that goes when it is told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_tally_says_rows_pace_and_time_left() -> None:
    plans, clock = plan_shards(DatasetSpec(n_samples=1200), 300), Clock()
    tally = Tally(plans, clock)
    assert tally.to_text() == "0 of 1,200 rows, 0 of 4 shards"
    tally.shard_done(plans[0], is_cached=True)
    clock.now += 10
    for _ in range(50):
        tally.count(Progress(rows=3, fault=None))
    tally.count(Progress(rows=0, fault="silent"))
    assert (tally.rows_done, tally.rows_per_second, tally.seconds_left) == (450, 15.0, 50.0)
    assert tally.to_text() == (
        "450 of 1,200 rows, 1 of 4 shards; 1 of them cached; 15.0 rows/s; 50 s left; 98% kept (refused: silent 1)"
    )


def test_rows_rendered_in_another_process_count_when_their_shard_is_done() -> None:
    plans, clock = plan_shards(DatasetSpec(n_samples=600), 300), Clock()
    tally = Tally(plans, clock)
    clock.now += 10
    tally.shard_done(plans[0], is_cached=False)
    assert (tally.rows_done, tally.rows_per_second) == (300, 30.0)


def test_a_shard_that_is_lost_is_counted_again() -> None:
    plans = plan_shards(DatasetSpec(n_samples=600), 300)
    tally = Tally(plans)
    tally.shard_done(plans[0], is_cached=True)
    tally.shard_lost(plans[0])
    assert (tally.rows_done, tally.shards_done, tally.cached) == (0, 0, set())


@pytest.mark.parametrize(
    ("seconds", "said"), [(3, "3 s"), (89, "89 s"), (300, "5 min"), (7200, "2 h 0 min"), (10_000, "2 h 47 min")]
)
def test_a_time_span_is_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1"), (600, "600"), (1000, "1k"), (1234, "1234"), (1500, "1.5k"), (1_000_000, "1M")]
)
def test_a_count_is_said_as_people_do(count: int, said: str) -> None:
    assert short_count(count) == said


def test_the_table_of_shards_lists_failed_ones_first_and_is_bounded(
    tier_1: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gap = Gap(source="synthetic", first_patch=0, patches=2, reason="it broke")
    made = [tier_1.shards[0], gap]
    rows = shard_rows(tier_1.plans, made, cached=[0])
    assert [(row["shard"], row["state"]) for row in rows] == [("0001", "failed"), ("0000", "cached")]
    assert (rows[0]["refused"], rows[0]["failed because"]) == ("", "it broke")
    assert rows[1]["failed because"] == ""
    assert [list(row)[:3] for row in rows] == [["shard", "state", "failed because"]] * 2  # the others may be cut off
    assert list(rows[0]) == list(rows[1])
    assert rows[1]["rows"] == tier_1.shards[0].rows
    assert str(rows[1]["worker"]).split()[1].isdecimal()
    monkeypatch.setattr(report, "LISTED", 1)
    assert len(shard_rows(tier_1.plans, made, cached=[])) == 1


@pytest.mark.slow
def test_the_picture_is_a_small_png_and_the_same_every_time(each_tier: Any) -> None:
    drawn = picture.draw(each_tier.ref)
    assert len(drawn) < 150_000
    assert drawn == picture.draw(each_tier.ref)
    with Image.open(io.BytesIO(drawn)) as image:
        assert (image.format, image.size) == ("PNG", picture.SIZE)
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert (colours == (255, 255, 255)).all(axis=1).mean() > 0.2  # paper
    assert len(np.unique(colours, axis=0)) > spectrogram.COLOURS


@pytest.mark.slow
def test_a_run_imports_no_library_for_charts(tier_1: Any, fresh: Any) -> None:
    code = """
from synthcore.analysis import picture
from synthcore.storage.refs import DatasetRef
picture.draw(DatasetRef.model_validate_json(sys.argv[1]))
"""
    fresh(code, tier_1.ref.model_dump_json(), without=("matplotlib",))


def test_a_spectrogram_shows_where_the_sound_is() -> None:
    seconds = np.arange(22050) / 22050
    tone = np.sin(2 * np.pi * 4000 * seconds).astype(np.float32)
    painted = np.asarray(spectrogram.paint(np.stack([tone, np.zeros_like(tone)]), 22050, 80, 200))
    assert painted.shape == (200, 80)
    height = 1 - (painted[:, 40].argmax() + 0.5) / 200
    assert height == pytest.approx(spectrogram.place_of(4000, 22050), abs=0.02)
    assert painted.max() == spectrogram.COLOURS - 1
    assert painted[:40, 40].max() == painted[-40:, 40].max() == 0
    assert (np.asarray(spectrogram.paint(np.zeros((2, 100), np.float32), 22050, 8, 8)) == 0).all()


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Axis(-51.3, -4.1), [-50, -40, -30, -20, -10]),
        (Axis(0, 3), [0, 1, 2, 3]),
        (Axis(30, 15_000, is_log=True), [100, 1000, 10_000]),
        (Axis(80, 1100, is_log=True), [100, 200, 500, 1000]),
        (Axis(200, 900, is_log=True), [200, 400, 600, 800]),
    ],
)
def test_ticks_are_few_and_round(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)


def test_the_summary_says_what_it_took_and_what_is_lacking(tier_1: Any) -> None:
    gap = Gap(source="synthetic", first_patch=3, patches=2, reason="it broke")
    stats = RunStats(cached=0, rows_rendered=15, seconds=2.5, data_dir=Path("data"))
    summary = Summary.of(tier_1.spec, tier_1.ref, tier_1.shards, [gap], stats)
    page = summary.to_markdown()
    for words in (tier_1.ref.digest, tier_1.spec.fingerprint[:12], "6.0 rows/s", "| synthetic | 3 | 2 | it broke |"):
        assert words in page
    whole = Summary.of(tier_1.spec, tier_1.ref, tier_1.shards, [], stats)
    assert "lacks" not in whole.to_markdown()
    assert "missing" not in whole.to_text()
    assert tier_1.ref.digest in whole.to_text()


def test_the_summary_counts_the_files_candidates_first_as_an_inspection_does(tier_1: Any) -> None:
    """The last shard holds a patch more than the file."""
    stats = RunStats(cached=0, rows_rendered=15, seconds=2.5, data_dir=Path("data"))
    summary = Summary.of(tier_1.spec, tier_1.ref, tier_1.shards, [], stats)
    with Dataset(tier_1.path) as dataset:
        found = look(dataset)
    assert (summary.file_candidates, summary.file_faults) == (found.candidates, found.faults)
    assert found.accepted in " ".join(summary.to_text().split())
    assert found.accepted in summary.to_markdown()
    assert summary.candidates > found.candidates
    assert f"; in all shards {summary.acceptance:.1%} of {summary.candidates}" in summary.accepted
    assert f"In all shards, of which it takes a part, {sum(summary.faults.values())} were" in summary.to_markdown()
    alike = summary.model_copy(update={"candidates": found.candidates, "faults": found.faults})
    assert alike.accepted == found.accepted
