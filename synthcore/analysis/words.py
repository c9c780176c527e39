"""A row in words that one can follow at the synth: what to set, module by module, and what modulates what.

Numbers aren't made here: `panel` knows how Vital shows a value, and `activity` what can be heard.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.overview import SHORT, pairs_text, wrapped
from synthcore.base.addresses import place_of
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError
from synthcore.storage.dataset import Dataset
from synthcore.vital.activity import Labels, activity
from synthcore.vital.controls import Control
from synthcore.vital.noises import builtin_sample_name
from synthcore.vital.panel import Knob, Module, Panel, panel, plain, signed
from synthcore.vital.patch import Patch
from synthcore.vital.shapes import builtin_name, canonical_line

CELL = 38  #: columns: two controls that are no longer stand side by side
LABEL = 19  #: columns for a control's name


class KnobWords(BaseModel):
    """One control that differs from the init preset's."""

    model_config = ConfigDict(frozen=True)

    control: str  # the synth's name; empty for what isn't a control, such as a wavetable
    label: str  # its name within its module
    value: str  # as Vital shows it
    is_heard: bool  # False: moving it changes nothing in this patch


class ModuleWords(BaseModel):
    """What to set in one module."""

    model_config = ConfigDict(frozen=True)

    title: str
    knobs: tuple[KnobWords, ...]


class ConnectionWords(BaseModel):
    """One modulation connection as a sentence."""

    model_config = ConfigDict(frozen=True)

    slot: int  # from 1
    sentence: str
    is_heard: bool


class PatchWords(BaseModel):
    """What to set to get a patch."""

    model_config = ConfigDict(frozen=True)

    modules: tuple[ModuleWords, ...]  # in the order of a signal's way
    connections: tuple[ConnectionWords, ...]

    def to_lines(self) -> list[str]:
        """Describe it for a terminal; nothing where it is the init preset."""
        lines = ["", "Begin with Vital's init preset, and set:"] if self.modules or self.connections else []
        for module in self.modules:
            lines += ["", module.title, *_side_by_side(module.knobs)]
        if self.connections:
            lines += ["", "Modulation, by slot"]
        for connection in self.connections:
            lines += wrapped(f"{connection.slot:>2}. {_marked(connection.sentence, connection.is_heard)}", "      ")
        return lines


class RowWords(BaseModel):
    """One row in words."""

    model_config = ConfigDict(frozen=True)

    file: str
    row: int
    metadata: dict[str, Any]
    controls: dict[str, str]  # those that differ from the init preset, by the synth's names, in raw values
    modulation: list[str]  # every connection by the synth's names, in raw values
    modules: tuple[ModuleWords, ...]  # in the order of a signal's way
    connections: tuple[ConnectionWords, ...]

    def to_text(self) -> str:
        """Describe it for a terminal."""
        to_set = PatchWords(modules=self.modules, connections=self.connections).to_lines()
        lines = [f"row {self.row} of {place_of(self.file).name}", *_origin(self.metadata), *to_set]
        return "\n".join(lines) + "\n"


def describe(dataset: Dataset, row: int, *, everything: bool = False) -> RowWords:
    """Put one row into words.

    What can be heard is judged by this synthcore's rules; `params/active` agrees if the file was merged with the same
    rules.

    Parameters
    ----------
    dataset : Dataset
    row : int
        Negative ones count from the end.
    everything : bool
        Whether to include what differs from the init preset but can't be heard; its `is_heard` is False.

    Raises
    ------
    DatasetError
        There is no such row.
    """
    try:
        stored = dataset[row]
    except IndexError as error:
        raise DatasetError(str(error)) from error
    sound = _Sound(dataset, dataset.patch(row))
    return RowWords(
        file=str(dataset.path),
        row=row % len(dataset),
        metadata={name: _readable(stored[name]) for name in dataset.metadata_names},
        controls={control.name: _raw(control, sound.values[control.name]) for control in sound.changed},
        modulation=[_raw_connection(number, connection) for number, connection in sound.connections.items()],
        modules=tuple(_modules(sound, everything)),
        connections=tuple(_connections(sound, everything)),
    )


def describe_patch(dataset: Dataset, patch: Patch) -> PatchWords:
    """Put what can be heard of a patch into words. Its wavetables and the like are among the dataset's."""
    sound = _Sound(dataset, patch)
    return PatchWords(modules=tuple(_modules(sound, False)), connections=tuple(_connections(sound, False)))


class _Connection(NamedTuple):
    """One modulation connection: `SlotField`, its ends by the synth's names."""

    source: str
    destination: str
    amount: float
    bipolar: float
    power: float
    stereo: float
    bypass: float


@dataclass(frozen=True)
class _Sound:
    """One patch, with what its words depend on."""

    dataset: Dataset
    patch: Patch

    @cached_property
    def panel(self) -> Panel:
        """How Vital shows this synth's controls."""
        return panel(self.dataset.registry)

    @cached_property
    def values(self) -> dict[str, float]:
        """Every control's raw value, by name."""
        return self.patch.values(self.dataset.registry)

    @cached_property
    def changed(self) -> list[Control]:
        """The controls that differ from the init preset's, by tier and name."""
        controls = sorted(self.dataset.registry.controls, key=lambda c: (c.tier, c.name))
        return [c for c in controls if not _is_default(c, self.values[c.name])]

    @cached_property
    def heard(self) -> set[str]:
        """Names of the controls that can be heard."""
        rules = activity(self.dataset.registry)
        heard = rules.of(Labels.of([self.patch], rules.registry))[0]
        return {name for name, is_heard in zip(rules.names, heard.tolist(), strict=True) if is_heard}

    @cached_property
    def connections(self) -> dict[int, _Connection]:
        """The connections by their slot's number, from 1."""
        registry = self.dataset.registry
        return {
            number: _Connection(registry.sources[int(source)], registry.destinations[int(destination)], *settings)
            for number, (source, destination, *settings) in enumerate(self.patch.modulation_slots.tolist(), start=1)
            if source >= 0
        }

    @cached_property
    def heard_slots(self) -> set[int]:
        """Numbers of the slots that move something that can be heard."""
        rules = activity(self.dataset.registry)
        heard = rules.slots_of(Labels.of([self.patch], rules.registry))[0]
        return {number for number, is_heard in enumerate(heard.tolist(), start=1) if is_heard}

    def is_heard(self, module: Module) -> bool:
        """Whether anything of a module but its switch can be heard."""
        return any(k.control.name in self.heard for k in module.knobs if k.control.name != f"{module.prefix}on")

    def extra(self, name: str | None) -> Any:
        """Read one of the patch's `extras`; None if it plays the init preset's.

        An empty dictionary in a recipe, which leaves out what other people own.
        """
        if name is None:
            return None
        content = self.dataset.asset(name)
        return json.loads(content) if content else {}


def _modules(sound: _Sound, everything: bool) -> Iterator[ModuleWords]:
    changed = {control.name for control in sound.changed}
    for module in sound.panel.in_order(round(sound.values["effect_chain_order"])):
        words = [*_parts(module, sound)]
        words += [_knob(knob, sound) for knob in module.knobs if knob.control.name in changed]
        words = [word for word in words if word.is_heard or everything]
        if words:
            yield ModuleWords(title=module.title, knobs=tuple(words))


def _knob(knob: Knob, sound: _Sound) -> KnobWords:
    name = knob.control.name
    value = _effects(sound) if name == "effect_chain_order" else knob.text(sound.values[name])
    return KnobWords(control=name, label=knob.label, value=value, is_heard=name in sound.heard)


def _effects(sound: _Sound) -> str:
    """List the effects that are on, in their order."""
    modules = sound.panel.in_order(round(sound.values["effect_chain_order"]))
    effects = [module for module in modules if module.is_effect and sound.values[f"{module.prefix}on"]]
    return ", ".join(module.title for module in effects)


def _parts(module: Module, sound: _Sound) -> Iterator[KnobWords]:
    """Describe what a module plays besides its controls: a wavetable, a drawn shape, a sample."""
    part, _, number = module.prefix.rstrip("_").partition("_")
    if part in _PARTS and (found := _PARTS[part](sound, number)):
        label, value = found
        yield KnobWords(control="", label=label, value=value, is_heard=sound.is_heard(module))


def _wavetable(sound: _Sound, number: str) -> tuple[str, str] | None:
    classes = sound.dataset.classes
    played = sound.patch.wavetables[int(number) - 1]
    name = classes.wavetable_names[classes.wavetables.index(played)]
    return ("wavetable", name or f"without a name ({played[:SHORT]})") if sound.values[f"osc_{number}_on"] else None


def _shape(sound: _Sound, number: str) -> tuple[str, str] | None:
    shapes = sound.extra(sound.patch.extras.lfos)
    if shapes is None:
        return None
    if not shapes:
        return "shape", "another one, which this file leaves out"
    shape, init = shapes[int(number) - 1], sound.dataset.registry.init["lfos"][int(number) - 1]
    is_same = canonical_line(shape) == canonical_line(init)
    return None if is_same else ("shape", builtin_name(shape) or f"drawn, {how_many(shape['num_points'], 'point')}")


def _sample(sound: _Sound, _: str) -> tuple[str, str] | None:
    name = sound.patch.extras.sample
    sample = sound.extra(name)
    if name is None or sample is None:
        return None
    if builtin := builtin_sample_name(name):
        return "sample", builtin
    seconds = f"{plain(sample['length'] / sample['sample_rate'])} s" if sample else "which this file leaves out"
    return "sample", f"another one, {seconds}"


_PARTS: Mapping[str, Callable[[_Sound, str], tuple[str, str] | None]] = {
    "osc": _wavetable,
    "lfo": _shape,
    "sample": _sample,
}


def _connections(sound: _Sound, everything: bool) -> Iterator[ConnectionWords]:
    curves = sound.extra(sound.patch.extras.curves)
    for number, connection in sound.connections.items():
        is_heard = number in sound.heard_slots
        if is_heard or everything:
            sentence = _sentence(connection, sound.panel) + _through(curves, number)
            yield ConnectionWords(slot=number, sentence=sentence, is_heard=is_heard)


def _through(curves: Any, number: int) -> str:
    """Name the curve that was drawn for a slot, if one was; `curves` is `_Sound.extra`'s."""
    curve = None if curves is None else curves.get(str(number - 1))  # they count slots from 0
    if curve is None:
        return ", through a drawn curve" if curves == {} else ""
    name = builtin_name(curve)
    return f", through the curve {name}" if name else ", through a drawn curve"


def _sentence(connection: _Connection, of_synth: Panel) -> str:
    source, destination = of_synth.source(connection.source), of_synth.destination(connection.destination)
    return (
        f"{source[0].upper()}{source[1:]} moves {destination} by {signed(100 * connection.amount)} %, "
        + ("bipolar" if connection.bipolar else "unipolar")
        + (f", power {signed(connection.power)}" if connection.power else "")
        + (", stereo" if connection.stereo else "")
        + (", bypassed" if connection.bypass else "")
    )


def _raw_connection(number: int, connection: _Connection) -> str:
    return (
        f"slot {number}: {connection.source} -> {connection.destination}, "
        f"amount {connection.amount:+.3f}, power {connection.power:+.2f}"
        + (", bipolar" if connection.bipolar else "")
        + (", stereo" if connection.stereo else "")
    )


def _raw(control: Control, value: float) -> str:
    return control.options[round(value - control.low)] if control.is_categorical else f"{value:.6g}"


def _is_default(control: Control, value: float) -> bool:
    """Whether a value is the init preset's: a default stored as float32 can come back slightly different."""
    return bool(np.isclose(value, control.default, rtol=1e-5, atol=1e-6 * (control.high - control.low)))


def _readable(value: Any) -> Any:
    """Turn a stored value into what people read."""
    if isinstance(value, np.ndarray):
        return ", ".join(v.decode() for v in value.tolist() if v)
    return value.decode() if isinstance(value, bytes) else value.item()


def _origin(metadata: Mapping[str, Any]) -> list[str]:
    """Describe what is known of a row besides the parts of its sound; hashes are cut short."""
    found = {name: value[:SHORT] if _is_hash(value) else value for name, value in metadata.items()}
    clips = ", which clips" if metadata.get("clips") else ""
    parents = ", ".join(parent[:SHORT] for parent in str(found["parents"]).split(", "))
    pairs = {
        "played": f"note {found['midi_note']} at velocity {found['velocity']}",
        "held": f"{found['note_seconds']:g} s, at a tempo of {found['bpm']:g} bpm",
        "measured": f"{found['rms_dbfs']:.1f} dBFS, peak {found['peak']:.2f}{clips}; audio {found['audio_sha256']}",
        "source": f"{found['source']}, tier {found['tier']}",
        "patch": f"{found['patch_index']}, attempt {found['attempt']}; label {found['preset_hash']}",
        "name": found["preset_name"],
        "made from": parents,
        "split": f"{found['split']}, family {found['family']}" if "split" in found else "",
    }
    return pairs_text(pairs)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _side_by_side(knobs: tuple[KnobWords, ...]) -> list[str]:
    """Write controls, two to a line where they are short."""
    lines, first = [], ""
    for knob in knobs:
        cell = f"{knob.label:<{LABEL}} {' '.join(_marked(knob.value, knob.is_heard).split())}"
        if first and len(cell) <= CELL:
            lines.append(f"  {first:<{CELL}}  {cell}")
            first = ""
            continue
        lines += [f"  {first}"] if first else []
        first = cell if len(cell) <= CELL else ""
        lines += [] if first else wrapped(cell, " " * (LABEL + 3))
    return [*lines, f"  {first}"] if first else lines


def _marked(text: str, is_heard: bool) -> str:
    return text if is_heard else f"{text} (not heard)"
