"""Turns at what there are few of, taken in the order in which they were asked for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Turns:
    """So many at a time; who waits longest is next.

    A semaphore of `threading` goes to whoever asks first, mostly the thread that has just given it back. Others starved
    for half a minute, and what a shard had rendered meanwhile waited in memory behind their one patch.

    Parameters
    ----------
    number : int
        How many may have a turn at a time.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def take(self, seconds: float, check: Callable[[], None]) -> None:
        """Wait for a turn. Every so many `seconds`, `check` may raise: then the place in the queue is given up."""
        called = threading.Event()
        try:
            with self._lock:
                self._waiting.append(called)
                self._call()
            while not called.wait(seconds):
                check()
        except BaseException:
            with self._lock:
                if called in self._waiting:
                    self._waiting.remove(called)
                elif called.is_set():
                    self._free += 1
                    self._call()
            raise

    def give_back(self) -> None:
        """End a turn."""
        with self._lock:
            self._free += 1
            self._call()

    def _call(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().set()
