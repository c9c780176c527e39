"""The Prefect server for those who have none: started once, shared by the commands that follow, ended when idle.

It is found by a file, its book, whose lock it holds as long as it lives: a process id or port that another program has
got since is never taken for it, and of two commands that need one at once, one starts it. A server may also be for one
run alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from importlib import metadata
from pathlib import Path

from synthcore.base.atomic import disk_errors_of
from synthcore.base.errors import SynthcoreError

IDLE_SECONDS = 900.0  #: after which it ends by itself
START_SECONDS = 120.0  #: for the first server of a busy machine; a later one on a quiet machine takes 7
STOP_SECONDS = 10.0  #: for a server to end by itself; then it is killed
ENDING_SECONDS = 3.0  #: in which a server ends that has closed its connections, if it does
POLL_SECONDS = 0.05  #: how soon a server that another command has started is noticed


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was started here.

    Attributes
    ----------
    api : str
        Its address, which accepts requests from the beginning: their answers wait until it is ready.
    pid : int
    process : subprocess.Popen or None
        None if another command started it.
    """

    api: str
    pid: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        if self.process:
            return self.process.poll() is None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, PermissionError):  # gone, or its id is now another user's process
            return False
        return True

    def require_ready(self, log: Path) -> None:
        """Wait until it answers.

        Raises
        ------
        SynthcoreError
            It ended, or doesn't answer.
        """
        try:
            with urllib.request.urlopen(f"{self.api}/health", timeout=START_SECONDS):
                return
        except (OSError, HTTPException) as error:
            deadline = time.monotonic() + ENDING_SECONDS
            while self.is_running and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            if self.is_running:
                what = f"the Prefect server at {self.api} doesn't answer: {error}; end it with synthcore down"
            else:
                if self.process:
                    self.process.communicate()  # nothing: it closes the pipe that the server would have ended with
                what = (
                    f"the Prefect server ended before it answered: {last_line(log.read_text(errors='replace'))} ({log})"
                )
            raise SynthcoreError(what) from error


def is_database_elsewhere() -> bool:
    """Whether the environment names another database than the one in Prefect's home: then no server is shared."""
    return any(f"PREFECT_{part}_DATABASE_CONNECTION_URL" in os.environ for part in ("API", "SERVER"))


def shared(home: Path) -> Server:
    """The server that commands share, started if there is none.

    Parameters
    ----------
    home : Path
        Prefect's, where its database is.

    Raises
    ------
    SynthcoreError
        Its folder can't be written, or another program holds the book.
    """
    book = book_of(home)
    with disk_errors_of(book):
        book.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with _opened(book) as file:
            if _lock(file):
                os.truncate(file, 0)
                return _start(home, log_of(home), book=file)
            found = _read(file)
        if found:
            return found
        time.sleep(POLL_SECONDS)
    raise SynthcoreError(f"another program holds {book}, and no server is found by it; end that program")


def alone(home: Path) -> Server:
    """Start a server for this process alone, which ends with it."""
    log = log_of(home)
    with disk_errors_of(log):
        log.parent.mkdir(parents=True, exist_ok=True)
    return _start(home, log)


def running(home: Path) -> Server | None:
    """The server that commands share, if there is one."""
    if not book_of(home).is_file():
        return None
    with _opened(book_of(home)) as file:
        return None if _lock(file) else _read(file)


def end(home: Path) -> bool:
    """End the server that commands share; return whether there was one."""
    server = running(home)
    if server is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if running(home) != server:
                return True  # another process may have its id by now
            time.sleep(POLL_SECONDS)
    return True


def book_of(home: Path) -> Path:
    """The file by which the shared server is found. Machines and versions may share a home, but not a server."""
    return home / "synthcore" / f"server-{socket.gethostname()}-{metadata.version('prefect')}.json"


def log_of(home: Path) -> Path:
    """The log of servers of ours."""
    return home / "synthcore" / "shared-server.log"


def _start(home: Path, log: Path, book: int | None = None) -> Server:
    """Start one in a session of its own, which this terminal's Ctrl-C doesn't reach."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    port, descriptors = listening.getsockname()[1], [listening.fileno()]
    command = [sys.executable, "-P", "-m", "synthcore.flows.running.serve", str(listening.fileno()), str(home)]
    if book is not None:
        command += ["--book", str(book), "--idle", str(IDLE_SECONDS)]
        descriptors.append(book)
    with listening, log.open("w") as output:
        process = subprocess.Popen(
            command,
            pass_fds=descriptors,
            cwd=home,
            stdin=subprocess.PIPE if book is None else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Server(f"http://127.0.0.1:{port}/api", process.pid, process)


@contextlib.contextmanager
def _opened(book: Path) -> Iterator[int]:
    with disk_errors_of(book):
        file = os.open(book, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _lock(file: int) -> bool:
    """Lock the book, unless a server holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: int) -> Server | None:
    """Read the book; None while it is being written."""
    try:
        return Server(**json.loads(os.pread(file, 4096, 0)))
    except (ValueError, TypeError):
        return None


def last_line(output: str) -> str:
    """The last line that says why a program of Prefect's ended, not merely that it did; without the frame around it."""
    lines = [line.strip(" │") for line in output.splitlines() if line.strip(" │╰╯─")]
    reasons = [line for line in lines if not line.startswith(("ERROR:", "(", "Server stopped!"))]
    return (reasons or lines or ["it said nothing"])[-1]
