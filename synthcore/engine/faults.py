"""Faults: why a candidate is refused. A fault is a value that is written down, never an exception.

Every fault is a property of the candidate, so the same spec meets the same faults on every run. What is only a
property of the moment (a kill, a time-out) is an `Accident` and leaves no trace in a dataset.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from numpy import vdot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SILENT = "silent"
CLIPPING = "clipping"
NON_FINITE = "non-finite"
NOT_LOADED = "not-loaded"
CRASH = "crash"
CPU_LIMIT = "cpu-limit"
REPEATS = "repeats"

#: Reason -> what it means, for people.
REASONS = {
    SILENT: "quieter than the spec's min_rms_dbfs",
    CLIPPING: "peak above the spec's max_peak, or above the one of its source",
    NON_FINITE: "the audio holds NaN or infinity",
    NOT_LOADED: "the synth refused the preset",
    CRASH: "the synth crashed or ran out of memory twice, in fresh processes",
    CPU_LIMIT: "rendering took more CPU time than the spec's cpu_seconds",
    REPEATS: "nothing in it follows the note, so its rows would repeat each other; not rendered",
}

#: Where a fault is of a document, not of a note.
NO_NOTE = -1
#: Samples whose squares are summed in float32, and without any copy.
BLOCK = 4096
#: What a silent row measures; a true minus infinity would not survive JSON.
SILENCE_DBFS = -999.0


def measure(audio: NDArray[np.float32]) -> tuple[float, float]:
    """Measure the loudness and peak of one render.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
        Full scale is 1.

    Returns
    -------
    rms_dbfs : float
        Root mean square over both channels in dB, `SILENCE_DBFS` for digital silence, NaN if the audio holds one.
    peak : float
        Largest magnitude; NaN if the audio holds one.
    """
    # Both make no copy of the audio: in a freshly forked child, touching new pages costs ten times the arithmetic.
    peak = float(max(audio.max(), -audio.min()))
    if not math.isfinite(peak):
        return math.nan, math.nan
    # Added up in float64: a sum of 176,400 float32 squares loses the last digits, and they decide at the threshold.
    starts = range(0, audio.shape[1], BLOCK)
    blocks = (channel[start : start + BLOCK] for channel in audio for start in starts)
    mean_square = sum(float(vdot(block, block)) for block in blocks) / audio.size
    return (10 * math.log10(mean_square) if mean_square > 0 else SILENCE_DBFS), peak


def judge(rms_dbfs: float, peak: float, min_rms_dbfs: float, max_peak: float) -> str | None:
    """Name the fault of a render, or None if it has none."""
    if not math.isfinite(peak):
        return NON_FINITE
    if rms_dbfs < min_rms_dbfs:
        return SILENT
    if peak > max_peak:
        return CLIPPING
    return None
