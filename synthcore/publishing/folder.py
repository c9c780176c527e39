"""The folder of a publication: put together beside its final name, from files that are made already.

The files lie in the data directory. The folder gets second names for them where the file system has those, and copies
elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from synthcore.base.atomic import atomic_path, disk_errors_of
from synthcore.base.errors import DatasetError, SpecError
from synthcore.base.places import require_folder
from synthcore.publishing.card import write_card
from synthcore.publishing.planning import FileRef, Planned, sha256_of
from synthcore.publishing.publication import MANIFEST, Publication, PublishedFile, State, read_publication
from synthcore.publishing.published_rows import label_names
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named


def require_free(folder: Path, key: str | None = None) -> None:
    """Refuse a folder that can't be written or made, or that holds something else than the publication of a key.

    Parameters
    ----------
    folder : Path
    key : str, optional
        If it isn't known yet, any publication will do.

    Raises
    ------
    SpecError
    """
    require_folder(folder)
    if not folder.is_dir() or all(map(_is_left_over, folder.iterdir())):
        return
    try:
        found = read_publication(folder)
    except DatasetError as error:
        raise SpecError(f"{folder} isn't empty, and holds no publication; name a new folder with -o") from error
    if key is not None and found.key != key:
        raise SpecError(f"{folder} holds another publication, of {found.name}; name a new folder with -o")


def publication_of(planned: Planned, refs: Sequence[FileRef]) -> Publication:
    """Say what a publication holds, now that its files are made."""
    with damage_named(planned.file), Dataset(planned.file) as dataset:
        drawing, weights = dataset.drawing, dataset.weights
        files = [
            PublishedFile(path=plan.path, split=plan.split, rows=ref.rows, bytes=ref.bytes, sha256=ref.sha256)
            for plan, ref in zip(planned.plans, refs, strict=True)
        ]
        return Publication(
            key=planned.key,
            name=dataset.path.stem,
            format=planned.form.format,
            audio=planned.form.coding,
            audio_error=max(ref.error for ref in refs),
            rows_scaled=sum(ref.scaled for ref in refs),
            licence=planned.form.licence,
            rows=planned.rows,
            left_out=planned.left_out,
            digest=dataset.digest,
            schema_version=dataset.version,
            spec=dataset.spec.model_dump(mode="json"),
            registry=json.loads(dataset.registry.to_config()),
            engine=json.loads(dataset.engine.to_json()),
            drawing={
                "priors": drawing.priors.model_dump(mode="json"),
                "drawn_from": drawing.drawn_from.model_dump(mode="json"),
                "drawn_with": dict(drawing.drawn_with),
            },
            rules=dataset.rules,
            weights=weights.to_fields() if weights else None,
            columns=label_names(dataset),
            catalog_size=dataset.classes.catalog_size,
            files=tuple(files),
        )


def assemble(publication: Publication, refs: Sequence[FileRef], file: Path, data_dir: Path, folder: Path) -> State:
    """Put the files of a publication and its card into its folder, `synthcore.json` last; or mend one that lacks some.

    A folder that is there stays, and is filled: it may be a link, a mounted disk, or where a shell is.

    Parameters
    ----------
    publication : Publication
    refs : sequence of FileRef
        Its files, in their order.
    file : Path
        The dataset that is published.
    data_dir : Path
        Where the files are.
    folder : Path

    Raises
    ------
    SpecError
        The folder holds something else.
    DiskError
        The disk is full.
    """
    require_free(folder, publication.key)
    if not (folder / MANIFEST).exists() and _put_together(publication, refs, file, data_dir, folder):
        return "published"
    return _mend(publication, refs, file, data_dir, folder)


def _put_together(publication: Publication, refs: Sequence[FileRef], file: Path, data_dir: Path, folder: Path) -> bool:
    """Make the folder; False if another run has done so meanwhile."""
    new = _beside(folder, publication.key)
    with alone_in(new):
        if (folder / MANIFEST).exists():
            return False
        for published, ref in zip(publication.files, refs, strict=True):
            _put(data_dir / ref.name, new / published.path)
        write_card(publication, file, new)
        _describe(publication, new)
        with disk_errors_of(folder):
            _name(new, folder)
    return True


@contextlib.contextmanager
def alone_in(new: Path) -> Iterator[None]:
    """Wait for another run that puts together the same; remove what is left in the end."""
    with disk_errors_of(new):
        new.mkdir(parents=True, exist_ok=True)
        held = os.open(new, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(new)
        os.close(held)


def _mend(publication: Publication, refs: Sequence[FileRef], file: Path, data_dir: Path, folder: Path) -> State:
    """Put files in the place of those that are missing or changed."""
    missing = [pair for pair in zip(publication.files, refs, strict=True) if not is_whole(folder, pair[0])]
    if not missing and read_publication(folder) == publication:
        return "mended" if write_card(publication, file, folder) else "there already"
    for published, ref in missing:
        _put(data_dir / ref.name, folder / published.path)
    write_card(publication, file, folder)
    _describe(publication, folder)
    return "mended"


def _beside(folder: Path, key: str) -> Path:
    """Where a publication is put together: within a folder that is there, beside one that isn't."""
    return folder / f".{key[:8]}.tmp" if folder.is_dir() else folder.with_name(f".{folder.name}.{key[:8]}.tmp")


def _is_left_over(path: Path) -> bool:
    """Whether a run that was killed has left it, by its name."""
    return re.fullmatch(r"\.[0-9a-f]{8}\.tmp", path.name) is not None


def _name(new: Path, folder: Path) -> None:
    """Give a publication its final name; within a folder that is there, what says that it is whole comes last."""
    if new.parent != folder:
        new.replace(folder)
        return
    for part in sorted(new.iterdir(), key=lambda path: path.name == MANIFEST):
        part.replace(folder / part.name)


def _describe(publication: Publication, folder: Path) -> None:
    """Write what says that the folder is whole."""
    with atomic_path(folder / MANIFEST) as temporary:
        temporary.write_text(publication.model_dump_json(indent=1) + "\n", "utf-8")


def is_whole(folder: Path, file: PublishedFile) -> bool:
    """Whether a file of a publication is there, with the bytes that it should have."""
    path = folder / file.path
    return path.is_file() and path.stat().st_size == file.bytes and sha256_of(path) == file.sha256


def _put(made: Path, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.unlink()
        try:
            os.link(made, temporary)
        except OSError:  # another disk, or a file system without second names
            shutil.copyfile(made, temporary)
