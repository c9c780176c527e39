"""What specs name by digest is kept in the data directory, and what is damaged there is never taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthcore.base.errors import DatasetError, SpecError
from synthcore.pipeline import library
from synthcore.spec import DatasetSpec

HABITS = (
    'full_share = 0.5\nhabit = [{ control = "osc_1_transpose", default_share = 0.5, values = { 12 = 1, 7 = 2 } }]\n'
)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(HABITS)
    return tmp_path / "mine.toml"


def test_priors_are_found_by_their_digest_when_their_file_is_gone(given: Path, tmp_path: Path) -> None:
    name = library.given_priors(str(given), tmp_path / "data")
    given.unlink()
    assert library.priors(DatasetSpec(priors=name), tmp_path / "data").habit[0].values == {"12": 1, "7": 2}


def test_the_priors_that_come_with_synthcore_are_kept_nowhere(tmp_path: Path) -> None:
    for name in ("musical", "uniform"):
        assert library.given_priors(name, tmp_path / "data") == name
        assert library.priors(DatasetSpec(priors=name), tmp_path / "data").name == f"{name}.toml"
    assert not (tmp_path / "data").exists()


def test_kept_priors_that_changed_are_refused_until_they_are_given_again(given: Path, tmp_path: Path) -> None:
    name = library.given_priors(str(given), tmp_path)
    kept = tmp_path / "priors" / f"{name}.json"
    kept.write_text(kept.read_text().replace('"12":1.0', '"11":1.0'))
    with pytest.raises(DatasetError, match=r"is damaged; give the priors again"):
        library.priors(DatasetSpec(priors=name), tmp_path)
    assert library.given_priors(str(given), tmp_path) == name
    assert library.priors(DatasetSpec(priors=name), tmp_path).habit[0].values == {"12": 1, "7": 2}


def test_priors_that_are_kept_elsewhere_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match="is gone, which this dataset is made from; give the catalog, priors or presets"
    ):
        library.priors(DatasetSpec(priors="a" * 64), tmp_path)
