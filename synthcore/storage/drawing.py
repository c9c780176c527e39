"""What the synthetic rows of a file were drawn from: the ranges of their controls, the priors, the libraries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
from pydantic import BaseModel, ConfigDict

from synthcore.sources.priors import Marginal, Priors


class StoredPriors(BaseModel):
    """What each varied control was drawn from: a range in the control's units, or the allowed option indices."""

    model_config = ConfigDict(frozen=True)

    continuous: dict[str, tuple[float, float]]
    categorical: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, drawn: Sequence[Marginal]) -> StoredPriors:
        """What these marginals draw from."""
        return cls(
            continuous={m.control.name: (m.low, m.high) for m in drawn if not m.control.is_categorical},
            categorical={m.control.name: tuple(map(int, m.allowed)) for m in drawn if m.control.is_categorical},
        )


@dataclass(frozen=True)
class Drawing:
    """What the synthetic rows of a file were drawn from, and with which libraries."""

    priors: StoredPriors
    drawn_from: Priors
    drawn_with: Mapping[str, str]


def read_priors(file: h5py.File) -> StoredPriors:
    """What the synthetic rows were drawn from."""
    return StoredPriors.model_validate_json(file["schema"].attrs["priors"])


def read_drawing(file: h5py.File) -> Drawing:
    """What the synthetic rows were drawn from, and with which libraries."""
    header = file["schema"].attrs
    return Drawing(read_priors(file), read_drawn_from(file), dict(json.loads(header["drawn_with"])))


def read_drawn_from(file: h5py.File) -> Priors:
    """The set of priors itself; of a file from before it was kept, its digest alone."""
    digest = str(file["schema"].attrs["priors_digest"])
    if "drawn_from" not in file["schema"]:
        return Priors(name="", digest=digest)
    return Priors.model_validate_json(bytes(file["schema/drawn_from"][:])).model_copy(update={"digest": digest})
