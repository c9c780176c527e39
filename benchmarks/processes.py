"""Processes that a benchmark starts, watches and kills."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from synthcore.flows.running.environment import is_healthy

PATIENCE = 300.0  #: seconds for what takes some on a quiet machine


@dataclass
class Server:
    """A Prefect server of one's own, which may be killed and started again."""

    home: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self.process and self.process.poll() is None:
            return
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        own = {"PREFECT_HOME": str(self.home), "PREFECT_SERVER_API_PORT": str(self.port), "DO_NOT_TRACK": "1"}
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(self.port)]
        with self.home.with_suffix(".log").open("a") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **own}, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: is_healthy(self.api), "the Prefect server answers")

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def kill_a_render(pid: int, chance: random.Random) -> bool:
    """Kill a zygote or a child of one, if there is any and chance has it."""
    zygotes = [member for member, command in descendants(pid).items() if "synthcore.engine.zygote" in command]
    if not zygotes or chance.random() < 0.7:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(zygotes), signal.SIGKILL)
    return True


def kill_family(pid: int) -> None:
    """Kill a process with all that it has started."""
    for member in [pid, *descendants(pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def descendants(pid: int) -> dict[int, str]:
    """Every process that a process started, directly or not, with its command."""
    found: dict[int, str] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile, or is a zombie, which has no command
                found[child.pid] = " ".join(child.cmdline())
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for what must come; a TimeoutError when it doesn't."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.1)
