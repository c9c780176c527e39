"""Commands as one types them in a shell: the program, and paths relative to the current folder."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from synthcore.base.addresses import Place


def command(*words: str | Place) -> str:
    """Write a synthcore command so that it can be copied into this shell."""
    return shlex.join([program(), *(word if isinstance(word, str) else typed(word) for word in words)])


def program() -> str:
    """The program's name, with its path unless the shell finds it: not everyone has activated the environment."""
    return "synthcore" if shutil.which("synthcore") else typed(Path(sys.executable).with_name("synthcore"))


def typed(path: Place) -> str:
    """Write a path the way one would type it here; an address without its secrets."""
    if not isinstance(path, Path):
        return str(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
