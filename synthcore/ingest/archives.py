"""Download archives over HTTP from servers that drop connections, move files, are busy, or send something else."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx

from synthcore.base.errors import DownloadError
from synthcore.base.masking import masked
from synthcore.ingest.remotes import RemoteSource
from synthcore.ingest.transfer import Limits, Watch

TRIES = 5  #: in a row without a byte received
BACK_OFF_SECONDS = 1.0  #: before the second try; doubled before each further one
ANSWER_SECONDS = 30.0  #: for a connection, and between two blocks of a body
PASSING = (408, 425, 429, 500, 502, 503, 504)  #: statuses that may go away by waiting
REDIRECTS = 10

Answer = TypeVar("Answer")


class _Passing(Exception):
    """A failure that may pass, and how many seconds the server asked to wait, if it did."""

    def __init__(self, what: str, seconds: float | None = None) -> None:
        super().__init__(what)
        self.seconds = seconds


def find_version(source: RemoteSource, limits: Limits) -> str:
    """Ask the server for the archive's current version, without its body.

    Returns
    -------
    str
        Its ETag, time of change and size; empty if the server gives none of them.

    Raises
    ------
    DownloadError
        The server doesn't answer, or has no such file.
    """
    watch = Watch(limits)
    with _client() as client:

        def ask() -> str:
            with _answer(client, source.url, {}, watch) as response:  # GET: not every server knows HEAD
                known = ("etag", "last-modified", "content-length")
                return ", ".join(f"{name} {response.headers[name]}" for name in known if name in response.headers)

        return _retry(ask, watch)


def download(source: RemoteSource, path: Path, limits: Limits) -> str:
    """Download an archive into a file, resuming where a connection was cut; return the SHA-256 of its bytes.

    Raises
    ------
    DownloadError
        The server keeps failing, or what it sends is too large, too slow, not the expected bytes or not an archive.
    """
    watch = Watch(limits)
    with path.open("w+b") as file:
        with _client() as client:
            transfer = _Transfer(client, source, file, watch)
            _retry(transfer.receive, watch, received=file.tell)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if source.sha256 and digest != source.sha256:
            raise DownloadError(f"isn't the expected file: its sha256 is {digest}, not {source.sha256}")
        if not zipfile.is_zipfile(file):
            raise DownloadError("isn't an archive: the server sent something else under its name, or only part of it")
    return digest


class _Transfer:
    """One file on its way; each `receive` resumes where the previous one was cut."""

    def __init__(self, client: httpx.Client, source: RemoteSource, file: BinaryIO, watch: Watch) -> None:
        self._client, self._source, self._file, self._watch = client, source, file, watch
        self._version = ""  # of the file that the received part belongs to

    def receive(self) -> None:
        """Receive what is missing."""
        with _answer(self._client, self._source.url, self._range(), self._watch) as response:
            self._seek_to_body(response)
            expected = response.headers.get("content-length", "")
            if _is_number(expected):
                self._watch.require_size(self._file.tell() + int(expected))
            for block in response.iter_raw():  # unbuffered: a cut would lose a block still being filled
                self._watch.follow(self._file.tell() + len(block))
                self._file.write(block)

    def _range(self) -> dict[str, str]:
        # Without a version the rest may belong to another file; only a checksum would tell.
        start = self._file.tell()
        if not start or not (self._version or self._source.sha256):
            return {}
        return {"Range": f"bytes={start}-"} | ({"If-Range": self._version} if self._version else {})

    def _seek_to_body(self, response: httpx.Response) -> None:
        """Go to where the body that follows belongs."""
        start = self._file.tell()
        if response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {start}-"):
            return
        self._file.seek(0)
        self._file.truncate()
        if response.status_code != 200:  # the requested part isn't there, or another one came
            raise _Passing(f"answers {response.status_code} when asked for the rest")
        tag = response.headers.get("etag", "")
        # A weak tag doesn't promise the same bytes.
        self._version = tag if tag.startswith('"') else response.headers.get("last-modified", "")


def _client() -> httpx.Client:
    # Identity: an archive compressed again on its way could be neither resumed nor checked.
    return httpx.Client(
        headers={"Accept-Encoding": "identity", "User-Agent": "synthcore"},
        follow_redirects=True,  # httpx speaks only http and https: a redirect to file:// is refused
        max_redirects=REDIRECTS,
    )


@contextlib.contextmanager
def _answer(client: httpx.Client, url: str, headers: Mapping[str, str], watch: Watch) -> Iterator[httpx.Response]:
    """Open an answer whose body can be read; otherwise raise DownloadError, or _Passing."""
    timeout = max(0.1, min(ANSWER_SECONDS, watch.seconds_left))
    try:
        with client.stream("GET", url, headers=headers, timeout=timeout) as response:
            answer = f"answers {response.status_code} {response.reason_phrase}".rstrip()
            if response.status_code in PASSING:
                raise _Passing(answer, _seconds_to_wait(response.headers.get("retry-after", "")))
            if response.is_error and response.status_code != 416:
                raise DownloadError(answer)
            yield response
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise DownloadError(f"leads to an address that is not http or https ({masked(str(error))})") from error
    except httpx.TransportError as error:
        raise _Passing(masked(str(error)) or type(error).__name__) from error
    except httpx.HTTPError as error:
        raise DownloadError(f"can't be downloaded: {masked(str(error))}") from error


def _seconds_to_wait(text: str) -> float | None:
    """Read a Retry-After: seconds, or a date."""
    if _is_number(text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _retry(action: Callable[[], Answer], watch: Watch, received: Callable[[], int] = lambda: 0) -> Answer:
    """Try until it works, waiting longer each time; once anything is received, counting starts again."""
    failures = 0
    while True:
        before = received()
        try:
            return action()
        except _Passing as error:
            failures = 1 if received() > before else failures + 1
            if failures == TRIES:
                raise DownloadError(f"can't be downloaded: {error} ({TRIES} tries)") from error
            pause = BACK_OFF_SECONDS * 2 ** (failures - 1) if error.seconds is None else error.seconds
            if pause >= watch.seconds_left:
                raise DownloadError(
                    f"can't be downloaded now: {error}; the next try would be in {pause:.0f} s, "
                    f"and {watch.seconds_left:.0f} s are left (--timeout)"
                ) from error
            time.sleep(pause)
