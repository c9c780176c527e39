"""Numbers as people type them, the same from flags, variables, the file and Python."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from synthcore.base import quantities, spelling
from synthcore.base.errors import SpecError
from synthcore.flows.running.form import settings_from
from synthcore.settings.commands import parse
from synthcore.settings.datasets import Export, Inspect
from synthcore.settings.generate import Generate
from synthcore.settings.upkeep import CacheCommand
from synthcore.spec import AudioSpec, DatasetSpec

ROOT_SAYS = "n_samples = '20k'\n[audio]\nnotes = ['C4', 61, 'Bb2']\nnote_seconds = '500ms'\nsample_rate = '44.1k'\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("module", [quantities, spelling])
def test_the_examples_are_right(module):
    tried = doctest.testmod(module)
    assert (tried.failed, tried.attempted > 0) == (0, True)


@pytest.mark.parametrize("way", ["flags", "environment", "file", "python"])
def test_they_mean_the_same_whoever_says_them(way, monkeypatch):
    flags = ["-n", "20k", "--notes", "C4,61", "--notes", "Bb2", "--note-seconds", "500ms", "--sample-rate", "44.1k"]
    audio = {"notes": "C4,61,Bb2", "note_seconds": "500ms", "sample_rate": "44.1kHz"}
    if way == "environment":
        monkeypatch.setenv("SYNTHCORE_N_SAMPLES", "20k")
        for name, text in audio.items():
            monkeypatch.setenv(f"SYNTHCORE_AUDIO__{name.upper()}", text)
    if way == "file":
        Path("synthcore.toml").write_text(ROOT_SAYS)
    found = (
        settings_from(Generate, {"n_samples": "20k", "audio": audio})
        if way == "python"
        else parse(Generate, flags if way == "flags" else [])
    )
    plain = DatasetSpec(n_samples=20_000, audio=AudioSpec(notes=(60, 61, 46), note_seconds=0.5, sample_rate=44_100))
    assert found.spec_of("", "") == plain
    assert found.spec_of("", "").fingerprint == plain.fingerprint


def test_the_form_of_prefect_still_knows_their_limits():
    schema = DatasetSpec.model_json_schema()
    assert schema["properties"]["n_samples"] | {"minimum": 1, "type": "integer"} == schema["properties"]["n_samples"]
    notes = schema["$defs"]["AudioSpec"]["properties"]["notes"]
    assert [one["type"] for one in notes["anyOf"]] == ["array", "string"]  # a range is text
    assert notes["anyOf"][0]["items"] == {"minimum": 0, "maximum": 127, "type": "integer"}
    velocity = schema["$defs"]["AudioSpec"]["properties"]["velocity"]["anyOf"][0]
    assert velocity == {"minimum": 1, "maximum": 127, "type": "integer"}


def test_a_bare_number_of_hours_stays_one():
    assert [parse(CacheCommand, ["prune", "--older-than", t]).older_than for t in ("2", "90min", "7d")] == [2, 1.5, 168]


def test_rows_are_numbers_and_ranges_also_negative_ones():
    assert parse(Export, ["x.h5", "3,5-8,-1", "-o", "out"]).row == (3, 5, 6, 7, 8, -1)
    assert parse(Export, ["x.h5", "-1", "-o", "out"]).row == (-1,)
    assert parse(Export, ["x.h5", "-1,2", "4", "-o", "out"]).row == (-1, 2, 4)
    assert parse(Inspect, ["x.h5", "--row", "-3--1"]).row == (-3, -2, -1)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("8-5", "'8-5' is not a range of rows"),
        ("5--1", "'5--1' is not a range of rows"),
        ("3;4", "'3;4' is not a list of rows, such as 3 or 3,5-8,-1"),
        ("0-99999999999", "names more than 100,000 rows"),
    ],
)
def test_rows_that_make_no_sense_are_named(rows, says):
    with pytest.raises(SpecError, match=f"^ROWS: .*{says}"):
        parse(Export, ["x.h5", rows, "-o", "out"])


def test_the_former_spellings_work_and_say_what_to_write():
    notices: list[str] = []
    assert parse(Export, ["x.h5", "--row", "1,3", "--row", "-1", "-o", "out"], notices.append).row == (1, 3, -1)
    assert notices == ["--row will be removed in the next version: write synthcore export FILE ROWS instead"] * 2
    assert parse(Generate, ["--run.retries=1", "--as-json"], notices.append).run.retries == 1
    assert notices[2:] == [
        "--run.retries will be removed in the next version: write --retries instead",
        "--as-json will be removed in the next version: write --json instead",
    ]
