"""What the features of a run take: bytes, which follow from their shapes, and time, from a probe of some noise."""

from __future__ import annotations

import contextlib
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthcore.analysis.feature_specs import KINDS, FeatureSpec, stored_spec
from synthcore.base.errors import SynthcoreError
from synthcore.settings.generate import Generate
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset

PROBES = 3  #: enough: what a sound takes depends on its length alone (noise and rows differ by 6 %)
READ = 180e6  #: bytes of audio that a thread reads and decompresses in a second of CPU time (187 MB of rows of 2 s)


class FeatureNeeds(NamedTuple):
    """What features take; nothing where none are requested.

    Attributes
    ----------
    stored : int
        Bytes in the dataset.
    computed : int
        Bytes of the rows that have none yet, which go to the data directory first.
    seconds : float
        To compute those, with one worker.
    """

    stored: int
    computed: int
    seconds: float


def needs_of(settings: Generate, spec: DatasetSpec, rows: int) -> FeatureNeeds:
    """Say what the features of a dataset with so many rows take."""
    stored, computed, seconds = 0, 0, 0.0
    for name in settings.with_features:
        feature = KINDS[name.replace("-", "_")]()
        values, each = _probe(spec, feature)
        new = max(0, rows - _rows_there(settings, spec, feature))
        stored += rows * values.nbytes
        computed += new * values.nbytes
        seconds += new * (each + spec.render_format.row_bytes / READ)
    return FeatureNeeds(stored, computed, seconds)


def _probe(spec: DatasetSpec, feature: FeatureSpec) -> tuple[NDArray[Any], float]:
    """The feature of some noise, and how long it takes on a core of its own."""
    from synthcore.analysis.features import feature_of  # only now: most runs have none

    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (2, spec.render_format.samples)).astype(np.float32)
    values = feature_of(sound, spec.audio.sample_rate, feature)  # not counted: it makes the filters
    began = time.thread_time()
    for _ in range(PROBES):
        feature_of(sound, spec.audio.sample_rate, feature)
    return values, (time.thread_time() - began) / PROBES


def _rows_there(settings: Generate, spec: DatasetSpec, feature: FeatureSpec) -> int:
    """How many rows of the output that is there have the feature already."""
    if settings.run.refreshes("all"):
        return 0
    with contextlib.suppress(SynthcoreError), Dataset(settings.output_path) as dataset:
        found = dataset.features.get(feature.kind)
        is_kept = dataset.spec.fingerprint == spec.fingerprint and found and found.status == "complete"
        if found and is_kept and found.spec == stored_spec(feature, spec.audio.sample_rate):
            return len(dataset)
    return 0
