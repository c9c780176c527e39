"""Charts: histograms and curves as SVG that takes its colours from the page, and silhouettes of a control's bins.

A chart holds only numbers and our own words, never a text from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from synthcore.analysis.axes import Axis, short

BINS = 48
#: Of a chart, in units of about a pixel.
WIDTH, HEIGHT = 300, 164
LEFT, TOP, RIGHT, BOTTOM = 38, 8, 292, 124
STRIP_HEIGHT = 12  #: of a silhouette; the expected number is at half of it


@dataclass(frozen=True, slots=True)
class Measure:
    """What was measured on rows: finite values, shape (n,), at least one, and what to call them.

    `name` is a unique identifier on the page; a line is drawn at `mark`.
    """

    name: str
    title: str
    unit: str
    values: NDArray[np.floating]
    is_log: bool = False  # then values of 0 or less are left out
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """One histogram: its title, its picture, and in a sentence what it shows."""

    name: str
    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class CurveChart:
    """One curve: its title, its picture, and in a sentence what it shows."""

    title: str
    svg: Markup
    caption: str


def draw_curve(title: str, places: Sequence[float], heights: Sequence[float], unit: str, rows: int) -> CurveChart:
    """Draw how a mean follows what lies between 0 and 1; `rows` are behind all points together."""
    across, up = Axis(0.0, 1.0), Axis(0.0, max(1e-3, *heights))
    low, high = short(min(heights)), short(max(heights))
    caption = f"{low} to {high} {unit}".rstrip() + f", over {rows:,} rows."
    points = "L".join(f"{_x(across, x):g} {_y(up, y):g}" for x, y in zip(places, heights, strict=True))
    parts = [
        *(_line("grid", LEFT, _y(up, tick), RIGHT, _y(up, tick)) for tick in up.ticks()),
        *(_text("end", LEFT - 6, _y(up, tick) + 4, short(tick)) for tick in up.ticks()),
        Markup('<path class="curve" d="M{}"/>').format(points),
        _line("axis", LEFT, BOTTOM, RIGHT, BOTTOM),
        *(_line("axis", _x(across, tick), BOTTOM, _x(across, tick), BOTTOM + 4) for tick in across.ticks()),
        *(_text("middle", _x(across, tick), BOTTOM + 17, short(tick)) for tick in across.ticks()),
    ]
    frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    label = f"Curve. {title}: {caption}"
    return CurveChart(title, frame.format(WIDTH, HEIGHT, label, Markup("").join(parts)), caption)


def draw_histograms(measures: Sequence[Measure]) -> list[Histogram]:
    """Draw how often values occur: one measure of one or several datasets, on the same axes."""
    across = Axis.over(np.concatenate([measure.values for measure in measures]), is_log=measures[0].is_log)
    found = [_percent(measure.values, across) for measure in measures]
    up = Axis(0.0, max(1e-3, *(float(percent.max()) for percent in found)))
    return [_draw(measure, percent, across, up) for measure, percent in zip(measures, found, strict=True)]


def _percent(values: NDArray[np.floating], across: Axis) -> NDArray[np.floating]:
    """Count the values in each of `BINS` bins, in percent of all."""
    shares: NDArray[np.floating] = np.histogram(values, across.edges(BINS))[0] * (100.0 / len(values))
    return shares


def _draw(measure: Measure, percent: NDArray[np.floating], across: Axis, up: Axis) -> Histogram:
    low, middle, high = (short(float(q)) for q in np.quantile(measure.values, (0.05, 0.5, 0.95)))
    caption = f"Median {middle} {measure.unit}; 5 to 95 %: {low} to {high} {measure.unit}."
    parts = [
        *(_line("grid", LEFT, _y(up, tick), RIGHT, _y(up, tick)) for tick in up.ticks()),
        *(_text("end", LEFT - 6, _y(up, tick) + 4, f"{short(tick)} %") for tick in up.ticks()),
        Markup('<path class="bars" d="{}"/>').format(_outline(percent, up)),
        _line("axis", LEFT, BOTTOM, RIGHT, BOTTOM),
        *(_line("axis", _x(across, tick), BOTTOM, _x(across, tick), BOTTOM + 4) for tick in across.ticks()),
        *(_text("middle", _x(across, tick), BOTTOM + 17, short(tick)) for tick in across.ticks()),
        _text("middle", (LEFT + RIGHT) / 2, BOTTOM + 35, measure.unit),
    ]
    if measure.mark is not None and across.low <= measure.mark <= across.high:
        parts.append(_line("mark", _x(across, measure.mark), TOP, _x(across, measure.mark), BOTTOM))
    frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    label = f"Histogram. {measure.title}: {caption}"
    return Histogram(measure.name, measure.title, frame.format(WIDTH, HEIGHT, label, Markup("").join(parts)), caption)


def _x(across: Axis, value: float) -> float:
    return round(LEFT + across.place(value) * (RIGHT - LEFT), 1)


def _y(up: Axis, value: float) -> float:
    return round(BOTTOM - up.place(value) * (BOTTOM - TOP), 1)


def _outline(percent: NDArray[np.floating], up: Axis) -> str:
    """The outline of the bars as an SVG path."""
    sides = np.linspace(LEFT, RIGHT, len(percent) + 1).round(1).tolist()
    steps = "".join(f"V{_y(up, value):g}H{right:g}" for value, (_, right) in zip(percent, pairwise(sides), strict=True))
    return f"M{LEFT} {BOTTOM}{steps}V{BOTTOM}z"


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"/>').format(kind, x1, y1, x2, y2)


def _text(anchor: str, x: float, y: float, words: str) -> Markup:
    return Markup('<text text-anchor="{}" x="{:g}" y="{:g}">{}</text>').format(anchor, x, y, words)


def silhouette(ratios: list[float]) -> str:
    """Outline a control's bins as an SVG path, one unit wide each, and cut off at twice the expected number."""
    heights = [round(STRIP_HEIGHT - min(ratio, 2.0) * STRIP_HEIGHT / 2, 1) for ratio in ratios]
    steps = "".join(f"V{height:g}h1" for height in heights)
    return f"M0 {STRIP_HEIGHT}{steps}V{STRIP_HEIGHT}z"
