"""All metrics by which an answer is scored against its target: of their sounds, and of their labels.

A metric of sounds is a function in the module of its axis and a line here. It takes target, answer and sample rate;
target and answer are float32, shape (channels, samples), mono or stereo, of the same shape. Identical sounds get
exactly the best score, which is 0, or 1 where higher is better. NaN means that a metric doesn't apply to a pair; of
these, only `f0_error` gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from synthcore.evaluation import loudness, pitch, spectral, timbre
from synthcore.evaluation.frames import Audio


@dataclass(frozen=True, slots=True)
class Metric:
    """What an answer is scored by.

    Attributes
    ----------
    name : str
        Its key in `AUDIO_METRICS` or `LABEL_METRICS`.
    axis : str
        What it is about: spectrum, timbre, transport, loudness, pitch or labels.
    unit : str
        Of the score; empty where it has none, as shares.
    higher_is_better : bool
        If so, 1 is best, otherwise 0.
    source : str
        Who defined it.
    """

    name: str
    axis: str
    unit: str
    higher_is_better: bool
    source: str

    @property
    def best(self) -> float:
        """The score of what is identical."""
        return float(self.higher_is_better)


@dataclass(frozen=True, slots=True)
class AudioMetric(Metric):
    """One way to score an answer's sound.

    Attributes
    ----------
    measure : callable
        `measure(target, answer, sample_rate)` gives the score.
    """

    measure: Callable[[Audio, Audio, int], float]


_HAYES = "Hayes et al., ISMIR 2025"

_METRICS = (
    AudioMetric("mss", "spectrum", "dB", False, _HAYES, spectral.mss),
    AudioMetric(
        "mr_stft", "spectrum", "", False, "Yamamoto et al., ICASSP 2020; auraloss", spectral.multi_resolution_stft
    ),
    AudioMetric("distance", "spectrum", "dB", False, "synthcore.distance", spectral.distance),
    AudioMetric("wmfcc", "timbre", "dB", False, _HAYES, timbre.wmfcc),
    AudioMetric("mfcc", "timbre", "dB", False, "Yee-King et al., 2018; Le Vaillant et al., DAFx 2021", timbre.mfcc),
    AudioMetric("sot", "transport", "", False, f"Torres et al., ICASSP 2024; {_HAYES}", spectral.sot),
    AudioMetric("rms_cosine", "loudness", "", True, _HAYES, loudness.rms_cosine),
    AudioMetric("loudness_error", "loudness", "LU", False, "ITU-R BS.1770-4", loudness.loudness_error),
    AudioMetric("f0_error", "pitch", "cents", False, "YIN, 2002; Salamon et al., 2014", pitch.f0_error),
    AudioMetric("one_pitched", "pitch", "", False, "YIN, 2002; Nakatani et al., 2008", pitch.one_pitched),
)

#: In the order of a table.
AUDIO_METRICS: Mapping[str, AudioMetric] = MappingProxyType({metric.name: metric for metric in _METRICS})

#: Figures of `LabelErrors`, and whether higher is better.
_LABELS = {
    "continuous": False,
    "weighted": False,
    "categorical": True,
    "precision": True,
    "recall": True,
    "amounts": False,
}
EQUIVALENT = "_eq"  #: ends the names of those that are taken up to equivalences

#: Of labels; NaN where there is nothing to compare, such as no route.
LABEL_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        f"{name}{ending}": Metric(f"{name}{ending}", "labels", "", is_share, "synthcore.label_errors")
        for ending in ("", EQUIVALENT)
        for name, is_share in _LABELS.items()
    }
)
METRICS: Mapping[str, Metric] = MappingProxyType({**AUDIO_METRICS, **LABEL_METRICS})
