"""The house rules that a machine can hold: who imports whom, and that what is public says what it is for."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect import Flow

import synthcore

HOUSE = Path(__file__).parent.parent
MODULES = sorted(path for room in ("synthcore", "tasks", "flows") for path in (HOUSE / room).rglob("*.py"))


def test_calls_go_down_only():
    """flows -> tasks -> synthcore, h5py in storage, vita in two places: the contracts in pyproject.toml."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=HOUSE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


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
        (["--version"], [*HEAVY, "numpy", "synthcore.settings.command"]),
        (["--help"], [*HEAVY, "numpy", "synthcore.settings.command", "importlib.metadata"]),
        (["generate", "--help"], ["prefect", "h5py", "scipy", "numpy", "rich", "argparse", "importlib.metadata"]),
    ],
)
def test_who_asks_for_help_waits_for_nothing_else(fresh, words, heavy):
    code = f"""
from synthcore.flows.cli import main
main({words})
print("imported:", [name for name in {heavy} if name in sys.modules])
"""
    assert fresh(code).stdout.endswith("imported: []\n")


@pytest.mark.slow
def test_reading_a_dataset_needs_no_synth_and_no_orchestration(tier_1, fresh):
    code = """
from synthcore import Dataset
with Dataset(sys.argv[1]) as dataset:
    print(len(dataset), dataset.control_names(1)[0], dataset.patch(0).hash == dataset[0]["preset_hash"].decode())
"""
    output = fresh(code, tier_1.path, without=("vita", "prefect")).stdout.split()
    assert output == ["15", synthcore.Dataset(tier_1.path).control_names(1)[0], "True"]


@pytest.mark.long
def test_the_domain_works_without_prefect(fresh):
    names = [module_name(path) for path in (HOUSE / "synthcore").rglob("*.py")]
    names.remove("synthcore.training.torch")  # an extra
    code = """
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    assert {"synthcore", "synthcore.page", "synthcore.engine.zygote", "synthcore.storage.merge"} < set(names)
    fresh(code, *names, without=("prefect",))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", synthcore.__all__)
def test_what_the_package_promises_is_there(name):
    if synthcore._HOMES[name] == "synthcore.training.torch":
        pytest.importorskip("torch")
    home = importlib.import_module(synthcore._HOMES[name])
    assert getattr(synthcore, name) is getattr(home, name)


def test_the_public_names_are_these():
    """One that goes, or comes by accident, is a change that users notice."""
    assert dir(synthcore) == [
        "AcceptanceSpec",
        "AudioSpec",
        "BatchLoader",
        "BatchStream",
        "Dataset",
        "DatasetSpec",
        "Examples",
        "LABELS",
        "Order",
        "Patch",
        "Performance",
        "Predictions",
        "Registry",
        "RowDataset",
        "RunSettings",
        "ShuffledBatches",
        "SynthcoreError",
        "builtin_shapes",
        "collate",
        "compare",
        "compute_features",
        "compute_weights",
        "diff",
        "discover_wavetables",
        "distance",
        "download_presets",
        "evaluate",
        "features",
        "find_sounds",
        "fit_priors",
        "generate",
        "import_dataset",
        "ingest_presets",
        "inspect",
        "label_errors",
        "label_errors_up_to_equivalences",
        "lfo_asset",
        "match",
        "publish",
        "read_sample",
        "render",
        "render_many",
        "verify",
    ]
    assert synthcore._HOMES.keys() == set(synthcore.__all__)


FLOWS = sorted(name for name, home in synthcore._HOMES.items() if home.endswith("synthcore.flows.running.calls"))


def test_a_flow_can_be_imported_and_passed_on_without_prefect(fresh):
    code = f"""
import pickle
from synthcore import {", ".join(FLOWS)}
for flow in ({", ".join(FLOWS)}):
    assert pickle.loads(pickle.dumps(flow)) == flow
print("done", *({{"numpy", "pydantic"}} & sys.modules.keys()))
"""
    assert fresh(code, without=("prefect",)).stdout == "done\n"


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_of_the_package_is_the_flow_itself(name):
    flow = getattr(synthcore, name)
    assert isinstance(flow.with_options(retries=1), Flow)
    assert "Returns" in (inspect.getdoc(flow) or "")
    assert inspect.signature(flow).parameters.keys() == inspect.signature(flow.fn).parameters.keys()


@pytest.mark.long
def test_a_program_that_has_prefect_already_keeps_the_server_that_it_has(fresh, monkeypatch):
    """Prefect wouldn't notice another one, and a subflow belongs where its parent is."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code = """
import prefect
from synthcore import verify
print(verify.name)
from synthcore.flows.running import environment
print(environment.prepare())
environment.require_answer()
"""
    assert fresh(code).stdout == "verify\nPrefect server: that of this process\n"


@pytest.mark.slow
def test_a_server_that_does_not_answer_fails_the_call_of_a_flow_and_not_its_import(fresh, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code = """
from synthcore import verify
print(verify.name)
verify("x.h5")
"""
    refused = fresh(code, check=False)
    assert refused.stdout == "verify\n"
    assert "SynthcoreError: no Prefect server answers at http://127.0.0.1:9/api" in refused.stderr.splitlines()[-1]


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


_PAGE = (Path(__file__).parent / "README.md").read_text()
LAWS = [line for line in _PAGE.splitlines() if line.startswith("| **")]


@pytest.mark.parametrize("line", LAWS, ids=[line.split("**")[1] for line in LAWS])
def test_a_law_is_held_by_tests_that_exist(line):
    named = re.findall(r"`([\w/]+\.py)(?:::(test_\w+))?`", line)
    assert named
    for file, test in named:
        assert f"def {test}" in (Path(__file__).parent / file).read_text(), f"{file}::{test}"
