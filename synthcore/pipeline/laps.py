"""Where the time of a run goes, since its command began. Imports next to nothing: every command begins with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

#: When the command began, by `time.monotonic`; 0 if a flow was called without one.
began: ContextVar[float] = ContextVar("began", default=0.0)


class Laps:
    """Where the time of a run goes, from the beginning of the command."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.parts: dict[str, float] = {}  # seconds, in the order in which they were first spent
        self._clock = clock
        self._since = began.get() or clock()

    def end(self, part: str) -> None:
        """Count the time since the last part ended to this one."""
        now = self._clock()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._since
        self._since = now
