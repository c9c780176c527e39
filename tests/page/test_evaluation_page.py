"""The page of an evaluation: figures, curves, and rows beside their answers, whatever they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from synthcore.evaluation.baselines import answers_of
from synthcore.evaluation.choices import Choice
from synthcore.evaluation.report import report
from synthcore.evaluation.scoring import plan_scores, read_scores, score_plan
from synthcore.evaluation.targets import RowTargets
from synthcore.page.charts import draw_curve
from synthcore.page.evaluation import gather_evaluation, sounds_heard
from synthcore.page.writing import BEGINNING, write_evaluation
from synthcore.storage.dataset import Dataset
from tests.page.test_page import Read

HOSTILE = "<img src=x onerror='taken=1'>&{{ 7 * 7 }}"


def test_the_page_plays_rows_beside_their_answers_and_escapes_every_name(
    tier_1: Any, forge: Any, tmp_path: Path
) -> None:
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["metadata/preset_name"][:] = np.array(HOSTILE.encode(), "S80")
    answers = answers_of(Choice(path, "all", None, "random", path, 0), tmp_path)
    with Dataset(path) as dataset:
        plans = plan_scores(answers, RowTargets(dataset))
        for plan in plans:
            score_plan(plan, tmp_path)
        found = report(answers, RowTargets(dataset), "all", read_scores(plans, tmp_path))
    write_evaluation(gather_evaluation(found, answers.origin), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.startswith(BEGINNING)
    assert "onerror='" not in text
    read = Read(text)
    assert HOSTILE in read.text
    for line in found.tables["metrics"]:
        assert all(cell in read.text for cell in line)
    sounds = [address for address in read.values("src") if address.startswith("data:audio/")]
    assert len(sounds) == sounds_heard(found) == 18
    assert all(address.startswith("data:") for address in read.values("src"))


def test_a_curve_is_drawn_through_its_points() -> None:
    chart = draw_curve("cutoff", (0.0, 1.0), (0.0, 2.0), "dB", 80)
    assert 'class="curve" d="M38 124L292 8"' in chart.svg
    assert chart.caption == "0 to 2 dB, over 80 rows."
