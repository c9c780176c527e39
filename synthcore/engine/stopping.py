"""Stopping: whatever renders in this process, in whichever thread, ends within a moment of being told to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from synthcore.base.errors import Interrupted

POLL_SECONDS = 0.1  #: how soon a stop or a passed deadline is noticed while nothing arrives
_stopping = threading.Event()


def is_stopping() -> bool:
    """Whether `stop` was called."""
    return _stopping.is_set()


def raise_if_stopped() -> None:
    """Raise `Interrupted` if `stop` was called."""
    if _stopping.is_set():
        raise Interrupted("rendering was stopped")


def stop() -> None:
    """Make everything that renders raise `Interrupted` within a moment."""
    _stopping.set()


def pause(seconds: float) -> None:
    """Wait; raises `Interrupted` as soon as `stop` is called."""
    if _stopping.wait(seconds):
        raise Interrupted("rendering was stopped")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Stop everything that renders in this process if the block is left by an exception, Ctrl-C included."""
    _stopping.clear()
    try:
        yield
    except BaseException:
        stop()
        raise


@contextlib.contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Stop what still renders in the block after so many seconds; afterwards, rendering may go on."""
    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        _stopping.clear()
