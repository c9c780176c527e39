"""What is played may differ from patch to patch: it is stored, and everything that plays a row plays it so."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import synthcore
from synthcore.analysis import importance
from synthcore.analysis.overview import look
from synthcore.analysis.words import describe
from synthcore.base.errors import SpecError
from synthcore.engine.play import play
from synthcore.publishing.export import export_rows
from synthcore.publishing.recipe import render_recipe, write_recipe
from synthcore.sources.performances import Performances
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.training.batches import Examples
from synthcore.verification.rerendering import verify
from tests.conftest import Made, make_dataset

AUDIO = AudioSpec.model_validate(
    {
        "sample_rate": 8_000,
        "notes": "36..84",
        "notes_per_patch": 2,
        "velocity": "40..127",
        "note_seconds": "0.05..0.2",
        "bpm": "80..160",
        "render_seconds": 0.2,
    }
)
PLAYED = ("midi_note", "velocity", "note_seconds", "bpm")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_dataset(DatasetSpec(tier=3, n_samples=7, audio=AUDIO), tmp_path_factory.mktemp("drawn"), None, 4)


@pytest.fixture
def dataset(drawn):
    with Dataset(drawn.path) as opened:
        yield opened


@pytest.mark.slow
def test_each_patch_is_played_as_its_number_says(dataset, drawn):
    expected = Performances(drawn.spec, "synthetic")
    played = [(one, expected.bpm(index)) for index in range(4) for one in expected.of(index)]
    found = zip(dataset.performances(slice(None)), dataset.column("bpm").tolist(), strict=True)
    assert list(found) == played[:7]
    assert all(len({*dataset.column(name)[::2].tolist()}) > 1 for name in PLAYED)


@pytest.mark.slow
def test_its_rows_are_rendered_again_as_they_were_played(dataset):
    verdict = verify(dataset, None, tolerance_db=-60, workers=2)
    assert (verdict.checked, verdict.exact, verdict.damage) == (7, 7, [])


@pytest.mark.slow
def test_another_shard_size_and_another_length_give_the_same_rows(dataset, drawn, tmp_path):
    longer = make_dataset(drawn.spec.model_copy(update={"n_samples": 8}), tmp_path, None, 8)
    with Dataset(longer.path) as other:
        for name in ("audio_sha256", *PLAYED):
            np.testing.assert_array_equal(other.column(name, slice(7)), dataset.column(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["velocity", "note_seconds", "bpm"])
def test_a_changed_performance_is_found(drawn, forge, name):
    path = forge(drawn)
    with h5py.File(path, "r+") as file:
        file[f"metadata/{name}"][0] = {"velocity": 1, "note_seconds": 0.15001, "bpm": 99}[name]
    with Dataset(path) as changed:
        verdict = verify(changed, None, tolerance_db=-60, workers=2)
    assert not verdict.holds


@pytest.mark.slow
def test_a_batch_given_back_plays_its_rows(drawn):
    examples = Examples(drawn.path)
    batch = examples.read(examples.rows)
    assert {name: batch[name].shape for name in PLAYED} == dict.fromkeys(PLAYED, (7,))
    for row in (0, 3):
        label = {name: batch[name][row] for name in synthcore.LABELS if name in batch}
        patch = synthcore.Patch.from_vectors(**label, classes=examples.classes)
        played = synthcore.Performance(*(batch[name][row].item() for name in PLAYED[:3]))
        sound = synthcore.render(patch, played, audio=AUDIO, assets=examples.dataset.assets)
        np.testing.assert_array_equal(sound, batch["audio"][row])


def test_a_batch_of_fixed_performances_leaves_out_what_is_the_same_in_all(tier_1):
    assert not {"note_seconds", "bpm"} & {*Examples(tier_1.path).parts}
    assert "bpm" in Examples(tier_1.path, parts=("audio", "bpm")).parts


@pytest.mark.slow
def test_a_length_that_is_drawn_has_to_be_said(dataset):
    with pytest.raises(SpecError, match="note_seconds is drawn from 0.05..0.2: give a Performance instead of a note"):
        synthcore.render(dataset.patch(0), 60, audio=AUDIO)


@pytest.mark.slow
def test_an_exported_preset_has_the_tempo_and_plays_the_row(dataset, tmp_path):
    (row,) = export_rows(dataset, [3], tmp_path).rows
    preset = json.loads(Path(row.preset).read_bytes())
    assert 60 * preset["settings"]["beats_per_minute"] == pytest.approx(dataset.column("bpm")[3], abs=0.006)
    fmt = dataset.spec.render_format.refusing_nothing()
    again = play(Path(row.preset).read_bytes(), fmt, dataset.performances([3]))
    assert again.rows[0].audio_sha256.encode() == dataset.column("audio_sha256")[3]
    note, velocity, held, bpm = (dataset.column(name)[3].item() for name in PLAYED)
    assert Path(row.wav).name == f"tier-3-row-3-note-{note}-velocity-{velocity}-{held:g}-s-{bpm:g}-bpm.wav"
    assert preset["preset_name"] == f"tier-3 row 3, note {note}, velocity {velocity}, {held:g} s, {bpm:g} bpm"


@pytest.mark.slow
def test_a_recipe_makes_them_again(dataset, tmp_path):
    write_recipe(dataset, tmp_path / "recipe.h5")
    with Dataset(tmp_path / "recipe.h5") as recipe:
        result = render_recipe(recipe, [], tmp_path / "again.h5", 2)
    with Dataset(tmp_path / "again.h5") as again:
        assert (result.exact, again.digest) == (7, dataset.digest)


@pytest.mark.slow
def test_inspecting_says_what_was_played(dataset):
    found = look(dataset)
    low, high = found.played["velocity"]
    assert 40 <= low < high <= 127
    text = " ".join(found.begin_text().split())
    assert "2 of 36..84 at velocity 40..127; 0.05..0.2 s held of 0.2 s" in text
    assert f"tempo {found.played['bpm'][0]:g} to {found.played['bpm'][1]:g} bpm" in text
    note, velocity, held, bpm = (dataset.column(name)[3].item() for name in PLAYED)
    words = describe(dataset, 3).to_text()
    assert f"played    note {note} at velocity {velocity}\n  held      {held:g} s, at a tempo of {bpm:g} bpm" in words


@pytest.mark.slow
def test_bases_are_weighed_as_they_were_played(dataset):
    assert importance.performance_of(dataset, 3) == dataset.performances([3])[0]
    assert "beats_per_minute" in importance.varied(dataset)


# ------------------------------------------------------------------------------------------ what is not drawn


@pytest.mark.slow
def test_a_range_of_one_value_gives_the_same_file(tier_1, short, tmp_path):
    ranges = {"velocity": "100..100", "note_seconds": "0.25..0.25"}
    audio = AudioSpec.model_validate({**short.model_dump(), **ranges})
    spec = DatasetSpec.model_validate({**tier_1.spec.model_dump(), "audio": audio})
    again = make_dataset(spec, tmp_path)
    assert [plan.key for plan in again.plans] == [plan.key for plan in tier_1.plans]
    assert again.ref.digest == tier_1.ref.digest


def without_what_is_new(path):
    """Make a file what schema 4.0.0 wrote."""
    with h5py.File(path, "r+") as file:
        del file["metadata/note_seconds"], file["metadata/bpm"]
        file["schema"].attrs["version"] = "4.0.0"
    return path


@pytest.mark.slow
def test_an_older_file_is_read_with_what_it_says(each_tier, forge, tmp_path):
    with Dataset(each_tier.path) as new, Dataset(without_what_is_new(forge(each_tier))) as old:
        assert (old.version, old.digest, old.column_names) == ("4.0.0", new.digest, new.column_names)
        for rows in (slice(None), [7, 2, 2], [], slice(3, 5)):
            for name in ("note_seconds", "bpm"):
                np.testing.assert_array_equal(old.column(name, rows), new.column(name, rows))
        assert old[4]["bpm"] == new[4]["bpm"]
        assert verify(old, 3, tolerance_db=-60, workers=2).holds
        write_recipe(old, tmp_path / "recipe.h5")
    with Dataset(tmp_path / "recipe.h5") as recipe:
        assert render_recipe(recipe, [], tmp_path / "again.h5", 2).exact == 15
