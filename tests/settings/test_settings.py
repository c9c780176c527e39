"""Settings: flags, environment and `synthcore.toml` through one model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from synthcore.base.errors import SpecError
from synthcore.base.messages import explain
from synthcore.base.places import default_data_dir
from synthcore.flows import cli
from synthcore.flows.running.form import settings_from
from synthcore.ingest.transfer import Limits
from synthcore.settings.command import Common, settable
from synthcore.settings.commandline import flags
from synthcore.settings.commands import help_of, model_of, parse
from synthcore.settings.datasets import Inspect, Verify
from synthcore.settings.generate import Generate, RenderShards, RunSettings
from synthcore.settings.homes import HOMES
from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec
from tests.conftest import ROOT

MODELS: dict[str, Any] = {name: model_of(name) for name in HOMES}
COMMANDS = tuple(MODELS.values())
PARTS = (AudioSpec, AcceptanceSpec, RunSettings)
GROUPS = {"audio", "acceptance", "run", "limits", "mel"}  # explained by their own fields and docstrings


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNTHCORE_KEEP")  # all tests have it


def write_toml(text):
    Path("synthcore.toml").write_text(text)


def test_nothing_said_is_the_default_spec():
    assert parse(Generate, []).spec_of("", "") == DatasetSpec()


def test_a_flag_beats_the_environment_which_beats_the_file(monkeypatch):
    write_toml("tier = 3\nseed = 3\nn_samples = 3\n")
    monkeypatch.setenv("SYNTHCORE_TIER", "2")
    monkeypatch.setenv("SYNTHCORE_SEED", "2")
    found = parse(Generate, ["--tier", "1"])
    assert (found.tier, found.seed, found.n_samples) == (1, 2, 3)


def test_the_folder_that_tests_are_given_is_no_setting_and_in_nobodys_way(monkeypatch):
    monkeypatch.setenv("SYNTHCORE_PRESETS", "/presets")
    assert parse(Generate, ["--seed", "4"]).seed == 4


def test_the_same_holds_inside_of_a_part(monkeypatch):
    write_toml("[audio]\nsample_rate = 8003\nvelocity = 3\nrender_seconds = 3.0\n[run]\nretries = 3\n")
    monkeypatch.setenv("SYNTHCORE_AUDIO__SAMPLE_RATE", "8002")
    monkeypatch.setenv("SYNTHCORE_AUDIO__VELOCITY", "2")
    found = parse(Generate, ["--sample-rate", "8001"])
    assert (found.audio.sample_rate, found.audio.velocity, found.audio.render_seconds) == (8001, 2, 3.0)
    assert found.run.retries == 3


def test_the_file_of_the_folder_one_is_in_counts(tmp_path, monkeypatch):
    write_toml("seed = 1\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert parse(Generate, []).seed == 0
    write_toml("seed = 2\n")
    assert parse(Generate, []).seed == 2


def test_long_and_short_flags_say_the_same():
    short = parse(Generate, ["-n", "7", "-o", "x.h5", "--retries", "1", "--notes", "1", "--notes", "2"])
    long = parse(Generate, ["--n-samples=7", "--output=x.h5", "--run.retries=1", "--audio.notes=1,2"])
    assert short == long
    assert long.audio.notes == (1, 2)


def test_switches_take_no_value():
    found = parse(Generate, ["--tier", "2", "--fixed-modulation", "--overwrite", "--json"])
    assert found.fixed_modulation
    assert found.run.overwrite
    assert found.as_json


def test_the_commands_of_a_file_take_its_name():
    assert parse(Inspect, ["x.h5", "--row", "3"]).row == (3,)
    found = parse(Verify, ["x.h5", "--all"])
    assert (found.file, found.all, found.rows) == (Path("x.h5"), True, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teir", "1"], r"^generate has no flag --teir; did you mean --tier\?$"),
        (["--tier", "4"], "^--tier: must be 1, 2 or 3, not 4$"),
        (["-n", "0"], "^--n-samples: must be at least 1, not 0$"),
        (["-n", "many"], "^--n-samples: 'many' is not a whole number, such as 256, 20k or 1M$"),
        (["--notes", "200"], "^--notes: must be at most 127, not 200$"),
        (["--notes", "60,60"], "^--notes: names a note twice"),
        (["--note-seconds", "3"], "^--note-seconds is 3, longer than --render-seconds"),
        (["--fixed-modulation"], "^--fixed-modulation belongs to tier 2, not to tier 1"),
        (["--grow-by", "9", "--overwrite"], "^--grow-by continues the output, and --overwrite replaces it"),
        (
            ["--runner", "dask", "--runner-address", "nonsense"],
            "^--runner-address: 'nonsense' is not HOST:PORT, such as",
        ),
        (["--data-dir", ""], "^--data-dir: must name a file or folder, not ''$"),
        (["--community-dir", ""], "^--community-dir: must name a file or folder, not ''$"),
        (
            ["--runner", "dask", "--runner-address", "127.0.0.1:99999"],
            "^--runner-address: takes a port from 1 to 65535, not '127.0.0.1:99999'$",
        ),
        (["--merge", "glue"], "^--merge: must be copy or virtual, not 'glue'$"),
        (["x.h5"], "x.h5"),
    ],
)
def test_a_flag_that_makes_no_sense_is_named_in_one_line(arguments, message):
    with pytest.raises(SpecError, match=message) as refused:
        parse(Generate, arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("teir = 1\n", r"^synthcore\.toml sets teir, which is not a setting; did you mean tier\?$"),
        ("tier = 4\n", r"^synthcore\.toml: tier: must be 1, 2 or 3, not 4$"),
        ("[run]\nretires = 1\n", r"sets run\.retires, which is not a setting; did you mean run\.retries\?$"),
        ('data_dir = ""\n', r"^synthcore\.toml: data_dir: must name a file or folder, not ''$"),
        ("[audio]\nnotes = [60, 200]\n", r"^synthcore\.toml: audio\.notes: must be at most 127, not 200$"),
    ],
)
def test_a_line_of_the_file_that_makes_no_sense_is_named(text, message):
    write_toml(text)
    with pytest.raises(SpecError, match=message):
        parse(Generate, [])


@pytest.mark.parametrize("content", [b"tier is 1\n", "# für später".encode("latin-1"), "tier = 1".encode("utf-16")])
def test_a_file_that_is_no_toml_is_refused(content):
    Path("synthcore.toml").write_bytes(content)
    with pytest.raises(SpecError, match=r"synthcore\.toml in this folder is not TOML"):
        parse(Generate, [])


def test_a_folder_that_has_the_files_name_is_refused():
    Path("synthcore.toml").mkdir()
    with pytest.raises(SpecError, match=r"synthcore\.toml in this folder can't be read: Is a directory"):
        parse(Generate, [])


@pytest.mark.parametrize(("name", "value"), [("TIER", "4"), ("RUN__MERGE", "glue"), ("AUDIO__NOTES", "[60, 60]")])
def test_a_variable_that_makes_no_sense_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"SYNTHCORE_{name}", value)
    with pytest.raises(SpecError, match=f"^SYNTHCORE_{name}: "):
        parse(Generate, [])


@pytest.mark.parametrize("model", COMMANDS)
def test_each_command_knows_the_variables_of_the_others(model: Any, monkeypatch):
    monkeypatch.setenv(settable(model).variable(("as_json",)), "true")
    assert parse(Inspect, ["out.h5"]).file == Path("out.h5")


@pytest.mark.parametrize(
    ("name", "near"),
    [("TEIR", "TIER"), ("RUN__RETIRES", "RUN__RETRIES"), ("VERIFY_ROW", "VERIFY_ROWS"), ("UP_PROT", "UP_PORT")],
)
def test_a_variable_that_is_none_is_refused_with_the_nearest(monkeypatch, name, near):
    monkeypatch.setenv(f"SYNTHCORE_{name}", "3")
    with pytest.raises(SpecError, match=f"SYNTHCORE_{name}, which is not a setting; did you mean SYNTHCORE_{near}\\?$"):
        parse(Inspect, ["out.h5"])


# ------------------------------------------------------------------------------------------- what all commands share

#: What a command can't be parsed without.
NEEDED = {
    "inspect": ["x.h5"],
    "diff": ["x.h5", "y.h5"],
    "compare": ["x.h5", "y.h5"],
    "match": ["x.wav", "--in", "x.h5", "-o", "out"],
    "evaluate": ["x.h5", "--against", "y.h5"],
    "verify": ["x.h5"],
    "ingest": ["presets"],
    "fit-priors": ["presets"],
    "compute-weights": ["x.h5"],
    "features": ["x.h5"],
    "publish": ["x.h5", "-o", "out"],
    "import": ["out", "-o", "y.h5"],
    "recipe": ["x.h5", "-o", "y.h5"],
    "render": ["x.h5", "-o", "y.h5"],
    "export": ["x.h5", "0", "-o", "out"],
    "cache": ["list"],
    "completion": ["bash"],
}
ALL = [(name, field) for name in MODELS for field in Common.model_fields]
SHARED = [(name, field) for name, field in ALL if field in MODELS[name].model_fields]
#: Four values of each, as text: in the file for all commands and for one, in the environment for all and for one.
VALUES = {"data_dir": ["/a", "/b", "/c", "/d"], "workers": ["1", "2", "3", "4"], "as_json": ["true", "false"] * 2}
VALUES["keep"] = VALUES["as_json"]


def said_by(name: str, *flags: str) -> dict[str, str]:
    found = parse(MODELS[name], [*NEEDED.get(name, []), *flags])
    return {field: str(getattr(found, field)).lower() for field in Common.model_fields if hasattr(found, field)}


def test_every_command_has_its_settings_and_they_know_its_name():
    assert HOMES.keys() == cli.COMMANDS.keys()
    assert {name: model.command for name, model in MODELS.items()} == {name: name for name in HOMES}


@pytest.mark.slow
def test_a_command_imports_no_other_commands_settings(fresh):
    code = """
from synthcore.settings.commands import help_of, model_of
help_of(model_of("generate"))
print(*(name for name in ("datasets", "ingestion", "upkeep") if f"synthcore.settings.{name}" in sys.modules))
"""
    assert fresh(code).stdout == "\n"


def test_every_command_says_whether_it_answers_in_json():
    assert {name for name, field in SHARED if field == "as_json"} == cli.COMMANDS.keys()


@pytest.mark.parametrize(("name", "field"), SHARED)
def test_what_is_set_for_all_commands_holds_for_each_and_what_is_set_for_it_alone_beats_it(name, field, monkeypatch):
    at_top, in_table, for_all, for_it = VALUES[field]
    unset = said_by(name)
    as_toml = f"{field} = {{!r}}\n" if field == "data_dir" else f"{field} = {{}}\n"
    write_toml(as_toml.format(at_top))
    assert said_by(name) == unset | {field: at_top}
    if name != "generate":  # its settings are in no table, and its variables have no name of a command
        write_toml(as_toml.format(at_top) + f"[{name}]\n" + as_toml.format(in_table))
        assert said_by(name) == unset | {field: in_table}
    monkeypatch.setenv(f"SYNTHCORE_{field.upper()}", for_all)
    assert said_by(name) == unset | {field: for_all}
    if name != "generate":
        monkeypatch.setenv(f"SYNTHCORE_{name.replace('-', '_').upper()}_{field.upper()}", for_it)
        assert said_by(name) == unset | {field: for_it}
    if field not in ("as_json", "keep"):
        assert said_by(name, f"--{field.replace('_', '-')}", "7" if field == "workers" else "/7")[field] in ("7", "/7")


@pytest.mark.parametrize(("name", "field"), SHARED)
def test_an_empty_variable_says_nothing(name, field, monkeypatch):
    unset = said_by(name)
    monkeypatch.setenv(f"SYNTHCORE_{field.upper()}", "")
    if name != "generate":
        monkeypatch.setenv(f"SYNTHCORE_{name.replace('-', '_').upper()}_{field.upper()}", "")
    assert said_by(name) == unset


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_refuses_an_unknown_key_in_any_part_of_the_file(name):
    for table in [*cli.COMMANDS, "audio", "run"]:
        write_toml(f"[{table}]\ncolour = 1\n" if table != "generate" else "colour = 1\n")
        with pytest.raises(SpecError, match=r"^synthcore\.toml sets \S*colour, which is not a setting"):
            said_by(name)


def test_a_value_of_another_commands_is_no_concern_of_this_one():
    write_toml('tier = 9\nworkers = 0\n[cache]\nolder_than = "x"\n')
    assert said_by("doctor") | {"keep": "true"} == said_by("discover-wt")
    with pytest.raises(SpecError, match="^synthcore.toml: workers: must be at least 1, not 0$"):
        said_by("verify")


def test_what_is_not_a_table_is_refused_by_name():
    write_toml("ingest = 3\n")
    with pytest.raises(SpecError, match=r"ingest in synthcore\.toml is not a table: begin it with \[ingest\]"):
        parse(Generate, [])


@pytest.mark.parametrize("model", [*COMMANDS, RenderShards], ids=lambda m: m.__name__)
def test_a_flow_that_is_asked_for_nothing_uses_what_its_worker_shares(model: Any, monkeypatch):
    monkeypatch.setenv("SYNTHCORE_DATA_DIR", "/worker")
    monkeypatch.setenv("SYNTHCORE_WORKERS", "3")
    needed = {"file": "x.h5", "output": "y.h5", "folders": ("presets",), "row": (0,), "action": "list", "shell": "bash"}
    needed |= {"sound": "x.wav", "dataset": "x.h5", "other": "y.h5"}
    needed |= {"against": "x.h5", "baseline": "oracle", "folder": "out"}
    parameters = {name: value for name, value in needed.items() if name in model.model_fields}
    if "row" in parameters and model is Inspect:
        del parameters["row"]
    found = settings_from(model, parameters | {n: None for n in ("data_dir", "workers") if n in model.model_fields})
    assert str(getattr(found, "data_dir", "/worker")) == "/worker"
    assert getattr(found, "workers", 3) == 3


def test_what_a_flow_is_asked_from_python_is_refused_in_one_line():
    with pytest.raises(SpecError, match="variations are made from presets"):
        settings_from(Generate, {"variations": 4, "data_dir": None})


def test_a_missing_file_name_is_refused():
    with pytest.raises(SpecError, match="(?i)file"):
        parse(Verify, [])


def test_many_mistakes_are_one_line():
    with pytest.raises(ValidationError) as found:
        DatasetSpec(tier=7, n_samples=0, audio={"notes": (1, 1)})
    line = explain(found.value, DatasetSpec)
    assert "\n" not in line
    assert re.fullmatch(
        "tier: must be .*, not 7; n_samples: must be .*, not 0; audio.notes: names a note twice.*", line
    )


# ------------------------------------------------------------------------------------------------------------ the help


@pytest.mark.parametrize("model", [*COMMANDS, *PARTS, Limits], ids=lambda m: m.__name__)
def test_every_field_says_what_it_is_for(model: type[BaseModel]):
    assert [n for n, f in model.model_fields.items() if n not in GROUPS and not f.description] == []
    assert model.__doc__


@pytest.mark.parametrize("model", COMMANDS, ids=lambda m: m.__name__)
def test_the_help_of_each_flag_can_be_read(model):
    shown = help_of(model)
    assert max(map(len, shown.splitlines())) < 80
    assert re.search(r"\bNone\b|default_factory|\(48, 60|<", shown) is None
    for flag in flags(model):
        assert flag.field.description, flag.name
        assert flag.is_switch or flag.choices or re.fullmatch(r"[A-Z]+(:[A-Z]+)?|pool:NAME", flag.metavar), flag.name
        written = flag.shown if flag.positional or flag.is_switch else f"{flag.name} {flag.metavar}"
        assert re.search(rf"^  (-., )?{re.escape(written)}( |$)", shown, re.MULTILINE), written
        assert settable(model).variable(flag.keys) in shown
        assert all(spelling not in shown for spelling in flag.formerly if len(spelling) > 2)
    assert {*model.examples} <= {".".join(flag.keys) for flag in flags(model)}


def test_the_help_of_a_negated_flag_says_what_that_flag_does():
    entry = " ".join(help_of(Generate).partition("  --no-keep ")[2].split())
    assert entry.startswith("End a Prefect server that this run starts with the run. Otherwise it stays for 15 idle")


def test_no_two_flags_of_a_command_have_one_name():
    for model in COMMANDS:
        names = [flag.name for flag in flags(model)]
        assert len(set(names)) == len(names)


def test_the_help_of_generate_begins_with_six_flags_and_an_example_of_each():
    shown = help_of(Generate)
    assert shown.startswith("usage: synthcore generate [-n N] [--tier 1|2|3] [-o FILE] [--seed N] ...\n")
    first = shown.split("Used most:\n")[1].split("  variables")[0]
    assert re.findall(r"^  (?:-., )?(--[a-z-]+)", first, re.MULTILINE) == [
        *("--n-samples", "--tier", "--output", "--seed", "--notes", "--workers")
    ]
    assert first.count("Example: -") == 6
    assert "[48,60,72]" in first


# ----------------------------------------------------------------------------------------------------------- the paths


def test_the_data_directory_does_not_depend_on_where_one_is(tmp_path, monkeypatch):
    here = default_data_dir()
    monkeypatch.chdir("/")
    assert default_data_dir() == here
    assert here.is_absolute()
    assert here == ROOT / "data"


def test_paths_are_absolute_and_know_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = parse(Generate, ["--data-dir", "~/data", "-o", "x.h5"])
    assert found.data_dir == tmp_path / "home" / "data"
    assert found.output_path == tmp_path / "x.h5"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "tier1-seed0.h5"),
        (["--tier", "3", "--seed", "7"], "tier3-seed7.h5"),
        (["--tier", "2", "--fixed-modulation"], "tier2fixed-seed0.h5"),
    ],
)
def test_an_output_without_a_name_lies_in_the_data_directory(tmp_path, arguments, name):
    assert parse(Generate, [*arguments, "--data-dir", "d"]).output_path == tmp_path / "d" / name
