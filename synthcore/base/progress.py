"""Progress: what has just been rendered, for listeners in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One candidate is done: the rows it gave, or the fault it was refused for. Or none is, and `notice` says why.

    The rows' audio takes `bytes` in the file; the synth took `cpu_seconds`.
    """

    rows: int
    fault: str | None
    notice: str = ""
    bytes: int = 0
    cpu_seconds: float = 0.0


Listener = Callable[[Progress], None]
_listeners: list[Listener] = []


def publish(event: Progress) -> None:
    """Call every listener. Called from rendering threads."""
    for listener in tuple(_listeners):
        listener(event)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` for each event during the block; it must be safe to call from any thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
