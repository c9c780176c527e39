"""Nearness: how near the rows of a dataset come to other sounds, such as those of presets that people made.

Two sounds are as far apart as their sketches (`audio.sketch`): the mean absolute difference, in dB. It is given twice:
with loudness matched, which moves each sketch by its sound's RMS level, and as it is. Every other sound is held against
all rows, and every row against all other sounds. Whether the two can be told apart at all is for `telling`.

Owns the figures and the search for them. Where sketches come from is for `synthcore.pipeline.sketching`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.audio import NEAR_DB, evenly_spaced, sketch
from synthcore.analysis.distances import SILENCE
from synthcore.analysis.telling import SAMPLED, ToldApart, tell_apart
from synthcore.base import progress
from synthcore.base.errors import SynthcoreError
from synthcore.base.progress import Progress
from synthcore.engine.capacity import CORES
from synthcore.engine.stopping import raise_if_stopped

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
#: Near-duplicates; about as near as other people's presets come to each other; and half as far again.
WITHIN_DB = (NEAR_DB, 4.0, 6.0)
BLOCK = 128  #: rows whose distances to all other sounds are in memory at a time, in each thread
WORST = 10  #: how many sounds, and how many rows, are named


@dataclass(frozen=True, slots=True)
class Sketches:
    """Sketches of some sounds.

    Attributes
    ----------
    levels : ndarray, shape (n, L), float32
        Each sound's sketch in dB, relative to its RMS level: louder copies of a sound have equal ones.
    rms_dbfs : ndarray, shape (n,), float32
        The RMS level over both channels, in dB of full scale. Added to `levels`, it gives the sketch as it is.
    patches : ndarray, shape (n,), int
        Which sounds are of one patch: equal numbers.
    """

    levels: NDArray[np.float32]
    rms_dbfs: NDArray[np.float32]
    patches: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.levels)

    def compared(self, *, matched: bool) -> NDArray[np.float32]:
        """What is compared, shape (n, L): with loudness matched, or as it is."""
        return self.levels if matched else self.levels + self.rms_dbfs[:, None]


class Spread(BaseModel):
    """How far sounds are from their nearest on the other side."""

    model_config = ConfigDict(frozen=True)

    quantiles_db: dict[str, float]  # from "0%", the nearest, to "100%", the farthest
    within: dict[str, float]  # share of the sounds, by the distance in dB that none of them exceeds

    @property
    def median_db(self) -> float:
        return self.quantiles_db["50%"]


class Figures(BaseModel):
    """Both directions, and whether the two sides can be told apart."""

    model_config = ConfigDict(frozen=True)

    to_rows: Spread  # from each other sound to its nearest row
    to_others: Spread  # from each row to its nearest other sound
    told_apart: ToldApart | None  # None where a side has too few patches


@dataclass(frozen=True, slots=True)
class Nearest:
    """Who is nearest to whom.

    Attributes
    ----------
    row, row_db : ndarray, shape (m,)
        For each other sound, its nearest row, counted over all batches, and how far that is.
    other, other_db : ndarray, shape (n,)
        For each row, its nearest other sound, and how far that is.
    """

    row: NDArray[np.intp]
    row_db: NDArray[np.float64]
    other: NDArray[np.intp]
    other_db: NDArray[np.float64]


def sketch_sounds(sounds: Sequence[NDArray[np.float32]], sample_rate: int) -> Sketches:
    """Sketch sounds, each of a patch of its own.

    Parameters
    ----------
    sounds : sequence of ndarray, shape (2, S), float32
    sample_rate : int
        Of all, in Hz.

    Raises
    ------
    SynthcoreError
        A sound is silent, isn't finite, or isn't of shape (2, S).
    """
    rms = np.array([rms_dbfs(sound) for sound in sounds], np.float32)
    drawn = [sketch(sound, sample_rate) - level for sound, level in zip(sounds, rms, strict=True)]
    return Sketches(np.array(drawn, np.float32), rms, np.arange(len(drawn)))


def rms_dbfs(audio: NDArray[np.float32]) -> float:
    """The RMS level of a sound over both channels, in dB of full scale.

    Raises
    ------
    SynthcoreError
        It is silent: there is no loudness to match.
    """
    if is_silent(audio):
        raise SynthcoreError("silent: there is no loudness to match")
    return 10 * float(np.log10(_power(audio)))


def is_silent(audio: NDArray[np.float32]) -> bool:
    """Whether a sound is so quiet that it counts as silence."""
    return _power(audio) < SILENCE


def _power(audio: NDArray[np.float32]) -> float:
    return float(np.square(audio, dtype=np.float64).mean())


def measure(rows: Sequence[Sketches], others: Sketches, *, matched: bool, workers: int = CORES) -> Figures:
    """Compare rows with other sounds; see `find_nearest` for progress and memory.

    Parameters
    ----------
    rows : sequence of Sketches
        In batches, of which one at a time is read.
    others : Sketches
    matched : bool
        Whether loudness is matched.
    workers : int
        Threads.

    Raises
    ------
    SynthcoreError
        One of the sides is empty.
    """
    return figures(find_nearest(rows, others, matched=matched, workers=workers), rows, others, matched=matched)


def figures(nearest: Nearest, rows: Sequence[Sketches], others: Sketches, *, matched: bool) -> Figures:
    """Sum up who is nearest to whom, and tell the two sides apart."""
    sample = take(rows, evenly_spaced(len(nearest.other), SAMPLED))
    theirs = take([others], evenly_spaced(len(others), SAMPLED))
    return Figures(
        to_rows=_spread(nearest.row_db),
        to_others=_spread(nearest.other_db),
        told_apart=tell_apart(
            (sample.compared(matched=matched), sample.patches), (theirs.compared(matched=matched), theirs.patches)
        ),
    )


def find_nearest(rows: Sequence[Sketches], others: Sketches, *, matched: bool, workers: int = CORES) -> Nearest:
    """Find the nearest row of each other sound, and the nearest other sound of each row.

    All pairs, a block at a time: with this many numbers to a sketch, a tree would visit nearly all of them too. Reports
    rows to `synthcore.base.progress`; what stays in memory of each is one place and one number.

    Raises
    ------
    SynthcoreError
        One of the sides is empty.
    Interrupted
        Someone asked to stop.
    """
    if not len(others) or not any(map(len, rows)):
        raise SynthcoreError("there is nothing to compare: one of the two sides has no sounds")
    theirs = others.compared(matched=matched)
    nearest, nearest_db = np.zeros(len(others), np.intp), np.full(len(others), np.inf)
    of_rows, of_rows_db, start = [], [], 0
    with ThreadPoolExecutor(workers) as pool:
        for batch in rows:
            for apart in pool.map(partial(_distances, theirs), _blocks(batch.compared(matched=matched))):
                closest = apart.min(axis=0)
                is_nearer = closest < nearest_db  # of equally near rows, the first stays
                nearest[is_nearer] = start + apart.argmin(axis=0)[is_nearer]
                nearest_db[is_nearer] = closest[is_nearer]
                of_rows.append(apart.argmin(axis=1))
                of_rows_db.append(apart.min(axis=1))
                start += len(apart)
                progress.publish(Progress(len(apart), None))
    return Nearest(nearest, nearest_db, np.concatenate(of_rows), np.concatenate(of_rows_db))


def distances_from(sound: Sketches, rows: Sequence[Sketches], *, workers: int = CORES) -> NDArray[np.float64]:
    """Measure how far one sound is from each row, with loudness matched.

    Parameters
    ----------
    sound : Sketches
        Of the one.
    rows : sequence of Sketches
        In batches, of which each thread reads one at a time.
    workers : int
        Threads.

    Returns
    -------
    ndarray, shape (n,), float64
        In dB, counted over all batches.

    Raises
    ------
    Interrupted
        Someone asked to stop.
    """
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda batch: _distances(sound.levels, rows[batch].levels)[:, 0], range(len(rows)))
        return np.concatenate([np.zeros(0), *found])


def take(batches: Sequence[Sketches], places: NDArray[np.intp]) -> Sketches:
    """Take some sounds out of batches: those at these places, rising, counted over all batches."""
    taken, start = [], 0
    for batch in batches:
        within = places[(places >= start) & (places < start + len(batch))] - start
        taken.append(Sketches(batch.levels[within], batch.rms_dbfs[within], batch.patches[within]))
        start += len(batch)
    return Sketches(
        np.concatenate([some.levels for some in taken]),
        np.concatenate([some.rms_dbfs for some in taken]),
        np.concatenate([some.patches for some in taken]),
    )


def _blocks(levels: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    return (levels[start : start + BLOCK] for start in range(0, len(levels), BLOCK))


def _distances(others: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The distance of each row to each other sound, shape (rows, others), in dB."""
    from scipy.spatial.distance import cdist

    raise_if_stopped()
    apart: NDArray[np.float64] = cdist(rows, others, "cityblock") / rows.shape[1]
    return apart


def _spread(apart_db: NDArray[np.float64]) -> Spread:
    levels = np.quantile(apart_db, QUANTILES)
    return Spread(
        quantiles_db={f"{share:.0%}": round(level, 3) for share, level in zip(QUANTILES, levels.tolist(), strict=True)},
        within={f"{db:g}": round(float((apart_db <= db).mean()), 4) for db in WITHIN_DB},
    )
