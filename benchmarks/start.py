"""How long a command takes to begin: against a flow of one task that does nothing, and against Prefect's own server."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Finished, Measure, generate, run_python, synthcore
from synthcore.flows.running.environment import is_healthy

ROUNDS = 7  # single times differ by a third
FORMAT = ("-n", 12, "--rows-per-shard", 12, "--sample-rate", 22050, "--note-seconds", 0.4, "--render-seconds", 0.5)
EMPTY_FLOW = """
from synthcore.flows.running import environment
environment.prepare()
from prefect import flow, task

@task
def nothing():
    pass

@flow
def hardly_anything():
    nothing()

hardly_anything()
"""


def run(folder: Path) -> Iterator[Measure]:
    """Begin in a new home, then alternate with the server there, and compare medians."""
    yield from _first_commands(folder)
    os.environ["PREFECT_HOME"] = str(folder / "home")
    try:
        rounds = [_round(folder, seed) for seed in range(1, ROUNDS + 1)]
    finally:
        synthcore("down")
        del os.environ["PREFECT_HOME"]
    empty, new, cached = (statistics.median(one[i] for one in rounds) for i in range(3))
    yield Measure("12 short rows with a server against an empty flow", new / empty, 2.0, at_least=False)
    yield Measure("12 cached rows with a server against an empty flow", cached / empty, 1.2, at_least=False)
    yield Measure("an empty flow with a server", empty, unit="s")
    yield from _words(folder)


def _first_commands(folder: Path) -> Iterator[Measure]:
    """A first command in a home without a server, against Prefect's own server, until it answers."""
    ours, theirs = [], []
    for number in range(3):
        theirs.append(_server_seconds(folder / f"theirs-{number}"))
        os.environ["PREFECT_HOME"] = str(folder / f"ours-{number}")
        try:
            ours.append(_generate(folder, 1000 + number).seconds)
        finally:
            synthcore("down")
            del os.environ["PREFECT_HOME"]
    ratio = statistics.median(ours) / statistics.median(theirs)
    yield Measure("a first command of 12 rows against prefect server start", ratio, 1.6, at_least=False)
    yield Measure("a first command of 12 rows", statistics.median(ours), unit="s")


def _server_seconds(home: Path) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    started = time.monotonic()
    with subprocess.Popen(
        command,
        env=os.environ | {"PREFECT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:
        while not is_healthy(f"http://127.0.0.1:{port}/api"):
            time.sleep(0.05)
        seconds = time.monotonic() - started
        os.killpg(server.pid, signal.SIGTERM)
    return seconds


def _round(folder: Path, seed: int) -> tuple[float, float, float]:
    """Seconds of an empty flow, of rows that are new, and of the same rows again."""
    empty = run_python("-c", EMPTY_FLOW).seconds
    return empty, _generate(folder, seed).seconds, _generate(folder, seed).seconds


def _generate(folder: Path, seed: int) -> Finished:
    return generate(folder, "--seed", seed, "--overwrite", *FORMAT)


def _words(folder: Path) -> Iterator[Measure]:
    """What needs no server at all."""
    generate_256 = ("-n", 256, "--rows-per-shard", 48, "--sample-rate", 22050, "--note-seconds", 0.4)
    generate(folder, "--overwrite", "--no-keep", *generate_256, "--render-seconds", 0.5)
    for name, bar, words in (
        ("--version", 0.2, ["--version"]),
        ("--help", 0.3, ["--help"]),
        ("generate --help", 0.3, ["generate", "--help"]),
        ("inspect, until its first line", 1.0, ["inspect", str(folder / "out.h5")]),
    ):
        seconds = statistics.median(_first_line_seconds(words) for _ in range(ROUNDS))
        yield Measure(f"synthcore {name}", seconds, bar, at_least=False, unit="s")


def _first_line_seconds(words: list[str]) -> float:
    """Seconds until a command has said a first line of any length."""
    started = time.monotonic()
    command = [str(Path(sys.executable).with_name("synthcore")), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if process.stdout is None:
            raise RuntimeError("a process asked to have pipes has none")
        while not process.stdout.readline().strip():
            pass
        seconds = time.monotonic() - started
        process.stdout.read()
    return seconds
