"""Croissant: the validator of MLCommons accepts the description, and reads rows by it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from synthcore.publishing.card import CROISSANT
from synthcore.publishing.publication import read_publication
from synthcore.storage.dataset import Dataset

pytestmark = pytest.mark.slow


@pytest.fixture(params=["parquet", "webdataset"])
def folder(request, published):
    return published[request.param]


def test_the_validator_accepts_it(folder):
    mlcroissant = pytest.importorskip("mlcroissant")
    described = mlcroissant.Dataset(jsonld=folder / CROISSANT)
    assert described.metadata.ctx.issues.errors == set()
    assert described.metadata.ctx.issues.warnings == set()
    assert [record["splits/name"] for record in described.records("splits")] == [*read_publication(folder).row_files]


def test_it_names_every_file_with_its_hash(folder):
    said = json.loads((folder / CROISSANT).read_text())
    files = {part["contentUrl"]: part["sha256"] for part in said["distribution"] if part["@type"] == "cr:FileObject"}
    there = [path for path in folder.rglob("*") if path.suffix in (".parquet", ".tar")]
    assert files == {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in there}


@pytest.mark.slow
def test_rows_of_parquet_are_read_by_it(published, licensed):
    mlcroissant = pytest.importorskip("mlcroissant")
    rows = list(mlcroissant.Dataset(jsonld=published["parquet"] / CROISSANT).records("rows"))
    assert len(rows) == read_publication(published["parquet"]).rows
    with Dataset(licensed.path) as dataset:
        for row in rows:
            place = row["rows/row"]
            assert hashlib.sha256(row["rows/audio"]).hexdigest() == row["rows/flac_sha256"].decode()
            assert row["rows/audio_sha256"] == dataset.column("audio_sha256", [place])[0]
            np.testing.assert_array_equal(row["rows/continuous"], dataset.column("continuous", [place])[0])
            np.testing.assert_array_equal(row["rows/modulation_slots"], dataset.column("modulation_slots", [place])[0])


def test_columns_have_types_shapes_and_words(folder):
    said = json.loads((folder / CROISSANT).read_text())
    (rows,) = [part for part in said["recordSet"] if part["@id"] == "rows"]
    fields = {field["name"]: field for field in rows["field"]}
    assert all(field["description"] for field in fields.values())
    assert (fields["modulation_slots"]["dataType"], fields["modulation_slots"]["arrayShape"]) == ("cr:Float32", "64,7")
    assert fields["licence"]["dataType"] == "sc:Text"
    assert "arrayShape" not in fields["midi_note"]
