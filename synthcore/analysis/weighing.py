"""Weighing: what probes measured, averaged over their bases and written into the dataset; the mean in a tier is 1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.distances import RESOLUTIONS
from synthcore.analysis.importance import (
    METHOD_VERSION,
    NOTE_SECONDS,
    OPTIONS,
    STEP,
    BaseResult,
    ProbeRef,
    ProbeResult,
    render_format,
)
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError
from synthcore.base.quantities import ends
from synthcore.engine.machine import engine
from synthcore.storage import weights
from synthcore.storage.dataset import Dataset
from synthcore.storage.weights import Weights
from synthcore.vital.controls import Control

SHOWN = 8  #: how many of the heaviest controls the text names


class WeightsResult(BaseModel):
    """What was weighed, and what came of it."""

    model_config = ConfigDict(frozen=True)

    file: str
    n_base: int
    base: str  # content digest of the dataset
    renders: int  # of all probes, cached ones included
    synth_cpu_seconds: float
    weights: dict[str, float]  # by control, heaviest first: continuous ones
    categorical: dict[str, float]  # and categorical ones
    inaudible: int  # controls of weight 0

    @property
    def headline(self) -> str:
        return f"weights of {Path(self.file).name} from {how_many(self.n_base, 'row')}"

    def to_text(self) -> str:
        """Describe it for a terminal."""
        controls = how_many(len(self.weights) + len(self.categorical), "control")
        lines = [f"{self.file}: {controls}, weighed at {how_many(self.n_base, 'row')}"]
        lines.append(f"  {how_many(self.renders, 'render')}, {self.synth_cpu_seconds:.0f} s inside the synth")
        lines.append(f"  {how_many(self.inaudible, 'control')} of weight 0: never varied, or never heard")
        for what, ranked in (("continuous", self.weights), ("categorical", self.categorical)):
            heaviest = ", ".join(f"{name} {weight:.2f}" for name, weight in list(ranked.items())[:SHOWN])
            lines.append(f"  {what:<12}{heaviest}")
        return "\n".join(lines) + "\n"


def store(file: Path, probes: Sequence[ProbeRef], data_dir: Path) -> WeightsResult:
    """Average what probes measured, and write it into the dataset, unless it is there already.

    Raises
    ------
    DatasetError
        No base could be rendered, or the file can't be written.
    """
    with Dataset(file) as dataset:
        found, stored, registry = weigh(dataset, probes, data_dir), dataset.weights, dataset.registry
    if stored is None or not found.is_same(stored):
        weights.write(file, found)
    of_continuous = _ranked(registry.continuous, found.continuous)
    of_categorical = _ranked(registry.categorical, found.categorical)
    return WeightsResult(
        file=str(file),
        n_base=found.method["n_base"],
        base=found.method["base"],
        renders=sum(ref.renders for ref in probes),
        synth_cpu_seconds=round(sum(ref.synth_cpu_seconds for ref in probes), 1),
        weights=of_continuous,
        categorical=of_categorical,
        inaudible=sum(not weight for weight in (*of_continuous.values(), *of_categorical.values())),
    )


def _ranked(controls: Sequence[Control], weights_of: NDArray[np.float32]) -> dict[str, float]:
    pairs = zip((control.name for control in controls), weights_of.tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


def weigh(dataset: Dataset, probes: Sequence[ProbeRef], data_dir: Path) -> Weights:
    """Average what probes measured.

    Raises
    ------
    DatasetError
        No base could be rendered.
    """
    found = [base for ref in probes for base in _read(data_dir / ref.name).bases]
    bases = [base for base in found if base.moved is not None]
    if not bases:
        raise DatasetError(f"{dataset.path}: none of {how_many(len(found), 'row')} could be rendered again")
    registry, tier = dataset.registry, dataset.spec.tier
    continuous = _scaled(bases, registry.continuous, tier)
    categorical = _scaled(bases, registry.categorical, tier)
    return Weights(
        continuous=continuous.weights,
        categorical=categorical.weights,
        continuous_error=continuous.errors,
        categorical_error=categorical.errors,
        method=_method(dataset, found, {"continuous_db": continuous.scale, "categorical_db": categorical.scale}),
    )


class _Scaled(NamedTuple):
    """Mean distances and their standard errors, divided by the mean over a tier's controls."""

    weights: NDArray[np.float32]
    errors: NDArray[np.float32]
    scale: float  # in dB


def _scaled(bases: Sequence[BaseResult], controls: Sequence[Control], tier: int) -> _Scaled:
    mean, error = _mean_and_error(np.array([_row_of(base, controls) for base in bases]))
    scale = float(mean[[control.tier <= tier for control in controls]].mean()) or 1.0
    return _Scaled((mean / scale).astype("f4"), (error / scale).astype("f4"), scale)


def _read(path: Path) -> ProbeResult:
    return ProbeResult.model_validate_json(path.read_bytes())


def _row_of(base: BaseResult, controls: Sequence[Control]) -> list[float]:
    """Give a base's distance for each control; 0 if none was rendered because it can't be heard, NaN if it was lost."""
    moved, lost = base.moved or {}, set(base.lost)
    return [float("nan") if control.name in lost else moved.get(control.name, 0.0) for control in controls]


def _mean_and_error(distances: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the mean over the bases and its standard error; NaN counts as missing, a single base has no error."""
    there = np.isfinite(distances)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, distances, 0).sum(axis=0) / count
    squares = np.where(there, (distances - mean) ** 2, 0).sum(axis=0)
    return mean, np.sqrt(squares / np.maximum(count - 1, 1) / count)


def _method(dataset: Dataset, found: Sequence[BaseResult], scales: Mapping[str, float]) -> dict[str, Any]:
    fmt, (_, longest) = render_format(dataset.spec), ends(dataset.spec.audio.note_seconds)
    return {
        "version": METHOD_VERSION,
        "base": dataset.digest,
        "n_base": sum(base.moved is not None for base in found),
        "bases_lost": sum(base.moved is None for base in found),
        "controls_lost": sum(len(base.lost) for base in found),
        "step": STEP,
        "options": OPTIONS,
        "distance": f"mean difference of log-mel levels in dB, windows and bands {json.dumps(RESOLUTIONS)}",
        "note_seconds": min(NOTE_SECONDS, longest) if dataset.spec.tier == 1 else longest,
        "render_seconds": fmt.render_seconds,
        "engine_fingerprint": engine().fingerprint,
        **scales,
    }
