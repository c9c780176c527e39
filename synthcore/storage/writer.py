"""Writing a shard: rows arrive compressed and in any order, and land as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np

from synthcore.engine.chunk import deflate
from synthcore.engine.rendering import Fault, RenderedRow
from synthcore.sources.base import Candidate, Provenance
from synthcore.storage import schema
from synthcore.storage.dense import DENSE, to_dense
from synthcore.storage.labels import label_of
from synthcore.vital.catalog import Catalog
from synthcore.vital.classes import Classes, Numbering
from synthcore.vital.patch import Patch
from synthcore.vital.tempo import bpm_of


class ShardWriter:
    """Fills one shard file, patch after patch. Labels are kept in memory (4 KB a row) and written by `finish`.

    Parameters
    ----------
    file : h5py.File
        Open for writing, empty.
    header : schema.Header
    catalog : Catalog
        The spec's: its wavetables are the first classes.
    patches : int
        How many patches there can be; those that are never appended take no room.
    """

    def __init__(
        self,
        file: h5py.File,
        header: schema.Header,
        catalog: Catalog,
        patches: int,
    ) -> None:
        self.file = file
        self.spec, self.registry = spec, registry = header.spec, header.registry
        self._assets: dict[str, bytes] = {}
        self._numbering = Numbering(Classes.of(catalog, registry))
        rows = patches * spec.audio.rows_per_patch
        schema.write_header(self.file, header)
        schema.create_audio(self.file, schema.audio_shapes(spec, registry), rows)
        self._labels = {c.name: np.zeros((rows, *c.shape), c.dtype) for c in schema.columns(registry)}
        self._rejections: list[tuple[Any, ...]] = []
        self._rows = 0

    def append(self, candidate: Candidate, rows: tuple[RenderedRow, ...], assets: Mapping[str, bytes]) -> None:
        """Store the rows of an accepted candidate behind those that are there.

        Parameters
        ----------
        assets : mapping of str to bytes
            Those that its patch refers to, and any others.
        """
        dense = self._dense_chunk(candidate.patch) if self.spec.tier == 3 else b""
        for place, row in enumerate(rows, start=self._rows):
            self.file[schema.AUDIO].id.write_direct_chunk((place, 0, 0), row.chunk)
            if dense:
                self.file[DENSE].id.write_direct_chunk((place, 0, 0, 0), dense)
            self._label(place, candidate, row, assets)
        self._rows += len(rows)

    def reject(self, candidate: Candidate, fault: Fault) -> None:
        """Write down a refused candidate."""
        nan = float("nan")
        measured = (nan if fault.rms_dbfs is None else fault.rms_dbfs, nan if fault.peak is None else fault.peak)
        which = (candidate.source.encode(), candidate.index, candidate.attempt, fault.note, fault.reason.encode())
        self._rejections.append((*which, *measured, self.spec.seed, _parents(candidate)))

    def finish(self, wavetable_names: Mapping[str, str], sources: Iterable[Provenance]) -> str:
        """Write labels, rejections, assets, classes and sources; return the content digest.

        Parameters
        ----------
        wavetable_names : mapping of str to str
            What wavetables are called, by SHA-256.
        sources : iterable of Provenance
        """
        for name in schema.audio_shapes(self.spec, self.registry):
            self.file[name].resize(self._rows, axis=0)
        labels = {name: values[: self._rows] for name, values in self._labels.items()}
        schema.create_columns(self.file, schema.columns(self.registry), self._rows)
        for name, values in labels.items():
            self.file[name][...] = values
        self._rejections.sort(key=lambda row: row[:3])  # the order in which they were rendered says nothing
        fields = zip(*self._rejections, strict=True) if self._rejections else ((),) * len(schema.REJECTIONS)
        columns = zip(schema.REJECTIONS, fields, strict=True)
        rejections = {c.name: np.array(f, dtype=c.dtype).reshape(-1, *c.shape) for c, f in columns}
        schema.write_rejections(self.file, rejections)
        schema.write_assets(self.file, self._assets)
        schema.write_exact_rows(self.file, schema.count_exact_rows(labels["params/exact_values"]))
        schema.write_classes(self.file, self._numbering.classes(wavetable_names))
        schema.write_sources(self.file, sources)
        digest = schema.ContentDigest(self.spec)
        digest.update(labels)
        self.file["schema"].attrs["content_digest"] = digest.hexdigest()
        return digest.hexdigest()

    def _label(self, place: int, candidate: Candidate, row: RenderedRow, assets: Mapping[str, bytes]) -> None:
        patch, performance = candidate.patch, row.performance
        played = (name for name in (*patch.wavetables, *patch.extras) if name is not None)
        self._assets.update({name: assets[name] for name in played})
        values = {
            **label_of(patch, *self._numbering.of(patch.wavetables, patch.extras)),
            "metadata/audio_sha256": row.audio_sha256.encode(),
            "metadata/midi_note": performance.note,
            "metadata/velocity": performance.velocity,
            "metadata/note_seconds": performance.note_seconds,
            "metadata/bpm": bpm_of(patch, self.registry),
            "metadata/source": candidate.source.encode(),
            "metadata/tier": self.spec.tier,
            "metadata/preset_hash": patch.hash.encode(),
            "metadata/preset_name": cut(candidate.name, 80),
            "metadata/parents": _parents(candidate),
            "metadata/patch_index": candidate.index,
            "metadata/attempt": candidate.attempt,
            "metadata/rms_dbfs": row.rms_dbfs,
            "metadata/peak": row.peak,
        }
        for name, value in values.items():
            self._labels[name][place] = value

    def _dense_chunk(self, patch: Patch) -> bytes:
        dense = to_dense(patch.modulation_slots, self.registry)
        return deflate(dense)


def _parents(candidate: Candidate) -> list[bytes]:
    hashes = [parent.encode() for parent in candidate.parents]
    return hashes + [b""] * (schema.PARENTS - len(hashes))


def cut(text: str, size: int) -> bytes:
    """Encode to at most `size` bytes of UTF-8, cut between two characters."""
    return text.encode()[:size].decode(errors="ignore").encode()
