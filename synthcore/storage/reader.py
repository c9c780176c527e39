"""Reading columns: any rows, in any order, wherever they lie. Each process opens the file for itself.

HDF5's handles don't survive a fork, and can't be pickled. A reader does and can: it opens its file when it is used, and
makes sure that it is still the same file.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.addresses import Address, Place
from synthcore.base.errors import DatasetError, FileUnavailable
from synthcore.storage import schema
from synthcore.storage.afar import Afar
from synthcore.storage.older import Older
from synthcore.storage.opening import MAKE_AGAIN, open_file, open_remote
from synthcore.storage.rows import has_our_chunks, read_rows, require_written
from synthcore.storage.views import View, views_of

Rows = slice | Sequence[int] | NDArray[np.integer[Any]] | NDArray[np.bool_]


class Reader:
    """Reads the columns of one dataset file, by their names in the file.

    Parameters
    ----------
    path : Path or Address
        A path is absolute.

    Raises
    ------
    DatasetError
        The file is missing, not HDF5, truncated, or of another schema version. Reading raises it as well, where a row
        can't be read: zeros never stand in for one.
    FileUnavailable
        Another program is writing it, or it is forbidden.
    """

    def __init__(self, path: Place) -> None:
        self.path = path
        self._opened: _Opened | None = None
        self._hold(_open(path))
        self._digest = _digest_of(self.file)

    def close(self) -> None:
        """Close the file. Reading afterwards raises ValueError."""
        if self._opened is not None:
            self._opened.close()
        self._opened, self._opened_by = None, os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "digest": self._digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self._digest = state["path"], state["digest"]
        # Opened on first use: an error there reaches whoever reads, while unpickling it may not.
        self._opened, self._opened_by = None, 0

    @property
    def file(self) -> h5py.File:
        """The file, opened by this process."""
        return self._here().file

    def __len__(self) -> int:
        return int(self.file["metadata/midi_note"].shape[0])

    @property
    def shard_files(self) -> list[Path]:
        """The shards that hold the file's audio; none if it does itself."""
        files = [path for view in self._here().views.values() for path in view.shard_files]
        return list(dict.fromkeys(files))

    def column(self, name: str) -> h5py.Dataset:
        """A column that HDF5 reads, all of which was written."""
        column = self.file[name]
        if name not in self._known_whole:
            require_written(column)
            self._known_whole.add(name)
        return column

    def read(self, name: str, rows: Rows, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read rows of a column, in the order asked for."""
        # A list is what it is to numpy: numbers, negative ones counted from the end, or a mask.
        wanted = rows if isinstance(rows, slice) else np.asarray(rows, dtype=None if len(rows) else np.intp)
        places, back = np.unique(np.arange(len(self))[wanted], return_inverse=True)
        if out is not None and name in self.file:
            _require_room(out, (len(back), *self.file[name].shape[1:]), self.file[name].dtype)
        if np.array_equal(back, np.arange(len(places))):
            return self.read_rising(name, places, out)
        return np.take(self.read_rising(name, places), back, axis=0, out=out)

    def read_rising(self, name: str, places: NDArray[np.intp], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read rows in rising order, each once."""
        opened = self._here()
        file = opened.file
        if opened.older and name in opened.older.columns:
            made = opened.older.columns[name](places)
            if out is None:
                return made
            _require_room(out, made.shape, made.dtype)
            out[:] = made
            return out
        if view := opened.views.get(name):
            found = view.read(places, out)
        elif opened.afar:
            found = opened.afar.read(file[name], places, out)
        elif has_our_chunks(file[name]):
            found = read_rows(file[name], places, out)
        else:
            found = read_rows(self.column(name), places, out)
        if name == schema.AUDIO:
            self._require_sound(places, found)
        return found

    def _here(self) -> _Opened:
        """What this process has opened."""
        if self._opened is None and self._opened_by:
            raise ValueError(f"{self.path} is closed")
        if self._opened is None or self._opened_by != os.getpid():
            return self._hold(self._open_same())
        return self._opened

    def _hold(self, opened: _Opened) -> _Opened:
        """Let this process read from this from now on."""
        self._opened, self._opened_by = opened, os.getpid()
        self._known_whole: set[str] = set()
        if opened.afar:
            # HDF5, which ends after Python, would still ask for the file. A child of a fork has it open as well.
            weakref.finalize(self, opened.close)
        return opened

    def _open_same(self) -> _Opened:
        """Open it in another process, which must see the same rows as the first: no merge may come in between."""
        opened = _open(self.path)
        if _digest_of(opened.file) != self._digest:
            opened.close()
            raise DatasetError(f"{self.path} has been replaced since it was opened; open it again")
        return opened

    def _require_sound(self, places: NDArray[np.intp], audio: NDArray[np.float32]) -> None:
        """Refuse zeros where sound was stored: they are what HDF5 gives for what it can't read."""
        some = audio[:, :, ::64]  # of a row that sounds, one of these is not 0
        for place in np.flatnonzero(~some.any(axis=(1, 2))).tolist():
            stored = self.column("metadata/audio_sha256")[places[place]]
            if not audio[place].any() and stored != hashlib.sha256(audio[place].tobytes()).hexdigest().encode():
                raise DatasetError(
                    f"{self.path} is damaged: row {places[place]} of {schema.AUDIO} reads as zeros, which it was not "
                    f"when it was stored; {MAKE_AGAIN}"
                )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that one process has opened, and the ways to read what h5py doesn't read itself."""

    file: h5py.File
    views: Mapping[str, View]
    afar: Afar | None = None
    older: Older | None = None  # makes what a file of an earlier schema lacks

    def close(self) -> None:
        self.file.close()
        if self.afar:
            self.afar.remote.close()


def _open(path: Place) -> _Opened:
    """Open a file that is a dataset.

    Raises
    ------
    DatasetError
    FileUnavailable
    """
    if isinstance(path, Path):
        _require_file(path)
    try:
        file, afar = _open_afar(path) if isinstance(path, Address) else (open_file(path), None)
    except OSError as error:
        what = "is not an HDF5 file"
        if "truncated" in str(error):
            what = "is truncated: it was copied or written only in part"
        elif error.errno:
            what = f"can't be read: {os.strerror(error.errno)}"
        raise DatasetError(f"{path} {what}; name another file, or generate it again") from error
    opened = _Opened(file, {}, afar)
    try:
        schema.require_schema(file, str(path))
        return replace(opened, views=views_of(path, file), older=Older(file))
    except BaseException:
        if afar:
            opened.close()
        raise


def _require_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise DatasetError(f"{path} is a folder; name a file in it")
        if not path.is_file():
            raise DatasetError(f"there is no file {path}")
    except OSError as error:  # of a folder that may not be looked into, or a name that is too long
        raise FileUnavailable(f"can't read {path}: {error.strerror}; name another file") from error


def _open_afar(address: Address) -> tuple[h5py.File, Afar]:
    file, remote = open_remote(address)
    return file, Afar(remote)


def _digest_of(file: h5py.File) -> str:
    return str(file["schema"].attrs["content_digest"])


def _require_room(out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse an array into which rows can't be read as they are."""
    if (out.shape, out.dtype) != (shape, dtype) or not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError(f"out must be a contiguous array of shape {shape} and dtype {dtype} that can be written")
