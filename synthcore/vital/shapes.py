"""The built-in shapes of LFOs and of modulation curves: made here, so free of any licence, and the same everywhere.

Owns the shapes, their names, and the form in which shapes are stored. A shape is a line through points, as Vital draws
it: `num_points`; `points`, x and y in turn from 0 to 1, where y counts down from the top; `powers`, which bend the line
behind each point (above 0 it starts slowly); and `smooth`, which rounds it off at the points.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from synthcore.base.hashing import canonical_json, content_hash
from synthcore.vital.controls import Registry

Line = dict[str, Any]
Point = tuple[float, float]  #: x, and the value there: unlike in a document, 1 is at the top

LFOS = 8  #: of the synth; a ninth kills it
#: Kinds of shapes, in the order of the library: what a prior gives weights to.
KINDS = ("ramp", "triangle", "smooth", "pulse", "steps", "random", "gate", "plucks", "one-shot")
#: Points lie on multiples of this. As 32-bit numbers, which the synth keeps, they are the same numbers.
GRID = 2.0**-12
HELD = 0.75  #: how much of its step the note of a gate is held
TOP, BOTTOM = 1.0, 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """One built-in shape.

    Attributes
    ----------
    name : str
        What people call it.
    kind : str
        One of `KINDS`.
    line : dict
        Its canonical form, as `canonical_line` gives it.
    """

    name: str
    kind: str
    line: Line

    @property
    def is_straight(self) -> bool:
        """Whether, as a modulation's curve, it changes nothing."""
        return self.line == _line([(0.0, BOTTOM), (1.0, TOP)])


def canonical_line(line: Mapping[str, Any]) -> Line:
    """Leave out of an LFO's shape, or a modulation's curve, what isn't heard: its name."""
    return {key: value for key, value in line.items() if key != "name"}


@lru_cache(maxsize=1)
def builtin_shapes() -> tuple[Shape, ...]:
    """All built-in shapes, by kind and in a fixed order. None is the init preset's triangle, and no two are the same.

    Add new ones at the end of their kind; any change makes other rows of what is drawn from them.
    """
    made = (_ramps(), _triangles(), _smooth(), _pulses(), _steps(), _random(), _gates(), _plucks(), _one_shots())
    return tuple(
        Shape(name, kind, line) for kind, lines in zip(KINDS, made, strict=True) for name, line in lines.items()
    )


@lru_cache(maxsize=1)
def builtin_digest() -> str:
    """SHA-256 in hex of the shapes in their order, with their kinds, which decide how often they are drawn."""
    return content_hash([[shape.kind, shape.line] for shape in builtin_shapes()])


def builtin_name(line: Mapping[str, Any]) -> str | None:
    """What a line is called if it is a built-in shape, whatever its own name says."""
    place = _places().get(canonical_json(canonical_line(line)))
    return None if place is None else builtin_shapes()[place].name


def are_builtin(content: bytes, registry: Registry) -> bool:
    """Whether an asset of LFO shapes or curves holds none but built-in ones and the init preset's."""
    shapes = json.loads(content)
    init = [canonical_line(lfo) for lfo in registry.init["lfos"]]
    lines = shapes.values() if isinstance(shapes, dict) else shapes
    return all(builtin_name(line) is not None or line in init for line in lines)


def lfo_numbers(content: bytes | None, registry: Registry) -> list[int]:
    """Number the shapes of the eight LFOs: 0 the init preset's, n the n-th built-in one, -1 any other.

    Parameters
    ----------
    content : bytes or None
        An asset of LFO shapes; None for the init preset's, and empty if it isn't known.
    registry : Registry
    """
    if not content:
        return [0 if content is None else -1] * LFOS
    return [
        0 if line == canonical_line(init) else 1 + _places().get(canonical_json(line), -2)
        for line, init in zip(json.loads(content), registry.init["lfos"], strict=True)
    ]


def lfo_asset(numbers: Iterable[int], registry: Registry) -> tuple[str, bytes]:
    """Make the asset of LFO shapes with these numbers, as `lfo_numbers` counts: its name and its content.

    Raises
    ------
    IndexError
        A shape has no such number.
    """
    known = [canonical_line(registry.init["lfos"][0]), *(shape.line for shape in builtin_shapes())]
    if min(chosen := list(numbers)) < 0:
        raise IndexError(f"shapes count from 0, the init preset's; {min(chosen)} stands for one that isn't built in")
    return asset_of([known[number] for number in chosen])


def asset_of(content: Any) -> tuple[str, bytes]:
    """Write LFO shapes or curves as an asset: its name, the SHA-256, and its canonical JSON."""
    text = canonical_json(content).encode()
    return hashlib.sha256(text).hexdigest(), text


@lru_cache(maxsize=1)
def _places() -> dict[str, int]:
    return {canonical_json(shape.line): place for place, shape in enumerate(builtin_shapes())}


# --- How lines are made ---------------------------------------------------------------------------------------------


def _line(points: Sequence[Point], powers: Mapping[int, float] | None = None, *, smooth: bool = False) -> Line:
    """Draw a line through points; `powers` bend it behind the points of these numbers."""
    coordinates = [round(number / GRID) * GRID for x, value in points for number in (x, 1 - value)]
    bends = [float((powers or {}).get(place, 0.0)) for place in range(len(points))]
    return {"num_points": len(points), "points": coordinates, "powers": bends, "smooth": smooth}


def _stairs(values: Sequence[float]) -> Line:
    """Hold one value after another, equally long."""
    edges = np.linspace(0, 1, len(values) + 1).tolist()
    return _line([(x, value) for place, value in enumerate(values) for x in edges[place : place + 2]])


def _through(values: Sequence[float], *, smooth: bool = False) -> Line:
    """Go from value to value in equal times, ending where the next turn begins."""
    places = np.linspace(0, 1, len(values) + 1).tolist()
    return _line(list(zip(places, (*values, values[0]), strict=True)), smooth=smooth)


def _gate(pattern: str) -> Line:
    """Open for each x, a little shorter than its step, so that neighbours stay two."""
    points, step = [(0.0, BOTTOM)], 1 / len(pattern)
    for start in (place * step for place, sign in enumerate(pattern) if sign == "x"):
        stop = start + HELD * step
        points += [(start, BOTTOM)] * (start > 0) + [(start, TOP), (stop, TOP), (stop, BOTTOM)]
    return _line([*points, (1.0, BOTTOM)])


def _hits(heights: Sequence[float]) -> Line:
    """Strike at each step that has a height, and let it die away until the next step."""
    points, step = [(0.0, BOTTOM)], 1 / len(heights)
    for start, height in ((place * step, height) for place, height in enumerate(heights) if height):
        points += [(start, BOTTOM)] * (start > 0) + [(start, height), (start + step, BOTTOM)]
    points += [(1.0, BOTTOM)] * (points[-1][0] < 1)
    return _line(points, {place: -4.0 for place, (_, value) in enumerate(points) if value})


def _shuffled(seed: int, count: int) -> list[float]:
    """Put evenly spaced values, from bottom to top, in a random order."""
    values: list[float] = (np.random.default_rng(seed).permutation(count) / (count - 1)).tolist()
    return values


# --- The shapes, by kind and name -----------------------------------------------------------------------------------


def _ramps() -> dict[str, Line]:
    bends = {"": 0.0, " Late": 4.0, " Early": -4.0, " Very Late": 9.0, " Very Early": -9.0}
    up, down = [(0.0, BOTTOM), (1.0, TOP)], [(0.0, TOP), (1.0, BOTTOM)]
    ramps = {
        f"Ramp {way}{bend}": _line(points, {0: power})
        for way, points in (("Up", up), ("Down", down))
        for bend, power in bends.items()
    }
    knees = {
        "Held, then Up": _line([(0.0, BOTTOM), (0.5, BOTTOM), (1.0, TOP)]),
        "Up, then Held": _line([(0.0, BOTTOM), (0.5, TOP), (1.0, TOP)]),
    }
    return ramps | knees


def _triangles() -> dict[str, Line]:
    def peak(at: float, rise: float = 0.0, fall: float = 0.0) -> Line:
        return _line([(0.0, BOTTOM), (at, TOP), (1.0, BOTTOM)], {0: rise, 1: fall})

    return {
        "Triangle Down": _through([TOP, BOTTOM]),
        "Triangle Leaning Left": peak(0.25),
        "Triangle Leaning Right": peak(0.75),
        "Triangle Peaked": peak(0.5, rise=4.0, fall=-4.0),
        "Triangle Rounded": peak(0.5, rise=-4.0, fall=4.0),
    }


def _smooth() -> dict[str, Line]:
    def leaning(at: float) -> Line:
        return _line([(0.0, BOTTOM), (at, TOP), (1.0, BOTTOM)], smooth=True)

    return {
        "Sine": _through([BOTTOM, TOP], smooth=True),
        "Sine Down": _through([TOP, BOTTOM], smooth=True),
        "Wave Leaning Left": leaning(0.25),
        "Wave Leaning Right": leaning(0.75),
        "Smooth Rise": _line([(0.0, BOTTOM), (1.0, TOP)], smooth=True),
        "Smooth Fall": _line([(0.0, TOP), (1.0, BOTTOM)], smooth=True),
    }


def _pulses() -> dict[str, Line]:
    widths = {"Pulse 12 %": 0.125, "Pulse 25 %": 0.25, "Square": 0.5, "Pulse 75 %": 0.75, "Pulse 88 %": 0.875}
    return {name: _line([(0.0, TOP), (width, TOP), (width, BOTTOM), (1.0, BOTTOM)]) for name, width in widths.items()}


def _steps() -> dict[str, Line]:
    def rising(count: int) -> list[float]:
        values: list[float] = np.linspace(BOTTOM, TOP, count).tolist()
        return values

    up = {f"Steps Up {count}": _stairs(rising(count)) for count in (2, 3, 4, 8, 16)}
    down = {f"Steps Down {count}": _stairs(rising(count)[::-1]) for count in (4, 8, 16)}
    return {**up, **down, "Steps Up and Down 8": _stairs([*rising(5), *rising(5)[3:0:-1]])}


def _random() -> dict[str, Line]:
    steps = {f"Random Steps {count}": _stairs(_shuffled(count, count)) for count in (4, 8, 16)}
    curves = {f"Random Curve {count}": _through(_shuffled(40 + count, count), smooth=True) for count in (4, 8, 16)}
    return {**steps, **curves}


def _gates() -> dict[str, Line]:
    return {
        "Gate Fours": _gate("xxxx"),
        "Gate Off-Beat": _gate(".x.x.x.x"),
        "Gate 3-3-2": _gate("x..x..x."),
        "Gate Gallop": _gate("x.xxx.xx"),
        "Gate Clave": _gate("x..x..x...x.x..."),
    }


def _plucks() -> dict[str, Line]:
    return {
        "Plucks Fours": _hits([TOP, TOP, TOP, TOP]),
        "Plucks Off-Beat": _hits([BOTTOM, TOP] * 4),
        "Plucks 3-3-2": _hits([TOP, 0, 0, TOP, 0, 0, TOP, 0]),
        "Plucks Fading": _hits([TOP, 0.75, 0.5, 0.25]),
    }


def _one_shots() -> dict[str, Line]:
    return {
        "Attack and Decay": _line([(0.0, BOTTOM), (0.125, TOP), (1.0, BOTTOM)], {1: -4.0}),
        "Swell": _line([(0.0, BOTTOM), (0.875, TOP), (1.0, BOTTOM)], {0: 4.0}),
        "Pump": _line([(0.0, BOTTOM), (0.5, TOP), (1.0, TOP)], {0: -3.0}),
        "Bounce": _line(_bounces(), {place: (-2.0, 2.0)[place % 2] for place in range(8)}),
    }


def _bounces() -> list[Point]:
    """Throw up a ball that bounces three times, each half as high and long, and rests."""
    points, start = [], 0.0
    for height in (1.0, 0.5, 0.25, 0.125):
        points += [(start, BOTTOM), (start + height / 4, height)]
        start += height / 2
    return [*points, (start, BOTTOM), (1.0, BOTTOM)]
