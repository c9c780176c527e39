"""What tests of publishing share: a dataset whose presets are under licences of every kind."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import get_args

import pytest

from synthcore.ingest.collecting import ingest
from synthcore.pipeline import library
from synthcore.publishing import planning
from synthcore.publishing.folder import assemble, publication_of
from synthcore.publishing.planning import Form
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage import PublishedFormat
from synthcore.storage.collection import write_collection
from synthcore.vital.controls import Registry
from tests.conftest import Made, make_dataset

#: What the source of each preset states.
STATED = {
    "sound 0.vital": "CC-BY-4.0",
    "sound 1.vital": "CC-BY-SA-4.0",
    "sound 2.vital": "CC-BY-ND-4.0",
    "sound 3.vital": "none stated",
    "sound 4.vital": "MIT OR CC-BY-NC-4.0",
    "sound 5.vital": "free for <b>all</b>",
    "still.vital": "CC0-1.0",
}


@pytest.fixture(scope="session")
def licensed(preset_folder, registry, once) -> Made:
    """Rows of presets that may be shared and of some that may not, of variations of them, and four synthetic ones."""
    return once("licensed", partial(_make_licensed, preset_folder, registry))


def _make_licensed(preset_folder: Path, registry: Registry, data_dir: Path) -> Made:
    collection, _ = ingest([preset_folder], registry, check=False, workers=2)
    presets = tuple(dataclasses.replace(preset, licence=STATED[preset.file]) for preset in collection.presets)
    collection = dataclasses.replace(collection, presets=presets)
    write_collection(data_dir / "presets.h5", collection)
    library.given_collection(data_dir / "presets.h5", data_dir)
    audio = AudioSpec(sample_rate=22050, notes=(48,), note_seconds=0.25, render_seconds=0.4)
    spec = DatasetSpec(
        tier=3, priors="uniform", n_samples=4, audio=audio, variations=8, presets_digest=collection.digest
    )
    return make_dataset(spec, data_dir, collection)


def publish_in(
    folder: Path, made: Made, licence: str | None = "CC0-1.0", form: PublishedFormat = "parquet", recipe: bool = False
) -> Path:
    """Publish a dataset with its card, without a workflow around it."""
    how = Form(format=form, audio="flac", licence=licence, file_bytes=1_000_000, recipe=recipe)
    planned = planning.plan(made.path, how, workers=2)
    refs = [planning.make(plan, folder / "data") for plan in planned.plans]
    assemble(publication_of(planned, refs), refs, made.path, folder / "data", folder / "out")
    return folder / "out"


@pytest.fixture(scope="session")
def published(licensed, once) -> dict[PublishedFormat, Path]:
    """That dataset as folders, in each format."""
    forms: tuple[PublishedFormat, ...] = get_args(PublishedFormat)
    return once("published", lambda folder: {form: publish_in(folder / form, licensed, form=form) for form in forms})
