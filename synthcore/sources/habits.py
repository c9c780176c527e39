"""Habits: what people do with the controls, drawn so that what they move together is moved together.

For each control a first number decides whether it leaves its default, and a second one where it goes. The first numbers
hang together by factors; the second ones are the strata of the hypercube, as in the full priors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from synthcore.base.errors import SpecError
from synthcore.base.spelling import meant
from synthcore.sources.prior_rows import LEVELS, FactorRow, HabitRow
from synthcore.sources.priors import WAVE_FRAME, Marginal, Priors, option_weights
from synthcore.vital.controls import Control, Registry

#: Patches drawn from the full priors are spread evenly this many at a time, over a range this much wider that is cut
#: off at its ends: so few patches, of which some are refused, reach the ends of every range.
SPREAD, WIDENED = 32, 1.08
MISSED = 1e-4  #: of its range: a quantile may miss a control's range by so much, as it is rounded

Numbers = NDArray[np.float64]


class Habit:
    """What people do with one control."""

    def __init__(self, row: HabitRow, marginal: Marginal) -> None:
        self.control, self.row = marginal.control, row
        self._scale = 1.0
        if WAVE_FRAME.fullmatch(self.control.name):  # as many frames as the catalog's tables have
            self._scale = marginal.high / self.control.high

    def draw(self, leaves: Numbers, goes: Numbers) -> Numbers:
        """Turn two numbers on [0, 1) for each patch into values, or into option indices."""
        control, row = self.control, self.row
        if row.options:
            return _draw_options(control, option_weights(control, row.options), leaves)
        if row.values:
            whole = np.array(sorted(map(float, row.values)))
            weights = np.array([row.values[name] for name in sorted(row.values, key=float)])
            elsewhere = whole[_chosen(weights, goes)]
        else:
            elsewhere = np.interp(goes, LEVELS, row.quantiles or [control.default] * len(LEVELS)) * self._scale
        if control.is_whole:
            elsewhere = np.rint(elsewhere)
        elsewhere = np.clip(elsewhere, control.low, control.high)  # which a rounded quantile may just miss
        return np.where(leaves < row.default_share, control.default, elsewhere)


def _draw_options(control: Control, weights: Numbers, leaves: Numbers) -> Numbers:
    """Draw options, the default first: a low number stays with it."""
    default = int(control.default - control.low)
    order = np.array([default, *(i for i in range(len(weights)) if i != default)])
    options: Numbers = order[_chosen(weights[order], leaves)].astype(np.float64)
    return options


def _chosen(weights: Numbers, quantiles: Numbers) -> NDArray[np.intp]:
    cumulative = np.cumsum(weights) / weights.sum()
    places: NDArray[np.intp] = np.searchsorted(cumulative, quantiles, side="right")
    last: np.intp = np.flatnonzero(weights)[-1]
    chosen: NDArray[np.intp] = np.minimum(places, last)
    return chosen


class Habits:
    """The habits for the controls that a spec varies.

    Parameters
    ----------
    priors : Priors
    marginals : sequence of Marginal
        What varies: a habit for anything else isn't used.
    registry : Registry

    Raises
    ------
    SpecError
        A habit or a factor names what the synth doesn't have.
    """

    def __init__(self, priors: Priors, marginals: Sequence[Marginal], registry: Registry) -> None:
        for row in priors.habit:
            _require_known(row, registry, priors.name)
        rows = {row.control: row for row in priors.habit}
        self._columns = [i for i, m in enumerate(marginals) if m.control.name in rows]
        self.habits = [Habit(rows[marginals[i].control.name], marginals[i]) for i in self._columns]
        self._loadings = _loadings(priors.factor, [h.control.name for h in self.habits], registry, priors.name)
        self._share = priors.full_share

    def __bool__(self) -> bool:
        return bool(self.habits)

    def follow(self, first: int, patches: int) -> NDArray[np.bool_]:
        """Say which of the patches from `first` on follow habits: shape (patches,)."""
        return follows_habits(np.arange(first, first + patches), self._share)

    def draw(self, rng: Generator, quantiles: Numbers) -> list[tuple[Control, Numbers]]:
        """Draw each control of some patches.

        Parameters
        ----------
        rng : Generator
        quantiles : ndarray, shape (patches, marginals), float64
            The patches' places in the hypercube.
        """
        leaves = self._leaves(rng, len(quantiles))
        return [
            (habit.control, habit.draw(leaves[:, i], quantiles[:, column]))
            for i, (habit, column) in enumerate(zip(self.habits, self._columns, strict=True))
        ]

    def _leaves(self, rng: Generator, patches: int) -> Numbers:
        """Draw the numbers that decide whether controls leave their defaults: shape (patches, habits), evenly spread.

        Each control's own rest and each factor is spread evenly; what they add up to is spread evenly by its rank.
        """
        # Imported only here, as in `synthetic`.
        from scipy.special import ndtri
        from scipy.stats import qmc

        factors = len(self._loadings)
        own = qmc.LatinHypercube(d=factors + len(self.habits), rng=rng).random(patches)
        normal = ndtri(own)
        rest = np.sqrt(1 - (self._loadings**2).sum(axis=0))
        sums = normal[:, factors:] * rest
        for factor, loadings in enumerate(self._loadings):  # one by one: what a BLAS adds up depends on its threads
            sums += normal[:, factor, None] * loadings
        ranks = sums.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
        spread: Numbers = (ranks + rng.random(ranks.shape)) / patches
        return spread


def follows_habits(indices: NDArray[np.integer], full_share: float) -> NDArray[np.bool_]:
    """Say which patches follow habits, by their indices; of the others each stands in for a full share of them."""
    follows: NDArray[np.bool_] = np.floor((indices + 1) * full_share) == np.floor(indices * full_share)
    return follows


def spread_evenly(rng: Generator, patches: int, controls: int) -> Numbers:
    """Draw small hypercubes one after the other, in which the ends are likelier: shape (patches, controls)."""
    from scipy.stats import qmc

    cubes = [qmc.LatinHypercube(d=controls, rng=rng).random(SPREAD) for _ in range(0, patches, SPREAD)]
    widened = (np.concatenate(cubes)[:patches] - 0.5) * WIDENED + 0.5
    return np.clip(widened, 0, np.nextafter(1, 0))


def _require_known(row: HabitRow, registry: Registry, where: str) -> None:
    control = registry.by_name.get(row.control)
    if control is None:
        raise SpecError(f"{where}: the synth has no control {row.control!r}{meant(row.control, registry.by_name)}")
    if control.is_categorical != (row.options is not None):
        wants = "options" if control.is_categorical else "quantiles or values"
        raise SpecError(f"{where}: the habit of {row.control} needs {wants}")
    if row.options:
        option_weights(control, row.options, where)
    reached = [*(row.quantiles or ()), *map(float, row.values or ())]
    spare = MISSED * (control.high - control.low)
    if not all(control.low - spare <= value <= control.high + spare for value in reached):
        raise SpecError(
            f"{where}: the habit of {row.control} goes to {min(reached):g}..{max(reached):g}, beyond its range "
            f"({control.low:g}, {control.high:g})"
        )


def _loadings(factors: Sequence[FactorRow], names: Sequence[str], registry: Registry, where: str) -> Numbers:
    """The factors' loadings on some controls: shape (factors, controls)."""
    for row in factors:
        for name in row.loadings:
            if name not in registry.by_name:
                raise SpecError(f"{where}: a factor loads on {name!r}{meant(name, registry.by_name)}")
    found = np.array([[row.loadings.get(name, 0.0) for name in names] for row in factors])
    found = found.reshape(len(factors), len(names))
    if ((found**2).sum(axis=0) >= 1).any():
        worst = names[int((found**2).sum(axis=0).argmax())]
        raise SpecError(f"{where}: the squares of the factors' loadings on {worst} must add up to less than 1")
    return found
