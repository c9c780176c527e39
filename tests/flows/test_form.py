"""A flow's parameters are its command's settings: named, limited, described and given their defaults by one model."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow  # before any flow, which would bring a server otherwise

from synthcore.base.errors import SpecError
from synthcore.flows.running.form import parameters_of
from synthcore.settings.command import Common
from synthcore.settings.commands import model_of
from synthcore.settings.datasets import ComputeWeights, Verify
from synthcore.settings.generate import Generate

#: The flow of each command that has one, and the parameter that is the dataset.
FLOWS = {
    "generate": ("generate.generate", ""),
    "inspect": ("inspect_dataset.inspect_dataset", "file"),
    "compare": ("compare_datasets.compare", "file"),
    "match": ("match_sound.match", "dataset"),
    "evaluate": ("evaluate_answers.evaluate", "against"),
    "verify": ("verify.verify", "file"),
    "fit-priors": ("fit_priors.fit_priors", ""),
    "discover-wt": ("discover_wavetables.discover_wavetables", ""),
    "download-presets": ("download_presets.download_presets", ""),
    "ingest": ("ingest_presets.ingest_presets", ""),
    "publish": ("publish_dataset.publish", ""),
    "import": ("import_dataset.import_dataset", ""),
    "features": ("compute_features.compute_features", "file"),
    "compute-weights": ("compute_weights.compute_weights", "output"),
}
#: What a flow can't be called without, by command.
REQUIRED = {"match": ["sound", "output"], "publish": ["file", "output"], "import": ["folder", "output"]}
#: Settings that are the command's alone, or found out.
NO_PARAMETERS = {"as_json", "keep", "dry_run", "part", "catalog_digest", "presets_digest"}


def flow_of(command: str) -> Flow[..., Any]:
    module, name = FLOWS[command][0].split(".")
    flow = getattr(import_module(f"synthcore.flows.{module}"), name)
    assert isinstance(flow, Flow)
    return flow


@pytest.fixture(autouse=True)
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory of the worker."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNTHCORE_DATA_DIR", str(tmp_path / "worker"))
    return tmp_path / "worker"


@parameters_of(Verify, dataset="file")
def verify(settings: Verify) -> Verify:
    """Give back what it is called with."""
    return settings


@parameters_of(Generate, first=("seed", "workers"))
def generate(settings: Generate) -> Generate:
    """Give back what it is called with."""
    return settings


# ------------------------------------------------------------------------------------------------------------ the form


@pytest.mark.slow
@pytest.mark.parametrize("command", FLOWS)
def test_the_form_of_a_flow_shows_the_settings_of_its_command(command: str) -> None:
    model, form = model_of(command), flow_of(command).parameters.properties
    stated = model.model_json_schema()["properties"]
    assert form.keys() == model.model_fields.keys() - NO_PARAMETERS
    for name in form.keys() - {FLOWS[command][1]} - Common.model_fields.keys():
        limits = {key: value for key, value in stated[name].items() if key not in ("title", "default", "$ref", "items")}
        assert {key: form[name].get(key) for key in limits} == limits
        if not model.model_fields[name].is_required():
            assert form[name]["default"] == stated[name].get("default", form[name]["default"])


@pytest.mark.parametrize("command", FLOWS)
def test_what_a_worker_knows_can_be_left_out(command: str) -> None:
    form = flow_of(command).parameters
    assert form.required == REQUIRED.get(command, [])
    for name in form.properties.keys() & {*Common.model_fields, FLOWS[command][1]}:
        assert form.properties[name].get("default") is None
        assert form.properties[name]["description"]


def test_the_form_of_verify_is_this() -> None:
    form = flow_of("verify").parameters.properties
    assert [*form] == ["file", "rows", "all", "tolerance_db", "activity", "controls", "equivalences", "workers"]
    assert form["rows"] == {
        "default": 10,
        "description": "How many rows, drawn at random.",
        "minimum": 1,
        "position": 1,
        "title": "rows",
        "type": "integer",
    }
    assert form["file"]["description"].startswith("The dataset. By default DATA_DIR/tier1-seed0.h5")
    assert form["workers"]["anyOf"][0] | {"minimum": 1, "maximum": 1024} == form["workers"]["anyOf"][0]


def test_generate_takes_its_parameters_in_the_order_that_callers_know() -> None:
    assert [*inspect.signature(flow_of("generate")).parameters] == [
        *("tier", "n_samples", "output", "seed", "workers", "data_dir", "fixed_modulation", "wavetables_from_tier"),
        *("catalog", "community_dir", "factory", "repos", "approximate", "variations", "priors", "audio"),
        *("acceptance", "grow_by", "weights", "with_features", "html", "run"),
    ]


def test_a_commands_own_parameters_come_before_what_commands_share() -> None:
    names = [*inspect.signature(flow_of("features")).parameters]
    assert names == ["file", "log_mel", "sketch", "mel", "run", "refresh", "workers", "data_dir"]


# -------------------------------------------------------------------------------------------------------- being called


def test_a_flow_is_called_by_position_and_by_name() -> None:
    assert verify("x.h5", 3, controls=4) == Verify(file=Path("x.h5"), rows=3, controls=4)
    assert generate(7, 2).seed == 7


def test_what_is_left_out_is_the_models_default_whatever_the_worker_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHCORE_VERIFY_ROWS", "99")
    assert verify("x.h5").rows == 10
    assert Verify(file=Path("x.h5")).rows == 99


def test_what_commands_share_is_the_workers_own_where_it_is_left_out(
    worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHCORE_WORKERS", "3")
    assert (generate().workers, generate().data_dir) == (3, worker)
    assert generate(workers=5, data_dir="/other").data_dir == Path("/other")


def test_a_dataset_that_is_left_out_is_the_first_one_that_people_make(
    worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @parameters_of(ComputeWeights, dataset="output")
    def weigh(settings: ComputeWeights) -> Path:
        return settings.output

    assert Generate(data_dir=worker).output_path == worker / "tier1-seed0.h5"
    assert verify().file == weigh() == worker / "tier1-seed0.h5"
    assert weigh(data_dir="/other") == Path("/other/tier1-seed0.h5")
    monkeypatch.setenv("SYNTHCORE_COMPUTE_WEIGHTS_DATA_DIR", "/own")  # which beats the common one
    assert weigh() == Path("/own/tier1-seed0.h5")
    assert verify().file == worker / "tier1-seed0.h5"


def test_parameters_that_clash_are_refused_in_one_line() -> None:
    with pytest.raises(SpecError, match=r"^variations are made from presets: name a folder"):
        generate(variations=4)


@pytest.mark.parametrize("name", ["teir", *sorted(NO_PARAMETERS)])
def test_what_is_not_a_parameter_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        generate(**{name: 1})


def test_help_shows_names_and_defaults() -> None:
    assert str(inspect.signature(verify)).startswith("(file=None, rows=10, all=False, tolerance_db=-60.0,")
