"""Drawing a wavetable: the waveform that an oscillator starts from, before its warps.

Only tables that hold their waveforms are drawn. What Vital computes (from recordings or drawn lines, by filters or
folders), it alone knows.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.vital.wavetable import count_frames

HOLDS_WAVES = "Wave Source"
STEPS = 0  #: the interpolation style that holds a keyframe until the next one


def waveform(canonical: bytes, frame: float) -> NDArray[np.float32] | None:
    """Mix the waveform of a frame from the keyframes around it, as the synth does.

    Parameters
    ----------
    canonical : bytes
        The wavetable in its canonical form.
    frame : float
        0 to 256; past the last keyframe, it is that one.

    Returns
    -------
    ndarray, shape (2048,), float32, or None
        None if the table computes its waveforms.
    """
    groups = json.loads(canonical)["groups"]
    components = groups[0]["components"] if len(groups) == 1 else []
    if [component["type"] for component in components] != [HOLDS_WAVES]:
        return None
    (source,) = components
    keyframes = sorted(source["keyframes"], key=lambda keyframe: keyframe["position"])
    places = [keyframe["position"] for keyframe in keyframes]
    before = max(0, int(np.searchsorted(places, frame, "right")) - 1)
    after = min(before + 1, len(places) - 1)
    wave = _wave(keyframes[before])
    if after == before or frame <= places[before] or source.get("interpolation_style") == STEPS:
        return wave
    share = np.float32((frame - places[before]) / (places[after] - places[before]))
    return wave + share * (_wave(keyframes[after]) - wave)


def frames_of(canonical: bytes) -> int:
    """Count the frames of a wavetable in its canonical form, 1 to 257."""
    return count_frames(json.loads(canonical))


def outline(wave: NDArray[np.float32], width: int, height: int) -> str:
    """Draw a waveform as an SVG path, one point per unit of width, with its peak at the edge of the height."""
    points = wave[np.linspace(0, len(wave) - 1, width + 1).astype(int)]
    heights = ((1 - points / (np.abs(points).max() or 1)) * (height / 2)).round(1)
    return "M" + "L".join(f"{x} {y:g}" for x, y in enumerate(heights.tolist()))


def _wave(keyframe: dict[str, Any]) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(keyframe["wave_data"]), "<f4")
