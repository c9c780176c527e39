"""The documents are true: README's code runs, its commands exist, the format page names every dataset, links lead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import pytest

from synthcore import settings as models
from synthcore.flows.cli import COMMANDS
from synthcore.settings import Generate, parse

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def code(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_first_python_of_the_readme_reads_a_row(
    tier_1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo.h5").write_bytes(tier_1.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(code(ROOT / "README.md", "python")[0], "README.md", "exec"), {})
    assert "(2, 8820) 48" in capsys.readouterr().out


def test_the_readme_turns_vectors_back_into_sound(
    tier_1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo.h5").write_bytes(tier_1.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    (block,) = (text for text in code(ROOT / "README.md", "python") if "from_vectors" in text)
    exec(compile(block, "README.md", "exec"), {})
    exact, guess = capsys.readouterr().out.split()
    assert float(exact) == 0
    assert 0 < float(guess) < 80


def test_the_training_page_turns_a_batch_back_into_sound(
    tier_1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.h5").write_bytes(tier_1.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    (block,) = (text for text in code(ROOT / "docs" / "training.md", "python") if "render_many" in text)
    exec(compile(block.replace(', split="val"', ""), "training.md", "exec"), {})  # so few rows have no such split


def test_the_python_of_the_format_page_reads_without_this_package(tier_1: Any, tmp_path: Path, fresh: Any) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo.h5").write_bytes(tier_1.path.read_bytes())
    done = fresh(code(ROOT / "docs" / "format.md", "python")[0], without=("synthcore", "vita"))
    assert 8 <= float(done.stdout) <= 136


def test_every_command_of_the_readme_is_understood() -> None:
    commands = re.findall(r"^synthcore ([\w-]+)(.*?)(?:#.*)?$", "".join(code(ROOT / "README.md", "bash")), re.MULTILINE)
    assert {name for name, _ in commands} == set(COMMANDS)
    for name, flags in commands:
        parse(getattr(models, COMMANDS[name][0]), flags.split())


def test_the_environment_variables_of_the_readme_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"(SYNTHCORE_\w+)=([\w/]+)", (ROOT / "README.md").read_text()):
        monkeypatch.setenv(name, value)
    settings = parse(Generate, [])
    assert (settings.tier, str(settings.data_dir), settings.run.merge) == (2, "/data", "virtual")


def test_the_format_page_names_every_dataset_and_attribute(tier_3: Any) -> None:
    page = (ROOT / "docs" / "format.md").read_text()
    with h5py.File(tier_3.path) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        attributes = set(file["schema"].attrs)
    for name in names:
        group, _, leaf = name.partition("/")
        assert (
            name in page or (f"{group}/*" in page and f"`{leaf.removesuffix('_error')}`" in page) or group == "assets"
        )
    for attribute in attributes:
        assert f"`{attribute}`" in page, attribute


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
