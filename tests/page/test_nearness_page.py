"""The page of a comparison: figures, and the farthest sounds beside their nearest, whatever they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from synthcore.base.errors import SynthcoreError
from synthcore.page.nearness import gather_nearness, sounds_heard
from synthcore.page.writing import BEGINNING, write_nearness, write_page
from synthcore.pipeline import comparing
from synthcore.pipeline.comparing import Others, Sides
from synthcore.pipeline.nearness_report import Nearness, report
from synthcore.pipeline.sketching import StoredSketches, sketch_plan
from synthcore.storage.dataset import Dataset
from tests.page.test_page import Read

HOSTILE = "<img src=x onerror='taken=1'>&{{ 7 * 7 }}.wav"


@pytest.fixture(scope="module")
def compared(tier_1: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Nearness, Sides]:
    folder = tmp_path_factory.mktemp("recordings")
    chance = np.random.default_rng(0)
    for name in (HOSTILE, "plain.wav"):
        soundfile.write(folder / name, chance.normal(0, 0.1, (8_820, 2)), 22_050, format="WAV")
    soundfile.write(folder / "silent.wav", np.zeros((8_820, 2)), 22_050)
    data_dir = tmp_path_factory.mktemp("data")
    sides = comparing.plan(tier_1.path, Others(folder, "recordings"), data_dir, notes=(60,), sounds=9)
    for plan in (*sides.ours, *sides.theirs):
        sketch_plan(plan, data_dir)
    ours, theirs = (StoredSketches(plans, data_dir) for plans in (sides.ours, sides.theirs))
    return report(sides.compared, ours, theirs, workers=1), sides


def test_sounds_are_named_with_what_was_left_out(compared: tuple[Nearness, Sides]) -> None:
    found, _ = compared
    assert (found.rows, found.sounds, found.kind) == (7, 2, "recordings")
    assert {pair.sound.name for pair in found.worst} == {HOSTILE, "plain.wav"}
    assert all(pair.nearest.row in range(1, 15, 2) for pair in found.worst)
    assert [one.name for one in found.left_out] == ["silent.wav"]
    assert found.matched.told_apart is None
    text = found.to_text()
    assert "left out: 1 (silent.wav): silent: there is no loudness to match" in text
    assert "too few patches to be told apart: 5 are needed on each side" in text
    assert Nearness.model_validate_json(found.model_dump_json()) == found


@pytest.mark.slow
def test_the_page_plays_each_pair_and_escapes_every_name(compared: tuple[Nearness, Sides], tmp_path: Path) -> None:
    found, sides = compared
    write_nearness(gather_nearness(found, sides.ours, sides.theirs), tmp_path / "near.html")
    text = (tmp_path / "near.html").read_text()
    assert text.startswith(BEGINNING)
    assert "onerror='" not in text
    read = Read(text)
    assert HOSTILE in read.text
    assert f"{found.matched.to_rows.median_db:.2f} dB" in read.text
    sounds = [address for address in read.values("src") if address.startswith("data:audio/")]
    assert len(sounds) == sounds_heard(found) == 18
    assert all(address.startswith("data:") for address in read.values("src"))


@pytest.mark.slow
def test_a_datasets_own_page_shows_it_when_asked(compared: tuple[Nearness, Sides], tier_1: Any, tmp_path: Path) -> None:
    found, sides = compared
    with Dataset(tier_1.path) as dataset:
        write_page(dataset, tmp_path / "page.html", gather_nearness(found, sides.ours, sides.theirs))
    read = Read((tmp_path / "page.html").read_text())
    assert "nearness" in read.values("id")
    assert "#nearness" in read.values("href")
    assert HOSTILE in read.text


def test_a_sound_that_is_gone_since_costs_one_line(compared: tuple[Nearness, Sides], tmp_path: Path) -> None:
    found, sides = compared
    gone = [plan.model_copy(update={"folder": str(tmp_path)}) for plan in sides.theirs]
    with pytest.raises(SynthcoreError, match=r"wav has changed meanwhile, or is gone; run the same command again"):
        gather_nearness(found, sides.ours, gone)
