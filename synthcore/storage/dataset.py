"""Reading: a shard or a merged dataset, by row, slice, batch or column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.addresses import Place, local, place_of
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError
from synthcore.engine.machine import Engine
from synthcore.engine.rendering import Performance
from synthcore.sources.base import Provenance
from synthcore.sources.splits import SHARES, Split
from synthcore.spec import DatasetSpec
from synthcore.storage import features, schema, weights
from synthcore.storage.dense import DENSE
from synthcore.storage.drawing import Drawing, StoredPriors, read_drawing, read_priors
from synthcore.storage.features import Feature
from synthcore.storage.labels import LABEL_COLUMNS, patch_at
from synthcore.storage.older import classes_of, has_exact_values
from synthcore.storage.reader import Reader, Rows
from synthcore.storage.rows import require_written
from synthcore.storage.selection import Row, Selection
from synthcore.storage.weights import Status, Weights
from synthcore.vital.classes import Classes
from synthcore.vital.controls import Registry
from synthcore.vital.patch import LABELS, Patch


class Dataset:
    """A dataset file, open for reading.

    Indexing with a number gives one row, with a slice or a list of numbers a batch; both are dictionaries of
    arrays under short names: `audio` (2, S) float32 at full scale 1, `continuous` (322,) float32 unit values,
    `categorical` (126,) int32, `modulation_slots` (64, 7) float32, `midi_note` and so on. A batch has one more axis in
    front.

    Parameters
    ----------
    path : str, Path or Address
        The file; or its address, such as s3://bucket/demo.h5 or https://example.org/demo.h5, which takes `pip install
        'synthcore[remote]'`. Each process opens it for itself: an instance can be pickled, and used after a fork.

    Attributes
    ----------
    path : Path or Address
        As text, an address has no password and no signature.

    Raises
    ------
    DatasetError
        The file is missing, not HDF5, truncated, or of another schema version. Reading raises it as well, where a row
        can't be read: zeros never stand in for one.
    FileUnavailable
        Another program is writing it, or it may not be read; or, of an address, its server doesn't answer.
    """

    def __init__(self, path: str | Place) -> None:
        place = place_of(path)
        self.path = place.absolute() if isinstance(place, Path) else place
        self._reader = Reader(self.path)

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Using the dataset afterwards raises ValueError."""
        self._reader.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_reader": self._reader}  # what else was read is read again

    @property
    def local_path(self) -> Path:
        """The file on this machine.

        Raises
        ------
        SpecError
            It is behind an address.
        """
        return local(self.path)

    @property
    def _file(self) -> h5py.File:
        return self._reader.file

    def __len__(self) -> int:
        return len(self._reader)

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}: {how_many(len(self), 'row')}, tier {self.spec.tier})"

    def __getitem__(self, rows: int | Rows) -> Row:
        if isinstance(rows, int | np.integer):
            place = np.array([self._place(rows)])
            return {short: self._reader.read_rising(name, place)[0] for short, name in self._names.items()}
        return {short: self._reader.read(name, rows) for short, name in self._names.items()}

    def __iter__(self) -> Iterator[Row]:
        return (self[i] for i in range(len(self)))

    def batches(self, size: int) -> Iterator[Row]:
        """Iterate over consecutive batches of `size` rows; the last may be smaller."""
        return (self[start : start + size] for start in range(0, len(self), size))

    @cached_property
    def spec(self) -> DatasetSpec:
        """The choices that the dataset was made from."""
        return schema.read_spec(self._file)

    @cached_property
    def registry(self) -> Registry:
        """The controls of the synth it was made with."""
        return schema.read_registry(self._file)

    @cached_property
    def engine(self) -> Engine:
        """What its audio was made with."""
        return Engine(**json.loads(self._file["schema"].attrs["engine"]))

    @property
    def digest(self) -> str:
        """The content digest that the file states; `synthcore verify --all` proves it."""
        return str(self._file["schema"].attrs["content_digest"])

    @property
    def size(self) -> int:
        """How many bytes the file has, without those of shards that it refers to."""
        return int(self._file.id.get_filesize())

    @property
    def version(self) -> str:
        """The schema's version."""
        return str(self._file["schema"].attrs["version"])

    @property
    def rules(self) -> dict[str, Any]:
        """Versions and digests of the rules by which merging made columns from the labels; empty in a shard."""
        header = self._file["schema"].attrs
        return {name: np.asarray(header[name]).item() for name in schema.RULES if name in header}

    @property
    def is_recipe(self) -> bool:
        """Whether the file lacks audio and other people's assets; `synthcore render` makes it whole."""
        return schema.AUDIO not in self._file

    @property
    def is_rounded(self) -> bool:
        """Whether the audio was rounded to 24 bits: the file was imported from FLAC."""
        return schema.is_rounded(self._file)

    @cached_property
    def assets(self) -> Mapping[str, bytes]:
        """Every wavetable, LFO set, sample and curve used, by SHA-256; of a recipe, those that it holds."""
        return {name: content for name in self.asset_names if (content := self.asset(name)) is not None}

    def asset(self, name: str) -> bytes | None:
        """One asset by its SHA-256; None if a recipe leaves it out."""
        held = self._file["assets"]
        return bytes(require_written(held[name])[:]) if name in held else None

    def assets_of(self, patch: Patch) -> dict[str, bytes]:
        """Read the assets that a patch plays, which takes less time than all; of a recipe, those that it holds."""
        return {name: content for name in patch.asset_names if (content := self.asset(name)) is not None}

    @property
    def missing_assets(self) -> list[str]:
        """The SHA-256 of each asset that a recipe leaves out."""
        return [name for name in self.asset_names if name not in self._file["assets"]]

    @cached_property
    def priors(self) -> StoredPriors:
        """What each varied control was drawn from."""
        return read_priors(self._file)

    @cached_property
    def drawing(self) -> Drawing:
        """The priors that its synthetic patches were drawn from, and the libraries, with their versions."""
        return read_drawing(self._file)

    @property
    def shapes(self) -> dict[str, list[int]]:
        """The shape of every column."""
        return {name: list(self._file[name].shape) for name in self._names.values() if name in self._file}

    @property
    def metadata_names(self) -> tuple[str, ...]:
        """The columns that say where a row comes from and how it measures."""
        return tuple(short for short, name in self._names.items() if name.startswith("metadata/"))

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names under which a row holds its parts."""
        return tuple(self._names)

    def column(self, name: str, rows: Rows = slice(None), out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read one column, by default all of it; `name` is one of `column_names`.

        Parameters
        ----------
        name : str
        rows : slice, sequence of int or of bool
        out : ndarray, optional
            Where to put it: contiguous, of the shape and dtype that would be returned.

        Raises
        ------
        KeyError
            There is no such column.
        ValueError
            `out` isn't such an array.
        """
        return self._reader.read(self._names[name], rows, out)

    def split(self, name: Split) -> Selection:
        """The rows of one split: "train", "val" or "test".

        Everything made from one preset is in the same split. See `docs/format.md`.

        Raises
        ------
        DatasetError
            The file has no splits: it is a shard, or an older synthcore merged it; or there is no such split.
        """
        if "split" not in self._names:
            raise DatasetError(f"{self.path} has no splits: they are made when shards are merged; generate it again")
        if name not in SHARES:
            raise DatasetError(f"there is no split {name!r}; there are {', '.join(SHARES)}")
        return Selection(self, np.flatnonzero(self.column("split") == name.encode()))

    def columns(self, tier: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which columns of `continuous` and of `categorical` vary at a tier: 1, 2 or 3, more of the synth at each.

        A dataset also holds the labels of every lower tier: these columns of its own.

        Raises
        ------
        DatasetError
            The dataset's own tier is lower.
        """
        if not 1 <= tier <= self.spec.tier:
            raise DatasetError(f"{self.path} is of tier {self.spec.tier}: it has no labels of tier {tier}")
        registry = self.registry
        continuous, categorical = ([c.tier <= tier for c in cs] for cs in (registry.continuous, registry.categorical))
        return np.flatnonzero(continuous), np.flatnonzero(categorical)

    def control_names(self, tier: int) -> tuple[str, ...]:
        """Names of the controls that `columns` selects, continuous ones first."""
        continuous, categorical = self.columns(tier)
        names = [self.registry.continuous[i].name for i in continuous]
        return (*names, *(self.registry.categorical[i].name for i in categorical))

    def patch(self, row: int) -> Patch:
        """The patch of one row, from its stored label."""
        place = self._place(row)
        return next(self.patches(place, place + 1))

    def patches(self, start: int, stop: int) -> Iterator[Patch]:
        """The patches of consecutive rows, from their stored labels.

        Raises
        ------
        DatasetError
            A label refers to an asset that the file doesn't hold.
        """
        labels = {name: self._reader.read(name, slice(start, stop)) for name in LABEL_COLUMNS}
        held, classes = set(self.asset_names), self.classes
        for place in range(len(labels["params/continuous"])):
            row = start + place
            try:
                patch = patch_at(labels, place, classes)
            except IndexError as error:
                raise DatasetError(f"{self.path}: row {row} refers to a class that isn't there: {error}") from error
            if not held.issuperset(patch.asset_names):
                raise DatasetError(f"{self.path}: row {row} refers to an asset that isn't there")
            yield patch

    def performances(self, rows: Rows) -> tuple[Performance, ...]:
        """How rows are played: note, velocity and how long the note is held. The tempo is in their patches."""
        parts = (self.column(name, rows).tolist() for name in ("midi_note", "velocity", "note_seconds"))
        return tuple(map(Performance, *parts))

    def rejections(self) -> dict[str, NDArray[Any]]:
        """The refused candidates, by column: source, patch_index, attempt, midi_note, reason, and so on."""
        return {c.name.split("/")[1]: self._reader.column(c.name)[:] for c in schema.REJECTIONS}

    def sources(self) -> list[Provenance]:
        """The presets that rows and rejections descend from, with repository, commit, licence, author and file."""
        return schema.read_sources(self._file)

    @property
    def shard_files(self) -> list[Path]:
        """The shards that hold its audio; none if it does itself."""
        return self._reader.shard_files

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """Patches that the dataset lacks, with source, first_patch, patches and reason; none if it is whole."""
        return schema.read_gaps(self._file)

    @property
    def weights_status(self) -> Status:
        """Whether the file holds importance weights: `absent`, `complete`, or `stale` when its rows have changed."""
        return weights.read_status(self._file)

    @property
    def weights(self) -> Weights | None:
        """How much each control changes the sound, for a training loss; None before `synthcore compute-weights`."""
        return weights.read(self._file)

    def importance_weights(self) -> dict[str, tuple[float, float]]:
        """Each control's importance weight and its standard error, by name; empty if the file has no weights."""
        if (found := self.weights) is None:
            return {}
        names = [c.name for c in (*self.registry.continuous, *self.registry.categorical)]
        weights_of_all = np.concatenate([found.continuous, found.categorical]).tolist()
        errors = np.concatenate([found.continuous_error, found.categorical_error]).tolist()
        return dict(zip(names, zip(weights_of_all, errors, strict=True), strict=True))

    @cached_property
    def features(self) -> Mapping[str, Feature]:
        """What the file says of each of its features: columns computed from its audio. See `feature`."""
        return features.read(self._file)

    def feature(self, name: str, rows: Rows = slice(None), out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read one feature as `column` reads a column, by default all of it.

        Raises
        ------
        DatasetError
            There is no such feature, or it is stale: made from other rows than the file has now.
        """
        self.require_feature(name)
        return self._reader.read(f"{features.COLUMNS}/{name}", rows, out)

    def require_feature(self, name: str) -> Feature:
        """What the file says of a feature that can be read.

        Raises
        ------
        DatasetError
            There is none, or it is stale.
        """
        return features.require_complete(self.features, self.path, name)

    @cached_property
    def asset_names(self) -> list[str]:
        """The SHA-256 of each asset that rows play."""
        return schema.read_asset_names(self._file)

    @cached_property
    def classes(self) -> Classes:
        """What the numbers in `wavetables` and `extras` mean, and what wavetables are called."""
        return classes_of(self._file)

    @property
    def varied_labels(self) -> tuple[str, ...]:
        """Those of `LABELS` that `Patch.from_vectors` needs for any row; the others are as in the init preset."""
        is_varied = {
            "modulation_slots": self.spec.kind in ("tier-2-fixed", "tier-3"),
            "wavetables": self.spec.varied_oscillators > 0,
            "extras": any(len(hashes) > 1 for hashes in self.classes.extras),
            "exact_values": has_exact_values(self._file),
        }
        return tuple(name for name in LABELS if is_varied.get(name, True))

    @cached_property
    def _names(self) -> dict[str, str]:
        names = [c.name for c in schema.columns(self.registry)]
        names += [c.name for c in schema.derived_columns(self.registry) if c.name in self._file]
        names += [DENSE] if DENSE in self._file else []
        audio = {} if self.is_recipe else {"audio": schema.AUDIO}
        return audio | {name.split("/")[1]: name for name in names}

    def _place(self, row: int) -> int:
        place = int(row) + len(self) if row < 0 else int(row)
        if not 0 <= place < len(self):
            raise IndexError(f"row {row} is out of range: {self.path} has rows 0 to {len(self) - 1}")
        return place
