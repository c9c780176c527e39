"""Writing a file whole or not at all, finding out whether somebody is writing one, and taking turns."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from synthcore.base.errors import DiskError, SynthcoreError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block ends well: `path` is always whole.

    Raises
    ------
    DiskError
        The disk is full or the folder can't be written; nothing is left behind.
    SynthcoreError
        What has the name isn't a file but a folder, a device or a pipe, which renaming would replace.
    """
    if path.exists() and not path.is_file():
        raise SynthcoreError(f"can't write {path}: it is there, and isn't a file; name another place")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with disk_errors_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as held:
                with contextlib.suppress(OSError):  # not every file system has locks
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield temporary
                _sync(temporary)
                temporary.replace(path)
                _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):  # there is nothing to remove where nothing could be made
            temporary.unlink()


@contextlib.contextmanager
def disk_errors_of(path: Path) -> Iterator[None]:
    """Say in one line that a file can't be written.

    Raises
    ------
    DiskError
        Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise DiskError(
            f"can't write {path}: {reason}; nothing was left half-written. Free space or name another place, "
            "then run the same command again: it continues"
        ) from error


def is_being_written(path: Path) -> bool:
    """Whether a process on this machine holds the lock of a temporary file or claim; False proves nothing of others."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False


@contextlib.contextmanager
def one_at_a_time(lock: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    """Let one process at a time into the block.

    Parameters
    ----------
    lock : Path
        A file that is made for it, and stays: were it removed, the next two might lock different files.
    on_wait : callable
        Called if another process is in there, before waiting for it.

    Raises
    ------
    DiskError
        The file can't be made.
    """
    with disk_errors_of(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")  # for writing, without which NFS gives no lock
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield


def begin_sync(path: Path) -> None:
    """Have the system start writing a file to the disk, where it can: less is left to wait for at the end."""
    if sys.platform == "linux":  # drops the pages already written from memory, and starts writing the others
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
