"""Where Vital keeps its factory presets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synthcore.vital.folders import vital_folders

#: Beside it lie "User", and a folder for each pack that was added.
FACTORY = "Factory"


def factory_folders(vital: Sequence[Path] | None = None) -> list[Path]:
    """List the folders of factory presets that exist here; none where Vital isn't installed.

    Parameters
    ----------
    vital : sequence of Path
        Vital's own folders; by default the known ones.
    """
    folders = (folder / FACTORY for folder in (vital_folders() if vital is None else vital))
    return sorted({folder.resolve() for folder in folders if folder.is_dir()})


def is_factory(path: Path, factory: Sequence[Path]) -> bool:
    """Whether a file lies in one of the factory's folders."""
    return any(path.resolve().is_relative_to(folder) for folder in factory)
