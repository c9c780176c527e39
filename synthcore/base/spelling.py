"""Names that are nearly right: what someone may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """Ask for the nearest of the names there are, to be put behind a sentence; "" if none is near.

    >>> meant("--teir", ["--tier", "--seed"])
    '; did you mean --tier?'
    """
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Find the nearest of the names there are, one that goes on as this begins before all others; "" if none is."""
    import difflib  # takes 5 ms, and nearly nobody misspells

    names = list(known)
    begun = [one for one in names if len(name) > 2 and one.startswith(name)]
    return next(iter(begun or difflib.get_close_matches(name, names, 1)), "")
