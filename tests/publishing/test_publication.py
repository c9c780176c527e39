"""A publication: others load it with the tools they have, and the dataset can be made again from it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from synthcore.analysis.differences import diff
from synthcore.analysis.overview import look
from synthcore.base.errors import DatasetError, SpecError
from synthcore.publishing import importing, planning, tables
from synthcore.publishing.folder import assemble, publication_of, require_free
from synthcore.publishing.importing import ImportResult
from synthcore.publishing.planning import Form
from synthcore.publishing.publication import ASSETS, MANIFEST, read_publication
from synthcore.publishing.recipe import render_recipe
from synthcore.publishing.samples import read_sample
from synthcore.storage import weights
from synthcore.storage.dataset import Dataset
from synthcore.storage.rounding import rounded
from synthcore.storage.weights import Weights
from synthcore.verification.rerendering import verify
from tests.conftest import Forge, Made

pytestmark = pytest.mark.slow


OWN = "CC-BY-4.0"
#: What rounding to 24 bits changes.
ROUNDED = {"audio", "audio_sha256", "rms_dbfs", "peak"}
Publish = Callable[..., Path]


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Publish a dataset, without a workflow around it."""

    def published(path: Path, folder: str = "out", **how: Any) -> Path:
        form = Form(
            **{"format": "parquet", "audio": "wav", "licence": OWN, "recipe": False, "file_bytes": 10**6, **how}
        )
        planned = planning.plan(path, form, workers=2)
        refs = [planning.make(plan, tmp_path / "data") for plan in planned.plans]
        assemble(publication_of(planned, refs), refs, path, tmp_path / "data", tmp_path / folder)
        return tmp_path / folder

    return published


def brought_back(folder: Path) -> ImportResult:
    return importing.import_publication(folder, folder.with_suffix(".h5"), workers=2)


def differing(first: Path, second: Path) -> set[str]:
    """The columns in which two datasets differ."""
    with Dataset(first) as ours, Dataset(second) as theirs:
        assert ours.column_names == theirs.column_names
        names = ours.column_names
        return {name for name in names if ours.column(name).tobytes() != theirs.column(name).tobytes()}


@pytest.mark.long
@pytest.mark.parametrize("how", ["parquet", "webdataset"])
def test_a_dataset_comes_back_from_wav_bit_for_bit(each_tier: Made, forge: Forge, publish: Publish, how: str) -> None:
    path, random = forge(each_tier), np.random.default_rng(0)
    continuous, categorical = random.random(322).astype("f4"), random.random(126).astype("f4")
    method = {"base": each_tier.ref.digest, "n_base": 7}
    weights.write(path, Weights(continuous, categorical, continuous[::-1], categorical[::-1], method))
    result = brought_back(publish(path, format=how, file_bytes=100_000))
    assert result.is_same
    assert differing(path, Path(result.path)) == set()
    with Dataset(path) as ours, Dataset(result.path) as theirs:
        assert (theirs.spec, theirs.engine, theirs.drawing) == (ours.spec, ours.engine, ours.drawing)
        assert (theirs.classes, theirs.asset_names) == (ours.classes, ours.asset_names)
        assert dict(theirs.assets) == dict(ours.assets)
        with h5py.File(path) as first, h5py.File(result.path) as second:
            assert {name: str(value) for name, value in first["schema"].attrs.items()} == {
                name: str(value) for name, value in second["schema"].attrs.items()
            }
        assert (theirs.rules, theirs.varied_labels) == (ours.rules, ours.varied_labels)
        assert theirs.weights is not None
        assert ours.weights is not None
        assert theirs.weights.is_same(ours.weights)
        for name, values in ours.rejections().items():
            np.testing.assert_array_equal(theirs.rejections()[name], values)
        assert verify(theirs, 2, tolerance_db=-60, workers=2).holds


@pytest.mark.parametrize("how", ["parquet", "webdataset"])
def test_flac_rounds_the_audio_and_nothing_else_and_verify_rounds_with_it(
    tier_1: Made, publish: Publish, how: str
) -> None:
    folder = publish(tier_1.path, format=how, audio="flac")
    result = brought_back(folder)
    assert not result.is_same
    assert 0 < result.audio_error <= 2**-24
    assert differing(tier_1.path, Path(result.path)) <= ROUNDED
    assert "with other audio: one was imported from FLAC" in diff(tier_1.path, result.path).headline
    with Dataset(tier_1.path) as ours, Dataset(result.path) as theirs:
        for row in range(len(ours)):
            np.testing.assert_array_equal(theirs[row]["audio"], rounded(ours[row]["audio"]))
        found = verify(theirs, None, tolerance_db=-60, workers=2)
        assert "rounded to 24 bits" in look(theirs).begin_text()
    assert (found.exact, found.is_rounded) == (15, True)
    assert "bit for bit, rounded to 24 bits" in found.to_text()


def test_an_older_file_comes_back_without_the_columns_that_it_lacks(
    tier_1: Made, forge: Forge, publish: Publish
) -> None:
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        del file["metadata/clips"], file["metadata/bpm"], file["metadata/note_seconds"]
        file["schema"].attrs["version"] = "4.0.0"
    result = brought_back(publish(path))
    assert result.is_same
    assert differing(path, Path(result.path)) == set()


def test_a_row_that_was_changed_after_rounding_is_found(tier_1: Made, publish: Publish) -> None:
    result = brought_back(publish(tier_1.path, audio="flac"))
    with h5py.File(result.path, "r+") as file:
        file["params/continuous"][3, 5] = 0.123
    with Dataset(result.path) as theirs:
        assert not verify(theirs, None, tolerance_db=-60, workers=2).holds


def test_hugging_face_loads_rows_with_audio_offline(
    tier_3: Made, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    folder = publish(tier_3.path, audio="flac", file_bytes=100_000)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    with Dataset(tier_3.path) as dataset:
        assert {split: len(rows) for split, rows in loaded.items()} == {
            split: len(dataset.split(split)) for split in ("train", "val", "test") if len(dataset.split(split))
        }
        for rows in loaded.values():
            assert rows.features["audio"] == datasets.Audio(sampling_rate=22050)
            for row in rows.cast_column("audio", datasets.Audio(decode=False)):
                require_row(dataset, row, row["audio"]["bytes"])


def require_row(dataset: Dataset, row: dict[str, Any], flac: bytes) -> None:
    """Require that a row that was read elsewhere is that of the dataset, its audio rounded."""
    expected = dataset[row["row"]]
    assert hashlib.sha256(flac).hexdigest() == row["flac_sha256"]
    audio, rate = soundfile.read(io.BytesIO(flac), dtype="float32")
    assert rate == dataset.spec.audio.sample_rate
    np.testing.assert_array_equal(audio.T * row["audio_scale"], rounded(expected["audio"]))
    for name in set(expected) - {"audio", "modulation_t3"}:
        value = np.array(row[name])
        if value.dtype.kind == "U":
            value = np.char.encode(value, "utf-8")
        np.testing.assert_array_equal(value.astype(expected[name].dtype), expected[name])
    assert row["licence"] == OWN


@pytest.mark.parametrize("audio", ["flac", "wav"])
def test_webdataset_streams_every_row_shuffled_by_two_workers(tier_1: Made, publish: Publish, audio: str) -> None:
    webdataset, torch = pytest.importorskip("webdataset"), pytest.importorskip("torch")
    from synthcore.training.torch import collate

    folder = publish(tier_1.path, format="webdataset", audio=audio, file_bytes=100_000)
    shards = sorted(map(str, (folder / "data").glob("train-*.tar")))
    assert len(shards) > 2
    stream = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=1).shuffle(100, initial=100)
    loader = torch.utils.data.DataLoader(stream.map(read_sample), batch_size=4, num_workers=2, collate_fn=collate)
    numbers = []
    with Dataset(tier_1.path) as dataset:
        for batch in loader:
            numbers += batch["row"].tolist()
            expected = {name: dataset.column(name)[batch["row"].numpy()] for name in dataset.column_names}
            sound = np.stack([rounded(one) for one in expected["audio"]]) if audio == "flac" else expected["audio"]
            np.testing.assert_array_equal(batch["audio"].numpy(), sound)
            for name in set(expected) - {"audio"}:
                require_equal(batch[name], expected[name])
        assert sorted(numbers) == dataset.split("train").rows.tolist() != numbers


def require_equal(found: Any, expected: np.ndarray) -> None:
    """Require that a column of a batch has what the dataset has: text as a list, floats as float32."""
    if isinstance(found, list):
        np.testing.assert_array_equal(np.char.encode(np.array(found), "utf-8"), expected)
    else:
        np.testing.assert_array_equal(found.numpy(), expected.astype(found.numpy().dtype))


def test_rows_that_may_not_be_shared_are_left_out_with_their_assets(licensed: Made, publish: Publish) -> None:
    folder = publish(licensed.path)
    publication, result = read_publication(folder), brought_back(folder)
    assert publication.left_out
    assert result.left_out == publication.left_out
    assert not result.is_same
    with Dataset(licensed.path) as ours, Dataset(result.path) as theirs:
        assert len(theirs) + sum(publication.left_out.values()) == len(ours)
        hashes = ours.column("preset_hash").tolist()
        places = [hashes.index(one) for one in theirs.column("preset_hash").tolist()]
        assert places == sorted(places)
        np.testing.assert_array_equal(theirs.column("audio"), ours.column("audio", places))
        played = {name for place in places for name in ours.patch(place).asset_names}
        assert set(theirs.assets) == played < set(ours.assets)
        assert verify(theirs, 2, tolerance_db=-60, workers=2).holds
    lines = list(tables.read_asset_lines(folder / ASSETS))
    assert {line.sha256 for line in lines if line.content} == played
    assert not any("ND" in line.licence for line in lines)


@pytest.mark.long
def test_a_recipe_has_every_row_without_audio_and_is_rendered_again(
    tier_1: Made, licensed: Made, publish: Publish, tmp_path: Path
) -> None:
    result = brought_back(publish(tier_1.path, recipe=True))
    assert "synthcore render" in result.to_text()
    with Dataset(result.path) as recipe:
        assert recipe.is_recipe
        assert render_recipe(recipe, (), tmp_path / "again.h5", workers=2).exact == 15
    assert differing(tier_1.path, tmp_path / "again.h5") == set()
    others = brought_back(publish(licensed.path, "others", recipe=True, format="webdataset"))
    with Dataset(licensed.path) as ours, Dataset(others.path) as theirs:
        assert len(theirs) == len(ours)
        assert theirs.missing_assets


def test_what_was_rounded_and_rendered_again_from_a_recipe_is_no_longer_rounded(
    tier_1: Made, publish: Publish, tmp_path: Path
) -> None:
    rounded_file = Path(brought_back(publish(tier_1.path, audio="flac")).path)
    recipe = Path(brought_back(publish(rounded_file, "recipe", recipe=True)).path)
    with Dataset(recipe) as opened:
        render_recipe(opened, (), tmp_path / "again.h5", workers=2)
    with Dataset(tmp_path / "again.h5") as again:
        assert not again.is_rounded
        assert again.digest == tier_1.ref.digest


def test_equal_rows_make_equal_files_and_a_folder_is_mended(tier_1: Made, publish: Publish, tmp_path: Path) -> None:
    folder = publish(tier_1.path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(tmp_path / "data")
    again = publish(tier_1.path, "again")
    assert {path.relative_to(folder): text for path, text in before.items()} == {
        path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()
    }
    file = next(folder.glob("data/train-*"))
    file.unlink()
    file.write_bytes(b"changed")
    publish(tier_1.path)
    assert {path: path.read_bytes() for path in before} == before


def test_what_cant_be_published_is_refused_in_one_line(
    tier_1: Made, forge: Forge, publish: Publish, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="is a shard; publish the dataset"):
        publish(tier_1.data_dir / tier_1.shards[0].name)
    with pytest.raises(SpecError, match="name the licence"):
        publish(tier_1.path, licence=None)
    with pytest.raises(SpecError, match="'mine' is not an SPDX licence"):
        publish(tier_1.path, licence="mine")
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["schema"].attrs["gaps"] = json.dumps([{"source": "synthetic", "first_patch": 0, "patches": 1}])
    with pytest.raises(DatasetError, match="lacks patches whose shards failed"):
        publish(path)
    with h5py.File(path, "r+") as file:
        del file["schema"].attrs["gaps"], file["audio/waveforms"]
    with pytest.raises(DatasetError, match="is a recipe, without audio"):
        publish(path)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_refused(tier_1: Made, publish: Publish, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("dear diary")
    with pytest.raises(SpecError, match="holds no publication"):
        require_free(tmp_path / "mine")
    with pytest.raises(SpecError, match="is a file"):
        require_free(tmp_path / "mine" / "note.txt")
    folder = publish(tier_1.path)
    with pytest.raises(SpecError, match="holds another publication, of tier-1"):
        publish(tier_1.path, audio="flac")
    assert read_publication(folder).audio == "wav"


def test_a_publication_that_was_changed_is_not_imported(tier_1: Made, publish: Publish, tmp_path: Path) -> None:
    folder = publish(tier_1.path)
    said = json.loads((folder / MANIFEST).read_text())

    def refused(match: str, **changed: Any) -> None:
        (folder / MANIFEST).write_text(json.dumps({**said, **changed}))
        with pytest.raises(DatasetError, match=match):
            brought_back(folder)
        assert not (tmp_path / "out.h5").exists()

    refused("of version 2.0|has version 2.0", version="2.0")
    refused("damaged or of another synthcore: files.0.path", files=[{**said["files"][0], "path": "../../etc/passwd"}])
    refused("there are more than the 3 rows", rows=3)
    refused("there are 15 rows, and 99 were said", rows=99)
    refused("don't add up to", digest="0" * 64)
    refused("is damaged, or of another synthcore", spec={"tier": 9})
    file = next(folder.glob("data/train-*"))
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-1] + b"x")
    refused("is missing, or not what was published")
    (folder / MANIFEST).unlink()
    with pytest.raises(DatasetError, match="isn't a published dataset, or not a whole one"):
        brought_back(folder)
