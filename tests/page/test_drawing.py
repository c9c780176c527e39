"""Drawing wavetables: the frame that is played, or nothing where only Vital knows it."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from synthcore.page.drawing import frames_of, outline, waveform
from synthcore.vital.builtin import builtin_wavetables
from synthcore.vital.wavetable import canonical_wavetable

LOW, HIGH = np.full(2048, -0.5, "f4"), np.full(2048, 0.5, "f4")


def table(*components: dict[str, Any], style: int = 1) -> bytes:
    keyframes = [
        {"position": position, "wave_data": base64.b64encode(wave.tobytes()).decode()}
        for position, wave in ((0, LOW), (10, HIGH))
    ]
    source = {"type": "Wave Source", "interpolation": 0, "interpolation_style": style, "keyframes": keyframes}
    return canonical_wavetable({"groups": [{"components": [source, *components]}]})


@pytest.mark.parametrize(
    ("frame", "style", "level"), [(0, 1, -0.5), (5, 1, 0.0), (7.5, 1, 0.25), (10, 1, 0.5), (256, 1, 0.5), (9, 0, -0.5)]
)
def test_a_frame_is_mixed_of_the_keyframes_around_it(frame: float, style: int, level: float) -> None:
    wave = waveform(table(style=style), frame)
    assert wave is not None
    assert (wave == np.float32(level)).all()


def test_every_built_in_table_has_waveforms_at_all_of_its_frames() -> None:
    for _, content in builtin_wavetables():
        for frame in (0, frames_of(content) - 1):
            wave = waveform(content, frame)
            assert wave is not None
            assert wave.shape == (2048,)
            assert np.abs(wave).max() > 0


def test_what_vital_computes_is_not_drawn() -> None:
    folder = {"type": "Wave Folder", "keyframes": [{"position": 0, "fold_boost": 2.0}]}
    assert waveform(table(folder), 0) is None
    two = {"groups": 2 * json.loads(table())["groups"]}
    assert waveform(json.dumps(two).encode(), 0) is None
    assert waveform(b'{"groups": []}', 0) is None


def test_an_outline_reaches_from_edge_to_edge() -> None:
    assert outline(np.linspace(-0.25, 0.25, 2048, dtype="f4"), 2, 10) == "M0 10L1 5L2 0"
    assert outline(np.zeros(2048, "f4"), 1, 10) == "M0 5L1 5"
