"""Performances: how each patch of a source is played, the same in every row or drawn from ranges.

What is drawn depends on the seed, the source and the patch's number alone: not on shards, workers, or which candidate
is tried for the patch. Each quantity has a stream of random numbers of its own, so that one can become a range without
changing the others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from synthcore.base.quantities import TEMPO_DIGITS, Span
from synthcore.engine.rendering import Performance
from synthcore.sources.base import SOURCES, Source
from synthcore.sources.synthetic import BLOCK
from synthcore.spec import DatasetSpec

#: The streams, by their places in this list. None has as many numbers in its seed as those that draw patches.
STREAMS = ("notes", "velocity", "note_seconds", "bpm")
SECONDS_DIGITS = 3  #: behind the point, of seconds that are drawn: the synth ends notes every 64 samples anyway


class Performances:
    """How the patches of one source are played.

    Parameters
    ----------
    spec : DatasetSpec
    source : Source
    """

    def __init__(self, spec: DatasetSpec, source: Source) -> None:
        self._seed, self._source, self._audio = spec.seed, SOURCES.index(source), spec.audio
        self._rows = spec.audio.rows_per_patch
        self._fixed = spec.audio.performances
        # A shard needs one block, or two.
        self._block, self._tempos = lru_cache(maxsize=2)(self._draw_block), lru_cache(maxsize=2)(self._draw_tempos)

    def of(self, index: int) -> tuple[Performance, ...]:
        """How a patch (from 0) is played, row after row; the notes rise where they are drawn."""
        return self._fixed or self._block(index // BLOCK)[index % BLOCK]

    def bpm(self, index: int) -> float | None:
        """The tempo at which a patch (from 0) is played; None if it keeps its own."""
        if self._audio.bpm is None:
            return None
        return float(self._tempos(index // BLOCK)[index % BLOCK])

    def _draw_block(self, block: int) -> list[tuple[Performance, ...]]:
        """Draw a block of patches."""
        audio, shape = self._audio, (BLOCK, self._rows)
        if isinstance(audio.notes, Span):
            notes = deal(self._rng("notes", block), _whole(audio.notes), self._rows)
        else:
            notes = np.tile(audio.notes, (BLOCK, 1))
        velocities = np.full(shape, audio.velocity)
        if isinstance(audio.velocity, Span):
            each = _whole(audio.velocity)
            drawn = stratified(self._rng("velocity", block), BLOCK * self._rows)
            velocities = each[(drawn * len(each)).astype(int)].reshape(shape)
        held = self._drawn("note_seconds", block, BLOCK * self._rows, SECONDS_DIGITS).reshape(shape)
        rows = zip(notes.tolist(), velocities.tolist(), held.tolist(), strict=True)
        return [tuple(map(Performance, *of_patch)) for of_patch in rows]

    def _draw_tempos(self, block: int) -> NDArray[np.float64]:
        return self._drawn("bpm", block, BLOCK, TEMPO_DIGITS)

    def _drawn(self, stream: str, block: int, count: int, digits: int) -> NDArray[np.float64]:
        """Draw numbers from a setting's range, rounded; or repeat the setting if it is a number."""
        setting: float | Span = getattr(self._audio, stream)
        if not isinstance(setting, Span):
            return np.full(count, setting)
        drawn = setting.low + stratified(self._rng(stream, block), count) * (setting.high - setting.low)
        return np.clip(np.round(drawn, digits), setting.low, setting.high)

    def _rng(self, stream: str, block: int) -> Generator:
        return np.random.default_rng([self._seed, block, self._source, STREAMS.index(stream), 3])


def stratified(rng: Generator, count: int) -> NDArray[np.float64]:
    """Draw numbers on [0, 1), one in each of `count` equal parts, in random order."""
    return (rng.permutation(count) + rng.random(count)) / count


def deal(rng: Generator, cards: NDArray[Any], size: int) -> NDArray[Any]:
    """Deal a block of hands, none with a card twice, from one shuffled deck after the other: each card as often as any.

    Parameters
    ----------
    rng : Generator
    cards : ndarray, shape (C,)
        The deck.
    size : int
        Cards in a hand, at most C.

    Returns
    -------
    ndarray, shape (1024, size)
        Each hand in rising order.
    """
    hands, left = np.empty((BLOCK, size), dtype=cards.dtype), cards[:0]
    for hand in hands:
        if len(left) < size:
            deck = rng.permutation(cards)
            held = np.isin(deck, left)  # these go to the bottom, and so into another hand
            left = np.concatenate([left, deck[~held], deck[held]])
        hand[:], left = np.sort(left[:size]), left[size:]
    return hands


def _whole(span: Span) -> NDArray[np.intp]:
    return np.arange(int(span.low), int(span.high) + 1)
