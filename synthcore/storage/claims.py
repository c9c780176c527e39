"""Claims: who is making a file, so that a second run waits for it instead of making it too.

A claim is a small file beside the one to be made. If two processes try to create it, one of them fails, on every file
system. Its holder gives it a new time every few seconds. A claim whose time stands still, or whose holder is known to
be dead, is followed by one with the next number, which again only one can create: so none blocks the way for good.

No clock is compared with another, and nothing relies on a lock: a lock only shows sooner that a process of this machine
is dead. Should all this fail, two make the file, each under a temporary name of its own, and the later rename wins.
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
#: A network file system may show a machine a new time as late as a minute.
SILENT_SECONDS = 120.0
POLL_SECONDS = 0.5
Pause = Callable[[float], object]


@contextlib.contextmanager
def claimed(path: Path, pause: Pause = time.sleep) -> Iterator[bool]:
    """Be the only run that makes a file, for the length of the block; first wait for whoever has claimed it.

    Parameters
    ----------
    path : Path
        The file.
    pause : callable
        Waits a number of seconds, and may raise to end the wait.

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
    """Create the next claim once there is none, or a dead one; return its number, its file and whether we waited."""
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
        os.write(descriptor, socket.gethostname().encode())  # only now: whoever reads it may try the lock
    return descriptor


def _is_abandoned(claim: Path) -> bool:
    """Whether its process is known to be dead: it was of this machine, and no longer holds its lock."""
    try:
        return claim.is_file() and claim.read_text() == socket.gethostname() and not is_being_written(claim)
    except OSError:
        return False


def _beat(claim: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):  # someone took us for dead
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
