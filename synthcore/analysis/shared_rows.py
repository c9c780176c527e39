"""Rows that two datasets share: each row as a few numbers, and rows of equal numbers paired one to one.

Of a row, 53 bytes are kept in memory, whatever its label and its sound take. No audio is read: its hash is stored.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from synthcore.storage.dataset import Dataset

BATCH = 4096  #: rows that are read at a time
Numbers = NDArray[np.uint64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class RowNumbers:
    """The rows of one dataset, as numbers that are equal where what they stand for is: shape (N, 2) each.

    Attributes
    ----------
    labels
        The patch and how it is played.
    sounds
        The audio, by its stored hash.
    families, splits : ndarray or None
        None in a file that doesn't say; splits are as in the file.
    """

    labels: Numbers
    sounds: Numbers
    families: Numbers | None
    splits: NDArray[np.bytes_] | None

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Read the numbers of every row, some rows at a time."""
        batches = [slice(start, start + BATCH) for start in range(0, len(dataset), BATCH)]
        has_families = "family" in dataset.column_names
        return cls(
            labels=_joined(_numbers(_labels(dataset, rows)) for rows in batches),
            sounds=_joined(_numbers(dataset.column("audio_sha256", rows).tolist()) for rows in batches),
            families=_joined(_numbers(dataset.column("family", rows).tolist()) for rows in batches)
            if has_families
            else None,
            splits=dataset.column("split") if "split" in dataset.column_names else None,
        )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of two datasets that belong together: the first's and the second's, as many of each."""

    ours: Places
    theirs: Places

    def __len__(self) -> int:
        return len(self.ours)

    @property
    def in_order(self) -> bool:
        """Whether they follow each other alike in both datasets."""
        return bool((np.diff(self.theirs[np.argsort(self.ours)]) > 0).all())

    def beginning(self) -> int:
        """How many rows, from the first one on, are paired with the row of their own number."""
        alike = np.sort(self.ours[self.ours == self.theirs])
        return int(np.cumprod(alike == np.arange(len(alike))).sum())


@dataclass(frozen=True, slots=True)
class SharedRows:
    """What became of every row of two datasets. No row is in two of these.

    Attributes
    ----------
    same
        The same label, played the same way, and the same audio.
    other_audio
        The same label, played the same way, with other audio.
    other_label
        The same audio under another label.
    alone : tuple of ndarray and ndarray
        The rows that only the first has, and those that only the second has, rising.
    """

    same: Pairs
    other_audio: Pairs
    other_label: Pairs
    alone: tuple[Places, Places]


def share_rows(ours: RowNumbers, theirs: RowNumbers) -> SharedRows:
    """Pair the rows of two datasets. Of rows that occur several times, each is paired once."""
    left = (np.arange(len(ours)), np.arange(len(theirs)))
    whole = tuple(np.hstack([rows.labels, rows.sounds]) for rows in (ours, theirs))
    same, left = _paired((whole[0], whole[1]), left)
    other_audio, left = _paired((ours.labels, theirs.labels), left)
    other_label, left = _paired((ours.sounds, theirs.sounds), left)
    return SharedRows(same, other_audio, other_label, left)


def moved_splits(ours: RowNumbers, theirs: RowNumbers, pairs: Pairs) -> dict[str, int]:
    """Count rows that are in another split, as `train to test`; none where a file has no splits."""
    if ours.splits is None or theirs.splits is None:
        return {}
    both = zip(ours.splits[pairs.ours].tolist(), theirs.splits[pairs.theirs].tolist(), strict=True)
    counts = Counter((one, other) for one, other in both if one != other)
    return {f"{one.decode()} to {other.decode()}": count for (one, other), count in sorted(counts.items())}


def count_moved_families(ours: RowNumbers, theirs: RowNumbers, pairs: Pairs) -> int:
    """Count rows that are of another family; 0 where a file has no families."""
    if ours.families is None or theirs.families is None:
        return 0
    return int((ours.families[pairs.ours] != theirs.families[pairs.theirs]).any(axis=1).sum())


def _labels(dataset: Dataset, rows: slice) -> list[bytes]:
    """What each row plays: its patch's hash, which includes the tempo, and how it is played."""
    names = ("preset_hash", "midi_note", "velocity", "note_seconds")
    parts = zip(*(dataset.column(name, rows).tolist() for name in names), strict=True)
    return [f"{patch.decode()} {note} {velocity} {seconds!r}".encode() for patch, note, velocity, seconds in parts]


def _numbers(values: Iterable[bytes]) -> Numbers:
    """Two numbers for each value: by chance, two values get the same ones in one of 10^38 cases."""
    digests = b"".join(hashlib.blake2b(value, digest_size=16).digest() for value in values)
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


def _joined(batches: Iterable[Numbers]) -> Numbers:
    return np.concatenate([np.empty((0, 2), np.uint64), *batches])


def _paired(numbers: tuple[Numbers, Numbers], left: tuple[Places, Places]) -> tuple[Pairs, tuple[Places, Places]]:
    """Pair those rows among `left` whose numbers are equal, and give what is left then."""
    ours, theirs = _counted(numbers[0][left[0]], numbers[1][left[1]])
    _, mine, yours = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    pairs = Pairs(left[0][mine], left[1][yours])
    return pairs, (np.delete(left[0], mine), np.delete(left[1], yours))


def _counted(ours: Numbers, theirs: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One number for each row: equal for the n-th row of one kind in either dataset, for every n."""
    both = np.concatenate([ours, theirs])
    side = np.repeat([0, 1], [len(ours), len(theirs)])
    order = np.lexsort((side, *both.T))  # stable: rows of one kind and side keep their order
    rising, sides = both[order], side[order]
    is_new_kind = np.r_[True, (rising[1:] != rising[:-1]).any(axis=1)][: len(both)]
    begins = is_new_kind | np.r_[True, sides[1:] != sides[:-1]][: len(both)]
    places = np.arange(len(both))
    which = places - np.maximum.accumulate(np.where(begins, places, 0))
    found: NDArray[Any] = np.empty(len(both), np.int64)
    found[order] = np.cumsum(is_new_kind) * (len(both) + 1) + which
    return found[: len(ours)], found[len(ours) :]
