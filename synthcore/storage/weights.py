"""Importance weights in a dataset: written in place, into what merging reserved, and carried over when merging again.

A crash while writing leaves a file that reads as before, with its weights marked absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import DatasetError
from synthcore.base.hashing import canonical_json
from synthcore.storage.opening import flush, open_file
from synthcore.vital.controls import Registry

GROUP = "importance_weights"
Status = Literal["absent", "complete", "stale"]


@dataclass(frozen=True, eq=False)
class Weights:
    """How much each control changes the sound.

    Attributes
    ----------
    continuous : ndarray, shape (322,), float32
        In the order of `params/continuous`; mean 1 over the controls of the dataset's tier, 0 for what can't be heard.
    categorical : ndarray, shape (126,), float32
        In the order of `params/categorical`, likewise.
    continuous_error, categorical_error : ndarray, float32
        Standard error of each.
    method : mapping
        How they were measured: `n_base` rows of the dataset with the digest `base`, and so on.
    status : str
        `complete`, or `stale` if the dataset has changed since.
    """

    continuous: NDArray[np.float32]
    categorical: NDArray[np.float32]
    continuous_error: NDArray[np.float32]
    categorical_error: NDArray[np.float32]
    method: Mapping[str, Any]
    status: Status = "complete"

    def is_same(self, other: Weights) -> bool:
        """Whether two are the same, status and method included."""
        same = all(np.array_equal(values, other.arrays[name]) for name, values in self.arrays.items())
        return same and (self.status, self.method) == (other.status, other.method)

    def to_fields(self) -> dict[str, Any]:
        """Write them as JSON can hold them."""
        arrays = {name: values.tolist() for name, values in self.arrays.items()}
        return {**arrays, "method": dict(self.method), "status": self.status}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Weights:
        """Undo `to_fields`.

        Raises
        ------
        KeyError, TypeError, ValueError
            They are other fields.
        """
        return cls(
            continuous=np.array(fields["weights"], dtype=np.float32),
            categorical=np.array(fields["categorical"], dtype=np.float32),
            continuous_error=np.array(fields["weights_error"], dtype=np.float32),
            categorical_error=np.array(fields["categorical_error"], dtype=np.float32),
            method=dict(fields["method"]),
            status=fields["status"],
        )

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What is stored, by dataset."""
        return {
            "weights": self.continuous,
            "weights_error": self.continuous_error,
            "categorical": self.categorical,
            "categorical_error": self.categorical_error,
        }


def reserve(file: h5py.File, registry: Registry) -> None:
    """Reserve the importance weights: contiguous, of their final size, marked absent.

    So they can be filled in later without changing the file's structure.
    """
    group = file.create_group(GROUP)
    for name, controls in (("weights", registry.continuous), ("categorical", registry.categorical)):
        group.create_dataset(name, data=np.full(len(controls), np.nan, dtype="<f4"))
        group.create_dataset(f"{name}_error", data=np.full(len(controls), np.nan, dtype="<f4"))
    group.create_dataset("status", data=np.array(b"absent", dtype="S16"))
    group.create_dataset("method", data=np.array(b"", dtype="S4096"))  # JSON, once there are weights


def read(file: h5py.File) -> Weights | None:
    """The weights that a file holds; None if they are absent."""
    status = read_status(file)
    if status == "absent":
        return None
    group = file[GROUP]
    return Weights(
        continuous=group["weights"][:],
        categorical=group["categorical"][:],
        continuous_error=group["weights_error"][:],
        categorical_error=group["categorical_error"][:],
        method=json.loads(group["method"][()]),
        status=status,
    )


def read_status(file: h5py.File) -> Status:
    """Whether a file holds weights."""
    stored = file.get(f"{GROUP}/status")
    status: Status = stored[()].decode() if stored is not None else "absent"
    return status


def require_reserved(path: Path) -> None:
    """Refuse a file that weights can't be written into.

    Raises
    ------
    DatasetError
        It is a shard, or not a dataset.
    FileUnavailable
        Another program has it open, or it may not be written.
    """
    with _opened(path) as file:
        _reserved(file, path)


def write(path: Path, weights: Weights) -> None:
    """Write weights into a dataset, in place. Its size and its structure stay as they are.

    Raises
    ------
    DatasetError
        It is a shard, or not a dataset.
    FileUnavailable
        Another program has it open, or it may not be written.
    """
    with _opened(path) as file:
        _put(_reserved(file, path), weights)


def fill(file: h5py.File, weights: Weights) -> None:
    """Write weights into a file that is being made, which has reserved them."""
    _put(file[GROUP], weights)


def carry_over(old: h5py.File, new: h5py.File) -> str:
    """Take over the weights of the file that a merge replaces; they are stale if they are of other rows.

    Returns
    -------
    str
        Why they are left behind, such as "another spec"; empty if they are taken over, or if there are none.
    """
    weights = read(old)
    if weights is None:
        return ""
    parts = {"spec_fingerprint": "spec", "engine_fingerprint": "engine", "priors_digest": "priors"}
    changed = [part for name, part in parts.items() if old["schema"].attrs[name] != new["schema"].attrs[name]]
    if changed:
        return " and ".join(f"another {part}" for part in changed)
    is_same = weights.method["base"] == new["schema"].attrs["content_digest"]
    _put(new[GROUP], replace(weights, status="complete" if is_same else "stale"))
    return ""


def _put(group: h5py.Group, weights: Weights) -> None:
    _mark(group, "absent")
    for name, values in weights.arrays.items():
        group[name][...] = values
    group["method"][...] = np.array(canonical_json(weights.method).encode(), dtype=group["method"].dtype)
    flush(group.file)
    _mark(group, weights.status)


def _mark(group: h5py.Group, status: Status) -> None:
    group["status"][...] = np.array(status.encode(), dtype=group["status"].dtype)
    flush(group.file)


def _reserved(file: h5py.File, path: Path) -> h5py.Group:
    if GROUP not in file:
        raise DatasetError(f"{path} is a shard, which has no weights; name the dataset that was merged from it")
    return file[GROUP]


def _opened(path: Path) -> h5py.File:
    try:
        return open_file(path, "r+")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "it is not a whole HDF5 file"
        raise DatasetError(f"can't write into {path}: {reason}") from error
