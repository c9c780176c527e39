"""Making a dataset file from its parts: rows that come in order from elsewhere, and all that is said of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError
from synthcore.engine.chunk import deflate
from synthcore.sources.base import Provenance
from synthcore.storage import schema, weights
from synthcore.storage.dense import DENSE, to_dense
from synthcore.storage.opening import new_file
from synthcore.storage.weights import Weights
from synthcore.vital.classes import Classes

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Contents:
    """All of a dataset but its rows.

    Attributes
    ----------
    header : schema.Header
    rules : mapping
        By which the derived columns were made, as `Dataset.rules` gives them.
    columns : sequence of str
        The short names of the rows' columns; those that merging derives needn't all be there.
    classes : Classes
    asset_names : sequence of str
        The SHA-256 of each asset that rows play.
    assets : iterable of (str, bytes)
        Those that are there: all, unless it is a recipe.
    sources : sequence of Provenance
    rejections : mapping of str to ndarray
        By column of `schema.REJECTIONS`.
    weights : Weights, optional
    has_audio : bool
        False makes a recipe.
    is_rounded : bool
        Whether the audio was rounded to 24 bits.
    """

    header: schema.Header
    rules: Mapping[str, Any]
    columns: Sequence[str]
    classes: Classes
    asset_names: Sequence[str]
    assets: Iterable[tuple[str, bytes]]
    sources: Sequence[Provenance]
    rejections: Columns
    weights: Weights | None
    has_audio: bool
    is_rounded: bool


class DatasetWriter:
    """A dataset file that is being filled, from the first row to the last."""

    def __init__(self, file: h5py.File, contents: Contents, rows: int) -> None:
        self.file, self._contents, self._rows = file, contents, rows
        header = contents.header
        self._registry, self._is_dense = header.registry, header.spec.tier == 3
        derived = schema.derived_columns(self._registry)
        there = [column for column in derived if column.name.split("/")[1] in contents.columns]
        self._columns = (*schema.columns(self._registry), *there)
        self._digest = schema.ContentDigest(header.spec)
        self._written = self._exact_rows = 0
        schema.write_header(file, header)
        active = [control.name for control in (*self._registry.continuous, *self._registry.categorical)]
        file["schema"].attrs.update({**contents.rules, "active_names": active})
        if contents.is_rounded:
            schema.write_rounding(file)
        shapes = schema.audio_shapes(header.spec, self._registry)
        kept = {name: shape for name, shape in shapes.items() if contents.has_audio or name != schema.AUDIO}
        schema.create_audio(file, kept, rows)
        schema.create_columns(file, self._columns, rows)

    def add(self, columns: Columns, chunks: Sequence[bytes]) -> None:
        """Write rows behind those that are there.

        Parameters
        ----------
        columns : mapping of str to ndarray, shape (B, ...)
            By their short names, such as `continuous`.
        chunks : sequence of bytes
            The audio of each, as `deflate` makes it; none in a recipe.

        Raises
        ------
        DatasetError
            A column is missing or of another shape, or there are more rows than were said.
        """
        labels = {column.name: _fitting(columns, column) for column in self._columns}
        start, stop = self._written, self._written + len(labels["metadata/midi_note"])
        if stop > self._rows:
            raise DatasetError(f"there are more than the {self._rows} rows that were said to be there")
        for name, values in labels.items():
            self.file[name][start:stop] = values
        for place, chunk in enumerate(chunks, start):
            self.file[schema.AUDIO].id.write_direct_chunk((place, 0, 0), chunk)
        if self._is_dense:
            for place, slots in enumerate(labels["params/modulation_slots"], start):
                dense = deflate(to_dense(slots, self._registry))
                self.file[DENSE].id.write_direct_chunk((place, 0, 0, 0), dense)
        self._digest.update(labels)
        self._exact_rows += schema.count_exact_rows(labels["params/exact_values"])
        self._written = stop

    def finish(self) -> str:
        """Write all the rest; return the content digest.

        Raises
        ------
        DatasetError
            There are fewer rows than were said.
        """
        if self._written < self._rows:
            raise DatasetError(f"there are {self._written} rows, and {self._rows} were said to be there")
        contents, digest = self._contents, self._digest.hexdigest()
        group = self.file.create_group("assets")
        for name, content in contents.assets:
            group.create_dataset(name, data=np.frombuffer(content, np.uint8), compression="gzip")
        schema.write_rejections(self.file, contents.rejections)
        schema.write_asset_names(self.file, contents.asset_names)
        schema.write_exact_rows(self.file, self._exact_rows)
        schema.write_classes(self.file, contents.classes)
        schema.write_sources(self.file, contents.sources)
        weights.reserve(self.file, self._registry)
        if contents.weights:
            weights.fill(self.file, contents.weights)
        self.file["schema"].attrs["content_digest"] = digest
        return digest


@contextlib.contextmanager
def dataset_file(output: Path, contents: Contents, rows: int) -> Iterator[DatasetWriter]:
    """Make a dataset file, which gets its name when the block ends well; call `finish` in it.

    Raises
    ------
    DiskError
        The disk is full or the folder can't be written.
    """
    with atomic_path(output) as temporary, new_file(temporary) as file:
        yield DatasetWriter(file, contents, rows)


def _fitting(columns: Columns, column: schema.Column) -> NDArray[Any]:
    name = column.name.split("/")[1]
    if name not in columns:
        raise DatasetError(f"the rows have no column {name}")
    values = columns[name]
    if values.shape[1:] != column.shape:
        raise DatasetError(f"{name} has shape {values.shape[1:]} a row, and should have {column.shape}")
    return values.astype(column.dtype)
