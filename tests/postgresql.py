"""A PostgreSQL server of a test's own, from the programs that are installed here; for Debian in /usr/lib/postgresql."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
INITDB = str(FOUND[-1]) if FOUND else shutil.which("initdb")
#: PostgreSQL doesn't run as root.
USER = "postgres" if os.getuid() == 0 else None
IS_HERE = bool(INITDB) and (USER is None or USER in {one.pw_name for one in pwd.getpwall()})
PASSWORD = "hunter2"


@dataclass(frozen=True)
class Cluster:
    """A server with one database, postgres, whose owner is me."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def url(self, user: str = "me", password: str = PASSWORD, name: str = "postgres") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{name}"

    @property
    def place(self) -> str:
        return f"postgresql://127.0.0.1:{self.port}/postgres"

    def ask(self, sql: str) -> list[str]:
        """Run a line of SQL, and return the rows of its answer."""
        command = [_program("psql"), "--no-psqlrc", "-tA", "-v", "ON_ERROR_STOP=1", self.url(), "-c", sql]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def stop(self) -> None:
        """End it, whoever is connected."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a server with a password; end and remove it after the block."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's folders are closed to all other users
    try:
        (folder / "password").write_text(PASSWORD)
        if USER:
            shutil.chown(folder, USER)
            shutil.chown(folder / "password", USER)
        made = ["-D", str(folder / "data"), "-U", "me", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
        _run("initdb", *made, f"--pwfile={folder / 'password'}").wait()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        where = ["-D", str(folder / "data"), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
        started = Cluster(folder, port, _run("postgres", *where, "-c", "fsync=off"))
        try:
            _await(started)
            yield started
        finally:
            started.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(started: Cluster) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(subprocess.CalledProcessError):
            started.ask("SELECT 1")
            return
        assert started.process.poll() is None, "PostgreSQL ended at once"
        assert time.monotonic() < deadline, "PostgreSQL doesn't answer"
        time.sleep(0.1)


def _program(name: str) -> str:
    return str(Path(INITDB or "").with_name(name))


def _run(name: str, *arguments: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [_program(name), *arguments], user=USER, group=USER, cwd="/", stdin=quiet, stdout=quiet, stderr=quiet
    )
