"""Download archives over HTTP from servers that cut connections, move files, are busy, or send something else."""

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

TRIES = 5  #: in a row that bring not a byte
BACK_OFF_SECONDS = 1.0  #: before the second try; doubled before each further one
ANSWER_SECONDS = 30.0  #: for a connection, and between two blocks of a body
PASSING = (408, 425, 429, 500, 502, 503, 504)  #: statuses that another moment may heal
REDIRECTS = 10

Answer = TypeVar("Answer")


class _Passing(Exception):
    """A failure that waiting may heal, and how long the server asked to wait, if it did."""

    def __init__(self, what: str, seconds: float | None = None) -> None:
        super().__init__(what)
        self.seconds = seconds


def find_version(source: RemoteSource, limits: Limits) -> str:
    """Ask the server what its archive is now, without its body.

    Returns
    -------
    str
        Its ETag, time of change and size; empty when the server says none of them.

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

        return _persevere(ask, watch)


def download(source: RemoteSource, path: Path, limits: Limits) -> str:
    """Download an archive into a file, going on where a connection was cut; return the SHA-256 of its bytes.

    Raises
    ------
    DownloadError
        The server fails for good, or what it sends is too large, too slow, not the bytes expected or no archive.
    """
    watch = Watch(limits)
    with path.open("w+b") as file:
        with _client() as client:
            transfer = _Transfer(client, source, file, watch)
            _persevere(transfer.receive, watch, grown=file.tell)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if source.sha256 and digest != source.sha256:
            raise DownloadError(f"is another file than expected: its sha256 is {digest}, not {source.sha256}")
        if not zipfile.is_zipfile(file):
            raise DownloadError("is no archive: the server sent something else under its name, or not all of it")
    return digest


class _Transfer:
    """One file on its way; each `receive` goes on where the one before was cut."""

    def __init__(self, client: httpx.Client, source: RemoteSource, file: BinaryIO, watch: Watch) -> None:
        self._client, self._source, self._file, self._watch = client, source, file, watch
        self._version = ""  # what the part that is here belongs to

    def receive(self) -> None:
        """Receive what is missing."""
        with _answer(self._client, self._source.url, self._wish(), self._watch) as response:
            self._place(response)
            expected = response.headers.get("content-length", "")
            if _is_number(expected):
                self._watch.require_size(self._file.tell() + int(expected))
            for block in response.iter_raw():  # as they come: a block that is still being filled would be lost in a cut
                self._watch.follow(self._file.tell() + len(block))
                self._file.write(block)

    def _wish(self) -> dict[str, str]:
        # Without a version the rest may be of another file; a checksum would find out, so then it is worth trying.
        start = self._file.tell()
        if not start or not (self._version or self._source.sha256):
            return {}
        return {"Range": f"bytes={start}-"} | ({"If-Range": self._version} if self._version else {})

    def _place(self, response: httpx.Response) -> None:
        """Go to where the body that follows belongs."""
        start = self._file.tell()
        if response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {start}-"):
            return
        self._file.seek(0)
        self._file.truncate()
        if response.status_code != 200:  # the part that was asked for isn't there, or another one came
            raise _Passing(f"answers {response.status_code} to a request for the rest")
        tag = response.headers.get("etag", "")
        # A weak tag doesn't promise the same bytes.
        self._version = tag if tag.startswith('"') else response.headers.get("last-modified", "")


def _client() -> httpx.Client:
    # As it is: an archive that was compressed once more on its way could be neither continued nor checked.
    return httpx.Client(
        headers={"Accept-Encoding": "identity", "User-Agent": "synthcore"},
        follow_redirects=True,  # httpx speaks nothing but http and https: a redirect to file:// is refused
        max_redirects=REDIRECTS,
    )


@contextlib.contextmanager
def _answer(client: httpx.Client, url: str, headers: Mapping[str, str], watch: Watch) -> Iterator[httpx.Response]:
    """Open an answer whose body can be read; what stands in the way is a DownloadError, or _Passing."""
    timeout = max(0.1, min(ANSWER_SECONDS, watch.seconds_left))
    try:
        with client.stream("GET", url, headers=headers, timeout=timeout) as response:
            said = f"answers {response.status_code} {response.reason_phrase}".rstrip()
            if response.status_code in PASSING:
                raise _Passing(said, _seconds_to_wait(response.headers.get("retry-after", "")))
            if response.is_error and response.status_code != 416:
                raise DownloadError(said)
            yield response
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise DownloadError(f"leads to an address that is not http or https ({masked(str(error))})") from error
    except httpx.TransportError as error:
        raise _Passing(masked(str(error)) or type(error).__name__) from error
    except httpx.HTTPError as error:
        raise DownloadError(f"can't be downloaded: {masked(str(error))}") from error


def _seconds_to_wait(said: str) -> float | None:
    """Read a Retry-After: seconds, or a date."""
    if _is_number(said):
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None


def _is_number(said: str) -> bool:
    return said.isascii() and said.isdigit()


def _persevere(action: Callable[[], Answer], watch: Watch, grown: Callable[[], int] = lambda: 0) -> Answer:
    """Try until it works, waiting longer each time; what was received in between counts as a new beginning."""
    failures = 0
    while True:
        before = grown()
        try:
            return action()
        except _Passing as error:
            failures = 1 if grown() > before else failures + 1
            if failures == TRIES:
                raise DownloadError(f"can't be downloaded: {error} ({TRIES} tries)") from error
            asked = BACK_OFF_SECONDS * 2 ** (failures - 1) if error.seconds is None else error.seconds
            if asked >= watch.seconds_left:
                raise DownloadError(
                    f"can't be downloaded now: {error}; the next try would be in {asked:.0f} s, "
                    f"and {watch.seconds_left:.0f} s are left (--timeout)"
                ) from error
            time.sleep(asked)
