"""Claims: who is making a file, so that a second run waits for it instead of making it too.

A claim is a small file beside the one to be made. Of two who try to create it one fails, on every file system. Its
holder gives it a new time every few seconds. A claim whose time stands still, or whose holder is known to be dead, is
followed by one with the next number, which again one alone creates: so none stands in the way for good.

No clock is compared with another, and nothing relies on a lock; a lock only tells sooner that a process of this machine
is dead. Should all this err, two make the file, each under a temporary name of its own, and the later rename wins.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from synthcore.base.atomic import disk_errors_of, is_being_written

BEAT_SECONDS = 5.0
#: A machine may be shown a new time a minute late by a network file system.
SILENT_SECONDS = 120.0
POLL_SECONDS = 0.5
Pause = Callable[[float], object]


@contextlib.contextmanager
def claimed(path: Path, pause: Pause = time.sleep) -> Iterator[bool]:
    """Be the only one who makes a file, for the length of the block; first wait for whoever has claimed it.

    Parameters
    ----------
    path : Path
        The file.
    pause : callable
        Waits so many seconds, and may raise to end the waiting.

    Yields
    ------
    bool
        Whether someone else has made it while we waited.

    Raises
    ------
    DiskError
        The disk is full or the folder can't be written.
    """
    before = _identity(path)
    with disk_errors_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        number, descriptor, waited = _take(path, pause)
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(_claim(path, number), over), daemon=True)
    beating.start()
    try:
        yield waited and _identity(path) not in (None, before)
    finally:
        over.set()
        beating.join()
        for old in range(1, number + 1):
            with contextlib.suppress(OSError):
                _claim(path, old).unlink()
        os.close(descriptor)


def _take(path: Path, pause: Pause) -> tuple[int, int, bool]:
    """Create the next claim as soon as there is none, or a dead one; tell its number and whether we had to wait."""
    seen: tuple[int, int] | None = None
    since, waited = time.monotonic(), False
    while True:
        number = _newest(path)
        beat = number, _time_of(_claim(path, number))
        if beat != seen:
            seen, since = beat, time.monotonic()
        if not number or time.monotonic() - since > SILENT_SECONDS or _is_abandoned(_claim(path, number)):
            descriptor = _create(_claim(path, number + 1))
            if descriptor is not None:
                return number + 1, descriptor, waited
        waited = True
        pause(POLL_SECONDS)


def _create(claim: Path) -> int | None:
    try:
        descriptor = os.open(claim, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    except FileExistsError:
        return None
    with contextlib.suppress(OSError):  # not every file system has locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, socket.gethostname().encode())  # only now: who reads it may try the lock
    return descriptor


def _is_abandoned(claim: Path) -> bool:
    """Whether the process that made it is known to be dead: of this machine, and without the lock it took."""
    try:
        return claim.is_file() and claim.read_text() == socket.gethostname() and not is_being_written(claim)
    except OSError:
        return False


def _beat(claim: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):  # someone thought us dead
            os.utime(claim)


def _claim(path: Path, number: int) -> Path:
    return path.with_name(f".{path.name}.{number}.claim")


def _newest(path: Path) -> int:
    """The number of the newest claim, 0 if there is none."""
    numbers = (claim.name.split(".")[-2] for claim in path.parent.glob(f".{path.name}.*.claim"))
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _time_of(claim: Path) -> int:
    try:
        return claim.stat().st_mtime_ns
    except OSError:
        return 0


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells a file from one that took its name."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
