"""The search for a sound by rendering: CMA-ES over the continuous controls that can be heard in a patch.

CMA-ES (Hansen and Ostermeier, "Completely derandomized self-adaptation in evolution strategies", Evolutionary
Computation 9(2), 2001) draws candidates around a mean, renders them, and moves the mean and the shape of the cloud to
where they came nearest. Here the cloud begins at a patch of a dataset; options, modulation and wavetables stay its own.

Owns what is moved and how candidates are scored: by `distances.distance` to the target. The algorithm is the library's,
which is an extra.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.analysis.distances import RANGE_DB, level_distance, mel_powers
from synthcore.base.errors import SynthcoreError
from synthcore.engine.rendering import Fault, Performance
from synthcore.playback import render_many
from synthcore.spec import AudioSpec
from synthcore.vital import nearest
from synthcore.vital.activity import active
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch

#: Of the first candidates, as a share of each control's range. With 60 renders 0.2 came less near, to each of 7 sounds.
STEP = 0.1
SEED = 0
WORST = RANGE_DB  #: how far a candidate counts that can't be rendered: no sound is farther
Watch = Callable[[int, float], object]  #: takes the renders so far, and the distance of the best in dB


def ignore(renders: int, best_db: float) -> None:
    """Watch nothing."""


@dataclass(frozen=True, slots=True)
class Played:
    """One patch as it sounds beside the target."""

    patch: Patch
    performance: Performance
    audio: NDArray[np.float32]
    distance_db: float


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be rendered: candidates in all, and at a time."""

    renders: int
    workers: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to: the best, after so many renders; whether Ctrl-C ended it."""

    best: Played
    renders: int
    is_interrupted: bool


def require_cma() -> None:
    """Refuse to search without the library.

    Raises
    ------
    SynthcoreError
        It isn't installed.
    """
    try:
        _library()
    except ImportError as error:
        raise SynthcoreError("searching needs the library cma: pip install 'synthcore[match]'") from error


def search(
    target: NDArray[np.float32],
    start: Played,
    assets: dict[str, bytes],
    audio: AudioSpec,
    budget: Budget,
    watch: Watch = ignore,
) -> Found:
    """Look for a patch that sounds nearer to the target; the same target, start and budget give the same patch.

    Parameters
    ----------
    target : ndarray, shape (2, S), float32
        The sound, in the form of `audio`.
    start : Played
        Where the search begins. The result is never farther.
    assets : dict of str to bytes
        What the patch plays.
    audio : AudioSpec
        As which both were rendered.
    budget : Budget
    watch : callable, optional
        Is told the progress after each generation.

    Raises
    ------
    SynthcoreError
        The library is missing.
    Accident
        A render met with accident after accident.
    """
    require_cma()
    searcher = _Searcher(target, start, assets, audio, budget)
    is_interrupted = False
    try:
        searcher.run(watch)
    except KeyboardInterrupt:
        is_interrupted = True
    return Found(searcher.best, searcher.renders, is_interrupted)


class _Searcher:
    """One search under way, so that what is interrupted still has its best."""

    def __init__(
        self, target: NDArray[np.float32], start: Played, assets: dict[str, bytes], audio: AudioSpec, budget: Budget
    ) -> None:
        self.best, self.renders = start, 0
        self._start, self._assets, self._audio, self._budget = start, assets, audio, budget
        self._rate, self._powers = audio.sample_rate, mel_powers(target, audio.sample_rate)
        registry = installed()
        self._moved = np.flatnonzero(active(start.patch, registry)[: len(registry.continuous)])

    def run(self, watch: Watch) -> None:
        """Search until the budget is spent, or the cloud has shrunk to a point."""
        if len(self._moved) < 2 or not self._start.distance_db:  # the library needs two; nothing is nearer than 0
            return
        strategy = _strategy(self._start.patch.continuous[self._moved])
        while self.renders < self._budget.renders and not strategy.stop():
            drawn = strategy.ask()
            scores = self._score([self._patch(units) for units in drawn[: self._budget.renders - self.renders]])
            if len(scores) == len(drawn):
                strategy.tell(drawn, scores)
            watch(self.renders, self.best.distance_db)

    def _patch(self, units: NDArray[np.float64]) -> Patch:
        """The patch of a candidate: whole-number controls rounded, as labels hold them."""
        whole = self._start.patch.continuous.copy()
        whole[self._moved] = units
        return self._start.patch.moved(continuous=nearest.units(whole, whole, installed()))

    def _score(self, patches: Sequence[Patch]) -> list[float]:
        """Render candidates on all cores; keep the best."""
        scores = []
        how = self._start.performance
        played = render_many(
            patches, [how] * len(patches), audio=self._audio, assets=self._assets, workers=self._budget.workers
        )
        with contextlib.closing(played):
            for patch, sound in zip(patches, played, strict=True):
                self.renders += 1
                if isinstance(sound, Fault):
                    scores.append(WORST)
                    continue
                scores.append(level_distance(mel_powers(sound, self._rate), self._powers))
                if scores[-1] < self.best.distance_db:
                    self.best = Played(patch, how, sound, scores[-1])
        return scores


def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses matplotlib, with which it could draw what nobody asks for
        import cma
    return cma


def _strategy(start: NDArray[np.float32]) -> Any:
    """The library's strategy: a generator of its own, and no file that it writes or takes orders from."""
    chance = np.random.default_rng(SEED)
    options = {
        "bounds": [0, 1],
        "randn": lambda *shape: chance.standard_normal(shape),
        "seed": np.nan,
        "signals_filename": "",
        "verbose": -9,
    }
    return _library().CMAEvolutionStrategy(start.astype(np.float64), STEP, options)
