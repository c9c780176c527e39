"""Taking turns. That a file is whole under its name, or isn't there, is tested where files are stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synthcore.base.atomic import one_at_a_time

TAKES_ITS_TURN = """
import sys
from pathlib import Path
from synthcore.base.atomic import one_at_a_time

with one_at_a_time(Path(sys.argv[1]), lambda: print("waiting", flush=True)):
    print("in")
"""


def test_a_second_process_says_that_it_waits_and_does_until_the_first_is_done(tmp_path: Path) -> None:
    lock = tmp_path / "a" / "x.lock"
    command = [sys.executable, "-c", TAKES_ITS_TURN, str(lock)]
    with one_at_a_time(lock, lambda: pytest.fail("there is nobody to wait for")):
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == "waiting\n"
        assert second.poll() is None
    assert second.communicate()[0] == "in\n"
    assert second.returncode == 0
