"""Charts: histograms as SVG that takes its colours from the page, and silhouettes of a control's bins.

No text from a file gets into a chart, only numbers and our own words.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

BINS = 48
SIZE_INCHES = (3.8, 2.1)
#: Colours that stand for the page's own, in light and dark: matplotlib knows no CSS.
STAND_INS = {"#000001": "var(--ink)", "#000002": "var(--faint)", "#000003": "var(--accent)", "#000004": "var(--warn)"}
INK, FAINT, ACCENT, WARN = STAND_INS
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
}
STRIP_HEIGHT = 12  #: of a silhouette, in its own units; what was to be expected is half of it


@dataclass(frozen=True, slots=True)
class Histogram:
    """One histogram: its words, its picture, and in a sentence what it shows."""

    name: str
    title: str
    svg: Markup
    said: str


def draw_histogram(
    name: str, title: str, unit: str, values: NDArray[np.floating], *, is_log: bool = False, mark: float | None = None
) -> Histogram:
    """Draw how often values occur.

    Parameters
    ----------
    name : str
        An identifier, of its own on the page.
    title, unit : str
        What is shown, and in what.
    values : ndarray, shape (n,)
        Finite ones, at least one.
    is_log : bool
        Whether the axis is logarithmic; then values of 0 or less are left out.
    mark : float, optional
        Where to draw a line.
    """
    # Half a second to import, for pages alone. No pyplot: it keeps figures, and wants a main thread.
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    said = f"Median {_short(middle)} {unit}; 5 to 95 %: {_short(low)} to {_short(high)} {unit}."
    # The salt keeps identifiers the same from page to page, and different from chart to chart.
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.subplots()
        axes.hist(values, bins=_edges(values, is_log=is_log).tolist(), color=ACCENT)
        if is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        if mark is not None:
            axes.axvline(mark, color=WARN, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set_xlabel(unit)
        axes.set_ylabel("rows")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Histogram(name, title, _for_page(drawn.getvalue(), f"Histogram. {title}: {said}"), said)


def _short(value: float) -> str:
    """Write a number with three digits that count, as one reads it."""
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", "\N{MINUS SIGN}")


def _edges(values: NDArray[np.floating], *, is_log: bool) -> NDArray[np.floating]:
    shown = values[values > 0] if is_log else values
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (1.0, 10.0)
    if low == high:
        low, high = (low / 2, high * 2) if is_log else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, BINS + 1) if is_log else np.linspace(low, high, BINS + 1)


def _for_page(svg: str, label: str) -> Markup:
    """Take what belongs to a file of its own out of an SVG, and let its colours be the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", svg[: svg.index(">")]) + svg[svg.index(">") :]
    svg = re.sub(r"<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    used = re.findall(r"#([\w.]+)", svg)
    svg = re.sub(r'\sid="([\w.]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    for stand_in, colour in STAND_INS.items():
        svg = svg.replace(stand_in, colour)
    beginning = Markup('<svg role="img" aria-label="{}"').format(label)
    return Markup(svg.replace("<svg", beginning, 1))


def silhouette(ratios: list[float]) -> str:
    """The outline of a control's bins as an SVG path, a unit wide each; what exceeds twice the expected is cut off."""
    heights = [round(STRIP_HEIGHT - min(ratio, 2.0) * STRIP_HEIGHT / 2, 1) for ratio in ratios]
    steps = "".join(f"V{height:g}h1" for height in heights)
    return f"M0 {STRIP_HEIGHT}{steps}V{STRIP_HEIGHT}z"
