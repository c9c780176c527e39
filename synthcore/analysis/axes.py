"""Axes: where numbers lie on them, and which round numbers to write beside them, whatever draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_TICKS = 5
STEPS = (1, 2, 5, 10)
DECADE = 10
ROUNDING = 1e-9  #: 0.6 / 0.2 is a little less than 3


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of numbers, with `low` at place 0 and `high` at place 1.

    Attributes
    ----------
    low, high : float
        `low` is less than `high`; on a logarithmic axis both are above 0.
    is_log : bool
        Whether equal ratios are equally far apart, instead of equal differences.
    """

    low: float
    high: float
    is_log: bool = False

    @classmethod
    def over(cls, values: NDArray[np.floating], *, is_log: bool = False) -> Axis:
        """The axis that holds all values, or on a logarithmic one all above 0. Its width is never 0."""
        shown = values[values > 0] if is_log else values
        low, high = (float(shown.min()), float(shown.max())) if len(shown) else (1.0, 10.0)
        if low == high:
            low, high = (low / 2, high * 2) if is_log else (low - 0.5, high + 0.5)
        return cls(low, high, is_log)

    def place(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def edges(self, bins: int) -> NDArray[np.floating]:
        """The edges of `bins` bins of equal width, shape (bins + 1,)."""
        space = np.geomspace if self.is_log else np.linspace
        edges: NDArray[np.floating] = space(self.low, self.high, bins + 1)
        return edges

    def ticks(self) -> list[float]:
        """Round numbers on the axis, about `MOST_TICKS`."""
        if self.is_log and self.high / self.low >= DECADE:
            return self._powers()
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / MOST_TICKS))
        step *= next(m for m in STEPS if (self.high - self.low) / (m * step) <= MOST_TICKS)
        first, last = self.low / step - ROUNDING, self.high / step + ROUNDING
        return [n * step for n in range(math.ceil(first), math.floor(last) + 1)]

    def _powers(self) -> list[float]:
        """Powers of ten, with twice and five times these if there is room."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
        every = [m * 10.0**n for n in decades for m in STEPS[:-1]] + [10.0**decades.stop]
        for mantissas in ("125", "1"):
            shown = [t for t in every if self.low <= t <= self.high and f"{t:e}"[0] in mantissas]
            if len(shown) <= MOST_TICKS:
                return shown
        return shown[:: math.ceil(len(shown) / MOST_TICKS)]


def short(value: float) -> str:
    """Write a number with three significant digits, as people read it."""
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", "\N{MINUS SIGN}")
