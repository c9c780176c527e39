"""The library: what specs name by digest, kept in the data directory: catalogs, priors, collections of presets.

A worker on another machine that shares the data directory finds them there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError, SpecError
from synthcore.engine.machine import engine
from synthcore.sources.collection import Collection
from synthcore.sources.priors import Priors, content_digest, digest_of, named_priors
from synthcore.sources.splits import family_of
from synthcore.spec import DatasetSpec
from synthcore.storage.collection import read_collection, write_collection
from synthcore.storage.merge import MergeContext
from synthcore.vital.catalog import Catalog, builtin
from synthcore.vital.controls import installed


def given_catalog(path: Path | None, data_dir: Path) -> str:
    """Keep the catalog at a path, and return its digest; without a path, the built-in one's.

    Raises
    ------
    DatasetError
        It isn't a catalog.
    """
    if path is None:
        return builtin().digest
    given = Catalog.load(path)
    kept = _catalog_path(given.digest, data_dir)
    if given.digest != builtin().digest and not _is_whole(kept, Catalog.load):
        given.save(kept)
    return given.digest


def given_priors(given: str, data_dir: Path) -> str:
    """Keep the priors of a file, and return what a spec calls them; those that come with synthcore go by their name.

    Raises
    ------
    SpecError
        It isn't a file of priors.
    """
    name, priors = named_priors(given)
    kept = _priors_path(name, data_dir)
    if name == priors.digest and not _is_whole(kept, _read_priors):
        with atomic_path(kept) as temporary:
            temporary.write_text(priors.model_dump_json())
    return name


def given_collection(path: Path, data_dir: Path) -> Collection:
    """Keep a collection under its digest, and return it.

    Raises
    ------
    DatasetError
        It isn't a collection, or it is damaged.
    """
    given = read_collection(path)
    keep_collection(given, data_dir)
    return given


def keep_collection(given: Collection, data_dir: Path) -> Path:
    """Keep a collection under its digest, and say where."""
    kept = _collection_path(given.digest, data_dir)
    if not _is_whole(kept, read_collection):
        write_collection(kept, given)
    return kept


def forget_damaged(path: Path) -> None:
    """Remove a collection of ours that is damaged: it will be read from the presets again."""
    if path.is_file() and not _is_whole(path, read_collection):
        path.unlink()


def collection_of(folders: Sequence[Path], factory: bool, approximate: bool, data_dir: Path) -> Path:
    """Where the collection that is read from these folders lies: the same file each time."""
    named = hashlib.sha256("\0".join([str(factory), str(approximate), *map(str, folders)]).encode()).hexdigest()
    return data_dir / "presets" / f"from-{named[:16]}.h5"


def catalog(spec: DatasetSpec, data_dir: Path) -> Catalog:
    """The wavetable catalog that a spec names.

    Raises
    ------
    SpecError
        It isn't kept here.
    """
    if spec.catalog_digest in ("", builtin().digest):
        return builtin()
    return _catalog(_catalog_path(spec.catalog_digest, data_dir))


def priors(spec: DatasetSpec, data_dir: Path) -> Priors:
    """The priors that a spec names.

    Raises
    ------
    SpecError
        They aren't kept here.
    DatasetError
        They are damaged.
    """
    if spec.priors != digest_of(spec.priors):
        return named_priors(spec.priors)[1]
    return _priors(_priors_path(spec.priors, data_dir))


@lru_cache(maxsize=2)
def collection(digest: str, data_dir: Path) -> Collection:
    """The collection of presets with this digest.

    Raises
    ------
    SpecError
        It isn't kept here.
    DatasetError
        It is damaged.
    """
    return read_collection(_found(_collection_path(digest, data_dir)))


def families(digest: str, data_dir: Path) -> dict[str, str]:
    """The family of every preset in the collection with this digest, by the preset's hash; none without a collection.

    Raises
    ------
    SpecError, DatasetError
        As `collection`.
    """
    presets = collection(digest, data_dir).presets if digest else ()
    return {preset.patch.hash: family_of(preset.patch) for preset in presets}


def merge_context(spec: DatasetSpec, data_dir: Path) -> MergeContext:
    """What a merge of this dataset's shards needs, here.

    Raises
    ------
    SpecError, DatasetError
        As `catalog` and `collection`.
    """
    return MergeContext(
        data_dir=data_dir,
        spec=spec,
        registry=installed(),
        engine=engine(),
        catalog=catalog(spec, data_dir),
        families=families(spec.presets_digest, data_dir),
    )


@lru_cache(maxsize=2)
def _priors(path: Path) -> Priors:
    return _read_priors(_found(path))


def _read_priors(path: Path) -> Priors:
    """Read priors that are kept, and check that they are still those that their name says."""
    try:
        kept = Priors.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} can't be read; give the priors again") from error
    if not path.stem == kept.digest == content_digest(kept):
        raise DatasetError(f"{path} is damaged; give the priors again")
    return kept


@lru_cache(maxsize=2)
def _catalog(path: Path) -> Catalog:
    return Catalog.load(_found(path))


def _is_whole(path: Path, read: Callable[[Path], object]) -> bool:
    try:
        read(path)
    except DatasetError:
        return False
    return True


def _catalog_path(digest: str, data_dir: Path) -> Path:
    return data_dir / "catalogs" / f"{digest}.json"


def _collection_path(digest: str, data_dir: Path) -> Path:
    return data_dir / "presets" / f"{digest}.h5"


def _priors_path(digest: str, data_dir: Path) -> Path:
    return data_dir / "priors" / f"{digest}.json"


def _found(path: Path) -> Path:
    if not path.is_file():
        raise SpecError(f"{path} is gone, which this dataset is made from; give the catalog, priors or presets again")
    return path
