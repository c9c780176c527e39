"""Where Vital keeps what people bought, made and downloaded, and the presets that came with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

#: Windows' homes, as its Linux sees them.
WINDOWS_USERS = Path("/mnt/c/Users")
#: The free build of Vital's source calls itself Vial.
_NAMES = ("Vital", "Vial")
#: Beside it lie "User", and a folder for each pack that was added.
FACTORY = "Factory"


def vital_folders(home: Path | None = None, windows_users: Path = WINDOWS_USERS) -> list[Path]:
    """List Vital's folders that exist here: macOS, Linux, and Windows seen from its Linux.

    Parameters
    ----------
    home : Path
        By default the user's, and then `XDG_DATA_HOME` counts as well.
    windows_users : Path
        The folder of all of Windows' homes.
    """
    data_homes = [os.environ["XDG_DATA_HOME"]] if home is None and os.environ.get("XDG_DATA_HOME") else []
    home = home or Path.home()
    possible = [
        *(parent / name.lower() for parent in (home / ".local/share", *map(Path, data_homes)) for name in _NAMES),
        *(home / "Music" / name for name in _NAMES),
        *(home / "Documents" / name for name in _NAMES),
    ]
    for documents in ("Documents", "OneDrive/Documents"):
        possible += [path for name in _NAMES for path in _matching(windows_users, f"*/{documents}/{name}")]
    return [folder for folder in possible if _is_folder(folder)]


def factory_folders(vital: Sequence[Path] | None = None) -> list[Path]:
    """List the folders of factory presets that exist here; none where Vital isn't installed.

    Parameters
    ----------
    vital : sequence of Path
        Vital's own folders; by default those of `vital_folders`.
    """
    folders = (folder / FACTORY for folder in (vital_folders() if vital is None else vital))
    return sorted({folder.resolve() for folder in folders if folder.is_dir()})


def is_factory(path: Path, factory: Sequence[Path]) -> bool:
    """Whether a file lies in one of the folders of factory presets."""
    return any(path.resolve().is_relative_to(folder) for folder in factory)


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:  # some homes can't be read
        return []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
