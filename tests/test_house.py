"""The house rules that a machine can hold: who imports whom, and that what is public says what it is for."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import synthcore

HOUSE = Path(__file__).parent.parent
MODULES = sorted(path for room in ("synthcore", "tasks", "flows") for path in (HOUSE / room).rglob("*.py"))


def test_calls_go_down_only():
    """flows -> tasks -> synthcore, h5py in storage, vita in two places: the contracts in pyproject.toml."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=HOUSE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "6 kept, 0 broken" in done.stdout


HEAVY = ["prefect", "h5py", "scipy", "pydantic", "pydantic_settings", "rich", "synthcore.storage", "synthcore.spec"]


@pytest.mark.parametrize("module", ["synthcore", "synthcore.engine.zygote"])
def test_the_zygote_imports_next_to_nothing(fresh, module):
    """Every page it touches is copied by each fork, every thread it starts is lost in one."""
    code = f"""
import threading
import {module}
print(threading.active_count(), *(name for name in {HEAVY} if name in sys.modules))
"""
    assert fresh(code).stdout.split() == ["1"]


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--version"], [*HEAVY, "numpy", "synthcore.settings"]),
        (["--help"], [*HEAVY, "numpy", "synthcore.settings", "importlib.metadata"]),
        (["generate", "--help"], ["prefect", "h5py", "scipy", "numpy", "rich", "argparse", "importlib.metadata"]),
    ],
)
def test_who_asks_for_help_waits_for_nothing_else(fresh, words, heavy):
    code = f"""
from flows.cli import main
main({words})
print("imported:", [name for name in {heavy} if name in sys.modules])
"""
    assert fresh(code).stdout.endswith("imported: []\n")


def test_reading_a_dataset_needs_no_synth_and_no_orchestration(tier_1, fresh):
    code = """
from synthcore import Dataset
with Dataset(sys.argv[1]) as dataset:
    print(len(dataset), dataset.control_names(1)[0], dataset.patch(0).hash == dataset[0]["preset_hash"].decode())
"""
    said = fresh(code, tier_1.path, without=("vita", "prefect")).stdout.split()
    assert said == ["15", synthcore.Dataset(tier_1.path).control_names(1)[0], "True"]


def test_the_domain_works_without_prefect(fresh):
    code = """
import importlib, pkgutil, synthcore
names = [m.name for m in pkgutil.walk_packages(synthcore.__path__, "synthcore.")]
names.remove("synthcore.storage.torch")
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    assert int(fresh(code, without=("prefect",)).stdout) > 20


@pytest.mark.parametrize("name", synthcore.__all__)
def test_what_the_package_promises_is_there(name):
    home = importlib.import_module(synthcore._HOMES[name])
    assert getattr(synthcore, name) is getattr(home, name)


def test_what_the_package_lacks_is_said():
    with pytest.raises(AttributeError, match="no attribute 'Datset'; it has .*Dataset"):
        synthcore.Datset  # noqa: B018


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_modules_classes_and_functions_say_what_they_are_for(path):
    tree = ast.parse(path.read_text())
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]
    assert ast.get_docstring(tree)
    assert [node.name for node in public if not ast.get_docstring(node)] == []
