"""A dataset of one row: whatever is said of it says so in the singular."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synthcore.base.counting import how_many
from synthcore.flows.cli import main
from synthcore.page.writing import write_comparison, write_page
from synthcore.publishing.recipe import write_recipe
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.dataset import Dataset
from tests.conftest import make_dataset

#: One of several, such as "1 rows" or "1 candidate patches". Not "of 1 to 5 rows", nor "0.1 minutes".
WRONG = re.compile(r"(?<![\d.,:])1 (?:(?!to |of |is |has |was )[a-z-]+ )?(?!is\b|has\b|was\b|as\b)[a-z]+s\b")


@pytest.fixture(scope="module")
def one_row(tmp_path_factory: pytest.TempPathFactory) -> Path:
    audio = AudioSpec(sample_rate=22_050, notes=(60,), note_seconds=0.1, render_seconds=0.2)
    return make_dataset(DatasetSpec(n_samples=1, audio=audio), tmp_path_factory.mktemp("one"), rows_per_shard=1).path


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (how_many(1, "shard"), "1 shard"),
        (how_many(0, "row"), "0 rows"),
        (how_many(1_200, "row"), "1,200 rows"),
        (how_many(1, "patch", "es"), "1 patch"),
        (how_many(2, "candidate patch", "es"), "2 candidate patches"),
    ],
)
def test_one_thing_is_written_as_one(told: str, wanted: str) -> None:
    assert told == wanted


@pytest.mark.parametrize("wrong", ["1 rows", "of 1 shards", "1 candidate patches"])
def test_the_search_finds_plurals(wrong: str) -> None:
    assert WRONG.search(f"there: {wrong}, and more")


@pytest.mark.long
def test_commands_and_pages_say_it_in_the_singular(
    one_row: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(one_row)
    for command in (["inspect", file], ["inspect", file, file], ["verify", file], ["verify", file, "--activity"]):
        assert main(command) == 0
    told = {"commands": capsys.readouterr().out}
    with Dataset(one_row) as dataset:
        told["recipe"] = write_recipe(dataset, tmp_path / "recipe.h5").to_text()
        write_page(dataset, tmp_path / "page.html")
        write_comparison(dataset, dataset, tmp_path / "both.html")
    told |= {page: re.sub(r"<[^>]*>", " ", (tmp_path / page).read_text()) for page in ("page.html", "both.html")}
    found = {name: [match[0] for match in WRONG.finditer(text)] for name, text in told.items()}
    assert found == {name: [] for name in told}
    assert "1 row of tier 1, 1 patch" in told["commands"]
    assert "1 row rendered again" in told["commands"]
