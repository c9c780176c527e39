"""Features in a dataset: columns computed from the audio, one row to a chunk, uncompressed; and what is said of each.

They are added to a copy of the file, which then takes its name: so the file is whole at any moment, and whoever is
reading it goes on reading. Each feature states the content digest of the rows that it was made from. Of other rows it
is stale, which nobody has to write down: it follows from the digest that the file has by then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.addresses import Place
from synthcore.base.atomic import atomic_path
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, FileUnavailable
from synthcore.base.hashing import canonical_json
from synthcore.base.shell import command
from synthcore.storage import schema
from synthcore.storage.claims import claimed
from synthcore.storage.opening import copied_file, open_file

COLUMNS = "features"
SAID = "schema/features"
LEAST_CHUNK = 1_024  #: bytes; rows with fewer share a chunk, which takes some 100 bytes to be found
Status = Literal["complete", "stale"]
Values = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Feature:
    """What a file says of one feature.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of one row's.
    dtype : dtype
    spec : mapping
        How it is computed: `kind`, and the settings of that kind.
    status : str
        `complete`, or `stale`: made from other rows than the file has now.
    mean, deviation : ndarray, shape (B,) or (), float32
        By band, over the rows of `averaged_over`. The bands are the last axis but one of a row's values, or the only.
    averaged_over : str
        `train`, or `all` where the file has no rows to train with.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    spec: Mapping[str, Any]
    status: Status
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    averaged_over: str

    def normalised(self, values: Values, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Subtract each band's mean, and divide by its deviation unless that is 0: `values` has shape (B, *shape)."""
        bands = (*self.mean.shape, *(1,) * (len(self.shape) - 1 - _band_axis(self.shape)))
        divisor = np.where(self.deviation > 0, self.deviation, np.float32(1))
        result = np.subtract(values, self.mean.reshape(bands), out=out, dtype=np.float32)
        return np.divide(result, divisor.reshape(bands), out=result)

    @property
    def text(self) -> str:
        """Shape, type and status in a few words."""
        shape = " x ".join(map(str, self.shape)) or "1"
        return f"{self.name} ({shape}, {self.dtype}, {self.status})"


@dataclass(frozen=True)
class NewFeature:
    """A feature to be stored: its values come in batches, in the order of the rows, each of shape (rows, ...)."""

    name: str
    spec: Mapping[str, Any]
    batches: Iterable[Values]


def read(file: h5py.File) -> dict[str, Feature]:
    """What a file says of its features, by name."""
    rows, digest = file["metadata/midi_note"].shape[0], file["schema"].attrs["content_digest"]
    found = {}
    for name, said in file.get(SAID, {}).items():
        column = file[f"{COLUMNS}/{name}"]
        is_complete = said.attrs["made_from"] == digest and len(column) == rows
        found[name] = Feature(
            name=name,
            shape=tuple(column.shape[1:]),
            dtype=column.dtype,
            spec=json.loads(said.attrs["spec"]),
            status="complete" if is_complete else "stale",
            mean=said["mean"][()],
            deviation=said["deviation"][()],
            averaged_over=str(said.attrs["averaged_over"]),
        )
    return found


def require_complete(found: Mapping[str, Feature], path: Place, name: str) -> Feature:
    """The feature of a name, among those of a file.

    Raises
    ------
    DatasetError
        There is none, or it is stale.
    """
    if name not in found:
        there = f"it has {', '.join(found)}" if found else "it has no features"
        raise DatasetError(f"{path} has no feature {name}: {there}; {_remedy(path, name)}")
    if found[name].status == "stale":
        raise DatasetError(f"the feature {name} of {path} is stale: its rows have changed; {_remedy(path, name)}")
    return found[name]


def require_addable(path: Path) -> None:
    """Refuse a file that features can't be added to.

    Raises
    ------
    DatasetError
        It is a shard or a recipe, or has no rows.
    FileUnavailable
        It may not be written.
    """
    with open_file(path) as file:
        if schema.AUDIO not in file:
            raise DatasetError(f"{path} is a recipe, without audio; make it whole with synthcore render")
        if "metadata/split" not in file:
            raise DatasetError(f"{path} is a shard, which has no features; name the dataset that was merged from it")
        if not file[schema.AUDIO].shape[0]:
            raise DatasetError(f"{path} has no rows, so there is nothing to compute; generate some first")
    if not (os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)):
        raise FileUnavailable(f"can't write into {path}: it or its folder is read-only; change its permissions")


def write(path: Path, features: Sequence[NewFeature]) -> None:
    """Add features to a dataset, or replace those of the same names. A file that is being read stays readable.

    Raises
    ------
    DatasetError
        As `require_addable`; or a feature has other rows than the dataset, or a value that isn't finite.
    FileUnavailable
        It may not be written, or another program is writing into it.
    DiskError
        The disk is full: a copy of the file must fit.
    """
    path = path.resolve()  # what a link leads to gets the features; the link stays
    require_addable(path)
    # Held open, so that nobody can write into the file that is about to be replaced.
    with claimed(path), open_file(path), atomic_path(path) as temporary, copied_file(path, temporary) as file:
        for feature in features:
            _remove(file, feature.name)
            _put(file, path, feature)


def carry_over(old: h5py.File, new: h5py.File) -> tuple[str, ...]:
    """Take over the features of the file that a merge replaces, if it is of the same spec, whatever its size.

    Returns
    -------
    tuple of str
        The names of those that were complete, and aren't any longer: they are stale, or left behind.
    """
    there = read(old)
    if old["schema"].attrs["spec_fingerprint"] == new["schema"].attrs["spec_fingerprint"]:
        for name in there:
            for group in (COLUMNS, SAID):
                old.copy(f"{group}/{name}", new.require_group(group))
    now = read(new)
    return tuple(name for name, was in there.items() if was.status == "complete" and not _is_complete(now, name))


def forget(file: h5py.File) -> None:
    """Remove what a file says of features that it doesn't hold."""
    if SAID in file:
        del file[SAID]


def _is_complete(features: Mapping[str, Feature], name: str) -> bool:
    return name in features and features[name].status == "complete"


def _remedy(path: Place, name: str) -> str:
    flag = f"--{name.replace('_', '-')}"
    return f"{command('features', path, flag)} makes it" if name in ("log_mel", "sketch") else "add it again"


def _remove(file: h5py.File, name: str) -> None:
    """Remove a feature; what takes its place in the same session takes its bytes."""
    for group in (COLUMNS, SAID):
        if f"{group}/{name}" in file:
            del file[f"{group}/{name}"]


def _put(file: h5py.File, path: Path, feature: NewFeature) -> None:
    is_train = file["metadata/split"][:] == b"train"
    averaged_over = "train" if is_train.any() else "all"
    counted = is_train if is_train.any() else np.ones_like(is_train)
    column, sums, start = None, _Sums(), 0
    for values in feature.batches:
        if column is None:
            column = _create(file, feature.name, len(counted), values)
        stop = start + len(values)
        _require_fitting(path, feature.name, column, values, start)
        column[start:stop] = values
        sums.add(values[counted[start:stop]])
        start = stop
    if column is None or start != len(counted):
        raise DatasetError(f"{feature.name} has values for {how_many(start, 'row')} of {len(counted)} of {path}")
    said = file.create_group(f"{SAID}/{feature.name}")
    said.attrs["spec"] = canonical_json(feature.spec)
    said.attrs["made_from"] = file["schema"].attrs["content_digest"]
    said.attrs["averaged_over"] = averaged_over
    said["mean"], said["deviation"] = sums.mean_and_deviation()


def _create(file: h5py.File, name: str, rows: int, values: Values) -> h5py.Dataset:
    shape = values.shape[1:]
    high = 1 if values[0].nbytes >= LEAST_CHUNK else min(rows, schema.LABEL_CHUNK)
    dtype = values.dtype.newbyteorder("<")
    return file.create_dataset(f"{COLUMNS}/{name}", (rows, *shape), dtype, chunks=(high, *shape))


def _require_fitting(path: Path, name: str, column: h5py.Dataset, values: Values, start: int) -> None:
    """Refuse values of another shape or type than the first ones, of too many rows, or that aren't finite."""
    if (values.shape[1:], values.dtype) != (column.shape[1:], column.dtype) or start + len(values) > len(column):
        raise DatasetError(
            f"{name} for {path} gave {values.dtype} of shape {values.shape} from row {start} on; the first rows' is "
            f"{column.dtype} of shape {column.shape[1:]} for each of {how_many(len(column), 'row')}"
        )
    if not np.isfinite(values).all():
        row = start + int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0])
        raise DatasetError(f"{name} of row {row} of {path} holds NaN or infinity; a feature must be finite")


def _band_axis(shape: tuple[int, ...]) -> int:
    """Which axis of a row's values is that of the bands: the last but one, or the only one."""
    return max(0, len(shape) - 2)


class _Sums:
    """Mean and deviation by band, of values that come in batches."""

    def __init__(self) -> None:
        self.count = 0
        self.total: NDArray[np.float64] = np.zeros(())
        self.squares: NDArray[np.float64] = np.zeros(())

    def add(self, values: Values) -> None:
        """Count in some rows, shape (R, ...)."""
        wide = values.astype(np.float64)
        kept = 1 + _band_axis(values.shape[1:])
        axes = tuple(axis for axis in range(values.ndim) if axis != kept)
        self.total = self.total + wide.sum(axis=axes)
        self.squares = self.squares + np.square(wide).sum(axis=axes)
        self.count += wide.size // (wide.shape[kept] if values.ndim > 1 else 1)

    def mean_and_deviation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both of shape (bands,), or () of values that are single numbers."""
        mean = np.asarray(self.total / self.count)
        variance = np.asarray(np.maximum(self.squares / self.count - mean**2, 0))
        return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)
