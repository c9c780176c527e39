"""Datasets of (audio, parameters) pairs for inverse synthesis with Vital, proven bit for bit.

What a user needs is here under its own name; the rest has its module. Names are imported on first use, because the
zygote imports this package too and must stay small. The flows are the one thing here that lies above this package, and
Prefect is imported only when one is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthcore import features
    from synthcore.analysis.differences import diff
    from synthcore.analysis.distances import distance
    from synthcore.base.errors import SynthcoreError
    from synthcore.engine.rendering import Performance
    from synthcore.evaluation.labels import label_errors, label_errors_up_to_equivalences
    from synthcore.evaluation.matching import match
    from synthcore.evaluation.sounds import find_sounds
    from synthcore.flows.compare_datasets import compare
    from synthcore.flows.compute_features import compute_features
    from synthcore.flows.compute_weights import compute_weights
    from synthcore.flows.discover_wavetables import discover_wavetables
    from synthcore.flows.download_presets import download_presets
    from synthcore.flows.evaluate_answers import evaluate
    from synthcore.flows.fit_priors import fit_priors
    from synthcore.flows.generate import generate
    from synthcore.flows.import_dataset import import_dataset
    from synthcore.flows.ingest_presets import ingest_presets
    from synthcore.flows.inspect_dataset import inspect_dataset as inspect
    from synthcore.flows.publish_dataset import publish
    from synthcore.flows.verify import verify
    from synthcore.playback import render, render_many
    from synthcore.publishing.samples import read_sample
    from synthcore.settings.generate import RunSettings
    from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec
    from synthcore.storage.dataset import Dataset
    from synthcore.storage.predictions import Predictions
    from synthcore.training.batches import Examples, Order
    from synthcore.training.torch import BatchLoader, BatchStream, RowDataset, ShuffledBatches, collate
    from synthcore.vital.controls import Registry
    from synthcore.vital.patch import LABELS, Patch
    from synthcore.vital.shapes import builtin_shapes, lfo_asset

    __version__: str

_HOMES = {
    "LABELS": "synthcore.vital.patch",
    "AcceptanceSpec": "synthcore.spec",
    "AudioSpec": "synthcore.spec",
    "BatchLoader": "synthcore.training.torch",
    "BatchStream": "synthcore.training.torch",
    "Dataset": "synthcore.storage.dataset",
    "DatasetSpec": "synthcore.spec",
    "Examples": "synthcore.training.batches",
    "Order": "synthcore.training.batches",
    "Patch": "synthcore.vital.patch",
    "Performance": "synthcore.engine.rendering",
    "Predictions": "synthcore.storage.predictions",
    "Registry": "synthcore.vital.controls",
    "RowDataset": "synthcore.training.torch",
    "RunSettings": "synthcore.settings.generate",
    "ShuffledBatches": "synthcore.training.torch",
    "SynthcoreError": "synthcore.base.errors",
    "builtin_shapes": "synthcore.vital.shapes",
    "collate": "synthcore.training.torch",
    "compare": "synthcore.flows.running.calls",
    "compute_features": "synthcore.flows.running.calls",
    "compute_weights": "synthcore.flows.running.calls",
    "diff": "synthcore.analysis.differences",
    "discover_wavetables": "synthcore.flows.running.calls",
    "features": "synthcore",
    "find_sounds": "synthcore.evaluation.sounds",
    "fit_priors": "synthcore.flows.running.calls",
    "distance": "synthcore.analysis.distances",
    "download_presets": "synthcore.flows.running.calls",
    "evaluate": "synthcore.flows.running.calls",
    "generate": "synthcore.flows.running.calls",
    "import_dataset": "synthcore.flows.running.calls",
    "ingest_presets": "synthcore.flows.running.calls",
    "inspect": "synthcore.flows.running.calls",
    "label_errors": "synthcore.evaluation.labels",
    "label_errors_up_to_equivalences": "synthcore.evaluation.labels",
    "lfo_asset": "synthcore.vital.shapes",
    "match": "synthcore.evaluation.matching",
    "publish": "synthcore.flows.running.calls",
    "read_sample": "synthcore.publishing.samples",
    "render": "synthcore.playback",
    "render_many": "synthcore.playback",
    "verify": "synthcore.flows.running.calls",
}
__all__ = [
    "LABELS",
    "AcceptanceSpec",
    "AudioSpec",
    "BatchLoader",
    "BatchStream",
    "Dataset",
    "DatasetSpec",
    "Examples",
    "Order",
    "Patch",
    "Performance",
    "Predictions",
    "Registry",
    "RowDataset",
    "RunSettings",
    "ShuffledBatches",
    "SynthcoreError",
    "builtin_shapes",
    "collate",
    "compare",
    "compute_features",
    "compute_weights",
    "diff",
    "discover_wavetables",
    "distance",
    "download_presets",
    "evaluate",
    "features",
    "find_sounds",
    "fit_priors",
    "generate",
    "import_dataset",
    "ingest_presets",
    "inspect",
    "label_errors",
    "label_errors_up_to_equivalences",
    "lfo_asset",
    "match",
    "publish",
    "read_sample",
    "render",
    "render_many",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # pyproject.toml is where it is written
        return import_module("importlib.metadata").version(__name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'synthcore' has no attribute {name!r}; it has {', '.join(__all__)}")
    if _HOMES[name] == __name__:  # a module
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
