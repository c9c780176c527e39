"""A publication behind an address: put together in the data directory, then uploaded, `synthcore.json` last.

Each file is uploaded whole or not at all, and skipped where it is already: what was stopped is continued. Until
`synthcore.json` is there, the folder isn't a publication to anyone who looks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from synthcore.base import remote
from synthcore.base.addresses import Address, Place
from synthcore.base.errors import DatasetError, SpecError
from synthcore.engine.stopping import raise_if_stopped
from synthcore.publishing import folder as folders
from synthcore.publishing.card import OF_CARD
from synthcore.publishing.planning import FileRef, sha256_of
from synthcore.publishing.publication import MANIFEST, Publication, State

#: Where publications are put together, relative to the data directory.
FOLDER = "uploads"
#: Names of what a publication holds: a stopped upload may have left them.
_OURS = re.compile(r"(data|assets|images)/[A-Za-z0-9][A-Za-z0-9._-]*|README\.md|croissant\.json|synthcore\.json")


def require_free(place: Place, key: str | None = None) -> None:
    """Refuse a place that can't be written, or that holds something else than the publication of a key.

    Parameters
    ----------
    place : Path or Address
    key : str, optional
        If it isn't known yet, any publication will do.

    Raises
    ------
    SpecError
    FileUnavailable
        It is behind an address that is forbidden, or that gives no answer.
    """
    if isinstance(place, Path):
        folders.require_free(place, key)
        return
    remote.require_writable(place)
    names = remote.names_in(place)
    if MANIFEST in names:
        name, there = _published(place)
        if key is not None and there != key:
            raise SpecError(f"{place} holds another publication{name}; name a new folder with -o")
    elif foreign := sorted(name for name in names if not _OURS.fullmatch(name)):
        raise SpecError(f"{place} isn't empty, and holds no publication ({foreign[0]}); name a new folder with -o")


def upload(publication: Publication, refs: Sequence[FileRef], file: Path, data_dir: Path, address: Address) -> State:
    """Put a publication together, and upload what isn't there yet.

    Parameters
    ----------
    publication, refs, file, data_dir
        As `folder.assemble` takes them.
    address : Address
        The folder to make.

    Raises
    ------
    SpecError
        The folder holds something else.
    DiskError
        The disk is full.
    FileUnavailable
        The bucket is forbidden, or gives no answer however often it is asked.
    Interrupted
        Someone asked to stop.
    """
    require_free(address, publication.key)
    there = remote.names_in(address)
    together = data_dir / FOLDER / publication.key
    with folders.alone_in(together):
        folders.assemble(publication, refs, file, data_dir, together)
        # As in a folder, a card that is there is kept: it may have been edited.
        wanted = [path for path in _files(together) if path.relative_to(together).as_posix() not in OF_CARD & there]
        uploaded = sum(_upload(path, together, address) for path in wanted)
    return "published" if MANIFEST not in there else "mended" if uploaded else "there already"


def _upload(path: Path, folder: Path, address: Address) -> bool:
    """Upload one file of a folder; False if it is there already."""
    raise_if_stopped()
    target, sha256 = address.joined(path.relative_to(folder).as_posix()), sha256_of(path)
    if remote.holds(target, path.stat().st_size, sha256):
        return False
    remote.put(path, target, sha256)
    return True


def _files(folder: Path) -> list[Path]:
    """The files of a folder; last, what says that it is whole."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(files, key=lambda path: (path.name == MANIFEST, path))


def _published(address: Address) -> tuple[str, str]:
    """Name and key of the publication at an address; no key of what can't be read."""
    try:
        found = Publication.model_validate_json(remote.read_small(address.joined(MANIFEST)))
    except (ValidationError, DatasetError):
        return "", ""
    return f", of {found.name}", found.key
