"""Audio rounded to 24 bits, which is the most that FLAC holds: what becomes of a row that was published so.

A row whose peak doesn't fit below full scale is divided by a power of two first, which by itself costs no precision:
2 for a peak between 1 and 2, for instance. Both steps follow from the audio alone, so whoever renders a row again can
round it as it was rounded, and compare bit for bit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BITS = 24
STEPS = 1 << (BITS - 1)  #: from 0 to full scale


def scale_of(audio: NDArray[np.float32]) -> float:
    """Find what audio must be divided by to fit: a power of two, and 1 for what is below full scale.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
        Full scale is 1.
    """
    peak = float(max(audio.max(), -audio.min()))
    scale = 2.0 ** max(0, math.ceil(math.log2(peak))) if peak > 0 else 1.0
    return scale if round(peak / scale * STEPS) < STEPS else 2 * scale


def to_integers(audio: NDArray[np.float32], scale: float) -> NDArray[np.int32]:
    """Round audio to whole steps, after dividing it by `scale`: from -`STEPS` to `STEPS` - 1."""
    integers: NDArray[np.int32] = np.rint(audio * np.float32(STEPS / scale)).astype(np.int32)
    return integers


def to_audio(integers: NDArray[np.int32], scale: float) -> NDArray[np.float32]:
    """Undo `to_integers`, but for the rounding. Exact: a float32 holds every whole number of 24 bits."""
    return integers.astype(np.float32) * np.float32(scale / STEPS)


def rounded(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round audio to 24 bits."""
    scale = scale_of(audio)
    return to_audio(to_integers(audio, scale), scale)
