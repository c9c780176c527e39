"""Programs in the background: known by their command, and ended with all that they started; real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.processes import is_alive
from synthcore.flows.running import programs
from synthcore.flows.running.programs import Program, end, family
from tests.conftest import wait_until

#: A program with a child in a session of its own, which takes no SIGTERM; it prints that child's id.
PARENT = """
import subprocess, sys
deaf = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
deaf += "; time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, text=True, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The program, and its child's id."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        yield process, child
        for pid in (process.pid, child):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_program_is_ended_with_all_that_it_started_even_what_is_deaf_to_it(
    parent: tuple[subprocess.Popen[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "STOP_SECONDS", 0.5)
    process, child = parent
    assert {one.pid for one in family(process.pid)} == {process.pid, child}
    end(process.pid)
    wait_until(lambda: not is_alive(process.pid) and not is_alive(child), seconds=60)
    assert process.wait() == -signal.SIGTERM


def test_a_program_runs_as_long_as_its_process_is_there_with_its_command(
    parent: tuple[subprocess.Popen[str], int],
) -> None:
    process, child = parent

    def runs(pid: int) -> bool:
        return Program(name="server", pid=pid, command=(sys.executable, "-c", PARENT)).is_running

    assert runs(process.pid)
    assert not runs(child)  # as if another program had got the id
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(process.pid), seconds=60)
    assert not runs(process.pid)  # a zombie, as nobody has waited for it yet
    assert process.wait() == -signal.SIGKILL
    assert not runs(process.pid)
    assert family(process.pid) == []
