"""Datasets of (audio, parameters) pairs for inverse synthesis with Vital, proven bit for bit.

What a user of a dataset needs is here under its own name; the rest has its module. Names are imported on first use,
because the zygote imports this package too and must stay small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthcore.controls import Registry
    from synthcore.distances import distance
    from synthcore.errors import SynthcoreError
    from synthcore.patch import LABELS, Patch
    from synthcore.playback import render, render_many
    from synthcore.spec import DatasetSpec
    from synthcore.storage.dataset import Dataset

_HOMES = {
    "LABELS": "synthcore.patch",
    "Dataset": "synthcore.storage.dataset",
    "DatasetSpec": "synthcore.spec",
    "Patch": "synthcore.patch",
    "Registry": "synthcore.controls",
    "SynthcoreError": "synthcore.errors",
    "distance": "synthcore.distances",
    "render": "synthcore.playback",
    "render_many": "synthcore.playback",
}
__all__ = [
    "LABELS",
    "Dataset",
    "DatasetSpec",
    "Patch",
    "Registry",
    "SynthcoreError",
    "distance",
    "render",
    "render_many",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'synthcore' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
