"""The file of a recipe: a dataset's, without audio and without some of its assets; and the way back to the whole.

Features aren't part of a recipe: they are made of the audio, and are made of it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from synthcore.base.atomic import atomic_path
from synthcore.engine.chunk import deflate
from synthcore.engine.machine import engine
from synthcore.engine.rendering import RenderedRow
from synthcore.spec import CLIPS_ABOVE
from synthcore.storage import features, schema
from synthcore.storage.dataset import Dataset
from synthcore.storage.dense import DENSE
from synthcore.storage.opening import new_file, open_file


def write(dataset: Dataset, assets: Mapping[str, bytes], output: Path) -> None:
    """Write a dataset without its audio, and with these assets alone.

    Raises
    ------
    SynthcoreError
        The disk is full or the folder can't be written.
    """
    with atomic_path(output) as temporary, new_file(temporary) as file:
        _copy(dataset, file, leave_out={schema.AUDIO, "assets", features.COLUMNS})
        features.forget(file)
        _write_assets(file, assets)


class Restoring:
    """A dataset being made from its recipe."""

    def __init__(self, file: h5py.File, recipe: Dataset) -> None:
        self.differing: list[int] = []
        self._file, self._recipe = file, recipe
        self._stated = recipe.column("audio_sha256")

    def put(self, place: int, row: RenderedRow) -> None:
        """Store one row's audio; where it differs from the recipe's, describe it anew."""
        self._file[schema.AUDIO].id.write_direct_chunk((place, 0, 0), row.chunk)
        if row.audio_sha256.encode() != self._stated[place]:
            self.differing.append(place)
            self._file["metadata/audio_sha256"][place] = row.audio_sha256.encode()
            self._file["metadata/rms_dbfs"][place] = row.rms_dbfs
            self._file["metadata/peak"][place] = row.peak
            if "metadata/clips" in self._file:  # only since synthcore keeps what clips
                self._file["metadata/clips"][place] = row.peak > CLIPS_ABOVE

    def finish(self) -> None:
        """Bring the header up to date: the engine and the content digest that the file has now."""
        schema.forget_rounding(self._file)
        if not self.differing:
            return
        here, digest = engine(), schema.ContentDigest(self._recipe.spec)
        digest.update({f"metadata/{part}": self._file[f"metadata/{part}"][:] for part in digest.parts})
        self._file["schema"].attrs.update(
            {
                "vita_version": here.vita,
                "engine": here.to_json(),
                "engine_fingerprint": here.fingerprint,
                "content_digest": digest.hexdigest(),
            }
        )


@contextlib.contextmanager
def restoring(recipe: Dataset, assets: Mapping[str, bytes], output: Path) -> Iterator[Restoring]:
    """Make a dataset from its recipe and all its assets; the file gets its name when the block ends well.

    Raises
    ------
    SynthcoreError
        The disk is full or the folder can't be written.
    """
    with atomic_path(output) as temporary, new_file(temporary) as file:
        _copy(recipe, file, leave_out={"assets"})
        _write_assets(file, {name: assets[name] for name in recipe.asset_names})
        shapes = schema.audio_shapes(recipe.spec, recipe.registry)
        schema.create_audio(file, {schema.AUDIO: shapes[schema.AUDIO]}, len(recipe))
        under_way = Restoring(file, recipe)
        yield under_way
        under_way.finish()


def _copy(dataset: Dataset, file: h5py.File, leave_out: set[str]) -> None:
    """Copy all that isn't left out; what a dataset only refers to is copied as well."""
    with open_file(dataset.local_path) as source:
        views = {name for name in (schema.AUDIO, DENSE) if name in source and source[name].is_virtual}
        for group in source:
            if group in leave_out:
                continue
            if not any(name.startswith(f"{group}/") for name in leave_out | views):
                source.copy(group, file)
                continue
            file.create_group(group)
            for name in (f"{group}/{leaf}" for leaf in source[group]):
                if name not in leave_out | views:
                    source.copy(name, file[group])
    for name in views - leave_out:
        _copy_rows(dataset, file, name)


def _copy_rows(dataset: Dataset, file: h5py.File, name: str) -> None:
    """Copy a large column row by row, from wherever its rows lie."""
    short = name.split("/")[1]
    schema.create_audio(file, {name: schema.audio_shapes(dataset.spec, dataset.registry)[name]}, len(dataset))
    for row in range(len(dataset)):
        (values,) = dataset.column(short, [row])
        file[name].id.write_direct_chunk((row, *(0,) * values.ndim), deflate(values))


def _write_assets(file: h5py.File, assets: Mapping[str, bytes]) -> None:
    group = file.create_group("assets")
    for name, content in assets.items():
        group.create_dataset(name, data=np.frombuffer(content, np.uint8), compression="gzip")
