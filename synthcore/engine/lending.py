"""Lending renderers: zygotes are kept warm from one borrower to the next, and taken in turns."""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Iterator

from synthcore.engine.client import Renderer, living
from synthcore.engine.rendering import RenderFormat
from synthcore.engine.stopping import POLL_SECONDS, raise_if_stopped
from synthcore.engine.turns import Turns

IDLE_FORMATS = 8  #: for which zygotes are kept warm; each has 170 MB
_turns: Turns | None = None
_idle: dict[RenderFormat, list[Renderer]] = {}
_idle_lock = threading.Lock()


@contextlib.contextmanager
def borrow_renderer(fmt: RenderFormat, timeout_seconds: float) -> Iterator[Renderer]:
    """Borrow a renderer. Its zygote is warm already if one for this format is idle, and stays for the next borrower.

    Raises
    ------
    Interrupted
        `stop` was called while waiting for a turn; see `at_most`.
    """
    with _turn():
        with _idle_lock:
            kept = _idle.get(fmt, [])
            renderer = kept.pop() if kept else Renderer(fmt, timeout_seconds)
        renderer.timeout_seconds = timeout_seconds
        try:
            yield renderer
        except BaseException:
            renderer.close()  # a candidate may be half rendered
            raise
        with _idle_lock:
            _idle.setdefault(fmt, []).append(renderer)
            while len(_idle) > IDLE_FORMATS:
                for old in _idle.pop(next(iter(_idle))):
                    old.close()


def warm_up(fmt: RenderFormat, renderers: int, timeout_seconds: float) -> None:
    """Let zygotes warm up for renderers that will be borrowed, while there is something else to wait for.

    Raises
    ------
    Accident
        A zygote can't be started.
    SynthcoreError
        As `require_room`.
    """
    for _ in range(renderers):
        renderer = Renderer(fmt, timeout_seconds)
        renderer.warm_up()
        with _idle_lock:
            _idle.setdefault(fmt, []).append(renderer)


@contextlib.contextmanager
def at_most(renderers: int) -> Iterator[None]:
    """Let at most this many be borrowed at a time, in this process; who wants one more waits for a turn.

    With more threads than renderers no core waits for a candidate to be made, judged or stored. In the end no zygote
    is kept.
    """
    global _turns
    _turns = Turns(renderers)
    try:
        yield
    finally:
        _turns = None
        with _idle_lock:
            for renderer in [r for kept in _idle.values() for r in kept]:
                renderer.close()
            _idle.clear()


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    turns = _turns
    if turns is None:
        yield
        return
    turns.take(POLL_SECONDS, raise_if_stopped)
    try:
        yield
    finally:
        turns.give_back()


@atexit.register
def end_zygotes() -> None:
    """End every zygote of this process."""
    with _idle_lock:
        _idle.clear()
    for zygote in list(living):
        zygote.kill()
