"""Metrics: how far an answer's sound is from the one that it answers. Each is a function, and a line in a registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthcore.analysis.distances import distance

Audio = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to compare two sounds.

    Attributes
    ----------
    name : str
    axis : str
        What of a sound it is about, such as "spectrum".
    unit : str
        "" for a plain number.
    higher_is_better : bool
    source : str
        Where it is from.
    measure : callable
        Takes the sound that is answered and the answer's, float32 of shape (channels, samples), and their sample rate
        in Hz; NaN where it says nothing about these two.
    """

    name: str
    axis: str
    unit: str
    higher_is_better: bool
    source: str
    measure: Callable[[Audio, Audio, int], float]


#: Every metric of two sounds, by name, in the order in which tables show them.
AUDIO_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("distance", "spectrum", "dB", False, "synthcore.distance: mel spectra at three resolutions", distance),
    )
}
