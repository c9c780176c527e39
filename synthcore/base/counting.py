"""Counting: a number and the things it counts, as people say it."""

from __future__ import annotations

from collections.abc import Mapping


def how_many(count: int, thing: str, ending: str = "s") -> str:
    """Write a number of things, one of them in the singular.

    Examples
    --------
    >>> how_many(1, "shard"), how_many(1200, "row")
    ('1 shard', '1,200 rows')
    """
    return f"{count:,} {thing}{ending if count != 1 else ''}"


def listed(counts: Mapping[str, object]) -> str:
    """Write names and their numbers in a line.

    Examples
    --------
    >>> listed({"train": 90, "test": 10})
    'train 90, test 10'
    """
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def largest_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Sort counts."""
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
