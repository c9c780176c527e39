"""Progress: what has just been rendered, for whoever is listening in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One candidate is done: the rows it brought, or why it was refused. Or nothing is, and people are told why.

    Of the rows' audio, `bytes` are stored; the synth took `cpu_seconds`.
    """

    rows: int
    fault: str | None
    notice: str = ""
    bytes: int = 0
    cpu_seconds: float = 0.0


Listener = Callable[[Progress], None]
_listeners: list[Listener] = []


def publish(event: Progress) -> None:
    """Tell every listener. Called from rendering threads."""
    for listener in tuple(_listeners):
        listener(event)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener`, which must be safe to call from any thread, for the length of the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
