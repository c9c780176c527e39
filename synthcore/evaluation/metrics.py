"""All metrics of audio by which an answer is scored against its target.

A metric is a function in the module of its axis and a line here. It takes target, answer and sample rate; target and
answer are float32, shape (channels, samples), mono or stereo, of the same shape. Identical sounds get exactly the best
score, which is 0, or 1 where higher is better. NaN means that a metric doesn't apply to a pair; only `f0_error` gives
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from synthcore.evaluation import loudness, pitch, spectral, timbre
from synthcore.evaluation.frames import Audio


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to score an answer.

    Attributes
    ----------
    name : str
        Its key in `AUDIO_METRICS`.
    axis : str
        What it is about: spectrum, timbre, transport, loudness or pitch.
    unit : str
        Of the score; empty where it has none, as shares.
    higher_is_better : bool
        If so, 1 is best, otherwise 0.
    source : str
        Who defined it.
    measure : callable
        `measure(target, answer, sample_rate)` gives the score.
    """

    name: str
    axis: str
    unit: str
    higher_is_better: bool
    source: str
    measure: Callable[[Audio, Audio, int], float]

    @property
    def best(self) -> float:
        """The score of identical sounds."""
        return float(self.higher_is_better)


_HAYES = "Hayes et al., ISMIR 2025"

_METRICS = (
    Metric("mss", "spectrum", "dB", False, _HAYES, spectral.mss),
    Metric("mr_stft", "spectrum", "", False, "Yamamoto et al., ICASSP 2020; auraloss", spectral.multi_resolution_stft),
    Metric("distance", "spectrum", "dB", False, "synthcore.distance", spectral.distance),
    Metric("wmfcc", "timbre", "dB", False, _HAYES, timbre.wmfcc),
    Metric("mfcc", "timbre", "dB", False, "Yee-King et al., 2018; Le Vaillant et al., DAFx 2021", timbre.mfcc),
    Metric("sot", "transport", "", False, f"Torres et al., ICASSP 2024; {_HAYES}", spectral.sot),
    Metric("rms_cosine", "loudness", "", True, _HAYES, loudness.rms_cosine),
    Metric("loudness_error", "loudness", "LU", False, "ITU-R BS.1770-4", loudness.loudness_error),
    Metric("f0_error", "pitch", "cents", False, "YIN, 2002; Salamon et al., 2014", pitch.f0_error),
    Metric("one_pitched", "pitch", "", False, "YIN, 2002; Nakatani et al., 2008", pitch.one_pitched),
)

#: In the order of a table.
AUDIO_METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _METRICS})
