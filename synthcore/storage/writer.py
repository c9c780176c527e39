"""Writing a shard: rows arrive compressed and in any order, and land as they are."""

from __future__ import annotations

import contextlib
import fcntl
import io
import mmap
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

from synthcore.base.errors import SynthcoreError
from synthcore.engine.chunk import deflate
from synthcore.engine.machine import Engine
from synthcore.engine.rendering import Fault, RenderedRow
from synthcore.sources.base import Candidate, Provenance
from synthcore.spec import DatasetSpec
from synthcore.storage import schema
from synthcore.storage.opening import open_file
from synthcore.vital.catalog import Catalog
from synthcore.vital.classes import Classes, Numbering
from synthcore.vital.controls import Registry
from synthcore.vital.patch import Patch


class ShardWriter:
    """Fills one shard file, patch after patch. Labels are kept in memory (4 KB a row) and written by `finish`.

    Parameters
    ----------
    file : h5py.File
        Open for writing, empty.
    spec, registry, engine, priors
        What the header says.
    catalog : Catalog
        The spec's: its wavetables are the first classes.
    patches : int
        How many patches there can be; those that are never appended take no room.
    """

    def __init__(
        self,
        file: h5py.File,
        spec: DatasetSpec,
        registry: Registry,
        engine: Engine,
        priors: schema.StoredPriors,
        catalog: Catalog,
        patches: int,
    ) -> None:
        self.file = file
        self.spec, self.registry = spec, registry
        self._assets: dict[str, bytes] = {}
        self._numbering = Numbering(Classes.of(catalog, registry))
        rows = patches * len(spec.audio.notes)
        schema.write_header(self.file, spec, registry, engine, priors)
        schema.create_audio(self.file, schema.audio_shapes(spec, registry), rows)
        self._labels = {c.name: np.zeros((rows, *c.shape), c.dtype) for c in schema.columns(registry)}
        self._rejections: list[tuple[Any, ...]] = []
        self._rows = 0

    def append(self, candidate: Candidate, rows: tuple[RenderedRow, ...], assets: Mapping[str, bytes]) -> None:
        """Store the rows of an accepted candidate behind those that are there.

        Parameters
        ----------
        assets : mapping of str to bytes
            Those that its patch refers to, and any others.
        """
        dense = self._dense_chunk(candidate.patch) if self.spec.tier == 3 else b""
        for place, row in enumerate(rows, start=self._rows):
            self.file[schema.AUDIO].id.write_direct_chunk((place, 0, 0), row.chunk)
            if dense:
                self.file[schema.DENSE].id.write_direct_chunk((place, 0, 0, 0), dense)
            self._label(place, candidate, row, assets)
        self._rows += len(rows)

    def reject(self, candidate: Candidate, fault: Fault) -> None:
        """Write down a refused candidate."""
        nan = float("nan")
        measured = (nan if fault.rms_dbfs is None else fault.rms_dbfs, nan if fault.peak is None else fault.peak)
        which = (candidate.source.encode(), candidate.index, candidate.attempt, fault.note, fault.reason.encode())
        self._rejections.append((*which, *measured, self.spec.seed, _parents(candidate)))

    def finish(self, wavetable_names: Mapping[str, str], sources: Iterable[Provenance]) -> str:
        """Write labels, rejections, assets, classes and sources; return the content digest.

        Parameters
        ----------
        wavetable_names : mapping of str to str
            What wavetables are called, by SHA-256.
        sources : iterable of Provenance
        """
        for name in schema.audio_shapes(self.spec, self.registry):
            self.file[name].resize(self._rows, axis=0)
        labels = {name: values[: self._rows] for name, values in self._labels.items()}
        schema.create_columns(self.file, schema.columns(self.registry), self._rows)
        for name, values in labels.items():
            self.file[name][...] = values
        self._rejections.sort(key=lambda row: row[:3])  # the order in which they were rendered says nothing
        fields = zip(*self._rejections, strict=True) if self._rejections else ((),) * len(schema.REJECTIONS)
        columns = zip(schema.REJECTIONS, fields, strict=True)
        rejections = {c.name: np.array(f, dtype=c.dtype).reshape(-1, *c.shape) for c, f in columns}
        schema.write_rejections(self.file, rejections)
        schema.write_assets(self.file, self._assets)
        schema.write_exact_rows(self.file, schema.count_exact_rows(labels["params/exact_values"]))
        schema.write_classes(self.file, self._numbering.classes(wavetable_names))
        schema.write_sources(self.file, sources)
        digest = schema.ContentDigest(self.spec)
        digest.update(labels)
        self.file["schema"].attrs["content_digest"] = digest.hexdigest()
        return digest.hexdigest()

    def _label(self, place: int, candidate: Candidate, row: RenderedRow, assets: Mapping[str, bytes]) -> None:
        patch = candidate.patch
        played = (name for name in (*patch.wavetables, *patch.extras) if name is not None)
        self._assets.update({name: assets[name] for name in played})
        wavetables, extras = self._numbering.of(patch.wavetables, patch.extras)
        values = {
            "params/continuous": patch.continuous,
            "params/categorical": patch.categorical,
            "params/modulation_slots": patch.modulation_slots,
            "params/wavetables": wavetables,
            "params/extras": extras,
            "params/exact_values": patch.exact,
            "metadata/audio_sha256": row.audio_sha256.encode(),
            "metadata/midi_note": row.note,
            "metadata/velocity": self.spec.audio.velocity,
            "metadata/source": candidate.source.encode(),
            "metadata/tier": self.spec.tier,
            "metadata/preset_hash": patch.hash.encode(),
            "metadata/preset_name": cut(candidate.name, 80),
            "metadata/parents": _parents(candidate),
            "metadata/patch_index": candidate.index,
            "metadata/attempt": candidate.attempt,
            "metadata/rms_dbfs": row.rms_dbfs,
            "metadata/peak": row.peak,
        }
        for name, value in values.items():
            self._labels[name][place] = value

    def _dense_chunk(self, patch: Patch) -> bytes:
        dense = schema.to_dense(patch.modulation_slots, self.registry)
        return deflate(dense)


def _parents(candidate: Candidate) -> list[bytes]:
    hashes = [parent.encode() for parent in candidate.parents]
    return hashes + [b""] * (schema.PARENTS - len(hashes))


def cut(text: str, size: int) -> bytes:
    """Encode to at most `size` bytes of UTF-8, cut between two characters."""
    return text.encode()[:size].decode(errors="ignore").encode()


class Disk(io.RawIOBase):
    """The file that HDF5 writes into. It never fails: HDF5 crashes the process when it closes a file it couldn't write.

    What goes wrong is kept in `error`, and what is written afterwards is lost.
    """

    def __init__(self, path: Path) -> None:
        self.error: BaseException | None = None
        self._file = path.open("w+b", buffering=0)

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
    with contextlib.closing(Disk(path)) as disk:
        try:
            with h5py.File(disk, "w") as file:
                yield file
        except (OSError, RuntimeError) as error:
            if disk.error:  # what was lost can't be read back: this error only follows from the first
                raise disk.error from error
            raise
        if disk.error:
            raise disk.error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and make it `path` when the block ends well: what has the name is whole.

    Raises
    ------
    SynthcoreError
        The disk is full or the folder can't be written; nothing is left behind. Or what has the name is no file: a
        folder, a device or a pipe, which renaming would replace.
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
    SynthcoreError
        Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise SynthcoreError(
            f"can't write {path}: {reason}; nothing was left half-written. Free space or name another place, "
            "then run the same command again: it continues"
        ) from error


def is_being_written(path: Path) -> bool:
    """Whether a process holds the lock of a temporary file or claim. A no proves something only on one machine."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks tells nothing
            return False
    return False


def begin_sync(path: Path) -> None:
    """Have the system begin to put a file on the disk, if it can be asked to: less is left to wait for at the end."""
    if sys.platform == "linux":  # what is written to the disk may leave memory; what isn't begins to be written
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


def checksum(content: mmap.mmap) -> str:
    """XXH3-128 of bytes, in hex: finds damage at ten times the speed of SHA-256, which would be half of a merge."""
    return xxhash.xxh3_128_hexdigest(content)


def file_checksum(path: Path) -> str:
    """`checksum` of a file's bytes."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):  # by blocks: a mapped shard would count as memory
            digest.update(block)
    return digest.hexdigest()


def is_intact(path: Path, size: int, digest: str) -> bool:
    """Whether a file is there, of this size, and says this content digest.

    Raises
    ------
    FileUnavailable
        That can't be known now: another program is writing it, or it may not be read.
    """
    try:
        if path.stat().st_size != size:
            return False
        with open_file(path) as file:
            return bool(file["schema"].attrs["content_digest"] == digest)
    except schema.UNREADABLE:
        return False
