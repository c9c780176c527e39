"""Opening an HDF5 file: one that is there, or a new one; and saying in one line why that can't be done now.

Owns the difference between a file that is damaged, and has to be made again, and one that is whole but held by another
program, forbidden, or one open file too many: that one is never replaced, or taken for gone.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import h5py

from synthcore.base.addresses import Address, Place
from synthcore.base.errors import DatasetError, FileUnavailable
from synthcore.base.ranges import RemoteFile
from synthcore.storage.schema import UNREADABLE

MAKE_AGAIN = "make it again with the command that made it (generate takes --refresh merge)"
#: Errors that say nothing about what the file holds. HDF5 gives numbers to other errors too, damage among them.
_OF_THE_MOMENT = (errno.EAGAIN, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOLCK)
_NO_LOCKS = "set HDF5_USE_FILE_LOCKING=FALSE on file systems without locks"


def open_file(path: Path, mode: Literal["r", "r+"] = "r") -> h5py.File:
    """Open a file for reading, or for writing into it.

    Raises
    ------
    FileUnavailable
        Another program holds it, it is forbidden, or too many files are open.
    OSError
        It is gone, or not a whole HDF5 file.
    """
    try:
        return h5py.File(path, mode)
    except OSError as error:
        reason = _why_not_now(error, mode)
        if reason is None:
            raise
        raise FileUnavailable(f"can't {'read' if mode == 'r' else 'write into'} {path}: {reason}") from error


def open_remote(address: Address) -> tuple[h5py.File, RemoteFile]:
    """Open a file behind an address for reading; close both before the program ends, or libhdf5 crashes then.

    Raises
    ------
    DatasetError
        There is no such file.
    FileUnavailable
        It may not be read, or its server gives no parts of files, or no answer.
    OSError
        It isn't a whole HDF5 file.
    """
    remote = RemoteFile(address)
    try:
        return h5py.File(remote, "r"), remote
    except BaseException:
        remote.close()
        raise


@contextlib.contextmanager
def damage_named(path: Place) -> Iterator[None]:
    """Say in one line that a file is damaged, whatever error HDF5 or the parsers of its header raise.

    Raises
    ------
    DatasetError
    OSError
        As it came, if it names another file.
    """
    try:
        yield
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.filename not in (None, str(path)):
            raise
        # Whoever keeps this error must not keep what was open: libhdf5 crashes at exit over a virtual dataset's.
        traceback.clear_frames(error.__traceback__)
        raise DatasetError(f"{path} is damaged ({reason_of(error)}); {MAKE_AGAIN}") from error


def flush(file: h5py.File) -> None:
    """Put what was written on the disk before anything that follows."""
    file.flush()
    if file.driver == "sec2":  # a file that is being made is flushed as a whole, when it gets its name
        os.fsync(file.id.get_vfd_handle())


def _why_not_now(error: OSError, mode: str) -> str | None:
    """Say why a file can't be opened now; None where the file itself is at fault."""
    text = str(error)
    if "unable to lock file" in text:  # EACCES as well, by which some file systems mean a lock
        holder = "another program is writing it" if mode == "r" else "another program has it open"
        return f"{holder}: wait, or {_NO_LOCKS}"
    if "already open" in text:  # HDF5 has no number for this
        return "this program has it open for reading: close it first"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{os.strerror(error.errno)}: close some, or raise the limit (ulimit -n 4096)"
    if error.errno in _OF_THE_MOMENT:
        return f"{os.strerror(error.errno)}; change its permissions, or name another file"
    return None


def reason_of(error: BaseException) -> str:
    """The first line of what HDF5 says, which may say a lot or nothing: then the name of the error."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


class Disk(io.RawIOBase):
    """The file that HDF5 writes into. It never fails: HDF5 crashes the process when it closes a file it couldn't write.

    What goes wrong is kept in `error`, and what is written afterwards is lost.
    """

    def __init__(self, path: Path, mode: Literal["w+b", "r+b"] = "w+b") -> None:
        self.error: BaseException | None = None
        self._file = path.open(mode, buffering=0)

    def write(self, data: Any) -> int:
        """Write all of `data`, or remember why not and go on as if it had been."""
        rest = memoryview(data).cast("B")
        size, start = len(rest), self._file.tell()
        try:
            while rest and not self.error:
                rest = rest[self._file.write(rest) :]
        except BaseException as error:  # noqa: BLE001  also Ctrl-C, which may come while HDF5 is calling
            self.error = error
        self._file.seek(start + size)
        return size

    def readinto(self, buffer: Any) -> int:
        """Read; zeros where nothing is."""
        wanted = memoryview(buffer).cast("B")
        found = self._file.readinto(wanted)
        wanted[found:] = bytes(len(wanted) - found)
        return len(wanted)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file. A disk that is full is an OSError, once the file is closed."""
    with _on(Disk(path), "w") as file:
        yield file


@contextlib.contextmanager
def copied_file(original: Path, copy: Path) -> Iterator[h5py.File]:
    """Copy an HDF5 file, to change the copy. A disk that is full is an OSError, once the file is closed."""
    shutil.copyfile(original, copy)
    shutil.copymode(original, copy)
    with _on(Disk(copy, "r+b"), "r+") as file:
        yield file


@contextlib.contextmanager
def _on(opened: Disk, mode: Literal["w", "r+"]) -> Iterator[h5py.File]:
    with contextlib.closing(opened) as disk:
        try:
            with h5py.File(disk, mode) as file:
                yield file
        except (OSError, RuntimeError) as error:
            if disk.error:  # what was lost can't be read back: this error only follows from the first
                raise disk.error from error
            raise
        if disk.error:
            raise disk.error
