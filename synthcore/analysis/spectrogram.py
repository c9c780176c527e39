"""Spectrograms as pictures: time to the right, pitch on the mel scale upwards, level from dark to light.

Pillow draws them with a palette, at a third of the size and without a visible difference. Levels are measured here with
NumPy alone: `distances` has a mel spectrum too, but imports SciPy for it, which takes as long as fifteen pictures.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthcore.analysis.distances import LOWEST_HZ, RANGE_DB, SILENCE, highest_hz, mel, mel_edges

SHOWN_SECONDS = 10.0  #: more of a long row makes pictures large and slow
WINDOW_SECONDS, BANDS = 0.046, 96
COLOURS = 48
#: From black over violet and red to a pale yellow, each step lighter than the one before; evenly spaced.
_HEAT = (
    *((0, 0, 5), (30, 16, 70), (80, 18, 123), (130, 37, 129), (182, 54, 121)),
    *((230, 81, 99), (251, 136, 97), (254, 196, 136), (252, 253, 191)),
)
#: Places 0 to `COLOURS` - 1 are a spectrogram's; those from `INK` to `PAPER` are text's, whose edges mix the two.
INK, PAPER = COLOURS, 255
_WORDS = ((35, 40, 47), (255, 255, 255))


def _ramp(colours: tuple[tuple[int, int, int], ...], steps: int) -> NDArray[np.uint8]:
    """Go through colours in even steps, shape (steps, 3)."""
    at = np.linspace(0, len(colours) - 1, steps)
    channels = [np.interp(at, range(len(colours)), channel) for channel in zip(*colours, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


PALETTE = np.concatenate([_ramp(_HEAT, COLOURS), _ramp(_WORDS, PAPER - INK + 1)]).tobytes()


def paint(audio: NDArray[np.float32], sample_rate: int, width: int, height: int) -> Image.Image:
    """Draw the first `SHOWN_SECONDS` of audio, both channels together, relative to the loudest moment.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
    sample_rate : int
        In Hz.
    width, height : int
        Of the picture, in pixels.

    Returns
    -------
    Image
        Of places in `PALETTE`: `COLOURS` - 1 where it is loudest, 0 what lies `RANGE_DB` below it, and silence.
    """
    power = _mel_power(audio[:, : round(SHOWN_SECONDS * sample_rate)], sample_rate, width)
    floor = max(float(power.max()) * 10 ** (-RANGE_DB / 10), SILENCE)
    depth = 10 * np.log10(np.maximum(power, floor) / floor) / RANGE_DB
    picture = Image.fromarray(np.rint(depth.T[::-1] * (COLOURS - 1)).astype(np.uint8))
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _mel_power(audio: NDArray[np.float32], sample_rate: int, frames: int) -> NDArray[np.float64]:
    """Measure the mean power in mel bands that overlap by half: shape (up to about `frames`, BANDS)."""
    size = 2 ** round(math.log2(WINDOW_SECONDS * sample_rate))
    hop = min(size, max(size // 4, audio.shape[1] // frames))
    padded = np.pad(audio, ((0, 0), (size // 2, size // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop]
    spectrum = np.fft.rfft(windows * (np.hanning(size) * (4 / size)).astype(np.float32), axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    # The power below any frequency, between bins as well: a band's is the difference of two.
    below = np.pad(np.cumsum(power, axis=1, dtype=np.float64), ((0, 0), (1, 1)), mode="constant")
    below[:, -1] = below[:, -2]
    places = mel_edges(sample_rate, BANDS) * (size / sample_rate) + 0.5
    whole = places.astype(int)
    at = below[:, whole] + (places - whole) * (below[:, whole + 1] - below[:, whole])
    bands: NDArray[np.float64] = (at[:, 2:] - at[:, :-2]) / (places[2:] - places[:-2])
    return bands


def place_of(hz: float, sample_rate: int) -> float:
    """How high a frequency lies in a spectrogram: 0 at the bottom, 1 at the top."""
    low, high = mel(LOWEST_HZ), mel(highest_hz(sample_rate))
    return (mel(hz) - low) / (high - low)


def to_png(picture: Image.Image) -> bytes:
    """Write a picture of places in `PALETTE` as a PNG."""
    coloured, written = picture.copy(), io.BytesIO()
    coloured.putpalette(PALETTE)
    coloured.save(written, "PNG")
    return written.getvalue()
