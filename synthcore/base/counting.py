"""Counting: a number and the things it counts, as people say it."""

from __future__ import annotations


def how_many(count: int, thing: str, ending: str = "s") -> str:
    """Write a number of things, one of them in the singular.

    Examples
    --------
    >>> how_many(1, "shard"), how_many(1200, "row")
    ('1 shard', '1,200 rows')
    """
    return f"{count:,} {thing}{ending if count != 1 else ''}"
