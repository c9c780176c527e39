"""`synthcore evaluate`: answers rendered beside their rows, as text and as JSON; what was done once is cached."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest
import soundfile

from synthcore import Dataset, Predictions
from synthcore.flows.cli import main
from synthcore.vital.patch import LABELS


@pytest.fixture
def files(cli: Any, tier_1: Any) -> Any:
    shutil.copy(tier_1.path, cli.folder / "x.h5")
    return cli


def of_metric(found: dict[str, Any], name: str) -> dict[str, Any]:
    (metric,) = [metric for metric in found["audio"] if metric["name"] == name]
    return dict(metric)


@pytest.mark.long
def test_the_labels_themselves_are_the_best_answers_and_nothing_is_rendered_twice(files: Any) -> None:
    asked = ("evaluate", "--baseline", "oracle", "--against", "x.h5", "--split", "all", "--data-dir", "data")
    found = files.json(*asked)
    assert (found["rows"], found["answered"], found["unanswered"], found["faults"]) == (15, 15, 0, {})
    distance = of_metric(found, "distance")
    assert (distance["mean_answer"]["mean"], distance["mean_answer"]["median"]) == (0, 0)
    assert distance["groups"]["note"].keys() == {"48", "60"}
    made = {path: path.stat().st_mtime_ns for path in (files.folder / "data" / "scores").rglob("*.npz")}
    assert len(made) == 1
    assert files.json(*asked) == found
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert "scores" in files.run("cache", "list", "--data-dir", "data").stdout


@pytest.mark.long
def test_predictions_are_evaluated_and_rows_without_an_answer_counted(files: Any) -> None:
    with Dataset(files.folder / "x.h5") as dataset:
        answers = Predictions.create(files.folder / "answers.h5", dataset, several=True)
        own = {name: dataset.column(name, [3, 3]) for name in LABELS}
        own["continuous"][1] = 0.5  # another sound
        answers.append([3, 3], **own)
    asked = ("evaluate", "answers.h5", "--against", "x.h5", "--split", "all", "--data-dir", "data")
    found = files.json(*asked)
    assert (found["rows"], found["answered"], found["unanswered"], found["answers_given"]) == (15, 1, 14, 2)
    distance = of_metric(found, "distance")
    best, mean = (distance[name]["mean"] for name in ("best_answer", "mean_answer"))
    assert best == 0 < mean
    told = files.run(*asked).stdout
    assert "rows 15: 1 answered, 14 without an answer" in told
    assert "best of them" in told


@pytest.mark.long
def test_a_search_answers_the_rows_of_a_split(files: Any) -> None:
    with h5py.File(files.folder / "x.h5", "r+") as file:
        file["metadata/split"][:] = [b"test"] * 2 + [b"train"] * 13
    asked = ("evaluate", "--baseline", "search", "--renders", 3, "--against", "x.h5", "--data-dir", "data")
    found = files.json(*asked)
    assert (found["answers"], found["rows"], found["answered"]) == ("search, 3 renders a row", 2, 2)
    assert files.json(*asked) == found


@pytest.mark.long
def test_sounds_without_labels_are_answered_by_presets_and_by_the_nearest_row(files: Any) -> None:
    with Dataset(files.folder / "x.h5") as dataset:
        (files.folder / "sounds").mkdir()
        (files.folder / "out").mkdir()
        rate, audio, patch = dataset.spec.audio.sample_rate, dataset.column("audio", [1])[0], dataset.patch(1)
        soundfile.write(files.folder / "sounds" / "x C4.wav", audio.T, rate, subtype="FLOAT")
        preset = patch.to_preset(dataset.registry, dataset.assets_of(patch), "x")
        (files.folder / "out" / "x C4.vital").write_text(json.dumps(preset))
    asked = ("--against", "sounds", "--train", "x.h5", "--data-dir", "data")
    found = files.json("evaluate", "out", *asked, "--html", "page.html")
    assert of_metric(found, "distance")["mean_answer"]["mean"] == 0
    assert [(one["file"], one["note"], one["note_from"]) for one in found["sounds"]["sounds"]] == [
        ("x C4.wav", 60, "name")
    ]
    assert "x C4.wav" in (files.folder / "page.html").read_text()
    told = files.run("evaluate", "--baseline", "nearest", *asked).stdout
    assert "sounds 1: 1 answered, 0 without an answer" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--against", "x.h5"), "evaluate needs ANSWERS: a file of predictions"),
        (("x.h5",), "evaluate needs --against"),
        (("x.h5", "--against", "x.h5", "--baseline", "oracle"), "takes the place of answers"),
        (("--baseline", "mean", "--against", "x.h5", "--seed", "1"), "--seed is for --baseline random"),
        (("x.h5", "--against", "x.h5", "--renders", "9"), "--renders is for --baseline search"),
        (("--baseline", "oracle", "--against", "x.h5", "--train", "y.h5"), "--train is for a --baseline that learns"),
        (("x.h5", "--against", "x.h5", "--split", "all", "--train", "y.h5"), "--train is for a baseline that learns"),
        (("nowhere.h5", "--against", "x.h5"), "there is no file"),
        (("--baseline", "oracle", "--against", "nowhere.h5"), "there is no file"),
        (("--baseline", "oracle", "--against", "recipe.h5"), "is a recipe, without audio; make it again with"),
        (("--baseline", "oracle", "--against", "shard.h5"), "it is a shard; take every row of it with --split all"),
        (("y.h5", "--against", "x.h5", "--split", "all"), "its tier is 3, not 1"),
        (("x.h5", "--against", "y.h5", "--split", "all"), "its tier is 1, not 3"),
        (("notes.txt", "--against", "x.h5", "--split", "all"), "is not an HDF5 file"),
        (("other.h5", "--against", "x.h5", "--split", "all"), "answers another dataset (tier 3"),
        (("empty.h5", "--against", "x.h5", "--split", "all"), "0 answers, none of them to a row of"),
        (("--baseline", "mean", "--against", "x.h5", "--split", "all"), "must not be among the rows"),
        (("--baseline", "nearest", "--against", "x.h5", "--split", "train"), "must not be among the rows"),
        (("--baseline", "mean", "--against", "x.h5", "--split", "all", "--train", "y.h5"), "is of tier 3"),
        (("--baseline", "oracle", "--against", "x.h5", "--note", "60"), "--note is for a folder of sounds"),
        (("--baseline", "oracle", "--against", "sounds"), "have no labels; take --baseline mean, nearest or search"),
        (("--baseline", "nearest", "--against", "sounds"), "nearest learns from a dataset; name it with --train"),
        (("empty.h5", "--against", "sounds", "--split", "train"), "which has no splits; leave out --split"),
        (("empty.h5", "--against", "sounds"), "answers the rows of a dataset, not the sounds in"),
        (("x.h5", "--against", "sounds"), "name predictions that were created with sounds=, or a folder of presets"),
        (("sounds", "--against", "sounds"), "has 0 presets, none of them named after a sound"),
        (("sounds", "--against", "x.h5", "--split", "all"), "is a folder"),
        (("--baseline", "mean", "--train", "x.h5", "--against", "none"), "holds no audio"),
        (("--baseline", "mean", "--train", "x.h5", "--against", "sounds"), "can be used: text.wav: not audio"),
    ],
)
def test_what_cannot_be_evaluated_costs_one_line(
    arguments: tuple[str, ...],
    says: str,
    tier_1: Any,
    tier_3: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for made, name in ((tier_1.path, "x.h5"), (tier_3.path, "y.h5"), (shard_of(tier_1), "shard.h5")):
        shutil.copy(made, name)
    (tmp_path / "notes.txt").write_text("no answer")
    (tmp_path / "none").mkdir()
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "text.wav").write_text("no sound")
    for made, name in ((tier_3, "other.h5"), (tier_1, "empty.h5")):
        with Dataset(made.path) as dataset:
            Predictions.create(tmp_path / name, dataset)
    assert main(["recipe", "x.h5", "-o", "recipe.h5", "--json"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # were a server asked, that would be the complaint
    assert main(["evaluate", *arguments, "--data-dir", str(tmp_path / "data"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err.splitlines()[0]
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_without_the_extra_one_line_says_how_to_install_it_before_a_server_starts(tier_1: Any, fresh: Any) -> None:
    asked = ["evaluate", "--baseline", "oracle", "--against", str(tier_1.path), "--split", "all"]
    code = f"from synthcore.flows.cli import main\nsys.exit(main({asked!r}))"
    done = fresh(code, without=("pyloudnorm", "prefect"), check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "synthcore: these metrics need pyloudnorm: pip install 'synthcore[evaluate]'\n"


def shard_of(made: Any) -> Path:
    return Path(made.data_dir / made.shards[0].name)
