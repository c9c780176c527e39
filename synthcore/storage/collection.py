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
from synthcore.storage.opening import new_file, open_file
from synthcore.storage.rows import require_written
from synthcore.vital.classes import Extras
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch

VERSION = "2.0.0"
KIND = "synthcore presets"  #: tells the file from a dataset
MACROS = "sources/macros"  #: the names of the macro knobs, as JSON
NUMBERS = ("continuous", "categorical", "modulation_slots")
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
        patches = [preset.patch for preset in collection.presets]
        header = {"kind": KIND, "version": VERSION, "digest": collection.digest, "registry": registry.fingerprint}
        file.create_group("schema").attrs.update(header)
        place = {name: i for i, name in enumerate(sorted(collection.assets))}
        values: dict[str, list[Any]] = {f"params/{n}": [getattr(p, n) for p in patches] for n in NUMBERS}
        values["params/wavetables"] = [[place[w] for w in p.wavetables] for p in patches]
        values["params/extras"] = [[-1 if e is None else place[e] for e in p.extras] for p in patches]
        values["params/exact_values"] = [p.exact for p in patches]
        for column in schema.columns(registry):
            if column.name in values:
                rows = np.array(values[column.name], column.dtype).reshape(-1, *column.shape)
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
        said = str(error).strip().splitlines() or [type(error).__name__]
        reason = "there is no such file" if not path.exists() else said[0][:200]
        raise DatasetError(f"{path} can't be read as a collection of presets: {reason}; {AGAIN}") from error
    if collection.digest != digest or not _are_named_by_content(collection.assets):
        raise DatasetError(f"{path} is damaged: it isn't what its digest says; {AGAIN}")
    return collection


def _require_ours(header: Mapping[str, Any], path: Path) -> None:
    if header.get("kind") != KIND:
        raise DatasetError(f"{path} is no collection of presets; name what synthcore ingest made")
    if header["version"] != VERSION:
        raise DatasetError(f"{path} has version {header['version']}, this synthcore reads {VERSION}; {AGAIN}")
    if header["registry"] != installed().fingerprint:
        raise DatasetError(f"{path} was made with another synth than the installed one; {AGAIN}")


def _are_named_by_content(assets: Mapping[str, bytes]) -> bool:
    return all(hashlib.sha256(text).hexdigest() == name for name, text in assets.items())


def _read(file: h5py.File) -> Collection:
    order, names = schema.read_asset_names(file), file["schema/wavetable_names"].asstr()[:].tolist()
    numbers = (*NUMBERS, "wavetables", "extras", "exact_values")
    labels = (require_written(file[f"params/{name}"])[:] for name in numbers)
    patches = [
        Patch(
            continuous=continuous,
            categorical=categorical,
            modulation_slots=slots,
            wavetables=tuple(order[place] for place in wavetables),
            extras=Extras(*(order[place] if place >= 0 else None for place in extras)),
            exact_values=exact_values,
        )
        for continuous, categorical, slots, wavetables, extras, exact_values in zip(*labels, strict=True)
    ]
    macros = (tuple(json.loads(text)) for text in file[MACROS].asstr()[:])
    return Collection(
        presets=tuple(map(Preset.of, patches, schema.read_sources(file), macros)),
        assets={name: require_written(file[f"assets/{name}"])[:].tobytes() for name in order},
        wavetable_names={asset: name for asset, name in zip(order, names, strict=True) if name},
    )


def digest_of(path: Path) -> str | None:
    """The digest that a collection file says it has; None if there is no such file, or another kind of file.

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
