"""Programs in the background: Prefect's own commands, started out of reach of the terminal, found again, and ended.

Each is known by its process id and its command line, so that an id that another program has got since is never taken
for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from synthcore.base.atomic import disk_errors_of
from synthcore.base.errors import SynthcoreError
from synthcore.flows.running import environment
from synthcore.flows.running.server import last_line

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 20.0  #: for a program to end by itself; then it is killed


class Program(BaseModel):
    """A program that was started here."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    command: tuple[str, ...]

    @property
    def is_running(self) -> bool:
        """Whether it still runs: its id may be another program's by now."""
        try:
            command = " ".join(psutil.Process(self.pid).cmdline())
        except psutil.Error:  # it is gone, a zombie, or another user's
            return False
        # Some systems show another path for the interpreter than the one it was started by.
        return " ".join(self.command[1:]) in command


def start(name: str, *arguments: str, **variables: str) -> Program:
    """Start one of Prefect's commands in a session of its own, so that this terminal's Ctrl-C doesn't reach it.

    Raises
    ------
    DiskError
        Its log can't be written.
    """
    log_file = log_of(name)
    with disk_errors_of(log_file):
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log = log_file.open("w")
    with log:
        process = subprocess.Popen(
            _prefect(*arguments),
            cwd=_folder(),
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Program(name=name, pid=process.pid, command=_prefect(*arguments))


def run(complaint: str, *arguments: str) -> None:
    """Run one of Prefect's commands to its end.

    Raises
    ------
    SynthcoreError
        It failed: the complaint, and its last line.
    """
    done = subprocess.run(_prefect(*arguments), cwd=_folder(), capture_output=True, text=True)
    if done.returncode:
        raise SynthcoreError(f"{complaint}: {last_line(done.stdout + done.stderr)}")


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started, directly or not. A worker's runs are in sessions of their own."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(pid: int) -> None:
    """End a process and all that it started: first by SIGTERM, then what is left by SIGKILL."""
    left = family(pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        deadline = time.monotonic() + STOP_SECONDS
        while (left := [process for process in left if _is_alive(process)]) and time.monotonic() < deadline:
            time.sleep(0.1)


def log_of(name: str) -> Path:
    """Where a program's output goes."""
    return environment.started_file().with_name(f"{name}.log")


def make_temporary_folder(worker: str) -> str:
    """Make a worker's own folder for temporary files: what it removes at its end isn't another's.

    In the system's folder, the workers of all users would share one, which belongs to whoever was first.
    """
    place = _temporary_folder() / worker
    with disk_errors_of(place):
        _temporary_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
    return str(place)


def remove_temporary_folders() -> None:
    """Remove the workers' temporary files; what can't be removed does no harm."""
    shutil.rmtree(_temporary_folder(), ignore_errors=True)


def _temporary_folder() -> Path:
    return environment.started_file().with_name("tmp")


def _folder() -> Path:
    """The folder programs run in, where relative paths begin: the checkout, or else the current one."""
    return ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()


def _prefect(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "prefect", *arguments)


def _is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs. One that has ended stays a zombie until its parent, or init, collects it."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
