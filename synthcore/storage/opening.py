"""Opening an HDF5 file that is there, and saying in one line why that can't be done now.

Owns the difference between a file that is damaged, which making it again mends, and one that is whole but held by
another program, forbidden, or one too many: that one is never replaced, nor taken for gone.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

import h5py

from synthcore.base.errors import FileUnavailable

MAKE_AGAIN = "make it again with the command that made it (generate takes --refresh merge)"
#: Errors that say nothing of what the file holds. HDF5 has a number for other errors too, those of damage among them.
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


def _why_not_now(error: OSError, mode: str) -> str | None:
    """Say why a file can't be opened now; None where the file itself is at fault."""
    said = str(error)
    if "unable to lock file" in said:  # EACCES as well: some file systems say so of a lock
        holder = "another program is writing it" if mode == "r" else "another program has it open"
        return f"{holder}: wait, or {_NO_LOCKS}"
    if "already open" in said:  # HDF5 has no number for this
        return "this program has it open for reading: close it first"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{os.strerror(error.errno)}: close some, or raise the limit (ulimit -n 4096)"
    if error.errno in _OF_THE_MOMENT:
        return f"{os.strerror(error.errno)}; change its permissions, or name another file"
    return None
