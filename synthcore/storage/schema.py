"""The file format: one table of names, shapes and dtypes, and the header that explains them.

A shard and a merged dataset have the same schema. `docs/format.md` is this page for people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, NewerDataset
from synthcore.base.hashing import canonical_json
from synthcore.base.quantities import Span, ends
from synthcore.engine.machine import Engine
from synthcore.sources.base import Provenance
from synthcore.spec import DatasetSpec
from synthcore.storage.dense import DENSE, DENSE_CHANNELS, dense_shape
from synthcore.storage.drawing import Drawing
from synthcore.storage.rounding import BITS
from synthcore.vital import tempo
from synthcore.vital.classes import EXTRAS, Classes
from synthcore.vital.controls import Registry
from synthcore.vital.patch import MAX_SLOTS, OSCILLATORS, SLOT_FIELDS

VERSION = "4.1.0"
READ = ("3", "4")  #: major versions that are read; see `older`
AUDIO = "audio/waveforms"
#: Label columns are small: 64 rows to a chunk still compress well, and one shuffled row inflates little.
LABEL_CHUNK = 64
CLASSES = "schema/classes"
#: What the header says of the rules that derived columns are made by, besides the names of the controls.
RULES = ("active_rules", "active_rules_digest", "split_rules", "split_shares")
#: What HDF5, numpy and the parsers of a header raise for a file that is not what we write; fuzzing found them.
UNREADABLE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError)
PARENTS = 2  #: presets that a row can descend from


@dataclass(frozen=True, slots=True)
class Column:
    """One dataset with a row per render."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()


def columns(registry: Registry) -> tuple[Column, ...]:
    """List the label columns, all of which are stored at every tier."""
    return (
        Column("params/continuous", "<f4", (len(registry.continuous),)),
        Column("params/categorical", "<i4", (len(registry.categorical),)),
        Column("params/modulation_slots", "<f4", (MAX_SLOTS, len(SLOT_FIELDS))),
        Column("params/wavetables", "<i4", (OSCILLATORS,)),
        Column("params/extras", "<i4", (len(EXTRAS),)),
        Column("params/exact_values", "<f4", (len(registry.continuous),)),
        Column("metadata/audio_sha256", "S64"),
        Column("metadata/midi_note", "<i4"),
        Column("metadata/velocity", "<i4"),
        Column("metadata/note_seconds", "<f8"),
        Column("metadata/bpm", "<f8"),
        Column("metadata/source", "S10"),
        Column("metadata/tier", "<i4"),
        Column("metadata/preset_hash", "S64"),
        Column("metadata/preset_name", "S80"),
        Column("metadata/parents", "S64", (PARENTS,)),
        Column("metadata/patch_index", "<i8"),
        Column("metadata/attempt", "<i4"),
        Column("metadata/rms_dbfs", "<f4"),
        Column("metadata/peak", "<f4"),
    )


def derived_columns(registry: Registry) -> tuple[Column, ...]:
    """List the columns that only a merged file has: `derived` makes them from the others, by rules."""
    return (
        Column("params/active", "?", (len(registry.controls),)),
        Column("metadata/family", "S64"),
        Column("metadata/split", "S5"),
        Column("metadata/clips", "?"),
    )


REJECTIONS = (
    Column("rejections/source", "S10"),
    Column("rejections/patch_index", "<i8"),
    Column("rejections/attempt", "<i4"),
    Column("rejections/midi_note", "<i4"),
    Column("rejections/reason", "S16"),
    Column("rejections/rms_dbfs", "<f4"),
    Column("rejections/peak", "<f4"),
    Column("rejections/seed", "<i8"),
    Column("rejections/parents", "S64", (PARENTS,)),
)
#: The presets that rows and rejections descend from, sorted by hash: text of any length.
SOURCE_COLUMNS = tuple(f.name for f in fields(Provenance))

DEFLATED_AT_MOST = 1032  #: times its own length, which is the most that a deflated stream can become


def create_audio(file: h5py.File, shapes: Mapping[str, tuple[int, ...]], rows: int, chunk_rows: int = 1) -> None:
    """Create large datasets, empty, with the shapes of one row that `audio_shapes` gives.

    One row to a chunk by default: reading one shuffled row then inflates one row.
    """
    chunk_rows = max(1, min(chunk_rows, rows))
    for name, tail in shapes.items():
        file.create_dataset(
            name,
            (rows, *tail),
            "<f4",
            maxshape=(rows, *tail),  # what is resizable can become smaller: presets may be refused
            chunks=(chunk_rows, *tail),
            shuffle=True,
            compression="gzip",
            compression_opts=1,
        )


def audio_shapes(spec: DatasetSpec, registry: Registry) -> dict[str, tuple[int, ...]]:
    """Shape of one row of each large dataset: the audio and, at tier 3, the dense modulation."""
    shapes: dict[str, tuple[int, ...]] = {AUDIO: (2, spec.render_format.samples)}
    return {**shapes, DENSE: dense_shape(registry)} if spec.tier == 3 else shapes


def create_columns(file: h5py.File, columns: Iterable[Column], rows: int) -> None:
    """Create columns with a row per render, empty."""
    for column in columns:
        shape = (rows, *column.shape)
        chunks = (min(LABEL_CHUNK, rows), *column.shape)
        packed: dict[str, Any] = {"chunks": chunks, "shuffle": True, "compression": "gzip", "compression_opts": 1}
        # A shard whose presets were all refused has no row, and nothing to pack.
        file.create_dataset(column.name, shape, column.dtype, **(packed if rows else {}))


@dataclass(frozen=True)
class Header:
    """What a file says of all its rows."""

    spec: DatasetSpec
    registry: Registry
    engine: Engine
    drawing: Drawing


def write_header(file: h5py.File, header: Header) -> None:
    """Write `schema/`: everything a reader needs to understand the columns, without this package."""
    spec, registry, engine, drawing = header.spec, header.registry, header.engine, header.drawing
    schema = file.create_group("schema")
    schema.attrs.update(
        {
            "version": VERSION,
            "sample_rate": spec.audio.sample_rate,
            "render_duration": spec.audio.render_seconds,
            "note_duration": ends(spec.audio.note_seconds)[1],
            "tier": spec.tier,
            "spec": spec.model_dump_json(),
            "spec_fingerprint": spec.fingerprint,
            "priors_digest": drawing.drawn_from.digest,
            "drawn_with": canonical_json(drawing.drawn_with),
            "priors": drawing.priors.model_dump_json(),
            "vita_version": engine.vita,
            "engine": engine.to_json(),
            "engine_fingerprint": engine.fingerprint,
            "continuous_names": [c.name for c in registry.continuous],
            "continuous_ranges": np.array([(c.low, c.high) for c in registry.continuous]),
            "continuous_tiers": np.array([c.tier for c in registry.continuous], dtype="<i4"),
            "categorical_names": [c.name for c in registry.categorical],
            "categorical_options": [json.dumps(c.options) for c in registry.categorical],
            "categorical_tiers": np.array([c.tier for c in registry.categorical], dtype="<i4"),
            "mod_source_names": list(registry.sources),
            "mod_dest_names": list(registry.destinations),
            "modulation_slot_names": list(SLOT_FIELDS),
            "modulation_t3_names": list(DENSE_CHANNELS),
            "extra_names": list(EXTRAS),
        }
    )
    # Datasets, because attributes are never compressed.
    for name, text in (("registry", registry.to_config()), ("drawn_from", drawing.drawn_from.model_dump_json())):
        schema.create_dataset(name, data=np.frombuffer(text.encode(), np.uint8), compression="gzip")


def write_assets(file: h5py.File, assets: Mapping[str, bytes]) -> None:
    """Write every asset once, named by its SHA-256."""
    group = file.create_group("assets")
    for name, content in assets.items():
        group.create_dataset(name, data=np.frombuffer(content, np.uint8), compression="gzip")
    write_asset_names(file, list(assets))


def write_asset_names(file: h5py.File, names: Sequence[str]) -> None:
    """Write which assets the rows play, in the order in which rows first do."""
    # A dataset, because attributes hold no more than 64 KB, and each hash takes 64 bytes.
    file["schema"].create_dataset("assets", data=np.array(names, dtype="S64"))


def read_asset_names(file: h5py.File) -> list[str]:
    """The SHA-256 of every asset that the rows play."""
    return [name.decode() for name in file["schema/assets"][:].tolist()]


def write_classes(file: h5py.File, classes: Classes) -> None:
    """Write what the numbers in `params/wavetables` and `params/extras` mean. An empty hash is the init preset's."""
    group = file.create_group(CLASSES)
    group.attrs["catalog_size"] = classes.catalog_size
    for name, hashes in (("wavetables", classes.wavetables), *zip(EXTRAS, classes.extras, strict=True)):
        group.create_dataset(name, data=np.array([of or "" for of in hashes], dtype="S64"))
    group.create_dataset("wavetable_names", data=classes.wavetable_names, dtype=h5py.string_dtype())


def read_classes(file: h5py.File) -> Classes:
    """What the numbers in `params/wavetables` and `params/extras` mean."""
    group = file[CLASSES]
    wavetables, *extras = ([of.decode() for of in group[name][:].tolist()] for name in ("wavetables", *EXTRAS))
    return Classes(
        wavetables=tuple(wavetables),
        wavetable_names=tuple(group["wavetable_names"].asstr()[:].tolist()),
        extras=tuple(tuple(name or None for name in names) for names in extras),
        catalog_size=int(group.attrs["catalog_size"]),
    )


def write_exact_rows(file: h5py.File, rows: int) -> None:
    """Write how many rows have a control whose unit value only comes near its value: mostly rows of presets."""
    file["schema"].attrs["exact_value_rows"] = rows


def count_exact_rows(exact_values: NDArray[np.float32]) -> int:
    """How many rows of `params/exact_values`, shape (rows, 322), hold a number."""
    return int((~np.isnan(exact_values)).any(axis=1).sum())


def write_gaps(file: h5py.File, gaps: Sequence[Mapping[str, Any]]) -> None:
    """Write which patches the dataset lacks: those of shards that could not be made."""
    file["schema"].attrs["gaps"] = json.dumps(gaps)


def read_gaps(file: h5py.File) -> list[dict[str, Any]]:
    """Which patches the dataset lacks; none if it is whole."""
    return list(json.loads(file["schema"].attrs.get("gaps", "[]")))


def write_rounding(file: h5py.File) -> None:
    """Write that the audio was rounded, see `rounding`."""
    file["schema"].attrs["audio_bits"] = BITS


def is_rounded(file: h5py.File) -> bool:
    """Whether the audio was rounded."""
    return "audio_bits" in file["schema"].attrs


def forget_rounding(file: h5py.File) -> None:
    """Write that the audio is as it was rendered."""
    if is_rounded(file):
        del file["schema"].attrs["audio_bits"]


def write_sources(file: h5py.File, sources: Iterable[Provenance]) -> None:
    """Write where the presets come from, sorted by hash."""
    rows = sorted(sources, key=lambda source: source.preset_hash)
    for name in SOURCE_COLUMNS:
        values = [getattr(row, name) for row in rows]
        file.create_dataset(f"sources/{name}", shape=(len(rows),), data=values or None, dtype=h5py.string_dtype())


def read_sources(file: h5py.File) -> list[Provenance]:
    """Where the presets come from."""
    return [Provenance(*row) for row in zip(*(file[f"sources/{n}"].asstr()[:] for n in SOURCE_COLUMNS), strict=True)]


def write_rejections(file: h5py.File, rejections: Mapping[str, NDArray[Any]]) -> None:
    """Write the refused candidates, by column of `REJECTIONS`."""
    for column in REJECTIONS:
        file.create_dataset(column.name, data=rejections[column.name].astype(column.dtype))


def read_registry(file: h5py.File) -> Registry:
    """Build the registry the file was made with, without a synth."""
    return tempo.with_tempos_named(Registry.from_config(bytes(file["schema/registry"][:]).decode()))


def read_spec(file: h5py.File) -> DatasetSpec:
    """The spec the file was made from."""
    try:
        fields = json.loads(file["schema"].attrs["spec"])
        return DatasetSpec.model_validate({"priors": "uniform", **fields})  # what all were before there was a choice
    except ValidationError as error:
        what = f"{file.filename} has a spec that this synthcore doesn't know"
        if is_newer(file["schema"].attrs["version"]):
            raise NewerDataset(f"{what}; use a newer one") from error
        raise DatasetError(f"{what}: it is damaged, or a newer one's") from error


def is_newer(version: object) -> bool:
    """Whether a schema is of a later version than this one."""
    numbers = str(version).split(".")
    return all(map(str.isdecimal, numbers)) and [*map(int, numbers)] > [*map(int, VERSION.split("."))]


def require_schema(file: h5py.File, path: str) -> None:
    """Refuse a file that isn't a dataset of a schema that is read.

    Raises
    ------
    DatasetError
    """
    header = file["schema"].attrs if "schema" in file else {}
    if "kind" in header:
        raise DatasetError(f"{path} holds {header['kind']}, not a dataset; name one that generate made")
    version = header.get("version")
    if version is None:
        raise DatasetError(f"{path} is an HDF5 file, but not a synthcore dataset: it has no schema/version")
    if str(version).split(".")[0] not in READ:
        raise (NewerDataset if is_newer(version) else DatasetError)(
            f"{path} has schema version {version}, this synthcore reads {VERSION}; generate it again, or install "
            "the synthcore that made it"
        )
    _require_rows(file, path)


def _require_rows(file: h5py.File, path: str) -> None:
    """Refuse a file that claims rows it can't hold: HDF5 gives what isn't there as zeros."""
    columns = [column for group in ("audio", "params", "metadata") for column in file.get(group, {}).values()]
    if len({column.shape[0] for column in columns}) != 1:
        raise DatasetError(f"{path} is damaged: its columns are not of one length; generate it again")
    size = file.id.get_filesize()
    if any(column.nbytes > DEFLATED_AT_MOST * size for column in columns if not column.is_virtual):
        raise DatasetError(f"{path} claims {how_many(len(columns[0]), 'row')}, more than its {size:,} bytes can hold")


class ContentDigest:
    """The content digest: over decoded audio and labels, so that codec, chunking and way of merging don't touch it.

    It is made of each row's `audio_sha256` and `preset_hash` (which is over every label and the assets' hashes),
    note, velocity, source and tier, and how long the note is held if that is drawn (else the spec, which is part of it,
    says so); never of indices, weights, masks, splits or rejections.
    """

    PARTS = ("audio_sha256", "preset_hash", "midi_note", "velocity", "source", "tier")

    def __init__(self, spec: DatasetSpec) -> None:
        self._digest = hashlib.sha256(f"synthcore content 1 {spec.audio.model_dump_json()}".encode())
        self.parts = (*self.PARTS, *["note_seconds"] * isinstance(spec.audio.note_seconds, Span))

    def update(self, metadata: Mapping[str, NDArray[Any]]) -> None:
        """Add rows, in order; `metadata` holds the columns of `parts`, shape (rows,)."""
        for row in zip(*(metadata[f"metadata/{part}"].tolist() for part in self.parts), strict=True):
            parts = (part.decode() if isinstance(part, bytes) else str(part) for part in row)
            self._digest.update(("|".join(parts) + "\n").encode())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
