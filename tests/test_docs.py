"""The documents are true: README's code runs, its commands exist, the format page names every dataset, links lead."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import h5py
import pytest

import synthcore
from synthcore.flows.cli import COMMANDS
from synthcore.settings.commands import model_of, parse
from synthcore.settings.generate import Generate

ROOT = Path(__file__).parent.parent
README, GUIDE = ROOT / "README.md", ROOT / "docs" / "guide.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def code(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def demo(tier_1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which data/demo.h5 is."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo.h5").write_bytes(tier_1.path.read_bytes())
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("demo")
def test_the_first_python_of_the_readme_proves_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code(README, "python")[0], "README.md", "exec"), {})
    assert capsys.readouterr().out == "True\n"


@pytest.mark.slow
@pytest.mark.usefixtures("demo")
def test_the_guide_turns_vectors_back_into_sound(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (text for text in code(GUIDE, "python") if "from_vectors" in text)
    exec(compile(block, "guide.md", "exec"), {})
    exact, guess = capsys.readouterr().out.split()
    assert float(exact) == 0
    assert 0 < float(guess) < 80


@pytest.mark.long
def test_the_terminal_of_the_readme_shows_what_its_commands_say(cli: Any) -> None:
    """`make dataset` without its set-up: what stands above the first dots is another test's."""
    (cli.folder / ".venv").symlink_to(sys.prefix)
    made = re.search(
        r"^dataset: setup\n(?:\t@echo.*\n)?\t@\$\(BIN\)/(synthcore .*)$", (ROOT / "Makefile").read_text(), re.M
    )
    assert made
    for block in code(README, "console"):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            typed, shown = command, masked(shown)
            if command == "make dataset":
                typed, shown = f".venv/bin/{made[1]}", shown.partition("...\n")[2]
            done = cli.run(*shlex.split(typed)[1:], env={"SYNTHCORE_DATA_DIR": "data", "COLUMNS": "80"})
            assert done.returncode == 0, done.stderr
            said = masked(done.stdout.replace(str(cli.folder), "/home/you/synthcore"))
            for part in filter(None, re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE)):
                before, found, said = said.partition(part)
                assert found, f"{command} doesn't say\n{part}\nbut\n{before}"


def masked(text: str) -> str:
    """Take out what differs from machine to machine, and blank lines, which Markdown can't show."""
    text = re.sub(r"\d+(\.\d+)? (s|MB)\b", r"# \2", text)
    return re.sub(r"\b[0-9a-f]{12,64}\b", "#", re.sub(r"\n\n+", "\n", text))


@pytest.mark.slow
def test_the_training_page_turns_a_batch_back_into_sound(
    tier_1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.h5").write_bytes(tier_1.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    (block,) = (text for text in code(ROOT / "docs" / "training.md", "python") if "render_many" in text)
    exec(compile(block.replace(', split="val"', ""), "training.md", "exec"), {})  # so few rows have no such split


@pytest.mark.slow
def test_the_python_of_the_format_page_reads_without_this_package(tier_1: Any, tmp_path: Path, fresh: Any) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo.h5").write_bytes(tier_1.path.read_bytes())
    done = fresh(code(ROOT / "docs" / "format.md", "python")[0], without=("synthcore", "vita"))
    assert 8 <= float(done.stdout) <= 136


def test_every_command_of_readme_and_guide_is_understood() -> None:
    blocks = "".join(code(README, "bash") + code(GUIDE, "bash"))
    commands = re.findall(r"^synthcore ([\w-]+)(.*?)(?:#.*)?$", blocks, re.MULTILINE)
    assert {name for name, _ in commands} - {"--help"} == set(COMMANDS)
    for name, flags in commands:
        if name != "--help":
            parse(model_of(name), flags.split())


def test_the_environment_variables_of_the_guide_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"(SYNTHCORE_\w+)=([\w/]+)", GUIDE.read_text()):
        monkeypatch.setenv(name, value)
    wished = parse(Generate, [])
    assert (wished.tier, str(wished.data_dir), wished.run.merge) == (2, "/data", "virtual")


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


def floors() -> list[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return list(layers)


def test_the_drawing_of_the_house_has_the_floors_of_the_contract() -> None:
    (drawing,) = code(ARCHITECTURE, "mermaid")
    drawn = re.findall(r'\b(f\d+)\["([^"]+)"\]', drawing)
    assert [floor for _, floor in drawn] == floors()
    arrows = re.findall(r"-->", drawing)
    assert len(arrows) == len(drawn) - 1


def test_every_room_has_its_line_and_every_file_that_the_architecture_names_is_there() -> None:
    text = ARCHITECTURE.read_text()
    rooms = [room for floor in floors() for room in floor.split(" | ")]
    listed = re.findall(r"^\| `([a-z]+)(?:/|\.py)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(rooms)
    found = {path for top in ("synthcore", "flows", "tasks") for path in (ROOT / top).rglob("*")}
    there = {"/".join(path.relative_to(ROOT).parts[-depth:]) for path in found for depth in (1, 2, 3)} | {"synthcore"}
    for path in re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.(?:py|toml))?|[a-z_]+\.py)`", text):
        assert path.rstrip("/") in there, path


def test_the_page_of_the_api_lists_what_the_package_exports() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(rows))) == sorted({*synthcore.__all__} - {"SynthcoreError"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_from_the_public_face_alone(page: Path) -> None:
    if page.name != "CONTRIBUTING.md" and page.parent.name != "decisions":
        assert not re.findall(r"^(?:from|import) synthcore\.[\w.]+", page.read_text(), re.MULTILINE)
