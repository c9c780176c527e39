"""`synthcore match`: a sound in, presets out, with a page; and one line for what can't be matched."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from synthcore.analysis.distances import distance
from synthcore.flows.cli import main
from synthcore.storage.dataset import Dataset


@pytest.fixture
def files(cli: Any, tier_1: Any) -> Any:
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    with Dataset(tier_1.path) as dataset:
        soundfile.write(cli.folder / "mine.wav", dataset[4]["audio"].T, 22_050, subtype="FLOAT")
    return cli


@pytest.mark.slow
def test_a_sound_becomes_presets_their_audio_and_a_page(files: Any) -> None:
    found = files.json("match", "mine.wav", "--in", "x.h5", "-o", "out", "--top", 2, "--data-dir", "data")
    first, second = found["answers"]
    assert (first["row"], first["distance_db"], first["sketch_db"], first["renders"]) == (4, 0, 0, 0)
    assert second["distance_db"] > 0
    written = {path.name for path in (files.folder / "out").iterdir()}
    names = {Path(answer[kind]).name for answer in (first, second) for kind in ("preset", "wav")}
    assert written == names | {"target.wav", "match.html"}
    for answer in (first, second):
        sound, rate = soundfile.read(answer["wav"], dtype="float32")
        target, _ = soundfile.read(files.folder / "out" / "target.wav", dtype="float32")
        assert distance(sound.T, target.T, rate) == pytest.approx(answer["distance_db"], abs=1e-4)
        assert json.loads(Path(answer["preset"]).read_text())["preset_name"] == Path(answer["preset"]).stem


@pytest.mark.long
def test_a_search_is_told_of_and_a_second_one_sketches_nothing(files: Any) -> None:
    chance = np.random.default_rng(0)
    soundfile.write(files.folder / "noise.wav", chance.normal(0, 0.1, (9_000, 1)), 22_050)
    words = ("match", "noise.wav", "--in", "x.h5", "--note", 62, "--search", 20, "--data-dir", "data")
    done = files.run(*words, "-o", "first")
    assert done.returncode == 0, done.stderr
    assert "to be compared, the sound was given a second channel like the first, cut" in done.stdout
    assert "only rows of note 60, the nearest to the one asked for" in done.stdout
    assert "note 60, 20 renders" in done.stdout
    assert "Begin with Vital's init preset, and set:" in done.stdout
    sketched = {path: path.stat().st_mtime_ns for path in (files.folder / "data" / "sketches").rglob("*.npz")}
    assert len(sketched) == 1
    again = files.json(*words, "-o", "second")
    assert {path: path.stat().st_mtime_ns for path in sketched} == sketched
    presets = [
        next((files.folder / folder).glob("1-searched-from-row-*.vital")).read_text() for folder in ("first", "second")
    ]
    assert presets[0] == presets[1]
    assert again["renders"] == 20


@pytest.mark.long
def test_ctrl_c_ends_the_search_and_writes_its_best(files: Any) -> None:
    chance = np.random.default_rng(0)
    soundfile.write(files.folder / "noise.wav", chance.normal(0, 0.1, (9_000, 1)), 22_050)
    words = ("match", "noise.wav", "--in", "x.h5", "-o", "out", "--search", 1_000_000, "--data-dir", "data")
    process = files.start(*words, "--json")
    for line in process.stderr:
        if line.startswith("searching: "):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    found = json.loads(out)
    assert found["is_interrupted"]
    assert found["answers"][0]["renders"] == found["renders"] > 0
    assert "interrupted; the best so far was written" in err
    assert (files.folder / "out" / "match.html").is_file()
    assert all(Path(answer["preset"]).is_file() for answer in found["answers"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mine.wav", "--in", "x.h5"), "match needs -o DIR"),
        (("mine.wav", "-o", "out"), "match needs --in FILE"),
        (("nowhere.wav", "--in", "x.h5", "-o", "out"), "No such file"),
        (("x.h5", "--in", "x.h5", "-o", "out"), "not audio that can be read"),
        (("silent.wav", "--in", "x.h5", "-o", "out"), "silent.wav can't be matched"),
        (("mine.wav", "--in", "nowhere.h5", "-o", "out"), "there is no file"),
        (("mine.wav", "--in", "mine.wav", "-o", "out"), "is not an HDF5 file"),
        (("mine.wav", "--in", "recipe.h5", "-o", "out"), "is a recipe, without audio"),
        (("mine.wav", "--in", "x.h5", "-o", "full"), "isn't empty"),
        (("mine.wav", "--in", "x.h5", "-o", "x.h5"), "is a file; name a folder"),
        (("mine.wav", "--in", "x.h5", "-o", "out", "--top", "0"), "--top"),
        (("mine.wav", "--in", "x.h5", "-o", "out", "--note", "128"), "--note"),
    ],
)
def test_what_cannot_be_matched_costs_one_line(
    arguments: tuple[str, ...],
    says: str,
    tier_1: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tier_1.path, tmp_path / "x.h5")
    soundfile.write(tmp_path / "mine.wav", np.full((9_000, 2), 0.1), 22_050)
    soundfile.write(tmp_path / "silent.wav", np.zeros((9_000, 2)), 22_050)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert main(["recipe", "x.h5", "-o", "recipe.h5", "--json"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # were a server asked, that would be the complaint
    assert main(["match", *arguments, "--data-dir", str(tmp_path / "data"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err.splitlines()[0]
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "out").exists()
