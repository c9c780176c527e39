"""Finding presets and wavetables among files, by what they hold.

Owns the way from a folder, bank or file to bytes that are a preset: which files are looked at, and how they are read.
It follows no link, opens only regular files, unpacks archives in memory, and writes nothing. What claims to be a preset
and isn't one is reported with its reason; what doesn't claim to be one (a README, a recording) is passed over.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from synthcore.base.errors import PresetError
from synthcore.vital.parsing import MAX_BYTES, is_preset, is_wavetable, load

#: The endings of presets, wavetables and archives of them. Which of these a file is, its content says.
ENDINGS = (".vital", ".vitalbank", ".vitaltable", ".zip")
#: A wavetable as well, but only for those who look for wavetables: presets lie among recordings.
WAV_ENDING = ".wav"
ARCHIVE_ENDINGS = (".vitalbank", ".zip")
ARCHIVE_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
#: What is skipped: hidden files, such as git's own and downloads that were cut short, and what macOS adds to archives.
PASSED_OVER = re.compile(r"\.[^.].*|\.\..+|__MACOSX")

MAX_FILES = 100_000  #: of all kinds in one folder, folders included; a folder with more isn't read at all
MAX_ARCHIVE_BYTES = 1 << 28
MAX_ENTRIES = 20_000
MAX_UNPACKED_BYTES = 1 << 30  #: of one archive, which is unpacked entry by entry, never as a whole
#: Presets are base64 and shrink to a half; deflate reaches 1032 at most.
MAX_RATIO = 200
MAX_NAME = 1024  #: of an archive's entry, in characters
ENTRY_HEAD = 30  #: bytes in front of an entry's name and data

_CENTRAL_HEAD = b"PK\x01\x02"
_IS_ENCRYPTED = 0x1
#: What `zipfile` raises for archives that lie.
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError, IndexError)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is a preset or a wavetable.

    Attributes
    ----------
    root : Path
        What was searched.
    file : str
        The path from there, with `/`; an archive's entry follows a `!`: `bank.vitalbank!Author/Presets/x.vital`.
    kind : {"preset", "wavetable", "wav"}
        What its content is, whatever its name; "wav" if it may be a wavetable.
    content : bytes
        The whole of it.
    """

    root: Path
    file: str
    kind: Literal["preset", "wavetable", "wav"]
    content: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that claims to be a preset, wavetable or archive and can't be used; `reason` is one line."""

    root: Path
    file: str
    reason: str


def find(root: Path, endings: tuple[str, ...] = ENDINGS) -> Iterator[Found | Refused]:
    """Find the presets and wavetables in a folder, an archive or a file.

    Parameters
    ----------
    root : Path
        A folder, searched with all it holds, or one file. It may itself be a link; no link below it is followed.
    endings : tuple of str
        What is looked at in folders and archives: `ENDINGS`, or `WAV_ENDING` as well.

    Yields
    ------
    Found or Refused
        Sorted by file. Only one file or archive is in memory at a time.
    """
    if not root.is_dir():
        yield from _examine(root, root.resolve(), _clean(root.name), endings)
        return
    try:
        candidates = sorted(walk(root, endings))
    except PresetError as error:
        yield Refused(root, ".", str(error))
        return
    for file, path, reason in candidates:
        if reason:
            yield Refused(root, file, reason)
        else:
            yield from _examine(root, path, file, endings)


def walk(root: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, Path, str]]:
    """Yield each candidate's name, path and, if it can't be opened, why.

    Raises
    ------
    PresetError
        The folder holds more than `MAX_FILES`. Which came first would be chance, so none is read.
    """
    top = root.resolve()
    folders = [top]
    seen = 0
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    seen += 1
                    if seen > MAX_FILES:
                        raise PresetError(f"holds more than {MAX_FILES:,} files; name a folder inside it")
                    if PASSED_OVER.fullmatch(entry.name):
                        continue
                    path = Path(entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif reason := _why_not(entry, path, top, endings):
                        yield _shown(path.relative_to(top)), path, reason
                    elif _has_ending(entry.name, endings) and not entry.is_symlink():
                        yield _shown(path.relative_to(top)), path, ""
        except OSError as error:
            yield _shown(folder.relative_to(top)), folder, f"can't be read: {error.strerror}"


def _why_not(entry: os.DirEntry[str], path: Path, top: Path, endings: tuple[str, ...]) -> str:
    """Say why a link isn't followed, unless it leads into the folder, where its target is found anyway."""
    if not entry.is_symlink():
        return ""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "a link that leads nowhere" if _has_ending(entry.name, endings) else ""
    leads_out = not target.is_relative_to(top)
    return (
        "a link that leads out of the folder"
        if leads_out and (_has_ending(entry.name, endings) or target.is_dir())
        else ""
    )


def _examine(root: Path, path: Path, file: str, endings: tuple[str, ...]) -> Iterator[Found | Refused]:
    """Read one file and say what it is."""
    try:
        content = _read(path, MAX_ARCHIVE_BYTES if _has_ending(file, ARCHIVE_ENDINGS) else MAX_BYTES)
    except PresetError as error:
        yield Refused(root, file, str(error))
        return
    claims_archive = _has_ending(file, ARCHIVE_ENDINGS) and not content[:64].lstrip().startswith(b"{")
    if claims_archive or content.startswith(ARCHIVE_STARTS):
        yield from _unpack(root, file, content, endings)
    else:
        yield _recognise(root, file, content, endings)


def _read(path: Path, most: int) -> bytes:
    """Read a regular file and nothing else: a pipe may never end, and opening a device can have effects."""
    try:
        _require_regular(path.lstat(), most)
        # The file may have been replaced since: follow no link, and don't wait for a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            _require_regular(os.fstat(descriptor), most)
            return opened.read(most)
    except OSError as error:
        raise PresetError(f"can't be read: {error.strerror}") from error


def _require_regular(status: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PresetError("not a regular file")
    if status.st_size > most:
        raise PresetError(f"larger than {most >> 20} MB")


def _recognise(root: Path, file: str, content: bytes, endings: tuple[str, ...]) -> Found | Refused:
    if WAV_ENDING in endings and (_has_ending(file, (WAV_ENDING,)) or content.startswith(b"RIFF")):
        return Found(root, file, "wav", content)
    try:
        document = load(content)
    except PresetError as error:
        return Refused(root, file, str(error))
    if is_preset(document):
        return Found(root, file, "preset", content)
    if is_wavetable(document):
        return Found(root, file, "wavetable", content)
    return Refused(root, file, "JSON, but neither a preset nor a wavetable")


# --- Archives -------------------------------------------------------------------------------------------------------


def _unpack(root: Path, file: str, content: bytes, endings: tuple[str, ...]) -> Iterator[Found | Refused]:
    """Look into an archive, entry by entry; an archive that can't be trusted is refused as a whole."""
    try:
        archive = _open(content)
    except PresetError as error:
        yield Refused(root, file, str(error))
        return
    unpacked = 0
    seen: set[str] = set()
    for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
        name = entry.filename.replace("\\", "/")
        if not _has_ending(name, endings) or any(PASSED_OVER.fullmatch(part) for part in name.split("/")):
            continue
        inside = f"{file}!{_clean(name[:MAX_NAME])}"
        try:
            _require_safe(entry, name, seen)
            unpacked += entry.file_size
            if unpacked > MAX_UNPACKED_BYTES:
                raise PresetError(f"the archive unpacks to more than {MAX_UNPACKED_BYTES >> 20} MB")
            yield _recognise(root, inside, _read_entry(archive, entry), endings)
        except PresetError as error:
            yield Refused(root, inside, str(error))


def _open(content: bytes) -> zipfile.ZipFile:
    # Counted before `zipfile` makes an object of each.
    if content.count(_CENTRAL_HEAD) > MAX_ENTRIES:
        raise PresetError(f"an archive of more than {MAX_ENTRIES:,} files")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _BROKEN as error:
        raise PresetError(f"not an archive: {_one_line(error)}") from error
    end = 0
    for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise PresetError("a zip bomb: its files lie over each other")
        end = entry.header_offset + ENTRY_HEAD + entry.compress_size
    return archive


def _require_safe(entry: zipfile.ZipInfo, name: str, seen: set[str]) -> None:
    """Refuse an entry before a byte of it is unpacked."""
    # On Windows a drive letter is a root.
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in PurePosixPath(name).parts:
        raise PresetError("its name leads out of the archive")
    if len(name) > MAX_NAME:
        raise PresetError(f"its name is longer than {MAX_NAME} characters")
    if name in seen:
        raise PresetError("the archive holds this name twice")
    seen.add(name)
    if _has_ending(name, ARCHIVE_ENDINGS):
        raise PresetError("an archive in an archive")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise PresetError("a link")
    if entry.flag_bits & _IS_ENCRYPTED:
        raise PresetError("encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PresetError("packed in a way that Vital doesn't use")
    if entry.file_size > MAX_BYTES:
        raise PresetError(f"larger than {MAX_BYTES >> 20} MB")
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        raise PresetError(f"a zip bomb: it unpacks to more than {MAX_RATIO} times its size")


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(entry) as opened:
            return opened.read(entry.file_size)  # never more than it declares, whatever its stream holds
    except _BROKEN as error:
        raise PresetError(f"damaged: {_one_line(error)}") from error


# --- Names ----------------------------------------------------------------------------------------------------------


def _has_ending(name: str, endings: tuple[str, ...]) -> bool:
    return name.lower().endswith(endings)


def _shown(path: Path) -> str:
    return _clean(path.as_posix())


def _clean(name: str) -> str:
    """Replace what can't be printed or written as UTF-8: half characters, line breaks, escapes."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def _one_line(error: Exception) -> str:
    return " ".join(_clean(str(error)).split()) or type(error).__name__
