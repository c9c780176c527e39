"""Fields: what one value of a document may be, and the refusal that names the field if it is something else.

A document is whatever `parsing` let pass, so a field can be missing or of any type. `where` says in a message which
one it is.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from synthcore.base.counting import how_many
from synthcore.base.errors import PresetError


class Span(NamedTuple):
    """What a number may be."""

    low: float
    high: float
    is_whole: bool = False


FLAG = None  #: in the place of a span: true or false, which the loader doesn't take as 1 and 0
Fields = Mapping[str, Span | None]


def require_fields(value: dict[str, Any], fields: Fields, where: str, optional: Collection[str] = ()) -> None:
    """Refuse an object one of whose fields isn't what it may be, or is missing and not optional.

    Raises
    ------
    PresetError
        As everything below: what is wrong, and where.
    """
    for name, span in fields.items():
        if name not in value and name in optional:
            continue
        if span is FLAG:
            require_flag(value.get(name), f"{where}: {name}")
        else:
            require_number(value.get(name), span, f"{where}: {name}")


def require_number(value: Any, span: Span, where: str) -> None:
    """Refuse anything but a number within a span."""
    if not isinstance(value, int | float):
        raise PresetError(f"{where} is {short(value)}, not a number")
    if not span.low <= value <= span.high:
        raise PresetError(f"{where} is {short(value)}, outside {span.low:g}..{span.high:g}")
    if span.is_whole and value != int(value):
        raise PresetError(f"{where} is {short(value)}, not a whole number")


def require_flag(value: Any, where: str) -> None:
    """Refuse anything but true and false."""
    if not isinstance(value, bool):
        raise PresetError(f"{where} is {short(value)}, neither true nor false")


def require_text(value: dict[str, Any], name: str, where: str) -> None:
    """Refuse a field that is there and isn't text."""
    if not isinstance(value.get(name, ""), str):
        raise PresetError(f"{where}: {name} is {short(value[name])}, not text")


def require_object(value: Any, where: str) -> None:
    """Refuse anything but an object."""
    if not isinstance(value, dict):
        raise PresetError(f"{where} is {short(value)}, not an object")


def items(value: Any, where: str) -> list[Any]:
    """Give a list's items; Vital writes null for an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise PresetError(f"{where} is {short(value)}, not a list")
    return value


def decode(text: Any, least: int, where: str) -> bytes:
    """Decode base64 of at least `least` bytes: the synth copies as many as it needs, there or not."""
    if not isinstance(text, str):
        raise PresetError(f"{where} is {short(text)}, not text")
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise PresetError(f"{where} isn't base64") from error
    if len(decoded) < least:
        raise PresetError(f"{where} holds {how_many(len(decoded), 'byte')}; {least:,} are needed")
    return decoded


def version_of(text: Any, where: str) -> tuple[int, ...]:
    """Read a version, such as (1, 5, 5)."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,6}(\.\d{1,6}){0,3}", text):
        raise PresetError(f"{where} is {short(text)}, not a version like 1.5.5")
    return tuple(map(int, text.split(".")))


def dotted(version: tuple[int, ...]) -> str:
    """Write a version as people do."""
    return ".".join(map(str, version))


def short(value: Any) -> str:
    """Write a value of any kind in at most 40 characters."""
    if value is None:
        return "missing"
    text = json.dumps(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."
