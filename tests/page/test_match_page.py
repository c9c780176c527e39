"""The page of a match: the sound beside each answer, and how to make it, whatever the sound is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from synthcore.evaluation.match_report import MatchReport, report
from synthcore.evaluation.matching import Wanted, find, plan
from synthcore.page.matching import gather_match
from synthcore.page.writing import BEGINNING, write_match
from synthcore.pipeline.forms import Form
from synthcore.pipeline.sketching import StoredSketches, sketch_missing
from synthcore.pipeline.target import read_target
from synthcore.storage.dataset import Dataset
from tests.page.test_page import Read

HOSTILE = "<img src=x onerror='taken=1'>&{{ 7 * 7 }}.wav"


@pytest.fixture
def matched(tier_3: Any, tmp_path: Path) -> Any:
    return searched(tier_3, np.random.default_rng(0).normal(0, 0.1, (5_000, 1)), tmp_path)


def searched(tier_3: Any, samples: NDArray[Any], tmp_path: Path) -> Any:
    sound = tmp_path / HOSTILE
    soundfile.write(sound, samples, 22_050, format="WAV", subtype="FLOAT")
    plans = plan(tier_3.path)
    sketch_missing(plans, tmp_path / "data", 1)
    with Dataset(tier_3.path) as dataset:
        target = read_target(sound, Form.of(dataset))
        found = find(target, dataset, StoredSketches(plans, tmp_path / "data"), Wanted(top=3, search=8))
        return found, report(found, dataset, str(sound), tmp_path / "out")


@pytest.mark.slow
def test_the_page_plays_the_sound_beside_each_answer_and_says_how_to_make_it(matched: Any, tmp_path: Path) -> None:
    found, said = matched
    write_match(gather_match(found, said), tmp_path / "match.html")
    text = (tmp_path / "match.html").read_text()
    assert text.startswith(BEGINNING)
    assert "onerror='" not in text
    read = Read(text)
    assert HOSTILE in read.text
    sounds = [address for address in read.values("src") if address.startswith("data:audio/")]
    assert len(sounds) == 2 * len(found.answers)
    assert all(address.startswith("data:") for address in read.values("src"))
    for answer in said.answers:
        assert f"{answer.distance_db:.2f} dB" in read.text
        assert all(knob.label in read.text for module in answer.words.modules for knob in module.knobs)
    assert "padded with silence" in read.text


def test_the_report_says_how_to_make_the_nearest_and_can_be_read_again(matched: Any) -> None:
    _, said = matched
    text = said.to_text()
    first = said.answers[0]
    assert all(module.title in text.splitlines() for module in first.words.modules)
    assert f"{first.distance_db:.2f} dB" in text
    assert MatchReport.model_validate_json(said.model_dump_json()) == said


@pytest.mark.slow
def test_of_a_row_itself_the_report_says_why_nothing_was_searched(tier_3: Any, tmp_path: Path) -> None:
    with Dataset(tier_3.path) as dataset:
        audio = dataset[3]["audio"].T
    found, said = searched(tier_3, audio, tmp_path)
    assert (found.answers[0].row, found.renders) == (3, 0)
    assert said.remarks == ["row 3 sounds just like it: nothing can be nearer"]
