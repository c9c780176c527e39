"""Features of one's own, and those of new sounds: what Python adds to `synthcore features`.

import synthcore

synthcore.features.add("data/train.h5", "envelope", lambda audio: abs(audio).max(axis=1)[:, ::441])
heard = synthcore.features.compute(audio, 44_100, Dataset("data/train.h5").features["log_mel"].spec)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.analysis.feature_specs import KINDS, LogMel, Sketch, spec_of
from synthcore.analysis.features import feature_of
from synthcore.base.errors import SpecError
from synthcore.pipeline.features import READ, map_rows
from synthcore.storage import features as file_format
from synthcore.storage.dataset import Dataset
from synthcore.storage.features import Feature, NewFeature
from synthcore.storage.opening import damage_named

__all__ = ["Feature", "LogMel", "Sketch", "add", "compute"]

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
Audio = NDArray[np.float32]


def add(path: str | Path, name: str, function: Callable[[Audio], NDArray[Any]], *, batch: int = READ) -> Feature:
    """Keep what a function computes of each row's audio in a dataset, as `features/NAME`.

    Nothing is written before all is computed: an error, or Ctrl-C, leaves the file as it was.

    Parameters
    ----------
    path : str or Path
        A merged dataset. A feature of that name is replaced.
    name : str
        Small letters, digits and underscores; not a part that batches have anyway.
    function : callable
        From audio of shape (B, 2, S), float32 at full scale 1, to an array of B rows: numbers of one shape and type.
    batch : int
        At most so many rows at a time.

    Returns
    -------
    Feature
        What the file says of it, such as its mean and deviation.

    Raises
    ------
    SpecError
        The name can't be used, or the function didn't return one row of numbers for each of its rows.
    DatasetError
        As `synthcore.storage.features.write`.
    FileUnavailable, DiskError
        The file can't be written.
    """
    path = Path(path).absolute()
    with damage_named(path):
        file_format.require_addable(path)
        _require_name(path, name)
    if batch < 1:
        raise SpecError(f"batch is {batch}; it must be at least 1")
    with Dataset(path) as dataset:
        values = map_rows(dataset, lambda audio: _checked(name, function(audio), len(audio)), batch)
        file_format.write(path, [NewFeature(name, {"kind": "function", "function": _name_of(function)}, values)])
    with Dataset(path) as dataset:
        return dataset.features[name]


def compute(audio: Audio, sample_rate: int, spec: LogMel | Sketch | Mapping[str, Any]) -> NDArray[Any]:
    """Compute a feature of a new sound, as the rows of a dataset have it.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
        Full scale is 1.
    sample_rate : int
        In Hz.
    spec : LogMel, Sketch or mapping
        How; a mapping is what a dataset says: `dataset.features["log_mel"].spec`.

    Raises
    ------
    SpecError
        It isn't how a known feature is computed, or it is of another sample rate.
    """
    if isinstance(spec, LogMel | Sketch):
        return feature_of(audio, sample_rate, spec)
    known = spec_of(spec)
    if known is None:
        raise SpecError(f"a feature of kind {spec.get('kind')!r} can't be computed by this synthcore")
    if spec["sample_rate"] != sample_rate:
        raise SpecError(f"the sound has {sample_rate} Hz, the feature is of {spec['sample_rate']} Hz: resample it")
    return feature_of(audio, sample_rate, known)


def _require_name(path: Path, name: str) -> None:
    with Dataset(path) as dataset:
        taken = (*dataset.column_names, "weights", "row", *KINDS)
    if not NAME.fullmatch(name) or name in taken:
        raise SpecError(
            f"a feature can't be called {name!r}: give it another name, of small letters, digits and underscores"
        )


def _checked(name: str, values: Any, rows: int) -> NDArray[Any]:
    found = np.asarray(values)
    if found.ndim < 1 or len(found) != rows or found.dtype.kind not in "fiub" or not found[0].size:
        raise SpecError(
            f"the function for {name} returned {found.dtype} of shape {found.shape} for {rows} rows; "
            "it must return numbers, one row for each"
        )
    return found


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
