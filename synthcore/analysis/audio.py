"""Hearing rows: what is measured on the audio of some of them, each read once: brightness, length, nearest rows.

Audio is large, so a bounded number of rows is heard, evenly spaced over the dataset. Rows are compared by a sketch: the
log-mel spectrum of `distances` at its finest pitch, averaged over quarters of the time. Averaging forgives what random
phases change, and keeps what knobs do.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.distances import RESOLUTIONS, log_mel
from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.progress import Progress
from synthcore.storage.dataset import Dataset

#: How many rows are heard where nobody wants to wait: some 3 s.
QUICK = 256
#: Parts of a row's time that are averaged to one spectrum each.
SPANS = 4
#: Mean difference of two sketches below which rows count as near-duplicates. The same knobs with other random phases
#: lie under it in 9 of 10 patches; of 4,066 pairs of drawn patches at one note none did (docs/decisions/0009).
NEAR_DB = 2.0
#: Sound ends where it stays this far below the loudest block, as reverberation time (RT60) is defined.
END_DB = 60.0
BLOCK_SECONDS = 0.01
#: How many pairs are named.
PAIRS = 12
#: How many rows are compared with all others at a time.
COMPARED = 256


class NearPair(BaseModel):
    """Two rows of different patches that sound nearly the same."""

    model_config = ConfigDict(frozen=True)

    rows: tuple[int, int]
    apart_db: float


class Duplicates(BaseModel):
    """How much of a dataset repeats itself, as shares of its rows."""

    model_config = ConfigDict(frozen=True)

    repeats: float  # the audio of any other row, bit for bit: the next two together
    of_own_notes: float  # the audio of another note of the same patch, bit for bit
    of_other_patches: float  # the audio of a row of another patch, bit for bit
    rows_heard: int  # 0 where there is no audio
    near: float  # of the rows heard: another patch's row among them is nearer than `near_db`
    near_db: float = NEAR_DB
    pairs: tuple[NearPair, ...]  # the nearest of them, whether near-duplicates or not

    @property
    def near_text(self) -> str:
        """How many rows are near-duplicates, in words."""
        if not self.rows_heard:
            return "not known: no audio"
        return f"{self.near:.1%} of {how_many(self.rows_heard, 'row')} heard"


@dataclass(frozen=True, slots=True)
class AudioMeasurements:
    """What was measured on some rows.

    Attributes
    ----------
    rows : ndarray, shape (n,), int
        Which rows.
    patches : ndarray, shape (n,), int
        The number of each row's patch.
    centroids_hz, sound_seconds : ndarray, shape (n,), float64
        See `centroid_hz` and `seconds_of_sound`.
    nearest : ndarray, shape (n,), int
        For each, the place in `rows` of the nearest row of another patch; its own if there is none.
    nearest_db : ndarray, shape (n,), float64
        How far away that row is; infinite if there is none.
    """

    rows: NDArray[np.intp]
    patches: NDArray[np.intp]
    centroids_hz: NDArray[np.float64]
    sound_seconds: NDArray[np.float64]
    nearest: NDArray[np.intp]
    nearest_db: NDArray[np.float64]

    @property
    def pairs(self) -> tuple[NearPair, ...]:
        """The nearest rows of each pair of patches, the nearest pairs first."""
        order = [place for place in np.argsort(self.nearest_db, kind="stable") if np.isfinite(self.nearest_db[place])]
        found: dict[tuple[int, ...], NearPair] = {}
        for place in order:
            places = [place, self.nearest[place]]
            a, b = sorted(self.rows[places].tolist())
            pair = NearPair(rows=(a, b), apart_db=round(float(self.nearest_db[place]), 3))
            found.setdefault(tuple(sorted(self.patches[places].tolist())), pair)
        return tuple(found.values())[:PAIRS]


def measure_audio(dataset: Dataset, limit: int) -> AudioMeasurements:
    """Read and measure at most `limit` rows, evenly spaced. Reports each to `synthcore.base.progress`.

    A recipe has no audio, so nothing is heard.
    """
    rows = evenly_spaced(0 if dataset.is_recipe else len(dataset), limit)
    rate = dataset.spec.audio.sample_rate
    centroids, seconds, sketches = [], [], []
    for row in rows.tolist():
        audio = dataset.column("audio", [row])[0]
        centroids.append(centroid_hz(audio, rate))
        seconds.append(seconds_of_sound(audio, rate))
        sketches.append(sketch(audio, rate))
        progress.publish(Progress(1, None))
    patches = _patch_numbers(dataset)[rows]
    nearest, nearest_db = _find_nearest(np.array(sketches, dtype=np.float32), patches)
    return AudioMeasurements(rows, patches, np.array(centroids), np.array(seconds), nearest, nearest_db)


def find_duplicates(dataset: Dataset, measured: AudioMeasurements) -> Duplicates:
    """Measure how much repeats: exactly, by every row's hash; nearly, by the rows heard."""
    _, sounds, rows_of_sound = np.unique(dataset.column("audio_sha256"), return_inverse=True, return_counts=True)
    patches = _patch_numbers(dataset)
    pairs, of_row, rows_of_pair = np.unique(
        np.stack([sounds, patches], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    patches_of_sound = np.bincount(pairs[:, 0], minlength=1)
    rows = max(1, len(dataset))
    return Duplicates(
        repeats=float((rows_of_sound[sounds] > 1).sum()) / rows,
        of_own_notes=float((rows_of_pair[of_row.ravel()] > 1).sum()) / rows,
        of_other_patches=float((patches_of_sound[sounds] > 1).sum()) / rows,
        rows_heard=len(measured.rows),
        near=float((measured.nearest_db < NEAR_DB).sum()) / max(1, len(measured.rows)),
        pairs=measured.pairs,
    )


def evenly_spaced(rows: int, limit: int) -> NDArray[np.intp]:
    """At most `limit` of the numbers from 0 to `rows` - 1, evenly spaced, in order."""
    return np.unique(np.linspace(0, rows - 1, min(rows, limit)).astype(np.intp)) if rows else np.zeros(0, np.intp)


def sketch(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """What a row is compared by: its log-mel spectrum, averaged over `SPANS` parts of the time.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray, shape (2 * 128 * SPANS,), float32
        In dB.
    """
    levels = log_mel(audio, sample_rate, *RESOLUTIONS[0])
    # Audio of a few windows has fewer frames than parts: then some of them are the same frame.
    ends = np.linspace(0, levels.shape[2], SPANS + 1).astype(int)
    parts = [levels[:, :, start : max(start + 1, end)].mean(axis=2) for start, end in pairwise(ends.tolist())]
    return np.stack(parts, axis=2).ravel()


def _patch_numbers(dataset: Dataset) -> NDArray[np.intp]:
    """Number the patches, shape (N,): a row's own patch is the one in its slot."""
    slots = np.stack([np.unique(dataset.column("source"), return_inverse=True)[1], dataset.column("patch_index")])
    numbers: NDArray[np.intp] = np.unique(slots, axis=1, return_inverse=True)[1].reshape(-1)
    return numbers


def _find_nearest(
    sketches: NDArray[np.float32], patches: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find each sketch's nearest neighbour of another patch, and its distance.

    All pairs, a block at a time: with this many numbers to a sketch, a tree would visit nearly all of them too.
    """
    from scipy.spatial.distance import cdist

    nearest, nearest_db = np.arange(len(sketches)), np.full(len(sketches), np.inf)
    for start in range(0, len(sketches), COMPARED):
        block = slice(start, start + COMPARED)
        apart = cdist(sketches[block], sketches, "cityblock") / sketches.shape[1]
        apart[patches[block, None] == patches] = np.inf
        nearest_db[block] = apart.min(axis=1)
        nearest[block] = np.where(np.isfinite(nearest_db[block]), apart.argmin(axis=1), nearest[block])
    return nearest, nearest_db


def seconds_of_sound(audio: NDArray[np.float32], sample_rate: int) -> float:
    """How long a row sounds: from the first block that isn't `END_DB` below the loudest to the last.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In seconds, in steps of `BLOCK_SECONDS`; 0 for digital silence.
    """
    size = max(1, round(BLOCK_SECONDS * sample_rate))
    power = np.add.reduceat(np.square(audio, dtype=np.float64).sum(axis=0), np.arange(0, audio.shape[1], size))
    sounding = np.flatnonzero(power > power.max(initial=0.0) * 10 ** (-END_DB / 10))
    return float(min((sounding[-1] - sounding[0] + 1) * size, audio.shape[1]) / sample_rate) if len(sounding) else 0.0


def centroid_hz(audio: NDArray[np.float32], sample_rate: int) -> float:
    """Centre of mass of the power spectrum, both channels together.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In Hz; 0 for digital silence.
    """
    power = (np.abs(np.fft.rfft(audio)) ** 2).sum(axis=0)
    frequencies = np.fft.rfftfreq(audio.shape[1], 1 / sample_rate)
    total = power.sum()
    return float((frequencies * power).sum() / total) if total else 0.0
