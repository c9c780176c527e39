"""Misspelt names: what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """Ask whether the nearest known name was meant, as the end of a sentence; "" if none is near.

    >>> meant("--teir", ["--tier", "--seed"])
    '; did you mean --tier?'
    """
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Find the nearest known name, preferably one that `name` is the beginning of; "" if none is near."""
    import difflib  # takes 5 ms, and hardly anyone needs it

    names = list(known)
    begun = [one for one in names if len(name) > 2 and one.startswith(name)]
    return next(iter(begun or difflib.get_close_matches(name, names, 1)), "")
