"""The panel: how Vital shows its controls. Their modules and order, their names, and their values in units.

What Vital shows is data, in `panel.toml`, read and applied here. A control that the table doesn't know is shown as its
raw value with its range, never as a guess.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from synthcore.vital.controls import Control, Registry

Scale = Literal["linear", "quadratic", "cubic", "quartic", "square root", "exponential", "note"]
NOTE_0_HZ = 440 * 2 ** (-69 / 12)  #: of MIDI note 0, 8.1758 Hz
OTHERS = "Others"  #: the module of what the table doesn't know
#: The effects in the order in which `effect_chain_order` counts them, as Vital's `constants.Effect` does.
EFFECTS = ("chorus", "compressor", "delay", "distortion", "eq", "filter_fx", "flanger", "phaser", "reverb")


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModuleRow(_Row):
    """Where some controls are on the panel."""

    prefix: str = ""
    title: str
    called: str
    order: tuple[str, ...]
    effect: bool = False

    def find(self, name: str) -> tuple[str, str] | None:
        """Give the module's number, if it has one, and the rest of a control's name; None if it is elsewhere."""
        if not self.prefix:
            return ("", name) if name in self.order else None
        match = re.fullmatch(re.escape(self.prefix).replace(r"\#", r"(?P<number>\d+)") + "(?P<rest>.+)", name)
        return (match.groupdict().get("number", ""), match["rest"]) if match else None

    def place(self, rest: str) -> int:
        """Where a control is in its module; controls that aren't named come last."""
        return self.order.index(rest) if rest in self.order else len(self.order)


class Shown(_Row):
    """What is shown of a control's value. See `panel.toml`."""

    controls: tuple[str, ...] = ()
    scale: Scale = "linear"
    offset: float = 0.0
    inverted: bool = False
    multiply: float = 1.0
    unit: str = ""
    source: str = ""

    def amount(self, value: float) -> float:
        """Convert a raw value to the number that is shown. It rises with the value; if inverted, it falls."""
        scaled = _SCALES[self.scale](value) + self.offset
        return (1 / scaled if self.inverted else scaled) * self.multiply


_SCALES: Mapping[Scale, Callable[[float], float]] = {
    "linear": lambda value: value,
    "note": lambda value: value,
    "quadratic": lambda value: value**2,
    "cubic": lambda value: value**3,
    "quartic": lambda value: value**4,
    "square root": lambda value: math.sqrt(max(value, 0.0)),
    "exponential": lambda value: 2.0**value,
}


class Table(_Row):
    """Everything in `panel.toml`."""

    module: tuple[ModuleRow, ...]
    labels: Mapping[str, str]
    options: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, str]
    shown: tuple[Shown, ...]


@lru_cache(maxsize=1)
def panel_table() -> Table:
    """The panel that comes with synthcore."""
    return Table(**tomllib.loads(files(__package__).joinpath("panel.toml").read_text("utf-8")))


@dataclass(frozen=True, slots=True)
class Knob:
    """A control on the panel.

    Attributes
    ----------
    control : Control
    label : str
        Its name within its module.
    called : str
        Its name in a sentence.
    options : tuple of str
        What Vital calls its options; empty for a continuous control.
    shown : Shown
    """

    control: Control
    label: str
    called: str
    options: tuple[str, ...]
    shown: Shown

    def amount(self, value: float) -> float:
        """Convert a raw value to the number that is shown; an option's is its own."""
        return value if self.control.is_categorical else self.shown.amount(value)

    def text(self, value: float) -> str:
        """Write a raw value as Vital shows it."""
        if self.control.name == "effect_chain_order":
            return ", ".join(effects_in_order(round(value)))
        if self.control.is_categorical:
            return self._option(round(value - self.control.low))
        number = self.amount(value)
        if self.shown.scale == "note":
            return f"{_frequency(NOTE_0_HZ * 2 ** (value / 12))} ({signed(number, 1)} semitones)"
        if self.shown.unit in ("s", "ms"):
            seconds = number if self.shown.unit == "s" else number / 1000
            return _time(seconds) + (f" ({_frequency(1 / seconds)})" if self.shown.inverted else "")
        low = self.amount(self.control.low)
        text = signed(number) if low < 0 else plain(number)
        if self.shown.unit:
            unit = self.shown.unit.removesuffix("s") if abs(float(text)) == 1 else self.shown.unit
            return text + ("" if unit == "°" else " ") + unit
        return f"{text} ({plain(low)} to {plain(self.amount(self.control.high))})"

    def _option(self, option: int) -> str:
        """Name an option; pairs of an oscillator's distortions share a name, and differ in the other oscillator."""
        names = self.options
        partner = re.fullmatch(r"osc_(\d)_distortion_type", self.control.name)
        if partner is None or names.count(names[option]) == 1:
            return names[option]
        others = [number for number in "123" if number != partner[1]]
        return f"{names[option]} {others[names[:option].count(names[option])]}"


@dataclass(frozen=True, slots=True)
class Module:
    """A part of the panel."""

    title: str
    called: str  # in a sentence
    prefix: str  # of its controls' names; empty if they have none in common
    is_effect: bool
    knobs: tuple[Knob, ...]


@dataclass(frozen=True)
class Panel:
    """All modules of one synth, in the order of the signal path, the effects as `EFFECTS` counts them."""

    modules: tuple[Module, ...]
    sources: Mapping[str, str]  # names of sources that are neither modules nor controls

    @cached_property
    def knobs(self) -> Mapping[str, Knob]:
        """Every control's knob, by the control's name."""
        return {knob.control.name: knob for module in self.modules for knob in module.knobs}

    def in_order(self, code: int) -> tuple[Module, ...]:
        """The modules, with the effects in the order of a patch's `effect_chain_order`."""
        effects = {module.prefix: module for module in self.modules if module.is_effect}
        ordered = iter(effects[f"{name}_"] for name in effects_in_order(code) if f"{name}_" in effects)
        return tuple(next(ordered) if module.is_effect else module for module in self.modules)

    def source(self, name: str) -> str:
        """What a modulation source is called in a sentence."""
        modules = {module.prefix: module.called for module in self.modules if module.prefix}
        controls = {control: knob.called for control, knob in self.knobs.items()}
        return self.sources.get(name) or modules.get(f"{name}_") or controls.get(name) or name

    def destination(self, name: str) -> str:
        """What a modulation destination is called in a sentence."""
        if connection := re.fullmatch(r"modulation_(\d+)_(.+)", name):
            return f"the {connection[2]} of connection {connection[1]}"
        return self.knobs[name].called if name in self.knobs else name


def panel(registry: Registry) -> Panel:
    """The panel of one synth, laid out once."""
    if registry.fingerprint not in _laid_out:
        _laid_out[registry.fingerprint] = _lay_out(registry, panel_table())
    return _laid_out[registry.fingerprint]


_laid_out: dict[str, Panel] = {}


def _lay_out(registry: Registry, table: Table) -> Panel:
    known = [c.name for c in registry.controls if any(row.find(c.name) for row in table.module)]
    others = ModuleRow(title=OTHERS, called="the", order=tuple(set(registry.by_name) - set(known)))
    modules = [module for row in (*table.module, others) for module in _modules_of(row, registry, table)]
    return Panel(tuple(modules), table.sources)


def _modules_of(row: ModuleRow, registry: Registry, table: Table) -> list[Module]:
    """Lay out what a row of the table describes: one module, or one for each number."""
    found: dict[str, list[tuple[str, Control]]] = {}
    for control in registry.controls:
        if place := row.find(control.name):
            found.setdefault(place[0], []).append((place[1], control))
    return [_module(row, number, controls, table) for number, controls in sorted(found.items())]


def _module(row: ModuleRow, number: str, controls: list[tuple[str, Control]], table: Table) -> Module:
    title, prefix, called = (text.replace("#", number) for text in (row.title, row.prefix, row.called))
    knobs = []
    for rest, control in sorted(controls, key=lambda found: row.place(found[0])):
        label = table.labels.get(control.name) or table.labels.get(rest) or rest.replace("_", " ")
        of_module = f"{called} {label}".strip() if called in ("", "the") else f"{called}'s {label}"
        matching = [shown for shown in table.shown if any(fnmatchcase(control.name, name) for name in shown.controls)]
        options = table.options.get(control.name, control.options)
        knobs.append(Knob(control, label, of_module, options, (Shown(), *matching)[-1]))
    return Module(title, called, prefix, row.effect, tuple(knobs))


def effects_in_order(code: int) -> tuple[str, ...]:
    """Decode `effect_chain_order`: which effect comes first, and so on.

    The code counts permutations: its last digit, in base 9, says how many effects the last one passed to get there; the
    next digit, in base 8, is the effect before it, and so on.

    Parameters
    ----------
    code : int
        From 0, the order of `EFFECTS`, to 9! - 1.
    """
    left, last_first = list(EFFECTS), []
    for size in range(len(EFFECTS), 0, -1):
        code, passed = divmod(code, size)
        last_first.append(left.pop(size - 1 - passed))
    return tuple(reversed(last_first))


def order_code(effects: Sequence[str]) -> int:
    """Encode an order of all `EFFECTS`, as `effects_in_order` reads it."""
    left, digits = list(EFFECTS), []
    for size in range(len(EFFECTS), 0, -1):
        place = left.index(effects[size - 1])
        digits.append((size, size - 1 - place))
        left.pop(place)
    code = 0
    for size, passed in reversed(digits):
        code = code * size + passed
    return code


def plain(number: float, decimals: int | None = None) -> str:
    """Write a number with three significant digits, or a given number of decimals, without an exponent.

    Examples
    --------
    >>> plain(0.0012345), plain(12.345), plain(1234.5), plain(70.0), plain(-0.0), plain(1.25, 1)
    ('0.0012', '12.3', '1234', '70', '0', '1.2')
    """
    if decimals is None:
        decimals = 2 - math.floor(math.log10(abs(number))) if number else 0
    text = f"{number:.{min(max(decimals, 0), 4)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def signed(number: float, decimals: int | None = None) -> str:
    """Write a number as `plain` does, with a plus if it is above 0."""
    text = plain(number, decimals)
    return f"+{text}" if number > 0 and text != "0" else text


def _frequency(hertz: float) -> str:
    return f"{plain(hertz / 1000)} kHz" if hertz >= 1000 else f"{plain(hertz)} Hz"


def _time(seconds: float) -> str:
    return f"{plain(seconds)} s" if seconds >= 1 or seconds == 0 else f"{plain(1000 * seconds)} ms"
