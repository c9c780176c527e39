"""Whether the command of a container is well. Docker runs this there, and takes exit code 1 for a no.

Every command needs a data directory that can be written. A worker is asked at its own address as well. Other commands
have none, and their end is the container's: what is left to see is whether one was stopped.
"""

from __future__ import annotations

import os
import sys
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

DATA = Path("/opt/synthcore/data")
LAST_PORT = 65_535


def main() -> None:
    """End with a line that says what is wrong, or with exit code 0."""
    command = Path("/proc/1/cmdline").read_text().split("\0")
    try:
        with tempfile.TemporaryFile(dir=DATA) as probe:
            probe.write(b"x")
    except OSError as error:
        sys.exit(f"{DATA} can't be written: {error}")
    if "--with-healthcheck" in command:
        ask_worker()
    elif stopped := [pid for pid in _commands() if _state(pid) in "Tt"]:
        sys.exit(f"process {stopped[0]} is stopped")


def ask_worker() -> None:
    """Ask a Prefect worker whether it has heard from its server lately."""
    port = os.environ.get("PREFECT_WORKER_WEBSERVER_PORT", "8080")
    if not (port.isdecimal() and 0 < int(port) <= LAST_PORT):
        sys.exit(f"PREFECT_WORKER_WEBSERVER_PORT is {port!r}, not a port: a number from 1 to {LAST_PORT}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(f"http://127.0.0.1:{port}/health", timeout=8).close()
    except (OSError, HTTPException) as error:  # the latter where what listens isn't a web server
        sys.exit(f"the worker says at port {port}: {error}")


def _commands() -> list[str]:
    """What the container began with: its first process, and the children of that, which is tini."""
    return ["1", *Path("/proc/1/task/1/children").read_text().split()]


def _state(pid: str) -> str:
    """The letter of a process's state, Z if it has just ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return "Z"


if __name__ == "__main__":
    main()
