"""Parsing: JSON from anywhere, read in bounded time and memory, and what it looks like.

Owns the limits of what is parsed at all: size, depth, numbers, text. What a preset or a wavetable may hold is
`validation`'s part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from synthcore.base.errors import PresetError

MAX_BYTES = 1 << 26  #: of one document; the largest real preset has 4 MB
MAX_DEPTH = 64  #: real presets nest 13 deep
MAX_NODES = 100_000  #: arrays and objects, 150 in a real preset; each takes 50 to 200 bytes once parsed
MAX_COMMAS = 1_000_000  #: about the number of values, 1,700 in a real preset
MAX_QUOTES = 4_000_000  #: two for each key and each text
MAX_DIGITS = 400  #: of one number; the largest double has 309

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


def parse(content: bytes) -> dict[str, Any]:
    """Read a preset's JSON.

    Raises
    ------
    PresetError
        As `load`; or it isn't a preset.
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
        It is too large or too deep, has too many values, isn't JSON, or holds a number that isn't finite or text that
        isn't Unicode.
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
        # utf-8-sig drops the byte order mark that some editors write.
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
    return isinstance(document, dict) and ("groups" in document or is_line(document))


def is_line(value: Mapping[str, Any]) -> bool:
    """Whether an object looks like a drawn line: an LFO's shape, a modulation's curve, a wavetable of one line."""
    return {"num_points", "points", "powers"} <= value.keys()


def _require_shallow(content: bytes) -> None:
    """Refuse what would take `json.loads` gigabytes or an endless stack, looking only at brackets."""
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
