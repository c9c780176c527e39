"""Places that a run writes to, tried before anything long begins. Trying changes nothing there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synthcore.base.errors import SpecError

#: Folders of a data directory that every run writes to.
WRITTEN = ("shards", "results")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a place from being written to, and what to do."""

    what: str
    todo: str


def default_data_dir() -> Path:
    """Find the one place for shards, caches and results, whatever the working directory.

    What SYNTHCORE_DATA_DIR names; else the checkout's `data/`; where the package was installed without one, the user's
    data directory.
    """
    if named := os.environ.get("SYNTHCORE_DATA_DIR"):
        return Path(named).expanduser().absolute()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    import platformdirs

    return Path(platformdirs.user_data_path("synthcore"))


def require_places(data_dir: Path) -> None:
    """Refuse a data directory that can't be written or created, or a machine without a place for temporary files.

    Raises
    ------
    SpecError
    """
    require_none(of_data(data_dir))
    require_none(of_temporary_files())


def require_none(obstacles: Iterable[Obstacle]) -> None:
    """Refuse to go on if there is an obstacle.

    Raises
    ------
    SpecError
        There is one; the message names the first.
    """
    for obstacle in obstacles:
        raise SpecError(f"{obstacle.what}; {obstacle.todo}")


def require_folder(folder: Path) -> None:
    """Refuse a folder of results that is a file, or can't be written or made.

    Raises
    ------
    SpecError
    """
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder} is a file; name a folder with -o")
    if reason := reason_against(folder):
        raise SpecError(f"{reason}; name another folder with -o")


def of_data(data_dir: Path) -> Iterator[Obstacle]:
    """What keeps a data directory from being written or created."""
    reasons = (reason_against(folder) for folder in (data_dir, *(data_dir / name for name in WRITTEN)))
    if reason := next(filter(None, reasons), None):
        todo = "make it writable, or name another data directory with --data-dir or SYNTHCORE_DATA_DIR"
        yield Obstacle(reason, todo)


def of_output(output: Path) -> Iterator[Obstacle]:
    """What keeps an output that doesn't exist yet from being written."""
    if reason := reason_against(output.parent):
        yield Obstacle(reason, "name another file or folder")


def of_temporary_files() -> Iterator[Obstacle]:
    """What keeps temporary files from being written anywhere."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        yield Obstacle(f"can't write temporary files: {error.strerror}", "name a folder that can be written in TMPDIR")


def of_named_temporary_folder() -> Iterator[Obstacle]:
    """What keeps the folder that TMPDIR names from being used: Python then silently takes another one."""
    named = os.environ.get("TMPDIR")
    if named and (reason := _reason_against(Path(named))):
        yield Obstacle(
            f"{reason}, which TMPDIR names; {tempfile.gettempdir()} is used", "name another folder in TMPDIR"
        )


def reason_against(folder: Path) -> str | None:
    """Why nothing can be written in a folder, or why it can't be created; None if nothing is in the way."""
    for place in (folder, *folder.parents):
        if os.path.lexists(place):
            return _reason_against(place)
    return None


def _reason_against(place: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"can't write in {place}: {error.strerror}"
