"""Two datasets side by side: what differs, what is in both, as text and as a page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from synthcore.analysis.comparison import compare
from synthcore.flows.cli import main
from synthcore.page.writing import BEGINNING, write_comparison
from synthcore.storage.dataset import Dataset
from tests.browser import CHROMIUM, browser
from tests.page.test_page import Read


@pytest.mark.slow
def test_the_fields_of_the_spec_that_differ_are_named(tier_1: Any, tier_2: Any) -> None:
    with Dataset(tier_1.path) as first, Dataset(tier_2.path) as second:
        found = compare(first, second)
    assert found.spec == {"tier": (1, 2), "acceptance.max_peak": (0.5, second.spec.acceptance.max_peak)}
    assert found.headline[0] == "The specs differ in tier (1 and 2) and acceptance.max_peak (0.5 and 0.99)."
    assert (found.same_sound, found.same_label) == ((0.0, 0.0), (0.0, 0.0))
    assert found.lines["rows"][0].startswith("15 of ")


@pytest.mark.slow
def test_rows_that_are_in_both_are_counted_in_each(tier_1: Any, tmp_path: Path) -> None:
    shard = tier_1.merge(tmp_path / "part.h5", tier_1.shards[:1])
    with Dataset(tier_1.path) as whole, Dataset(shard.path) as part:
        found = compare(whole, part)
        share = len(part) / len(whole)
    assert 0 < share < 1
    assert found.same_sound == found.same_label == (share, 1.0)
    assert f"{share:.1%} of the rows of A and 100.0% of B sound bit for bit like a row of the other." in found.to_text()


@pytest.mark.slow
def test_the_same_rows_are_the_whole_story(tier_1: Any, forge: Any) -> None:
    with Dataset(tier_1.path) as first, Dataset(forge(tier_1)) as second:
        assert compare(first, second).headline == ["They hold the same rows: their content digests are equal."]


@pytest.mark.slow
def test_the_command_takes_two_files(tier_1: Any, tier_2: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tier_1.path), str(tier_2.path)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"tier +│ 1 +│ 2 ", text)
    assert main(["inspect", str(tier_1.path), str(tier_2.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["tier"] == [1, 2]


@pytest.mark.parametrize(
    ("other", "flags", "says"),
    [("nowhere.h5", [], "nowhere.h5"), ("B.h5", ["--row", "3"], "row takes one dataset")],
)
def test_a_bad_second_file_costs_one_line(
    other: str, flags: list[str], says: str, tier_1: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tier_1.path), other, *flags]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


@pytest.fixture(scope="module")
def page(tier_1: Any, tier_3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("comparison") / "compare.html"
    with Dataset(tier_1.path) as first, Dataset(tier_3.path) as second:
        write_comparison(first, second, output)
    return output


def test_the_page_shows_each_measure_twice_on_the_same_axes(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(BEGINNING)
    read = Read(text)
    assert "The specs differ in tier (1 and 3)" in read.text
    charts = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(charts) == 10
    for one, other in zip(charts[::2], charts[1::2], strict=True):
        assert re.findall(r"<text[^>]*>[^<]+", one) == re.findall(r"<text[^>]*>[^<]+", other)
    for address in (*read.values("href"), *read.values("src")):
        assert address.startswith("data:") or address.removeprefix("#") in read.values("id")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_the_sides_stand_beside_each_other_or_one_above_the_other(page: Path, tmp_path: Path) -> None:
    tops = "[...document.querySelectorAll('.sides')[0].children].map((side) => side.getBoundingClientRect().top)"
    with browser(tmp_path / "profile") as tab:
        for width, are_beside in ((1280, True), (390, False)):
            tab.show(page, width)
            one, other = tab.run(tops)
            assert (one == other) is are_beside
            assert tab.run("document.documentElement.scrollWidth") <= width
        assert tab.complaints == []
