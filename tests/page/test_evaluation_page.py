"""The page of an evaluation: figures, curves, and rows beside their answers, whatever they are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from synthcore.evaluation.baselines import answers_of
from synthcore.evaluation.choices import Choice
from synthcore.evaluation.curves import Curve
from synthcore.evaluation.report import report
from synthcore.evaluation.scoring import plan_scores, read_scores, score_plan
from synthcore.evaluation.targets import RowTargets
from synthcore.page.charts import draw_curve
from synthcore.page.evaluation import EvaluationContent, gather_evaluation, sounds_heard
from synthcore.page.writing import BEGINNING, write_evaluation
from synthcore.storage.dataset import Dataset
from tests.page.test_page import Read

HOSTILE = "<img src=x onerror='taken=1'>&{{ 7 * 7 }}"


@pytest.mark.long
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
    content = gather_evaluation(found, answers.origin)
    write_evaluation(content, tmp_path / "page.html")
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
    assert "By control" not in read.text  # 15 rows are too few for a curve
    curves = [Curve(control=name, values=(0, 1), scores=(0, 2), rows=80) for name in ("cutoff", "volume", "pan")]
    assert "the one control that varies enough" in shown(content, curves[:1], 1, tmp_path)
    assert "all 3 controls that vary enough, those that it follows most first" in shown(content, curves, 3, tmp_path)
    assert "the 2 controls that it follows most, of 3 that vary enough" in shown(content, curves, 2, tmp_path)


def shown(content: EvaluationContent, curves: list[Curve], drawn: int, folder: Path) -> str:
    """The text of the page with other curves, of which some are drawn."""
    charts = [draw_curve(one.control, one.values, one.scores, "dB", one.rows) for one in curves[:drawn]]
    found = content.found.model_copy(update={"curves": tuple(curves)})
    write_evaluation(replace(content, found=found, curves=charts), folder / "curves.html")
    return " ".join(Read((folder / "curves.html").read_text()).text.split())


def test_a_curve_is_drawn_through_its_points() -> None:
    chart = draw_curve("cutoff", (0.0, 1.0), (0.0, 2.0), "dB", 80)
    assert 'class="curve" d="M38 124L292 8"' in chart.svg
    assert chart.caption == "0 to 2 dB, over 80 rows."
