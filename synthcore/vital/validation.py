"""What must hold of a preset or wavetable before the synth sees it.

Owns the limits: Vital's loader believes what a file says, so a count, length or component type that is wrong kills
the process. What is out of range but can be put right is mended; what can't is refused with a `PresetError`. The
fields and their limits are those of Vital's open source (src/common: load_save, line_generator, wavetable/) and of
presets that people wrote. Nothing here needs a synth, reads a file or changes what it is given.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from synthcore.base.counting import how_many
from synthcore.base.errors import PresetError
from synthcore.vital.controls import Registry
from synthcore.vital.fields import (
    FLAG,
    Fields,
    Span,
    decode,
    dotted,
    items,
    require_fields,
    require_flag,
    require_number,
    require_object,
    require_text,
    short,
    version_of,
)
from synthcore.vital.parsing import is_line

#: How many of each the synth has; one more kills it.
MAX_ENTRIES = {"wavetables": 3, "lfos": 8, "modulations": 64}
SECTIONS = (*MAX_ENTRIES, "sample")
TEXTS = ("preset_name", "author", "comments", "preset_style", "macro1", "macro2", "macro3", "macro4")
#: Older formats differ, and migrating them can leave the ranges. None of 472 public presets is older.
OLDEST_PRESET, OLDEST_WAVETABLE = (0, 6), (0, 3, 9)
OLD_LINES = (0, 7, 7)  #: wavetables older than this hold the points of a line in the keyframe itself

MAX_POINTS = 100  #: of a line; the synth's array has no more
MAX_FRAMES = 257  #: of a wavetable; a keyframe after the last one is written past the end
MAX_COMPONENTS = 16  #: of a wavetable, as of groups; 2 in real presets. Each is computed for every frame: up to 5 s
MAX_KEYFRAMES = 2 * MAX_FRAMES  #: of one component, 8 in real presets; two may share a frame
FRAME_BYTES = 2048 * 4
MAX_SAMPLE_LENGTH = 3_528_000  #: 80 s; takes 2 s and 450 MB. The synth itself cuts mono samples at half of that
SAMPLE_BYTES = 2

ANY = Span(-math.inf, math.inf)  #: `mend` brings it into range
REAL = Span(-1e6, 1e6)
STYLE = Span(0, 16, is_whole=True)  #: an option's number; the loader compares it with those it knows
POINT = Span(-1.0, 2.0)  #: drawn between 0 and 1
POWER = Span(-40.0, 40.0)  #: the bend of a line, -15..10 in real presets; at 88 its exponential overflows
SWITCH = Span(0, 1, is_whole=True)
POSITION = Span(0, MAX_FRAMES - 1, is_whole=True)
SAMPLE_RATE = Span(1, 1e6, is_whole=True)
WINDOW_SIZE = Span(1, 1e6)

#: What the synth reads and the registry doesn't list, because it isn't a label: the numbers of a modulation slot, what
#: only draws, and a control of version 0.6.
MODULATION_SPANS = {
    "amount": Span(-1, 1),
    "bipolar": SWITCH,
    "bypass": SWITCH,
    "power": Span(-10, 10),
    "stereo": SWITCH,
}
VIEW = Span(0, 2, is_whole=True)
OTHER_SPANS = {
    "chorus_damping": Span(0, 1),
    "osc_1_view_2d": VIEW,
    "osc_2_view_2d": VIEW,
    "osc_3_view_2d": VIEW,
    "view_spectrogram": VIEW,
}

#: The component types of a wavetable, with the fields of each and of its keyframes; any other type kills the synth.
COMPONENT_FIELDS: Mapping[str, Fields] = {
    "Wave Source": {"interpolation": STYLE},
    "Line Source": {"num_points": Span(0, MAX_POINTS, is_whole=True)},
    "Audio File Source": {
        "normalize_gain": FLAG,
        "normalize_mult": FLAG,
        "window_size": WINDOW_SIZE,
        "fade_style": STYLE,
        "phase_style": STYLE,
        "random_seed": Span(-(2**31), 2**31 - 1, is_whole=True),
        "audio_sample_rate": Span(0, 1e6, is_whole=True),
    },
    "Shepard Tone Source": {"interpolation": STYLE},
    "Phase Shift": {"style": STYLE},
    "Wave Window": {"window_shape": STYLE},
    "Frequency Filter": {"style": STYLE, "normalize": FLAG},
    "Slew Limiter": {},
    "Wave Folder": {},
    "Wave Warp": {"horizontal_asymmetric": FLAG, "vertical_asymmetric": FLAG},
}
KEYFRAME_FIELDS: Mapping[str, Fields] = {
    "Wave Source": {},
    "Line Source": {"pull_power": POWER},
    "Audio File Source": {"start_position": REAL, "window_fade": Span(0, 2), "window_size": WINDOW_SIZE},
    "Shepard Tone Source": {},
    "Phase Shift": {"phase": REAL, "mix": REAL},
    "Wave Window": {"left_position": REAL, "right_position": REAL},
    "Frequency Filter": {"cutoff": REAL, "shape": REAL},
    "Slew Limiter": {"up_run_rise": REAL, "down_run_rise": REAL},
    "Wave Folder": {"fold_boost": REAL},
    "Wave Warp": {"horizontal_power": REAL, "vertical_power": REAL},
}
#: Fields that Vital added later, with a default.
OPTIONAL_FIELDS = {
    "normalize_mult",
    "fade_style",
    "phase_style",
    "random_seed",
    "audio_sample_rate",
    "interpolation_style",
    "pull_power",
}


def require_loadable(document: dict[str, Any], registry: Registry) -> None:
    """Refuse a preset that would kill the synth, or that it wouldn't take, if `mend` can't help.

    Parameters
    ----------
    document : dict
        What `parsing.parse` returned.
    registry : Registry
        The controls of the synth.

    Raises
    ------
    PresetError
        What is wrong, and where in the document.
    """
    version = version_of(document.get("synth_version"), "synth_version")
    if version < OLDEST_PRESET:
        raise PresetError(f"made with Vital {dotted(version)}; {dotted(OLDEST_PRESET)} is the oldest that is read")
    for name in TEXTS:
        require_text(document, name, "the preset")
    settings = document["settings"]
    spans = _spans(registry)
    for name, value in settings.items():
        if name in spans:
            require_number(value, ANY, name)
    for name, most in MAX_ENTRIES.items():
        if len(items(settings.get(name), f"settings.{name}")) > most:
            raise PresetError(f"{len(settings[name])} {name}; the synth has {most}")
    for number, wavetable in enumerate(settings.get("wavetables") or (), start=1):
        _require_wavetable(wavetable, f"wavetable {number}")
    for number, lfo in enumerate(settings.get("lfos") or (), start=1):
        _require_line(lfo, f"LFO {number}")
    for number, modulation in enumerate(settings.get("modulations") or (), start=1):
        _require_modulation(modulation, f"modulation {number}")
    if settings.get("sample") is not None:
        _require_sample(settings["sample"], "sample")


def require_wavetable(wavetable: Any) -> None:
    """Refuse a wavetable that would kill the synth, or that it wouldn't take.

    Parameters
    ----------
    wavetable : object
        The JSON of a `.vitaltable`, or an entry of a preset's `wavetables`.

    Raises
    ------
    PresetError
        What is wrong, and where in the wavetable.
    """
    _require_wavetable(wavetable, "the wavetable")


def _require_wavetable(wavetable: Any, where: str) -> None:
    require_object(wavetable, where)
    if is_line(wavetable):
        if "groups" in wavetable:  # the synth ignores them, so they were never checked
            raise PresetError(f"{where} is a drawn line, and has groups as well")
        _require_line(wavetable, where)
    elif "groups" in wavetable:
        _require_groups(wavetable, where)
    else:
        raise PresetError(f"{where} has no groups")  # it would load, and be silent


def _require_groups(wavetable: dict[str, Any], where: str) -> None:
    version = version_of(wavetable.get("version"), f"{where}: version")
    if version < OLDEST_WAVETABLE:
        raise PresetError(f"{where} is of version {dotted(version)}; {dotted(OLDEST_WAVETABLE)} is the oldest read")
    for name in ("name", "author"):
        require_text(wavetable, name, where)
    for name in ("remove_all_dc", "full_normalize"):
        if name in wavetable:
            require_flag(wavetable[name], f"{where}: {name}")
    groups = items(wavetable["groups"], f"{where}: groups")
    components = list(_components(groups, where))
    for what, count in (("groups", len(groups)), ("components", len(components))):
        if count > MAX_COMPONENTS:
            raise PresetError(f"{where} has {count} {what}; {MAX_COMPONENTS} are allowed")
    for number, component in enumerate(components, start=1):
        _require_component(component, version, f"{where}, component {number}")


def _components(groups: list[Any], where: str) -> Iterator[Any]:
    for number, group in enumerate(groups, start=1):
        require_object(group, f"{where}, group {number}")
        yield from items(group.get("components"), f"{where}, group {number}: components")


def _require_component(component: Any, version: tuple[int, ...], where: str) -> None:
    require_object(component, where)
    kind = component.get("type")
    if not isinstance(kind, str) or kind not in COMPONENT_FIELDS:
        raise PresetError(f"{where} is of a type that the synth doesn't know: {short(kind)}")
    where = f"{where} ({kind})"
    require_fields(component, {"interpolation_style": STYLE, **COMPONENT_FIELDS[kind]}, where, OPTIONAL_FIELDS)
    if kind == "Audio File Source":
        decode(component.get("audio_file"), 0, f"{where}: audio_file")
    keyframes = items(component.get("keyframes"), f"{where}: keyframes")
    if len(keyframes) > MAX_KEYFRAMES:
        raise PresetError(f"{where} has {len(keyframes)} keyframes; {MAX_KEYFRAMES} are allowed")
    for number, keyframe in enumerate(keyframes, start=1):
        _require_keyframe(keyframe, component, version, f"{where}, keyframe {number}")


def _require_keyframe(keyframe: Any, component: dict[str, Any], version: tuple[int, ...], where: str) -> None:
    require_object(keyframe, where)
    kind = component["type"]
    require_fields(keyframe, {"position": POSITION, **KEYFRAME_FIELDS[kind]}, where, OPTIONAL_FIELDS)
    if kind in ("Wave Source", "Shepard Tone Source"):
        _require_wave(keyframe.get("wave_data"), f"{where}: wave_data")
    elif kind == "Line Source" and version < OLD_LINES:
        # Two points are added to it: at the beginning and at the end.
        points = component["num_points"]
        require_number(points, Span(1, MAX_POINTS - 2, is_whole=True), f"{where}: num_points")
        _require_line({**keyframe, "num_points": points}, where, point=Span(-2, 2))
    elif kind == "Line Source" and "line" in keyframe:
        _require_line(keyframe["line"], f"{where}: line")
    elif kind == "Audio File Source" and keyframe["start_position"] < -component["window_size"] / 2:
        raise PresetError(f"{where} starts before the audio")  # the synth would write before its buffer


def _require_wave(text: Any, where: str) -> None:
    wave = np.frombuffer(decode(text, FRAME_BYTES, where)[:FRAME_BYTES], dtype="<f4")
    if not np.isfinite(wave).all():
        raise PresetError(f"{where} holds a number that isn't finite")


def _require_line(line: Any, where: str, point: Span = POINT) -> None:
    """Refuse a drawn line whose points aren't all there: the synth would play what its memory held before."""
    require_object(line, where)
    require_number(line.get("num_points"), Span(1, MAX_POINTS, is_whole=True), f"{where}: num_points")
    points, powers = (items(line.get(name), f"{where}: {name}") for name in ("points", "powers"))
    needed = max(int(line["num_points"]), min(len(powers), MAX_POINTS))
    if len(powers) < line["num_points"] or len(points) < 2 * needed:
        raise PresetError(
            f"{where} says it has {how_many(line['num_points'], 'point')}, but holds {len(points) / 2:g} and "
            f"{how_many(len(powers), 'power')}"
        )
    for value in points:
        require_number(value, point, f"{where}: points")
    for value in powers:
        require_number(value, POWER, f"{where}: powers")
    require_text(line, "name", where)
    if "smooth" in line:
        require_flag(line["smooth"], f"{where}: smooth")


def _require_modulation(modulation: Any, where: str) -> None:
    require_object(modulation, where)
    for name in ("source", "destination"):
        if name not in modulation:
            raise PresetError(f"{where} has no {name}")  # the synth reads on where there is nothing
        require_text(modulation, name, where)
    if "line_mapping" in modulation:
        _require_line(modulation["line_mapping"], f"{where}: line_mapping")


def _require_sample(sample: Any, where: str) -> None:
    require_object(sample, where)
    require_text(sample, "name", where)
    length = sample.get("length")
    require_number(length, Span(1, MAX_SAMPLE_LENGTH, is_whole=True), f"{where}: length")
    require_number(sample.get("sample_rate"), SAMPLE_RATE, f"{where}: sample_rate")
    decode(sample.get("samples"), int(length) * SAMPLE_BYTES, f"{where}: samples")
    if "samples_stereo" in sample:
        decode(sample["samples_stereo"], int(length) * SAMPLE_BYTES, f"{where}: samples_stereo")


def mend(document: dict[str, Any], registry: Registry) -> tuple[dict[str, Any], Counter[str]]:
    """Bring every number of a preset into its range.

    Parameters
    ----------
    document : dict
        What `require_loadable` let pass; it isn't changed.
    registry : Registry
        The controls of the synth.

    Returns
    -------
    dict
        A copy with every known control in range and every option and whole number whole. Controls that are missing
        stay so: the synth takes the default, or what an old version had instead. Keys that the synth doesn't know are
        left out: some would make it migrate what is already new.
    Counter
        How many controls were `clamped`, `rounded` and `missing`.
    """
    changes: Counter[str] = Counter()
    spans = _spans(registry)
    settings: dict[str, Any] = {}
    for name, value in document["settings"].items():
        if name in SECTIONS:
            if value is not None:
                settings[name] = value
        elif name in spans:
            settings[name] = _mend_number(value, spans[name], changes)
    changes["missing"] += len(registry.by_name.keys() - settings.keys()) + len(set(SECTIONS) - settings.keys())
    settings.setdefault("sample", registry.init["sample"])  # without one the synth takes no preset
    return {**document, "settings": settings}, +changes


def _mend_number(value: float, span: Span, changes: Counter[str]) -> float:
    mended = min(max(float(value), span.low), span.high)
    changes["clamped"] += mended != value
    if span.is_whole and mended != round(mended):
        changes["rounded"] += 1
        mended = float(round(mended))
    return mended


def _spans(registry: Registry) -> dict[str, Span]:
    """The range of everything that the synth reads from the settings as a number."""
    slots = range(1, MAX_ENTRIES["modulations"] + 1)
    modulations = {f"modulation_{n}_{name}": span for n in slots for name, span in MODULATION_SPANS.items()}
    controls = {c.name: Span(c.low, c.high, c.is_whole or c.is_categorical) for c in registry.controls}
    return {**OTHER_SPANS, **modulations, **controls}
