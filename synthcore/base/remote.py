"""Files behind addresses, through fsspec: opened by ranges, uploaded whole; and every failure said in one line.

What can heal is tried again. What is said never holds a secret: addresses are masked, also in the words of libraries.
Credentials are where each library looks for them: ~/.aws and AWS_... for s3, ~/.netrc for https.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from synthcore.base.addresses import Address
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, FileUnavailable, SpecError, SynthcoreError
from synthcore.base.masking import masked

#: Seconds before each further try: half a minute in all, which a server takes to start again.
WAITS = (0.3, 1.0, 3.0, 9.0, 15.0)
OPENING = 2  #: of these, before a file is open: an address may just be wrong
CONNECT_SECONDS, SILENT_SECONDS = 20, 60  #: until a server counts as gone
_KEYS = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, to credentials that may",
    "https": "give credentials in ~/.netrc, or an address that is signed anew",
}
PASSING = (408, 425, 429)  #: of the statuses that blame who asks, those that pass: too slow, too early, too often
Result = TypeVar("Result")


def connect(address: Address) -> tuple[Any, str]:
    """Find the file system of an address, and the file's name in it.

    Raises
    ------
    SpecError
        The libraries for it aren't installed.
    """
    try:
        import fsspec

        return fsspec.url_to_fs(address.url, **_options(address))  # type: ignore[no-any-return]
    except ImportError as error:
        raise SpecError("files behind addresses need fsspec and s3fs: pip install 'synthcore[remote]'") from error


def _options(address: Address) -> dict[str, Any]:
    if address.scheme == "s3":
        config = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": SILENT_SECONDS,
            "retries": {"total_max_attempts": 1},  # `trying` tries again
        }
        return {"config_kwargs": config, "anon": not _has_keys()}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}  # proxies, and ~/.netrc


@functools.cache
def _has_keys() -> bool:
    """Whether this machine has credentials for s3: without any, buckets are read that anyone may read."""
    from botocore.session import Session

    return Session().get_credentials() is not None


def trying(address: Address, work: Callable[[], Result], *, doing: str = "read", is_open: bool = True) -> Result:
    """Do something with a file behind an address, again if that can heal what fails.

    Parameters
    ----------
    address : Address
    work : callable
    doing : str
        What it does, for what is said.
    is_open : bool
        Whether it has worked before, so that it is worth more patience.

    Raises
    ------
    DatasetError
        There is no such file, or another one than before.
    FileUnavailable
        It is forbidden, or its server gives no parts of files, or no answer however often it is asked.
    """
    waits = [0.0, *(WAITS if is_open else WAITS[:OPENING])]
    reason = ""
    for wait in waits:
        time.sleep(wait)
        try:
            return work()
        except SynthcoreError:
            raise
        except Exception as error:  # noqa: BLE001  of several libraries, which have no root in common
            if refusal := _refusal(address, error, doing):
                raise refusal from None  # the library's own error may hold the address unmasked
            reason = _reason(error)
    raise FileUnavailable(
        f"can't {doing} {address}: {reason} (tried {how_many(len(waits), 'time')}); try again when its server answers"
    )


def _refusal(address: Address, error: Exception, doing: str) -> SynthcoreError | None:
    """What to say of an error after which trying again is in vain; None of any other."""
    status = _status_of(error)
    if status in (401, 403) or isinstance(error, PermissionError):
        keys = _KEYS["s3" if address.scheme == "s3" else "https"]
        return FileUnavailable(f"can't {doing} {address}: its server forbids it ({status or 403}); {keys}")
    if status in (404, 410) or (isinstance(error, FileNotFoundError) and error.__cause__ is None):
        return DatasetError(f"there is no {'file' if doing == 'read' else 'bucket of'} {address}; name another")
    if status == 412 or type(error).__name__ == "FileExpired":
        return DatasetError(f"{address} has been replaced since it was opened; open it again")
    if isinstance(error, ValueError) and "range requests" in str(error):
        return no_ranges(address)
    if status is not None and 400 <= status < 500 and status not in PASSING:
        return FileUnavailable(f"can't {doing} {address}: its server says {status} ({_reason(error)}); name another")
    return None


def _reason(error: BaseException) -> str:
    """What an error says, in a line without secrets."""
    if isinstance(error, FileNotFoundError) and error.__cause__:  # what fsspec makes of a server that isn't there
        return _reason(error.__cause__)
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__


def no_ranges(address: Address) -> FileUnavailable:
    """What to say of a server that only gives whole files."""
    return FileUnavailable(
        f"can't read {address}: its server gives no parts of a file (HTTP ranges); download it, and name the copy"
    )


def _status_of(error: BaseException | None) -> int | None:
    """The HTTP status in an error, or in the one that it follows from."""
    while error is not None:
        status = getattr(error, "status", None)
        response = getattr(error, "response", None)
        if isinstance(response, dict):  # botocore's
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


def put(local: Path, address: Address, sha256: str) -> None:
    """Upload a whole file. Nobody sees a part of it: the address has the whole file, or what it had before.

    Parameters
    ----------
    local : Path
    address : Address
        In S3, the only one of these that can be written to.
    sha256 : str
        Of the file, in hex. It is kept beside the file, and `holds` asks for it.

    Raises
    ------
    SpecError
        The address can't be written to, or the libraries for it aren't installed.
    FileUnavailable
        The bucket is forbidden, or gives no answer however often it is asked.
    """
    require_writable(address)
    system, name = connect(address)
    trying(
        address, lambda: system.put_file(str(local), name, Metadata={"sha256": sha256}), doing="write", is_open=False
    )
    system.invalidate_cache(name)


def holds(address: Address, size: int, sha256: str) -> bool:
    """Whether an address has the file of this size and SHA-256, as `put` uploaded it.

    Raises
    ------
    FileUnavailable
        The bucket is forbidden, or gives no answer.
    """
    system, name = connect(address)

    def look() -> bool:
        try:
            system.invalidate_cache(name)
            if system.info(name)["size"] != size:
                return False
            return bool(system.metadata(name, refresh=True).get("sha256") == sha256)
        except FileNotFoundError:
            return False

    return trying(address, look, is_open=False)


def require_writable(address: Address) -> None:
    """Refuse an address that can't be written to.

    Raises
    ------
    SpecError
    """
    if address.scheme != "s3":
        raise SpecError(f"can't write to {address}: only to s3:// and to folders of this machine")


def names_in(folder: Address) -> set[str]:
    """The names of the files in a folder behind an address and in its folders, relative to it.

    Raises
    ------
    FileUnavailable
        The bucket is forbidden, or gives no answer.
    """
    system, name = connect(folder)

    def look() -> set[str]:
        system.invalidate_cache(name)
        return {str(found).removeprefix(f"{name}/") for found in system.find(name)}

    return trying(folder, look, is_open=False)


def read_small(address: Address) -> bytes:
    """All of a small file behind an address.

    Raises
    ------
    DatasetError
        There is no such file.
    FileUnavailable
        It is forbidden, or its server gives no answer.
    """
    system, name = connect(address)
    return bytes(trying(address, lambda: system.cat_file(name), is_open=False))
