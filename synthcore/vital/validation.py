"""What must hold of a preset or wavetable before the synth sees it.

Owns the limits: Vital's loader believes what a file says, so a count, length or component type that is wrong kills
the process. What is out of range but can be put right is mended; what can't is refused with a `PresetError`. The
fields and their limits are those of Vital's open source (src/common: load_save, line_generator, wavetable/) and of
presets that people wrote. Nothing here needs a synth, reads a file or changes what it is given.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from synthcore.base.errors import PresetError
from synthcore.vital.controls import Registry

MAX_BYTES = 1 << 26  #: of one document; the largest real preset has 4 MB
MAX_DEPTH = 64  #: real presets nest 13 deep
MAX_NODES = 100_000  #: arrays and objects: 150 in a real preset; each costs 50 to 200 bytes once it is parsed
MAX_COMMAS = 1_000_000  #: values, nearly: 1,700 in a real preset
MAX_QUOTES = 4_000_000  #: two for every key and every text
MAX_DIGITS = 400  #: of one number: more are no number that a double can hold

#: How many of each the synth has; one more kills it.
MAX_ENTRIES = {"wavetables": 3, "lfos": 8, "modulations": 64}
SECTIONS = (*MAX_ENTRIES, "sample")
TEXTS = ("preset_name", "author", "comments", "preset_style", "macro1", "macro2", "macro3", "macro4")
#: Before these the format was another one, and migrating it can leave the ranges. Of 472 public presets none is older.
OLDEST_PRESET, OLDEST_WAVETABLE = (0, 6), (0, 3, 9)
OLD_LINES = (0, 7, 7)  #: wavetables older than this hold the points of a line in the keyframe itself

MAX_POINTS = 100  #: of a line; the synth's array has no more
MAX_FRAMES = 257  #: of a wavetable; a keyframe behind the last one is written behind the end
MAX_COMPONENTS = 16  #: of one wavetable, and groups; 2 in real presets. Each is computed for every frame: up to 5 s
MAX_KEYFRAMES = 2 * MAX_FRAMES  #: of one component, 8 in real presets; two may share a frame
FRAME_BYTES = 2048 * 4
MAX_SAMPLE_LENGTH = 3_528_000  #: 80 s; takes 2 s and 450 MB. The synth itself cuts mono samples at half of that
SAMPLE_BYTES = 2


class Span(NamedTuple):
    """What a number may be."""

    low: float
    high: float
    is_whole: bool = False


FLAG = None  #: in the place of a span: true or false, which the loader doesn't take as 1 and 0
ANY = Span(-math.inf, math.inf)  #: `mend` brings it into range
REAL = Span(-1e6, 1e6)
STYLE = Span(0, 16, is_whole=True)  #: an option's number; the loader compares it with those it knows
POINT = Span(-1.0, 2.0)  #: drawn between 0 and 1
POWER = Span(-40.0, 40.0)  #: the bend of a line, -15..10 in real presets; at 88 its exponential overflows
SWITCH = Span(0, 1, is_whole=True)
POSITION = Span(0, MAX_FRAMES - 1, is_whole=True)
SAMPLE_RATE = Span(1, 1e6, is_whole=True)
WINDOW_SIZE = Span(1, 1e6)

#: What the synth reads but the registry, because it is no label, doesn't list: the numbers of a modulation's slot,
#: what only draws, and a control of version 0.6.
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

Fields = Mapping[str, Span | None]
#: The component types of a wavetable, the fields of each and of its keyframes; a component type outside these kills.
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
#: Fields that Vital added later, and takes a default for.
OPTIONAL_FIELDS = {
    "normalize_mult",
    "fade_style",
    "phase_style",
    "random_seed",
    "audio_sample_rate",
    "interpolation_style",
    "pull_power",
}

#: What other files with the same endings begin with.
STRANGERS = {
    b"\x1f\x8b": "a recording of the medical VitalRecorder, or another gzip file",
    b"VITA": "a recording of the medical VitalRecorder",
    b"version https://git-lfs": "a Git LFS pointer; the preset itself wasn't downloaded",
    b"PK\x03\x04": "an archive",
    b"RIFF": "a WAV file, of which synthcore discover-wt may make a wavetable",
}

_STRUCTURE = b'[]{}"'
_NOT_STRUCTURE = bytes(b for b in range(256) if b not in _STRUCTURE)
_STEPS = {b: 1 if b in b"[{" else -1 for b in b"[]{}"}


# --- Reading --------------------------------------------------------------------------------------------------------


def parse(content: bytes) -> dict[str, Any]:
    """Read a preset's JSON.

    Raises
    ------
    PresetError
        As `load`; or it is no preset.
    """
    document = load(content)
    if not is_preset(document):
        raise PresetError("not a preset: JSON without settings")
    return dict(document)


def load(content: bytes) -> Any:
    """Read JSON from anywhere, in bounded time and memory.

    Raises
    ------
    PresetError
        It is too large, too deep, too many values, not JSON, or holds a number that isn't finite or text that isn't
        Unicode.
    """
    if len(content) > MAX_BYTES:
        raise PresetError(f"larger than {MAX_BYTES >> 20} MB")
    for start, what in STRANGERS.items():
        if content.startswith(start):
            raise PresetError(f"not a preset: {what}")
    if b"\0" in content:  # no text has one
        raise PresetError("not UTF-8 text")
    _require_shallow(content)
    try:
        # utf-8-sig drops the mark that some editors put in front.
        document = json.loads(
            content.decode("utf-8-sig"), parse_float=_float, parse_int=_int, parse_constant=_refuse_constant
        )
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise PresetError("not UTF-8 text") from error
    except ValueError as error:
        raise PresetError(f"not JSON: {error}" if content.strip() else "an empty file") from error
    return document


def is_preset(document: Any) -> bool:
    """Whether JSON looks like a preset: an object that has settings."""
    return isinstance(document, dict) and isinstance(document.get("settings"), dict)


def is_wavetable(document: Any) -> bool:
    """Whether JSON looks like a wavetable: an object that has groups of components, or is one line."""
    return isinstance(document, dict) and ("groups" in document or _is_line(document))


def _require_shallow(content: bytes) -> None:
    """Refuse what `json.loads` would take gigabytes or an endless stack for, looking only at brackets."""
    nodes = sum(map(content.count, (b"[", b"{", b"]", b"}")))
    if nodes > 2 * MAX_NODES or content.count(b",") > MAX_COMMAS or content.count(b'"') > MAX_QUOTES:
        raise PresetError("far more values than a preset has")
    without_escapes = content.replace(rb"\\", b"").replace(rb"\"", b"")
    outside_strings = b"".join(without_escapes.translate(None, _NOT_STRUCTURE).split(b'"')[::2])
    if max(accumulate(map(_STEPS.__getitem__, outside_strings)), default=0) > MAX_DEPTH:
        raise PresetError(f"nested deeper than {MAX_DEPTH}")


def _float(text: str) -> float:
    if len(text) > MAX_DIGITS:
        raise PresetError(f"a number of {len(text):,} digits")
    value = float(text)
    if not math.isfinite(value):
        _refuse_constant(text)
    return value


def _int(text: str) -> int:
    _float(text)
    return int(text)


def _refuse_constant(text: str) -> None:
    raise PresetError(f"a number that isn't finite: {text[:20]}")


# --- What the synth wouldn't survive --------------------------------------------------------------------------------


def require_loadable(document: dict[str, Any], registry: Registry) -> None:
    """Refuse a preset that would kill the synth, or that it wouldn't take, where `mend` can't help.

    Parameters
    ----------
    document : dict
        What `parse` returned.
    registry : Registry
        The controls of the synth.

    Raises
    ------
    PresetError
        What is wrong, and where in the document.
    """
    version = _version(document.get("synth_version"), "synth_version")
    if version < OLDEST_PRESET:
        raise PresetError(f"made with Vital {_dotted(version)}; {_dotted(OLDEST_PRESET)} is the oldest that is read")
    for name in TEXTS:
        _require_text(document, name, "the preset")
    settings = document["settings"]
    spans = _spans(registry)
    for name, value in settings.items():
        if name in spans:
            _require_number(value, ANY, name)
    for name, most in MAX_ENTRIES.items():
        if len(_items(settings.get(name), f"settings.{name}")) > most:
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
    _require_object(wavetable, where)
    if _is_line(wavetable):
        if "groups" in wavetable:  # the synth doesn't look at them, so nobody has checked them
            raise PresetError(f"{where} is a drawn line, and has groups as well")
        _require_line(wavetable, where)
    elif "groups" in wavetable:
        _require_groups(wavetable, where)
    else:
        raise PresetError(f"{where} has no groups")  # it would load, and be silent


def _require_groups(wavetable: dict[str, Any], where: str) -> None:
    version = _version(wavetable.get("version"), f"{where}: version")
    if version < OLDEST_WAVETABLE:
        raise PresetError(f"{where} is of version {_dotted(version)}; {_dotted(OLDEST_WAVETABLE)} is the oldest read")
    for name in ("name", "author"):
        _require_text(wavetable, name, where)
    for name in ("remove_all_dc", "full_normalize"):
        if name in wavetable:
            _require_flag(wavetable[name], f"{where}: {name}")
    groups = _items(wavetable["groups"], f"{where}: groups")
    components = list(_components(groups, where))
    for what, count in (("groups", len(groups)), ("components", len(components))):
        if count > MAX_COMPONENTS:
            raise PresetError(f"{where} has {count} {what}; {MAX_COMPONENTS} are allowed")
    for number, component in enumerate(components, start=1):
        _require_component(component, version, f"{where}, component {number}")


def _components(groups: list[Any], where: str) -> Iterator[Any]:
    for number, group in enumerate(groups, start=1):
        _require_object(group, f"{where}, group {number}")
        yield from _items(group.get("components"), f"{where}, group {number}: components")


def _require_component(component: Any, version: tuple[int, ...], where: str) -> None:
    _require_object(component, where)
    kind = component.get("type")
    if not isinstance(kind, str) or kind not in COMPONENT_FIELDS:
        raise PresetError(f"{where} is of a type that the synth doesn't know: {_short(kind)}")
    where = f"{where} ({kind})"
    _require_fields(component, {"interpolation_style": STYLE, **COMPONENT_FIELDS[kind]}, where)
    if kind == "Audio File Source":
        _decode(component.get("audio_file"), 0, f"{where}: audio_file")
    keyframes = _items(component.get("keyframes"), f"{where}: keyframes")
    if len(keyframes) > MAX_KEYFRAMES:
        raise PresetError(f"{where} has {len(keyframes)} keyframes; {MAX_KEYFRAMES} are allowed")
    for number, keyframe in enumerate(keyframes, start=1):
        _require_keyframe(keyframe, component, version, f"{where}, keyframe {number}")


def _require_keyframe(keyframe: Any, component: dict[str, Any], version: tuple[int, ...], where: str) -> None:
    _require_object(keyframe, where)
    kind = component["type"]
    _require_fields(keyframe, {"position": POSITION, **KEYFRAME_FIELDS[kind]}, where)
    if kind in ("Wave Source", "Shepard Tone Source"):
        _require_wave(keyframe.get("wave_data"), f"{where}: wave_data")
    elif kind == "Line Source" and version < OLD_LINES:
        # Two points are added to it: at the beginning and at the end.
        points = component["num_points"]
        _require_number(points, Span(1, MAX_POINTS - 2, is_whole=True), f"{where}: num_points")
        _require_line({**keyframe, "num_points": points}, where, point=Span(-2, 2))
    elif kind == "Line Source" and "line" in keyframe:
        _require_line(keyframe["line"], f"{where}: line")
    elif kind == "Audio File Source" and keyframe["start_position"] < -component["window_size"] / 2:
        raise PresetError(f"{where} starts before the audio")  # the synth would write before its buffer


def _require_wave(text: Any, where: str) -> None:
    wave = np.frombuffer(_decode(text, FRAME_BYTES, where)[:FRAME_BYTES], dtype="<f4")
    if not np.isfinite(wave).all():
        raise PresetError(f"{where} holds a number that isn't finite")


def _is_line(value: Mapping[str, Any]) -> bool:
    return {"num_points", "points", "powers"} <= value.keys()


def _require_line(line: Any, where: str, point: Span = POINT) -> None:
    """Refuse a drawn line whose points aren't all there: the synth would play what its memory held before."""
    _require_object(line, where)
    _require_number(line.get("num_points"), Span(1, MAX_POINTS, is_whole=True), f"{where}: num_points")
    points, powers = (_items(line.get(name), f"{where}: {name}") for name in ("points", "powers"))
    needed = max(int(line["num_points"]), min(len(powers), MAX_POINTS))
    if len(powers) < line["num_points"] or len(points) < 2 * needed:
        raise PresetError(
            f"{where} says it has {line['num_points']} points, but holds {len(points) / 2:g} and {len(powers)} powers"
        )
    for value in points:
        _require_number(value, point, f"{where}: points")
    for value in powers:
        _require_number(value, POWER, f"{where}: powers")
    _require_text(line, "name", where)
    if "smooth" in line:
        _require_flag(line["smooth"], f"{where}: smooth")


def _require_modulation(modulation: Any, where: str) -> None:
    _require_object(modulation, where)
    for name in ("source", "destination"):
        if name not in modulation:
            raise PresetError(f"{where} has no {name}")  # the synth reads on where there is nothing
        _require_text(modulation, name, where)
    if "line_mapping" in modulation:
        _require_line(modulation["line_mapping"], f"{where}: line_mapping")


def _require_sample(sample: Any, where: str) -> None:
    _require_object(sample, where)
    _require_text(sample, "name", where)
    length = sample.get("length")
    _require_number(length, Span(1, MAX_SAMPLE_LENGTH, is_whole=True), f"{where}: length")
    _require_number(sample.get("sample_rate"), SAMPLE_RATE, f"{where}: sample_rate")
    _decode(sample.get("samples"), int(length) * SAMPLE_BYTES, f"{where}: samples")
    if "samples_stereo" in sample:
        _decode(sample["samples_stereo"], int(length) * SAMPLE_BYTES, f"{where}: samples_stereo")


def _require_fields(value: dict[str, Any], fields: Fields, where: str) -> None:
    for name, span in fields.items():
        if name not in value and name in OPTIONAL_FIELDS:
            continue
        if span is FLAG:
            _require_flag(value.get(name), f"{where}: {name}")
        else:
            _require_number(value.get(name), span, f"{where}: {name}")


def _require_number(value: Any, span: Span, where: str) -> None:
    if not isinstance(value, int | float):
        raise PresetError(f"{where} is {_short(value)}, not a number")
    if not span.low <= value <= span.high:
        raise PresetError(f"{where} is {_short(value)}, outside {span.low:g}..{span.high:g}")
    if span.is_whole and value != int(value):
        raise PresetError(f"{where} is {_short(value)}, not a whole number")


def _require_flag(value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise PresetError(f"{where} is {_short(value)}, neither true nor false")


def _require_text(value: dict[str, Any], name: str, where: str) -> None:
    if not isinstance(value.get(name, ""), str):
        raise PresetError(f"{where}: {name} is {_short(value[name])}, not text")


def _require_object(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise PresetError(f"{where} is {_short(value)}, not an object")


def _items(value: Any, where: str) -> list[Any]:
    """A list's items; Vital writes null for an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise PresetError(f"{where} is {_short(value)}, not a list")
    return value


def _decode(text: Any, least: int, where: str) -> bytes:
    """Decode base64 that must hold at least so many bytes: the synth copies as many as it needs, there or not."""
    if not isinstance(text, str):
        raise PresetError(f"{where} is {_short(text)}, not text")
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise PresetError(f"{where} isn't base64") from error
    if len(decoded) < least:
        raise PresetError(f"{where} holds {len(decoded)} bytes; {least} are needed")
    return decoded


def _version(text: Any, where: str) -> tuple[int, ...]:
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,6}(\.\d{1,6}){0,3}", text):
        raise PresetError(f"{where} is {_short(text)}, not a version like 1.5.5")
    return tuple(map(int, text.split(".")))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    text = json.dumps(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."


# --- Mending --------------------------------------------------------------------------------------------------------


def mend(document: dict[str, Any], registry: Registry) -> tuple[dict[str, Any], Counter[str]]:
    """Bring every number of a preset into its range.

    Parameters
    ----------
    document : dict
        What `require_loadable` let pass. It isn't changed.
    registry : Registry
        The controls of the synth.

    Returns
    -------
    dict
        A copy with every known control in range and every option and whole number whole. Controls that are missing
        stay so: the synth takes the default, or what an old version had instead. Keys that the synth doesn't know are
        left out: there are some that make it migrate what is already new.
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
    settings.setdefault("sample", registry.init["sample"])  # without one the synth takes nothing
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
