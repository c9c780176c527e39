"""The bar and the lines of a run, on terminals of any width."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from synthcore.base.progress import Progress, publish
from synthcore.flows.running import bar
from synthcore.flows.running.bar import fitting, run_bar
from synthcore.flows.running.command import fit
from synthcore.pipeline.shard import plan_shards
from synthcore.pipeline.tally import Tally
from synthcore.spec import DatasetSpec


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (120, "11111/20004 4.0 rows/s --:-- 50% kept (refused: silent 1)"),
        (80, "11111/20004 4.0 rows/s --:-- 50% kept"),
        (54, "11111/20004 4.0 rows/s --:-- 50% kept"),
        (44, "11111/20004 4.0 rows/s --:--"),
        (34, "11111/20004  --:--"),
    ],
)
def test_the_count_is_never_cut_the_refusals_go_first_and_then_the_bar_gets_shorter(width: int, shown: str) -> None:
    times = iter([0.0, 0.75, 0.75])
    tally = Tally(plan_shards(DatasetSpec(n_samples=20_004), 300), lambda: next(times))
    tally.count(Progress(rows=3, fault=None))
    tally.count(Progress(rows=0, fault="silent"))
    screen = io.StringIO()
    with run_bar(Console(file=screen, force_terminal=True, width=width, color_system=None)) as bar:
        bar.add_task("rendering", total=20_004, completed=11_111, **fitting(tally, width))
    line = [line for line in screen.getvalue().split("\r") if "rendering" in line][-1]
    drawn = line.partition("rendering ")[2].splitlines()[0].rstrip()
    assert drawn.lstrip(" ━╸╺") == shown
    assert len(f"rendering {drawn}") <= width


def test_without_a_terminal_long_work_says_now_and_then_how_much_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter(range(0, 600, 3))
    monkeypatch.setattr(bar, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with bar.rows_shown("scoring", 40):
        for _ in range(40):
            publish(Progress(rows=1, fault=None))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scoring: 4 of 40, 2 min left"
    assert lines[1].startswith("scoring: 8 of 40, ")
    assert len(lines) == 9  # that all are done, what comes next says


def test_lines_are_wrapped_between_words_and_never_within_a_path() -> None:
    assert fit("shards need 12.3 GB in /a/place/of/a-name\nnext", 20) == (
        "shards need 12.3 GB\n  in\n  /a/place/of/a-name\nnext"
    )
    assert fit("it fits", 20) == "it fits"
