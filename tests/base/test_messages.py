"""What pydantic finds is said in our words, whatever it finds."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel, ValidationError

from synthcore.base.errors import SpecError
from synthcore.base.messages import SENTENCES, explain
from synthcore.flows import cli
from synthcore.flows.running.form import settings_from
from synthcore.ingest.remotes import RemoteSource
from synthcore.ingest.transfer import Limits
from synthcore.settings.commands import models, parse
from synthcore.settings.datasets import Verify
from synthcore.settings.generate import Generate, RunSettings
from synthcore.settings.ingestion import DownloadPresets
from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec

MODELS: list[type[BaseModel]] = [*models(), AudioSpec, AcceptanceSpec, RunSettings, Limits, RemoteSource, DatasetSpec]
#: What no setting takes, or only some.
ODD = [
    None,
    "x",
    "",
    "-1",
    "1.5",
    1.5,
    -1e9,
    1e12,
    float("nan"),
    True,
    b"\xff",
    [],
    ["x"],
    {"x": 1},
    10**30,
    "y" * 3000,
]
OURS = {"clash", "needs", "quantity", "value_error"}


def findings() -> list[tuple[type[BaseModel], ValidationError]]:
    found = []
    for model in MODELS:
        for name in [*model.model_fields, "no_such_setting"]:
            for odd in ODD:
                try:
                    model(**{name: odd})
                except ValidationError as error:
                    found.append((model, error))
                except SpecError:
                    pass
    return found


@pytest.mark.slow
def test_every_type_of_error_that_our_models_raise_has_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = set()
    for model, error in findings():
        seen |= {one["type"] for one in error.errors()}
        line = explain(error, model)
        assert "\n" not in line
        assert "nput should" not in line
        assert re.search(r"\{(given|bare|choices|meant|form|[gl][te]|\w+_length)\}", line) is None
    assert seen <= SENTENCES.keys() | OURS
    assert len(seen & SENTENCES.keys()) >= 15


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-n", "1kk"], "--n-samples: '1kk' is not a whole number, such as 256, 20k or 1M"),
        (["--max-peak", "loud"], "--max-peak: 'loud' is not a number"),
        (["--max-peak", "nan"], "--max-peak: 'nan' is not a finite number"),
        (["--merge", "copi"], "--merge: must be copy or virtual, not 'copi'; did you mean copy?"),
        (["--refresh", "rendr"], "--refresh: must be clone, ingest, render, merge, weights or all, not 'rendr'; "),
        (["--seed", "4294967296"], "--seed: must be less than 4294967296, not 4294967296"),
        (["--render-timeout", "0"], "--render-timeout: must be more than 0, not 0"),
        (["--distribute", "render"], "--distribute: 'render' is not pool:NAME, such as pool:render"),
        (["--merge", "virtual", "--chunk-rows", "2"], "--chunk-rows is for a copy: "),
        (
            ["--runner", "dask", "--distribute", "pool:x"],
            "--distribute leaves the rendering to a work pool: leave",
        ),
        (["--variations", "3"], "--variations are made from presets: name a folder of them with --community-dir"),
        (["--json=yes"], "--json takes no value, and was given 'yes'"),
        (["--notes"], "--notes needs a value: --notes NOTES"),
        (["-n", "--tier", "2"], "-n needs a value: -n N"),
    ],
)
def test_a_flag_is_called_as_it_was_typed(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as refused:
        parse(Generate, arguments)
    assert str(refused.value).startswith(says)


def test_each_is_named_as_whoever_set_it_knows_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthcore.toml").write_text("grow_by = 3\n[run]\nretries = -1\n")
    monkeypatch.setenv("SYNTHCORE_AUDIO", '{"velocity": 0}')
    with pytest.raises(SpecError) as refused:
        parse(Generate, ["--tier", "4"])
    assert str(refused.value).split("; ") == [
        "--tier: must be 1, 2 or 3, not 4",
        "SYNTHCORE_AUDIO: must be at least 1, not 0",
        "synthcore.toml: run.retries: must be at least 0, not -1",
    ]
    with pytest.raises(SpecError, match=r"^tier: must be 1, 2 or 3, not 4; audio\.velocity: must be at least 1, not 0"):
        settings_from(Generate, {"tier": 4, "audio": {"velocity": 0}, "run": {"retries": 1}})


@pytest.mark.parametrize("name", ["inspect", "export", "recipe", "cache", "ingest", "compute-weights", "completion"])
def test_a_command_without_what_it_needs_says_what_and_how_it_is_used(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([name]) == 2
    first, usage = capsys.readouterr().err.splitlines()
    assert first.startswith(f"synthcore: {name} needs ")
    assert usage.startswith(f"usage: synthcore {name} ")
    assert len(usage) < 80


def test_what_is_left_over_is_named():
    with pytest.raises(SpecError, match=r"^verify takes FILE: 'y\.h5' is left over$"):
        parse(Verify, ["x.h5", "y.h5"])


def test_secrets_in_what_was_given_are_masked():
    with pytest.raises(SpecError) as refused:
        parse(DownloadPresets, ["--sources", "ftp://me:hunter2@example.org/a"])
    assert "hunter2" not in str(refused.value)
