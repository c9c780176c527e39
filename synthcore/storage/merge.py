"""Merging shards into one dataset: audio as byte copies of chunks, labels rewritten, memory constant in the rows."""

from __future__ import annotations

import contextlib
import itertools
import logging
import mmap
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from synthcore.base.atomic import atomic_path, begin_sync
from synthcore.base.errors import DamagedShard, FileUnavailable
from synthcore.base.hashing import checksum
from synthcore.engine.machine import Engine
from synthcore.sources.base import Provenance, Source
from synthcore.spec import DatasetSpec
from synthcore.storage import MergeMode, features, schema, weights
from synthcore.storage.derived import Derived
from synthcore.storage.drawing import Drawing, read_drawing
from synthcore.storage.opening import new_file, open_file, reason_of
from synthcore.storage.refs import DatasetRef, Gap, ShardRef
from synthcore.vital.catalog import Catalog
from synthcore.vital.classes import Classes, Numbering
from synthcore.vital.controls import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MergeContext:
    """What a merge needs besides the shards.

    Attributes
    ----------
    data_dir : Path
        What the shards' names are relative to.
    spec : DatasetSpec
    registry : Registry
    engine : Engine
        The one that made them all.
    catalog : Catalog
        The spec's: its wavetables are the first classes.
    families : mapping of str to str
        The family of every preset that a row may descend from, by the preset's hash.
    """

    data_dir: Path
    spec: DatasetSpec
    registry: Registry
    engine: Engine
    catalog: Catalog
    families: Mapping[str, str]


def merge_shards(
    shards: Sequence[ShardRef],
    output: Path,
    context: MergeContext,
    *,
    mode: MergeMode = "copy",
    chunk_rows: int = 1,
    gaps: Sequence[Gap] = (),
) -> DatasetRef:
    """Join shards, in order: all rows made from presets, and exactly `spec.n_samples` synthetic ones.

    Parameters
    ----------
    shards : sequence of ShardRef
    output : Path
        Appears only when it is whole. What was there stays until then; see `carry_over`.
    context : MergeContext
    mode : {"copy", "virtual"}
        Whether audio is copied, or referenced where the shards lie.
    chunk_rows : int
        Audio rows in a chunk. Only with 1 are chunks copied as they are; otherwise rows are compressed again.
    gaps : sequence of Gap
        The patches whose shards failed. The file lists them in its attribute `gaps`.

    Raises
    ------
    DamagedShard
        A shard's bytes have changed since it was made.
    SynthcoreError
        The disk is full.
    """
    started = time.monotonic()
    parts = parts_of(shards, context.spec, gaps)
    with atomic_path(output) as temporary:
        with new_file(temporary) as file:
            _write_header(file, shards, context, gaps)
            merge = _Merge(file, context, mode, chunk_rows)
            merge.reserve(sum(part.rows for part in parts))
            for part in parts:
                merge.add(part)
                begin_sync(temporary)
            if mode == "virtual":  # only now: each shard has been read and found whole
                merge.refer_to(parts, output.parent)
            digest = merge.finish()
            carry_over(output, file)
        size = temporary.stat().st_size
    log.info(
        "merged %d rows of %d shards into %s: %.1f MB in %.1f s, digest %s",
        *(merge.rows, len(shards), output, size / 1e6, time.monotonic() - started, digest),
    )
    return DatasetRef(path=str(output), size=size, digest=digest, rows=merge.rows)


def _write_header(file: h5py.File, shards: Sequence[ShardRef], context: MergeContext, gaps: Sequence[Gap]) -> None:
    drawing = _drawing_of(shards, context.data_dir)
    schema.write_header(file, schema.Header(context.spec, context.registry, context.engine, drawing))
    if gaps:
        schema.write_gaps(file, [gap.model_dump() for gap in gaps])


def carry_over(output: Path, file: h5py.File) -> None:
    """Write the importance weights and features of the dataset that is about to be replaced into the new one.

    Where they can't be read, the old file is kept beside the new one: measuring them may have taken hours.
    """
    if not os.path.lexists(output):
        return
    again = "synthcore compute-weights measures them anew"
    try:
        with open_file(output) as old:
            if changed := weights.carry_over(old, file):
                log.warning("the importance weights of %s are of %s, and left behind; %s", output, changed, again)
            if lost := features.carry_over(old, file):
                anew = "synthcore features makes them anew"
                log.warning("features of %s are of other rows, so stale: %s; %s", output, ", ".join(lost), anew)
    except (FileUnavailable, *schema.UNREADABLE) as error:
        kept, reason = _keep(output), reason_of(error)
        what = "importance weights or features"
        log.warning("whether %s had %s can't be read (%s): it is kept as %s", output, what, reason, kept)


def _keep(path: Path) -> Path:
    """Give a file that is about to be replaced another name beside, one that is free."""
    endings = itertools.chain(["before-merge"], (f"before-merge-{number}" for number in itertools.count(2)))
    names = (path.with_name(f"{path.stem}.{ending}{path.suffix}") for ending in endings)
    kept = next(name for name in names if not os.path.lexists(name))
    try:
        os.link(path, kept)
    except OSError:  # not every file system has a second name for a file
        shutil.copy2(path, kept)
    return kept


class Part(NamedTuple):
    """The first rows of a shard."""

    shard: ShardRef
    rows: int


def parts_of(shards: Sequence[ShardRef], spec: DatasetSpec, gaps: Sequence[Gap] = ()) -> list[Part]:
    """Which rows of each shard a dataset takes: the last shard of drawn patches may hold more than were asked for."""
    notes = spec.audio.rows_per_patch
    requested = {"synthetic": spec.n_samples, "variation": spec.variations * notes}
    left = dict(requested)
    for gap in gaps:
        if gap.source in left:
            left[gap.source] -= min(gap.patches * notes, requested[gap.source] - gap.first_patch * notes)
    parts = []
    for shard in shards:
        rows = min(shard.rows, left.get(shard.source, shard.rows))
        if shard.source in left:
            left[shard.source] -= rows
        parts.append(Part(shard, rows))
    return parts


def _drawing_of(shards: Sequence[ShardRef], data_dir: Path) -> Drawing:
    """What the synthetic rows were drawn from, as each of their shards states."""
    synthetic = next(shard for shard in shards if shard.source == "synthetic")
    with _verified_bytes(data_dir / synthetic.name, synthetic), open_file(data_dir / synthetic.name) as file:
        return read_drawing(file)


class _Merge:
    """One merge under way: the rows so far, the assets and sources met, the rejections of the patches included."""

    def __init__(self, file: h5py.File, context: MergeContext, mode: MergeMode, chunk_rows: int) -> None:
        self.file, self.mode, self.chunk_rows = file, mode, chunk_rows
        self.data_dir, self.spec, self.registry = context.data_dir, context.spec, context.registry
        self.rows = self._exact_rows = 0
        self._audio_shapes = schema.audio_shapes(context.spec, context.registry)
        self._assets: dict[str, None] = {}  # in the order in which rows first play them
        self._numbering = Numbering(Classes.of(context.catalog, context.registry))
        self._wavetable_names: dict[str, str] = {}
        self._sources: dict[str, Provenance] = {}
        self._rejections: dict[str, list[NDArray[Any]]] = {c.name: [] for c in schema.REJECTIONS}
        self._digest = schema.ContentDigest(context.spec)
        file.create_group("assets")
        self._derived = Derived(context.registry, context.families)

    def reserve(self, rows: int) -> None:
        """Create the columns, empty."""
        if self.mode == "copy":
            schema.create_audio(self.file, self._audio_shapes, rows, self.chunk_rows)
        columns = (*schema.columns(self.registry), *schema.derived_columns(self.registry))
        schema.create_columns(self.file, columns, rows)

    def add(self, part: Part) -> None:
        """Take over rows of one shard, after reading all of it once to be sure of it."""
        shard, rows = part
        path = self.data_dir / shard.name
        with _verified_bytes(path, shard) as content, open_file(path) as source:
            if self.mode == "copy":
                self._copy_audio(source, content, rows)
            if rows:
                self._take_labels(source, rows)
            self._take_rejections(source, shard.source)
            self._take_sources(source, rows)
        self.rows += rows

    def refer_to(self, parts: Sequence[Part], folder: Path) -> None:
        """Make the audio a view of the shards. Paths are relative to `folder`, so that both can move together."""
        for name, tail in self._audio_shapes.items():
            layout, start = h5py.VirtualLayout((self.rows, *tail), "<f4"), 0
            for shard, rows in parts:
                # HDF5 opens a relative source from the dataset's own folder.
                place = os.path.relpath((self.data_dir / shard.name).resolve(), folder.resolve())
                if rows:
                    layout[start : start + rows] = h5py.VirtualSource(place, name, (shard.rows, *tail))[:rows]
                start += rows
            self.file.create_virtual_dataset(name, layout)

    def finish(self) -> str:
        """Write what is known only at the end; return the content digest."""
        schema.write_rejections(self.file, {k: np.concatenate(v) for k, v in self._rejections.items()})
        schema.write_asset_names(self.file, list(self._assets))
        schema.write_exact_rows(self.file, self._exact_rows)
        schema.write_classes(self.file, self._numbering.classes(self._wavetable_names))
        schema.write_sources(self.file, self._sources.values())
        weights.reserve(self.file, self.registry)
        self.file["schema"].attrs.update(self._derived.rules)
        digest = self._digest.hexdigest()
        self.file["schema"].attrs["content_digest"] = digest
        return digest

    def _copy_audio(self, source: h5py.File, content: mmap.mmap, rows: int) -> None:
        for name in self._audio_shapes:
            if self.chunk_rows == 1:
                self._copy_chunks(source[name], self.file[name], content, rows)
            else:
                self._copy_rows(source[name], self.file[name], rows)

    def _copy_chunks(self, source: h5py.Dataset, target: h5py.Dataset, content: mmap.mmap, rows: int) -> None:
        tail = (0,) * (source.ndim - 1)
        for row in range(rows):
            chunk = source.id.get_chunk_info_by_coord((row, *tail))
            with memoryview(content) as mapped, mapped[chunk.byte_offset : chunk.byte_offset + chunk.size] as data:
                target.id.write_direct_chunk((self.rows + row, *tail), data)

    def _copy_rows(self, source: h5py.Dataset, target: h5py.Dataset, rows: int) -> None:
        step = target.chunks[0]
        for row in range(0, rows, step):
            stop = min(row + step, rows)
            target[self.rows + row : self.rows + stop] = source[row:stop]

    def _take_labels(self, source: h5py.File, rows: int) -> None:
        labels = {c.name: source[c.name][:rows] for c in schema.columns(self.registry)}
        self._digest.update(labels)
        self._exact_rows += schema.count_exact_rows(labels["params/exact_values"])
        theirs = schema.read_classes(source)
        derived = self._derived.of(labels, theirs)
        names = dict(zip(theirs.wavetables, theirs.wavetable_names, strict=True))
        numbers = (labels["params/wavetables"], labels["params/extras"])
        labels["params/wavetables"], labels["params/extras"] = self._numbering.renumbered(*numbers, theirs)
        self._wavetable_names = {**names, **self._wavetable_names}
        self._take_assets(source, theirs.played(*numbers))
        for name, values in (labels | derived).items():
            self.file[name][self.rows : self.rows + rows] = values

    def _take_assets(self, source: h5py.File, played: set[str]) -> None:
        for name in schema.read_asset_names(source):  # not all, if the last patches are cut off
            if name in played and name not in self._assets:
                source.copy(f"assets/{name}", self.file["assets"])  # its bytes as they are, compressed
                self._assets[name] = None

    def _take_sources(self, source: h5py.File, rows: int) -> None:
        """Take the presets that these rows, and the rejections taken, descend from: the last shard may have more."""
        of_rejections = self._rejections["rejections/parents"][-1]
        parents = {*source["metadata/parents"][:rows].ravel().tolist(), *of_rejections.ravel().tolist()}
        found = schema.read_sources(source)
        self._sources.update({s.preset_hash: s for s in found if s.preset_hash.encode() in parents})

    def _take_rejections(self, source: h5py.File, of: Source) -> None:
        """Take those of the patches that the dataset includes."""
        patches = {"synthetic": self.spec.patches, "variation": self.spec.variations}
        included = source["rejections/patch_index"][:] < patches.get(of, np.inf)
        for name, parts in self._rejections.items():
            parts.append(source[name][:][included])


@contextlib.contextmanager
def _verified_bytes(path: Path, shard: ShardRef) -> Iterator[mmap.mmap]:
    """Map a shard's bytes, having hashed all of them."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # gone, or empty
        raise DamagedShard(shard.name) from error
    try:
        if checksum(content) != shard.checksum:
            with contextlib.suppress(*schema.UNREADABLE):
                open_file(path).close()  # if another program is writing it, that is what should be said
            raise DamagedShard(shard.name)
        yield content
    finally:
        content.close()
