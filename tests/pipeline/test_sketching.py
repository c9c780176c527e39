"""Sketching: each sound once, by content, wherever it lies; what can't be compared is left out with its reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from synthcore.analysis.audio import sketch
from synthcore.analysis.nearness import rms_dbfs
from synthcore.base import progress
from synthcore.base.errors import DatasetError, SpecError
from synthcore.ingest.collecting import make_collection
from synthcore.ingest.recordings import find_recordings
from synthcore.pipeline import library
from synthcore.pipeline.forms import Form
from synthcore.pipeline.sketching import StoredSketches, sketch_plan
from synthcore.pipeline.sounds import plan_patches, plan_recordings, plan_rows
from synthcore.playback import render
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import installed


@pytest.fixture
def dataset(tier_1: Any) -> Any:
    with Dataset(tier_1.path) as opened:
        yield opened


def sketched(dataset: Dataset, data_dir: Path, notes: tuple[int, ...] = (), limit: int | None = None) -> StoredSketches:
    plans = plan_rows(dataset, Form.of(dataset), notes, limit)
    for plan in plans:
        sketch_plan(plan, data_dir)
    return StoredSketches(plans, data_dir)


def test_each_row_is_sketched_relative_to_its_level(dataset: Dataset, tmp_path: Path) -> None:
    side = sketched(dataset, tmp_path)
    (found,) = side
    audio, rate = dataset.column("audio", [3])[0], dataset.spec.audio.sample_rate
    assert len(found) == 15
    np.testing.assert_allclose(found.compared(matched=False)[3], sketch(audio, rate), atol=1e-4)
    assert found.rms_dbfs[3] == pytest.approx(rms_dbfs(audio), abs=1e-4)
    assert (found.patches[0] == found.patches[1]) is np.True_
    assert len(np.unique(found.patches)) == 8
    assert side.named(3).to_text() == "row 3: synthetic 1, note 60"
    assert "export" in side.named(3).listen


def test_a_plan_is_known_by_what_its_rows_hold(dataset: Dataset, tier_1: Any, tier_2: Any, forge: Any) -> None:
    def keys(path: Path, notes: tuple[int, ...] = (), form: Form | None = None) -> list[str]:
        with Dataset(path) as opened:
            return [plan.key for plan in plan_rows(opened, form or Form.of(dataset), notes)]

    own = keys(tier_1.path)
    assert keys(forge(tier_1)) == own
    others = [keys(tier_2.path), keys(tier_1.path, (60,)), keys(tier_1.path, form=Form(sample_rate=8000, samples=99))]
    assert all(other != own for other in others)


def test_notes_and_a_number_of_rows_can_be_chosen(dataset: Dataset) -> None:
    form = Form.of(dataset)
    assert [plan.rows for plan in plan_rows(dataset, form, (60,))] == [(1, 3, 5, 7, 9, 11, 13)]
    assert [plan.rows for plan in plan_rows(dataset, form, (60,), 3)] == [(1, 7, 13)]
    assert plan_rows(dataset, form, (), 99)[0].sounds == 15
    with pytest.raises(DatasetError, match="no row of note 61; it has 48, 60"):
        plan_rows(dataset, form, (61,))


def test_a_silent_row_is_left_out_with_its_reason(tier_1: Any, forge: Any, tmp_path: Path) -> None:
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["audio/waveforms"][4] = 1e-12
    told: list[int] = []
    with Dataset(path) as dataset, progress.listening(lambda event: told.append(event.rows)):
        side = sketched(dataset, tmp_path)
        (found,) = side
    assert sum(told) == 15
    assert side.left_out == {4: "silent: there is no loudness to match"}
    assert (len(found), side.places.tolist()) == (14, [row for row in range(15) if row != 4])
    assert side.named(4).row == 5


@pytest.mark.parametrize(
    ("rate", "samples", "changes"),
    [
        (22_050, 1_000, ()),
        (22_050, 1_500, ("cut",)),
        (22_050, 999, ("padded with silence",)),
        (44_100, 2_000, ("resampled",)),
        (8_000, 1_000, ("resampled", "cut")),
    ],
)
def test_sounds_are_brought_to_one_form(rate: int, samples: int, changes: tuple[str, ...]) -> None:
    audio = np.sin(2 * np.pi * 440 * np.arange(samples) / rate).astype(np.float32)
    fitted, done = Form(sample_rate=22_050, samples=1_000).fit(np.stack([audio, audio]), rate)
    assert (fitted.shape, done) == ((2, 1_000), changes)
    assert fitted.dtype == np.float32
    tone = np.sin(2 * np.pi * 440 * np.arange(1_000) / 22_050)
    assert np.abs(fitted[0, 100:900] - tone[100:900]).max() < 0.02


def test_finished_sketches_are_known_to_be_whole(dataset: Dataset, tmp_path: Path) -> None:
    (plan,) = plan_rows(dataset, Form.of(dataset), ())
    ref = sketch_plan(plan, tmp_path)
    assert ref.is_intact(tmp_path)
    (tmp_path / ref.name).write_bytes(b"cut short")
    assert not ref.is_intact(tmp_path)
    (tmp_path / ref.name).unlink()
    assert not ref.is_intact(tmp_path)


@pytest.mark.slow
def test_presets_are_played_as_the_rows_are(dataset: Dataset, preset_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "presets.h5"
    make_collection([preset_folder], output, installed(), check=False, workers=2)
    collection = library.given_collection(output, tmp_path)
    plans = plan_patches(preset_folder, collection, tmp_path, dataset, notes=(60,), limit=2)
    sketch_plan(plans[0], tmp_path)
    side = StoredSketches(plans, tmp_path)
    first, last = collection.presets[0], collection.presets[-1]
    heard = {first.name: 0, last.name: 1}
    assert {plans[0].named(place).name for place in (0, 1)} == heard.keys()
    assert Path(plans[0].named(0).listen).is_file()
    (found,) = side
    for place, preset in ((0, first), (1, last)):
        sound = render(preset.patch, 60, audio=dataset.spec.audio, assets=collection.assets)
        if sound.any():
            at = side.places.tolist().index(place)
            np.testing.assert_allclose(
                found.compared(matched=False)[at], sketch(sound, dataset.spec.audio.sample_rate), atol=1e-4
            )
        else:
            assert side.left_out[place].startswith("silent")


def write_recordings(folder: Path) -> list[str]:
    chance = np.random.default_rng(0)
    soundfile.write(folder / "a stereo.wav", chance.normal(0, 0.1, (8_820, 2)), 22_050)
    soundfile.write(folder / "b mono.flac", chance.normal(0, 0.1, 5_000).clip(-1, 1), 44_100)
    soundfile.write(folder / "c silent.wav", np.zeros((8_820, 2)), 22_050)
    soundfile.write(folder / "d many.wav", chance.normal(0, 0.1, (9_000, 4)), 22_050)
    soundfile.write(folder / "e nan.wav", np.full((100, 2), np.nan), 22_050, subtype="FLOAT")
    (folder / "f broken.wav").write_bytes(b"RIFF and nothing more")
    (folder / "g notes.txt").write_text("no sound")
    (folder / ".hidden.wav").write_bytes(b"")
    return find_recordings(folder)


def test_recordings_are_read_and_what_was_done_to_them_is_said(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    files = write_recordings(folder)
    assert [file[0] for file in files] == ["a", "b", "c", "d", "e", "f"]
    plans = plan_recordings(folder, files, Form.of(dataset), limit=9)
    sketch_plan(plans[0], tmp_path)
    side = StoredSketches(plans, tmp_path)
    assert side.places.tolist() == [0, 1, 3]
    assert side.changes[:4] == [
        "",
        "given a second channel like the first, resampled, padded with silence",
        "",
        "left with their first two channels, cut",
    ]
    assert side.left_out[2].startswith("silent")
    assert side.left_out[4] == "it holds a sample that isn't finite"
    assert side.left_out[5].startswith("not audio that can be read: ")
    assert side.named(1).to_text() == "b mono.flac"
    (folder / "a stereo.wav").rename(folder / "renamed.wav")
    again = plan_recordings(folder, ["renamed.wav", *files[1:]], Form.of(dataset), limit=9)
    assert again[0].key == plans[0].key
    assert plan_recordings(folder, files[1:], Form.of(dataset), limit=9)[0].key != plans[0].key
    shutil.copy(folder / "b mono.flac", folder / "renamed.wav")
    with pytest.raises(SpecError, match="renamed.wav has changed meanwhile, or is gone; run the same command again"):
        sketch_plan(again[0], tmp_path)
