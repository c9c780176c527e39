"""The file of a collection of presets: labels, assets and sources as in a dataset, one row for each patch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError
from synthcore.sources.collection import Collection, Preset
from synthcore.storage import schema
from synthcore.storage.labels import LABEL_COLUMNS, label_of, patch_at
from synthcore.storage.opening import new_file, open_file, reason_of
from synthcore.storage.rows import require_written
from synthcore.vital.classes import EXTRAS, Classes
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch

VERSION = "2.0.0"
KIND = "synthcore presets"  #: distinguishes the file from a dataset
MACROS = "sources/macros"  #: the names of the macro knobs, as JSON
AGAIN = "ingest the presets again"


def write_collection(path: Path, collection: Collection) -> None:
    """Write the file, whole or not at all.

    Raises
    ------
    SynthcoreError
        The disk is full or the folder can't be written.
    """
    registry = installed()
    with atomic_path(path) as temporary, new_file(temporary) as file:
        header = {"kind": KIND, "version": VERSION, "digest": collection.digest, "registry": registry.fingerprint}
        file.create_group("schema").attrs.update(header)
        place = {name: i for i, name in enumerate(sorted(collection.assets))}
        labels = [_label(preset.patch, place) for preset in collection.presets]
        for column in schema.columns(registry):
            if column.name in LABEL_COLUMNS:
                rows = np.array([label[column.name] for label in labels], column.dtype).reshape(-1, *column.shape)
                file.create_dataset(column.name, data=rows, compression="gzip" if len(rows) else None)
        schema.write_assets(file, dict(sorted(collection.assets.items())))
        names = [collection.wavetable_names.get(name, "") for name in place]
        file["schema"].create_dataset("wavetable_names", data=names, dtype=h5py.string_dtype())
        schema.write_sources(file, (preset.provenance for preset in collection.presets))
        macros = [json.dumps(preset.macros) for preset in collection.presets]
        file.create_dataset(MACROS, shape=(len(macros),), data=macros or None, dtype=h5py.string_dtype())


def read_collection(path: Path) -> Collection:
    """Read a collection, and check every byte of it that matters.

    Raises
    ------
    DatasetError
        It is missing, damaged, another kind of file, or was made with another synth.
    FileUnavailable
        Another program is writing it, or it may not be read.
    """
    try:
        with open_file(path) as file:
            _require_ours(file["schema"].attrs, path)
            collection, digest = _read(file), str(file["schema"].attrs["digest"])
    except schema.UNREADABLE as error:
        reason = reason_of(error) if path.exists() else "there is no such file"
        raise DatasetError(f"{path} can't be read as a collection of presets: {reason}; {AGAIN}") from error
    if collection.digest != digest or not _are_named_by_content(collection.assets):
        raise DatasetError(f"{path} is damaged: it isn't what its digest says; {AGAIN}")
    return collection


def _require_ours(header: Mapping[str, Any], path: Path) -> None:
    if header.get("kind") != KIND:
        raise DatasetError(f"{path} is not a collection of presets; name one that synthcore ingest made")
    if header["version"] != VERSION:
        raise DatasetError(f"{path} has version {header['version']}, this synthcore reads {VERSION}; {AGAIN}")
    if header["registry"] != installed().fingerprint:
        raise DatasetError(f"{path} was made with another synth than the installed one; {AGAIN}")


def _are_named_by_content(assets: Mapping[str, bytes]) -> bool:
    return all(hashlib.sha256(text).hexdigest() == name for name, text in assets.items())


def _label(patch: Patch, place: Mapping[str, int]) -> dict[str, Any]:
    """A patch's label, in which an asset's number is its place among those of the file, and -1 the init preset's."""
    extras = [-1 if name is None else place[name] for name in patch.extras]
    return label_of(patch, [place[name] for name in patch.wavetables], extras)


def _read(file: h5py.File) -> Collection:
    order, names = schema.read_asset_names(file), file["schema/wavetable_names"].asstr()[:].tolist()
    labels = {name: require_written(file[name])[:] for name in LABEL_COLUMNS}
    extras = labels["params/extras"]
    labels["params/extras"] = np.where(extras == -1, len(order), extras)  # classes count from 0
    classes = Classes(tuple(order), tuple(names), ((*order, None),) * len(EXTRAS), catalog_size=0)
    patches = (patch_at(labels, place, classes) for place in range(len(extras)))
    macros = (tuple(json.loads(text)) for text in file[MACROS].asstr()[:])
    return Collection(
        presets=tuple(map(Preset.of, patches, schema.read_sources(file), macros)),
        assets={name: require_written(file[f"assets/{name}"])[:].tobytes() for name in order},
        wavetable_names={asset: name for asset, name in zip(order, names, strict=True) if name},
    )


def digest_of(path: Path) -> str | None:
    """The digest that a collection file states; None if there is no such file, or another kind of file.

    Raises
    ------
    FileUnavailable
        Another program is writing it, or it may not be read.
    """
    try:
        with open_file(path) as file:
            header = file["schema"].attrs
            return str(header["digest"]) if header.get("kind") == KIND else None
    except schema.UNREADABLE:
        return None
