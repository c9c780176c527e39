"""Export: a row becomes a .wav of its very samples and a preset as Vital writes it, or nothing is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from synthcore.engine.lending import borrow_renderer
from synthcore.flows.cli import main
from synthcore.publishing.export import ExportedRow, ExportResult, export_rows
from synthcore.publishing.recipe import write_recipe
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch, init_assets
from synthcore.vital.reading import read_preset
from tests.conftest import REAL_PRESETS, needs_presets

#: What Vital 1.0.7 writes beside the settings, in all 23 presets of it that were looked at.
TOP = {
    **dict.fromkeys(("author", "comments", "macro1", "macro2", "macro3", "macro4"), "str"),
    **dict.fromkeys(("preset_name", "preset_style", "synth_version"), "str"),
    "settings": "dict",
}
#: Its settings that are no control, and no part of a modulation slot.
OTHERS = {
    **dict.fromkeys(("lfos", "modulations", "wavetables"), "list"),
    **{f"osc_{n}_view_2d": "float" for n in (1, 2, 3)},
    "sample": "dict",
    "view_spectrogram": "float",
}
LINE = {"name": "str", "num_points": "int", "points": "list", "powers": "list", "smooth": "bool"}
WAVETABLE = {"author": "str", "full_normalize": "bool", "groups": "list", "name": "str", "remove_all_dc": "bool"}
SAMPLE = {"length": "int", "name": "str", "sample_rate": "int", "samples": "str"}


def types(of: Mapping[str, Any]) -> dict[str, str]:
    return {name: type(value).__name__ for name, value in of.items()}


@pytest.fixture
def exported(tier_3, tmp_path):
    """Row 3 of the dataset of tier 3: its wav, its preset and the row."""
    with Dataset(tier_3.path) as dataset:
        made = export_rows(dataset, [3], tmp_path / "out").rows[0]
        yield Path(made.wav), json.loads(Path(made.preset).read_text()), dataset[3], dataset.patch(3)


def test_the_wav_holds_the_rows_very_samples(exported):
    wav, _, row, _ = exported
    rate, samples = wavfile.read(wav)
    assert rate == 22050
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples.T, row["audio"])


def test_the_preset_has_the_keys_and_types_of_a_real_one(exported):
    _, preset, _, _ = exported
    slots = {f"modulation_{n}_{k}": "float" for n in range(1, 65) for k in ("amount", "bipolar", "bypass", "power")}
    slots |= {f"modulation_{n}_stereo": "float" for n in range(1, 65)}
    assert types(preset) == TOP
    settings = preset["settings"]
    assert len(settings) == 776
    assert types(settings) == OTHERS | slots | {c.name: "float" for c in installed().controls}
    assert all(types(line) == LINE for line in settings["lfos"])
    assert all(types(table) == WAVETABLE | {"version": "str"} for table in settings["wavetables"])
    assert types(settings["sample"]) == SAMPLE
    assert [len(settings[name]) for name in ("lfos", "modulations", "wavetables")] == [8, 64, 3]
    assert all(set(slot) == {"source", "destination"} for slot in settings["modulations"])


@needs_presets
def test_the_preset_is_like_every_preset_of_the_nearest_version(exported):
    """Names, types and the length of lists, all the way down to what differs from sound to sound."""
    _, ours, _, _ = exported
    real = [json.loads(path.read_text()) for path in REAL_PRESETS.rglob("*.vital")]
    real = [preset for preset in real if preset["synth_version"] == "1.0.7"]
    assert len(real) > 20
    for preset in real:
        assert types(preset) == types(ours)
        assert types(preset["settings"]) == types(ours["settings"])
        theirs = [types(line) for line in preset["settings"]["lfos"]]
        assert theirs == [types(line) for line in ours["settings"]["lfos"]]
        assert types(preset["settings"]["wavetables"][0]) == types(ours["settings"]["wavetables"][0])


def test_the_preset_says_what_it_is(exported):
    _, preset, _, _ = exported
    assert preset["synth_version"] == "1.0.7"
    assert {table["version"] for table in preset["settings"]["wavetables"]} == {"1.0.7"}
    assert preset["author"] == "synthcore"
    assert preset["preset_name"] == "tier-3 row 3"


def render(format_, preset: bytes, performances) -> str:
    with borrow_renderer(format_.refusing_nothing(), 60) as renderer:
        return renderer.render(preset, performances).rows[0].audio_sha256


@pytest.mark.slow
def test_ingesting_it_gives_the_same_patch_and_the_same_audio(tier_1, tier_2, tier_3, tmp_path, registry):
    for made in (tier_1, tier_2, tier_3):
        with Dataset(made.path) as dataset:
            for row in export_rows(dataset, [0, 5, 10], tmp_path).rows:
                content = Path(row.preset).read_bytes()
                again = read_preset(content, registry)
                assert again.patch.hash == row.preset_hash
                assert again.otherwise == row.otherwise
                stored = dataset[row.row]
                fmt, played = made.spec.render_format, dataset.performances([row.row])
                assert render(fmt, content, played).encode() == stored["audio_sha256"]
                anew = again.patch.to_json(registry, {**init_assets(registry), **again.assets}).encode()
                assert render(fmt, anew, played).encode() == stored["audio_sha256"]


def test_what_vital_plays_differently_is_said():
    row = ExportedRow(
        row=3, wav="3.wav", preset="3.vital", preset_hash="", otherwise=("filter_1_style = 2 (Vocal Tract)",)
    )
    assert (
        "  3.vital\n  Vital plays it differently: filter_1_style = 2 (Vocal Tract)\n"
        in ExportResult(rows=[row]).to_text()
    )
    alike = row.model_copy(update={"otherwise": ()})
    assert "differently" not in ExportResult(rows=[alike]).to_text()


@pytest.mark.slow
def test_curves_lfo_shapes_and_samples_come_back(preset_documents, registry):
    for content in preset_documents.values():
        read = read_preset(json.dumps(content).encode(), registry)
        assets = {**init_assets(registry), **read.assets}
        again = read_preset(json.dumps(read.patch.to_preset(registry, assets, "x")).encode(), registry)
        assert again.patch == read.patch


def test_what_is_off_can_be_switched_on(registry):
    """The engine gets no sample where none is heard; people get the one that Vital begins with."""
    made = Patch.init(registry).to_preset(registry, init_assets(registry), "x")
    assert made["settings"]["sample_on"] == 0.0
    assert made["settings"]["sample"] == registry.init["sample"]


# ----------------------------------------------------------------------------------------------------- the command line


def export(dataset, *flags: object) -> int:
    return main(["export", str(dataset), *map(str, flags)])


def test_rows_are_named_one_by_one_or_together(tier_1, tmp_path, capsys):
    assert export(tier_1.path, "1,3", "-1", "-o", tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"tier-1-row-{row}.{kind}" for row in (1, 3, 14) for kind in ("vital", "wav")
    )
    assert capsys.readouterr().out.endswith("the presets were not tried in Vital itself\n")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["15"], "row 15 is out of range: "),
        (["1,-16"], "row -16 is out of range: "),
        (["one"], "ROWS: 'one' is not a list of rows, such as 3 or 3,5-8,-1"),
        ([], "export needs ROWS\nusage: synthcore export FILE ROWS ... -o DIR ...\n"),
    ],
)
def test_bad_input_costs_one_line_and_writes_nothing(flags, says, tier_1, tmp_path, capsys):
    assert export(tier_1.path, *flags, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == (2 if "usage" in says else 1)
    assert not list(tmp_path.iterdir())


def test_what_is_there_already_stays(tier_1, tmp_path, capsys):
    there = tmp_path / "tier-1-row-4.vital"
    there.write_text("mine")
    assert export(tier_1.path, "2,4", "-o", tmp_path) == 2
    assert f"{there} exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [there.name]
    assert there.read_text() == "mine"


def test_a_folder_that_is_a_file_costs_one_line(tier_1, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert export(tier_1.path, 0, "-o", tmp_path / "file") == 2
    assert "can't write in" in capsys.readouterr().err


def test_a_recipe_has_nothing_to_export(tier_1, tmp_path, capsys):
    with Dataset(tier_1.path) as dataset:
        write_recipe(dataset, tmp_path / "recipe.h5")
    assert export(tmp_path / "recipe.h5", 0, "-o", tmp_path / "out") == 2
    assert "is a recipe, without audio" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
