"""What holds for every metric, whatever it measures."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from synthcore.base.errors import SpecError, SynthcoreError
from synthcore.evaluation.frames import library, require_pair
from synthcore.evaluation.metrics import AUDIO_METRICS, AudioMetric
from synthcore.storage.dataset import Dataset
from tests.evaluation.sounds import Sound, noise, plucked, tone

RATE = 22_050
SHORT = 0.2
TARGET = plucked(0, rate=RATE, seconds=SHORT) + tone(220, rate=RATE, seconds=SHORT)
ANSWER = plucked(1, rate=RATE, seconds=SHORT) + tone(330, rate=RATE, seconds=SHORT, gain=0.1)
SILENCE = np.zeros_like(TARGET)

every_metric = pytest.mark.parametrize("metric", AUDIO_METRICS.values(), ids=AUDIO_METRICS)


def test_a_metric_is_found_by_its_name_and_says_where_it_is_from() -> None:
    assert {metric.axis for metric in AUDIO_METRICS.values()} == {
        "spectrum",
        "timbre",
        "transport",
        "loudness",
        "pitch",
    }
    for name, metric in AUDIO_METRICS.items():
        assert metric.name == name
        assert metric.source


@pytest.mark.slow
@every_metric
@pytest.mark.parametrize(
    "sound", [TARGET, TARGET[:1], noise(0, rate=RATE, seconds=0.05)], ids=["stereo", "mono", "50 ms"]
)
def test_identical_sounds_get_exactly_the_best_score(metric: AudioMetric, sound: Sound) -> None:
    score = metric.measure(sound, sound.copy(), RATE)
    assert score == metric.best or (metric.name == "f0_error" and math.isnan(score))


@pytest.mark.slow
@every_metric
def test_every_row_is_its_own_best_answer(metric: AudioMetric, tier_1: Any) -> None:
    with Dataset(tier_1.path) as dataset:
        rate = dataset.spec.audio.sample_rate
        scores = np.array([metric.measure(row, row.copy(), rate) for row in dataset.column("audio")])
    applies = ~np.isnan(scores)
    assert (scores[applies] == metric.best).all()
    assert applies.all() if metric.name != "f0_error" else applies.mean() > 0.5


@pytest.mark.slow
@every_metric
def test_two_silent_sounds_are_identical(metric: AudioMetric) -> None:
    score = metric.measure(SILENCE, SILENCE, RATE)
    assert math.isnan(score) if metric.name == "f0_error" else score == metric.best


@every_metric
@pytest.mark.parametrize(("target", "answer"), [(TARGET, SILENCE), (SILENCE, TARGET)], ids=["answer", "target"])
def test_silence_on_one_side_is_worse_than_a_wrong_answer(metric: AudioMetric, target: Sound, answer: Sound) -> None:
    score, wrong = metric.measure(target, answer, RATE), metric.measure(TARGET, ANSWER, RATE)
    if metric.name == "f0_error":
        assert math.isnan(score)
    else:
        assert math.isfinite(score)
        assert score < wrong if metric.higher_is_better else score > wrong


@every_metric
@pytest.mark.parametrize("channels", [1, 2])
def test_a_short_sound_gets_a_finite_score_that_isnt_the_best(metric: AudioMetric, channels: int) -> None:
    score = metric.measure(TARGET[:channels], ANSWER[:channels], RATE)
    assert isinstance(score, float)
    assert math.isfinite(score)
    assert score < 1 if metric.higher_is_better else score >= 0
    assert score != metric.best or metric.name == "one_pitched"


@every_metric
def test_a_sample_more_or_less_is_refused_as_are_other_channels(metric: AudioMetric) -> None:
    for other in (ANSWER[:, 1:], ANSWER[:1]):
        with pytest.raises(
            SynthcoreError, match=r"target of shape \(2, 4410\) .* equally long, both mono or both stereo"
        ):
            metric.measure(TARGET, other, RATE)


@every_metric
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_isnt_finite_is_refused(metric: AudioMetric, value: float) -> None:
    spoiled = TARGET.copy()
    spoiled[1, 7] = value
    with pytest.raises(SynthcoreError, match="the answer holds NaN or infinity"):
        metric.measure(TARGET, spoiled, RATE)
    with pytest.raises(SynthcoreError, match="the target holds NaN or infinity"):
        metric.measure(spoiled, TARGET, RATE)


@pytest.mark.parametrize("shape", [(4410,), (3, 4410), (2, 0), (4410, 2)])
def test_what_is_no_sound_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SynthcoreError, match="give .channels, samples., mono or stereo"):
        require_pair(np.zeros(shape, dtype=np.float32), TARGET)


@every_metric
@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_every_rate_that_a_dataset_can_have_is_measured(metric: AudioMetric, rate: int) -> None:
    target, answer = (tone(hertz, rate=rate, seconds=0.1) for hertz in (220, 225))
    assert math.isfinite(metric.measure(target, answer, rate))
    assert metric.measure(target, target, rate) == metric.best


@pytest.mark.slow
def test_nothing_is_imported_before_it_is_needed() -> None:
    heavy = {"librosa", "pyloudnorm", "numba", "scipy", "h5py", "vita"}
    code = f"import sys, synthcore.evaluation.metrics; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"


def test_without_the_extra_one_line_says_how_to_get_it() -> None:
    with pytest.raises(SpecError, match=r"^these metrics need no_such_module: pip install 'synthcore\[evaluate\]'$"):
        library("no_such_module")
