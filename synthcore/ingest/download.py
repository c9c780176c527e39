"""Download presets into folders that say where they come from; a folder is there whole or not at all.

What is downloaded is never run, and never read here: reading is `ingest`'s part, which trusts no file.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from synthcore.base.counting import how_many
from synthcore.base.errors import DownloadError, SpecError
from synthcore.ingest import archives, repositories
from synthcore.ingest.remotes import RemoteSource
from synthcore.ingest.transfer import MEGABYTE, Limits

STATEMENT = "synthcore-source.json"  #: in the root of every downloaded folder


class Statement(BaseModel):
    """Where a folder of presets comes from. It lies in the folder's root, for `ingest` and for people."""

    model_config = ConfigDict(frozen=True)

    repository: str  #: address of the repository or archive
    commit: str  #: a repository's commit, or `sha256:` and the SHA-256 of an archive's bytes
    licence: str
    fetched: str  #: UTC; not part of any digest


class DownloadResult(BaseModel):
    """A downloaded folder and the digest of its content: all that is kept of a cached download."""

    model_config = ConfigDict(frozen=True)

    folder: str  #: absolute
    commit: str
    licence: str
    files: int
    bytes: int
    digest: str

    def is_intact(self) -> bool:
        """Whether the folder is there, with the content that was downloaded."""
        folder = Path(self.folder)
        try:
            statement = Statement.model_validate_json((folder / STATEMENT).read_bytes())
            digest, _, _ = _content(folder)
        except (OSError, ValidationError):
            return False
        return (statement.commit, statement.licence, digest) == (self.commit, self.licence, self.digest)


class Outcome(BaseModel):
    """What became of one source."""

    model_config = ConfigDict(frozen=True)

    url: str
    licence: str
    state: Literal["downloaded", "unchanged", "failed"]
    folder: str  #: of a failed source, perhaps from before
    commit: str = ""
    files: int = 0
    bytes: int = 0
    reason: str = ""  #: why it failed, in a line

    def to_text(self) -> str:
        """Describe it in a line or two."""
        if self.state == "failed":
            left = f"\n  {self.folder} is left as it was" if Path(self.folder).exists() else ""
            return f"failed      {self.url} {self.reason}{left}\n"
        size = f"{how_many(self.files, 'file')}, {self.bytes / MEGABYTE:.1f} MB"
        return f"{self.state:<11} {self.url} (licence: {self.licence})\n  {self.folder}: {size}, {self.commit[:19]}\n"


class DownloadReport(BaseModel):
    """What became of every source."""

    model_config = ConfigDict(frozen=True)

    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The sources that could not be downloaded."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == "failed")

    def to_text(self) -> str:
        """Describe it for people."""
        return "".join(outcome.to_text() for outcome in self.outcomes)

    def require_success(self, *, strict: bool) -> None:
        """Refuse a failed source if strict, and otherwise only if every source failed.

        Raises
        ------
        IncompleteDownload
            Which failed, and why.
        """
        if self.failed and (strict or len(self.failed) == len(self.outcomes)):
            raise IncompleteDownload(self)


class IncompleteDownload(DownloadError):
    """Too many sources failed."""

    def __init__(self, report: DownloadReport) -> None:
        reasons = "; ".join(f"{outcome.url} {outcome.reason}" for outcome in report.failed)
        super().__init__(f"{len(report.failed)} of {how_many(len(report.outcomes), 'source')} failed: {reasons}")
        self.report = report

    def __reduce__(self) -> tuple[type[IncompleteDownload], tuple[DownloadReport]]:
        return type(self), (self.report,)


def find_version(source: RemoteSource, limits: Limits) -> str:
    """Ask for the current version of a source: a commit, or what is known of an archive, or "" if nothing is.

    Raises
    ------
    DownloadError
        There is no answer, or the source doesn't exist.
    """
    if not source.is_archive:
        return repositories.find_commit(source, limits)
    return f"sha256:{source.sha256}" if source.sha256 else archives.find_version(source, limits)


def download(source: RemoteSource, version: str, folder: Path, limits: Limits) -> DownloadResult:
    """Download one version of a source into a folder, replacing an earlier download.

    Raises
    ------
    DownloadError
        It failed; the folder is as it was before.
    """
    if folder.exists() and not (folder / STATEMENT).is_file() and any(folder.iterdir()):
        raise DownloadError(f"would replace {folder}, which was not downloaded; move it away, or name another -o")
    try:
        with _whole_folder(folder) as temporary:
            commit = _fill(temporary, source, version, limits)
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            statement = Statement(repository=source.address, commit=commit, licence=source.licence, fetched=now)
            (temporary / STATEMENT).write_text(statement.model_dump_json(indent=1) + "\n")
            digest, files, size = _content(temporary)
    except OSError as error:
        raise DownloadError(f"can't be written to {folder}: {error.strerror or error}") from error
    return DownloadResult(
        folder=str(folder), commit=commit, licence=source.licence, files=files, bytes=size, digest=digest
    )


def require_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be made.

    Raises
    ------
    SpecError
        It isn't a folder, or can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SpecError(f"can't write in {folder}: {error.strerror}; name another folder with -o") from error


def _fill(folder: Path, source: RemoteSource, version: str, limits: Limits) -> str:
    if source.is_archive:
        return f"sha256:{archives.download(source, folder / source.file_name, limits)}"
    repositories.clone(source, version, folder, limits)
    return version


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`, and make it `folder` when the block ends well."""
    mark = secrets.token_hex(4)
    temporary, before = (folder.with_name(f".{folder.name}.{mark}.{what}") for what in ("tmp", "old"))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # Not flushed file by file, which takes minutes for thousands: the digest finds what a power cut loses.
        if folder.exists():
            folder.rename(before)
        temporary.rename(folder)
    finally:
        if before.exists() and not folder.exists():  # interrupted between the two
            before.rename(folder)
        for rest in (temporary, before):
            shutil.rmtree(rest, ignore_errors=True)


def _content(folder: Path) -> tuple[str, int, int]:
    """Digest the names and bytes of all files but the statement; give their number and size as well."""
    digest, files, size = hashlib.sha256(), 0, 0
    for path in sorted(_files(folder)):
        with (folder / path).open("rb") as file:
            digest.update(os.fsencode(path) + b"\0" + hashlib.file_digest(file, "sha256").digest())
            size += file.tell()
        files += 1
    return digest.hexdigest(), files, size


def _files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        inner = os.path.relpath(parent, folder)
        for name in names:
            if (path := os.path.normpath(os.path.join(inner, name))) != STATEMENT:  # noqa: PTH118
                yield path
