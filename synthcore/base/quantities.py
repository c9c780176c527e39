"""What people type for a number or a list: `20k` rows, `C4`, `500ms`, `44.1k` Hz, rows `3,5-8,-1`.

Each notation is one function that reads it, and a type that settings and specs use, so that flags, variables,
`synthcore.toml` and flow parameters accept the same. A number stays as it is: ranges are for the settings to check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}
SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "min": Decimal(60), "h": Decimal(3_600), "d": Decimal(86_400)}
SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
ACCIDENTALS = {"": 0, "#": 1, "b": -1}
TEMPO_DIGITS = 2  #: behind the point, of a tempo in BPM: as many as hosts show
MOST_ROWS = 100_000  #: that can be named at once: each may become files in a folder

_COUNT = re.compile(r"([+-]?\d[\d_]*(?:\.\d+)?)\s*([kKmM]?)")
_HERTZ = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*(k?)(?:[hH][zZ])?")
_BYTES = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([kKmMgGtT]?)[bB]?")
_SECONDS = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))\s*(ms|s|min|h|d|)")
_NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d)")
_TEMPO = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:[bB][pP][mM])?")
_ROWS = re.compile(r"(-?\d+)(?:-(-?\d+))?")


@dataclass(frozen=True, slots=True)
class Typed:
    """How help and errors show what a person types for a setting."""

    metavar: str  #: such as FILE
    example: str = ""  #: where the metavar doesn't say enough


@dataclass(frozen=True, slots=True)
class Span:
    """A range of numbers, both ends included."""

    low: float
    high: float

    def __str__(self) -> str:
        return "..".join(repr(end).removesuffix(".0") for end in (self.low, self.high))


def ends(value: float | Span) -> tuple[float, float]:
    """The lowest and the highest of what is either a number or a range."""
    return (value.low, value.high) if isinstance(value, Span) else (value, value)


@dataclass(frozen=True, slots=True)
class OrSpan:
    """Lets a setting be a range as well, written as `40..127`: its type is what it is otherwise, or a Span.

    Each end is read as the number is, or as an item of the list that the setting otherwise is. A range of one value
    becomes that value.
    """

    example: str
    of_items: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        single, *others = get_args(source)
        as_text = core_schema.plain_serializer_function_ser_schema(lambda v: str(v) if isinstance(v, Span) else v)
        schema = core_schema.no_info_wrap_validator_function(self._read, handler(single), serialization=as_text)
        return core_schema.nullable_schema(schema) if type(None) in others else schema

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        span = {"type": "string", "pattern": r"\.\.", "examples": [self.example]}
        return {"anyOf": [handler(schema), span]}

    def _read(self, given: Any, single: Callable[[Any], Any]) -> Any:
        written = self._ends_in(given)
        if not written:
            return single(given)
        low, high = single(written) if self.of_items else map(single, written)
        if low > high:
            complaint = f"is a range that ends before it begins; write it as {Span(high, low)}"
            raise _refusal(complaint, given=f"{written[0]}..{written[1]}")
        if low == high:
            return (low,) if self.of_items else low
        return Span(low, high)

    def _ends_in(self, given: Any) -> list[Any]:
        """The ends of a range, as they were given; none if it isn't one."""
        if isinstance(given, Span):
            return [given.low, given.high]
        text = given[0] if self.of_items and isinstance(given, list | tuple) and len(given) == 1 else given
        if not isinstance(text, str) or ".." not in text:
            return []
        found = text.strip().split("..")
        if len(found) != 2 or not all(found) or "," in text:
            raise _refusal(f"is not a range, such as {self.example}", given=text)
        return found


def count(given: object) -> Any:
    """Read a whole number.

    >>> count("1.5k"), count("1M"), count("12")
    (1500, 1000000, 12)

    Raises
    ------
    PydanticCustomError
        A text that is not a whole number.
    """
    return _whole(given, _COUNT, "is not a whole number, such as 256, 20k or 1M")


def number(given: object) -> Any:
    """Turn digits into the number they are, and leave anything else: a choice among numbers doesn't accept text.

    >>> number("2"), number("two")
    (2, 'two')
    """
    return int(given) if isinstance(given, str) and given.isdecimal() else given


def hertz(given: object) -> Any:
    """Read a sample rate.

    >>> hertz("44.1k"), hertz("48000")
    (44100, 48000)

    Raises
    ------
    PydanticCustomError
        A text that is not a whole number of Hz.
    """
    return _whole(given, _HERTZ, "is not a whole number of Hz, such as 48000 or 44.1k")


def size(given: object) -> Any:
    """Read a number of bytes.

    >>> size("500MB"), size("1.5 GB"), size("4096")
    (500000000, 1500000000, 4096)

    Raises
    ------
    PydanticCustomError
        A text that is not a whole number of bytes.
    """
    return _whole(given, _BYTES, "is not a size, such as 500MB or 2GB", BYTES)


def seconds(given: object) -> Any:
    """Read a length of time; a bare number is in seconds.

    >>> seconds("0.5"), seconds("500ms"), seconds("5min")
    (0.5, 0.5, 300.0)

    Raises
    ------
    PydanticCustomError
        A text that is not a length of time.
    """
    return _time(given, "s", "is not a length of time, such as 0.5, 500ms or 2s")


def hours(given: object) -> Any:
    """Read a length of time; a bare number is in hours.

    >>> hours("2"), hours("90min"), hours("7d")
    (2.0, 1.5, 168.0)

    Raises
    ------
    PydanticCustomError
        A text that is not a length of time.
    """
    return _time(given, "h", "is not a length of time, such as 2h, 90min or 7d")


def note(given: object) -> Any:
    """Read a MIDI note, as its number or by name in scientific pitch: C4 is 60, middle C.

    >>> note("C4"), note("F#3"), note("Bb2"), note("60")
    (60, 54, 46, 60)

    Raises
    ------
    PydanticCustomError
        A text that is neither.
    """
    if isinstance(given, str) and (named := _NOTE.fullmatch(given.strip())):
        letter, accidental, octave = named.groups()
        return SEMITONES[letter.lower()] + ACCIDENTALS[accidental] + 12 * (int(octave) + 1)
    return _whole(given, re.compile(r"(-?\d+)()"), "is not a note, such as 60, C4 (= 60), F#3 or Bb2")


def tempo(given: object) -> Any:
    """Read a tempo, rounded to hundredths of a BPM as files state it.

    >>> tempo("120"), tempo("133.333 bpm")
    (120.0, 133.33)

    Raises
    ------
    PydanticCustomError
        A text that is not a number.
    """
    if isinstance(given, str):
        found = _TEMPO.fullmatch(given.strip())
        if not found:
            raise _refusal("is not a tempo, such as 120 or 87.5")
        given = float(found[1])
    return round(given, TEMPO_DIGITS) if isinstance(given, int | float) and not isinstance(given, bool) else given


def items(given: object) -> Any:
    """Split a list that was written as text: `48,60`, or JSON; also where that is one item of a list.

    >>> items("48,60"), items(["48,60", "72"]), items(3)
    (['48', '60'], ['48', '60', '72'], [3])
    """
    return _listed(given, lambda text: text.split(","))


def whole_items(given: object) -> Any:
    """Split a list that was written as JSON. Any other text is one item: a path may contain a comma.

    >>> whole_items("a,b"), whole_items('["a", "b"]')
    (['a,b'], ['a', 'b'])
    """
    return _listed(given, lambda text: [text])


def rows(given: object) -> Any:
    """Read a list of rows: numbers, and ranges that include both ends; -1 is the last row.

    >>> rows("3,5-8,-1"), rows(7), rows("-3--1")
    ([3, 5, 6, 7, 8, -1], [7], [-3, -2, -1])

    Raises
    ------
    PydanticCustomError
        A text that is not a list of rows, or one of more than `MOST_ROWS`.
    """
    listed = items([] if given is None else given)
    if not isinstance(listed, list):
        return listed
    found: list[object] = []
    for item in listed:
        span = _span(item) if isinstance(item, str) else [item]
        if len(found) + len(span) > MOST_ROWS:
            raise PydanticCustomError("quantity", f"names more than {MOST_ROWS:,} rows; name fewer at a time")
        found += span
    return found


def _span(item: str) -> range:
    found = _ROWS.fullmatch(item.strip())
    if not found:
        raise _refusal("is not a list of rows, such as 3 or 3,5-8,-1", given=item)
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first or (first < 0 <= last):
        complaint = "is not a range of rows: its end comes before its beginning, or counts from the other end"
        raise _refusal(complaint, given=item)
    return range(first, last + 1)


def _listed(given: object, split: Callable[[str], list[str]]) -> object:
    if not isinstance(given, str | list | tuple):
        return [given] if isinstance(given, int) else given
    parts = [given] if isinstance(given, str) else given
    return [item for part in parts for item in (_of_text(part, split) if isinstance(part, str) else [part])]


def _of_text(text: str, split: Callable[[str], list[str]]) -> list[Any]:
    if not text.startswith(("[", "{")):
        return list(split(text))
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise PydanticCustomError("quantity", "is not JSON, though it begins like it") from error
    return parsed if isinstance(parsed, list) else [parsed]


def _whole(given: object, pattern: re.Pattern[str], complaint: str, units: Mapping[str, int] = THOUSANDS) -> object:
    """Read a whole number by a pattern of its digits and its unit."""
    if not isinstance(given, str):
        return given
    if found := pattern.fullmatch(given.strip()):
        number = Decimal(found[1]) * units[found[2].lower()]
        if number == number.to_integral_value():
            return int(number)
    raise _refusal(complaint)


def _time(given: object, unit: str, complaint: str) -> object:
    """Read a length of time in a unit; a bare number is in that unit."""
    if not isinstance(given, str):
        return given
    found = _SECONDS.fullmatch(given.strip())
    if not found:
        raise _refusal(complaint)
    return float(Decimal(found[1]) * SECONDS[found[2] or unit] / SECONDS[unit])


def _refusal(complaint: str, **context: str) -> PydanticCustomError:
    """Make an error; of a list, `given` is the item that is wrong."""
    return PydanticCustomError("quantity", "{complaint}", {"complaint": complaint, **context})


Count = Annotated[int, BeforeValidator(count), Typed("N")]
Bytes = Annotated[int, BeforeValidator(size), Typed("BYTES", "500MB")]
Hertz = Annotated[int, BeforeValidator(hertz), Typed("HZ")]
Seconds = Annotated[float, BeforeValidator(seconds), Typed("SECONDS")]
WholeSeconds = Annotated[int, BeforeValidator(seconds), Typed("SECONDS")]
Hours = Annotated[float, BeforeValidator(hours), Typed("HOURS")]
