"""Licences: what may be published that is made from other people's presets.

What each licence allows is data, in `licences.toml`. Licences are read as SPDX writes them, alone or in expressions
such as `MIT OR CC-BY-4.0`; other words are never guessed at. This sorts by the main points of each licence, and is
deliberately strict; it is not legal advice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import product
from typing import Any

from pydantic import BaseModel, ConfigDict

from synthcore.base.errors import SpecError, SynthcoreError
from synthcore.base.spelling import nearest

TEXT = "https://spdx.org/licenses/{id}.html"  #: where the text of a licence is
#: In one expression: a stranger's could ask for more choices than there is time to try.
MOST_LICENCES = 10


class Terms(BaseModel):
    """What licences allow and ask for. The fields are explained in `licences.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: tuple[str, ...]
    change: bool
    commercial: bool
    attribute: bool
    alike: bool
    joins: tuple[str, ...] = ()

    @property
    def asks_nothing(self) -> bool:
        """Whether it sets no conditions at all."""
        return self.change and self.commercial and not self.attribute and not self.alike

    @property
    def text(self) -> str:
        """What it allows and asks for, in words."""
        if self.asks_nothing:
            return "anything"
        parts = {
            "no changes": not self.change,
            "non-commercial use only": not self.commercial,
            "authors named": self.attribute,
            "changes under the same licence": self.alike,
        }
        return ", ".join(part for part, holds in parts.items() if holds)


class Table(BaseModel):
    """The licences we know, as `licences.toml` has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    none_stated: tuple[str, ...]
    terms: tuple[Terms, ...]
    hub: dict[str, str]

    @cached_property
    def of(self) -> dict[str, Terms]:
        """The terms of each licence, by its id."""
        return {name: terms for terms in self.terms for name in terms.ids}


@lru_cache(maxsize=1)
def licences() -> Table:
    """The table that comes with this package."""
    return Table(**tomllib.loads(files(__package__).joinpath("licences.toml").read_text("utf-8")))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something may be published.

    Attributes
    ----------
    licence : str
        The SPDX expression under which it is published; "" if it isn't.
    reason : str
        Why it is left out; "" if it isn't.
    """

    licence: str = ""
    reason: str = ""


def require_licence(text: str) -> str:
    """Read one's own licence, and return it as SPDX spells it.

    Raises
    ------
    SpecError
        It isn't an SPDX licence or an expression of some; the message names the nearest.
    SynthcoreError
        The extra `publish` is missing.
    """
    return str(_parse(text))


def judge(stated: Sequence[str]) -> Verdict:
    """Decide what becomes of something that is made from presets under these licences.

    Rendering and varying are changes, so a licence must allow those. Of a choice (`MIT OR CC-BY-ND-4.0`), the first
    that will do is taken. What comes from several presets is under all their licences, if these can be joined: one that
    asks for changes under the same licence can be joined only with those that the table says.

    Parameters
    ----------
    stated : sequence of str
        What the source of each preset states.
    """
    if any(_states_none(text) for text in stated):
        return Verdict(reason="no licence stated")
    choices = []
    for text in stated:
        try:
            choices.append(_alternatives(_parse(text)))
        except SpecError:
            return Verdict(reason=f"{text!r} is not an SPDX licence")
    reasons = []
    for choice in product(*choices):
        ids = tuple(dict.fromkeys(name for each in choice for name in each))
        if not (reason := _reason_against(ids)):
            return Verdict(licence=_joined(ids))
        reasons.append(reason)
    return Verdict(reason=reasons[0])


def ids_of(licence: str) -> tuple[str, ...]:
    """The ids of the licences in an expression, in their order, without exceptions to them.

    Raises
    ------
    SpecError
        It isn't an SPDX licence.
    """
    return tuple(dict.fromkeys(name for names in _alternatives(_parse(licence)) for name in names))


def _states_none(text: str) -> bool:
    return text.strip().lower() in {words.lower() for words in licences().none_stated}


def _reason_against(ids: Sequence[str]) -> str:
    """Why what is under all these licences can't be published; "" if it can."""
    known = licences().of
    for name in ids:
        if name not in known:
            return f"{name} is not in the table of licences"
        if not known[name].change:
            return f"{name} allows no changed copies, as a rendered row is"
    alike = [name for name in ids if known[name].alike]
    clash = alike and not all(_joins(alike[0], name) for name in _binding(ids))
    return f"licences that can't be joined: {', '.join(sorted(ids))}" if clash else ""


def _joins(alike: str, name: str) -> bool:
    """Whether a part of what is under a share-alike licence may be under another."""
    return name == alike or any(fnmatchcase(name, pattern) for pattern in licences().of[alike].joins)


def _binding(ids: Iterable[str]) -> list[str]:
    """The licences that set conditions."""
    return [name for name in ids if not licences().of[name].asks_nothing]


def _joined(ids: Sequence[str]) -> str:
    return " AND ".join(sorted(_binding(ids)) or ids[:1])


def _alternatives(expression: Any) -> list[tuple[str, ...]]:
    """Write an expression as a choice between lists of licences that hold together."""
    kind, parts = type(expression).__name__, expression.args
    if kind == "OR":
        return [names for part in parts for names in _alternatives(part)]
    if kind == "AND":
        joined = product(*(_alternatives(part) for part in parts))
        return list(dict.fromkeys(tuple(dict.fromkeys(name for each in choice for name in each)) for choice in joined))
    # An exception only ever allows more than its licence.
    return [(str(getattr(expression, "license_symbol", expression).key),)]


@lru_cache(maxsize=1024)
def _parse(text: str) -> Any:
    """Read an SPDX expression with `license-expression`."""
    licensing = _licensing()
    from license_expression import ExpressionError, ExpressionParseError

    try:
        expression = licensing.parse(text, strict=True)
        unknown = licensing.unknown_license_keys(expression) if expression is not None else []
    except (ExpressionError, ExpressionParseError, RecursionError) as error:
        raise SpecError(f"{text!r} is not an SPDX licence: {str(error).splitlines()[0]}") from error
    names = [] if expression is None else [*unknown, *(n for n in expression.objects if n.startswith("LicenseRef-"))]
    if names or expression is None:
        name = names[0] if names else text
        raise SpecError(f"{name!r} is not an SPDX licence{_meant(name)}; https://spdx.org/licenses lists all")
    if len(list(expression.get_literals())) > MOST_LICENCES:
        raise SpecError(f"a licence that names more than {MOST_LICENCES} others can't be read")
    return expression


def _meant(name: str) -> str:
    newest_first = [*licences().of][::-1]
    known = {licence.lower(): licence for licence in sorted(newest_first, key=len)}  # the plainest first
    near = nearest(name.lower().replace(" ", "-"), known)
    return f" (did you mean {known[near]}?)" if near else ""


@lru_cache(maxsize=1)
def _licensing() -> Any:
    try:
        from license_expression import get_spdx_licensing
    except ImportError as error:
        raise SynthcoreError("publishing needs license-expression: pip install 'synthcore[publish]'") from error
    return get_spdx_licensing()
