"""Importing: a dataset made again from a publication.

The rows of all splits are read side by side, and written in the order that they had: memory is constant.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError
from synthcore.base.hashing import canonical_json
from synthcore.base.shell import command
from synthcore.engine.chunk import deflate
from synthcore.engine.faults import measure
from synthcore.engine.machine import Engine
from synthcore.engine.stopping import interruptible, raise_if_stopped
from synthcore.publishing import parquet, tables, tar
from synthcore.publishing.coding import CodedAudio, decode
from synthcore.publishing.folder import is_whole
from synthcore.publishing.publication import ASSETS, REJECTIONS, SOURCES, Publication, read_publication
from synthcore.publishing.published_rows import BATCH
from synthcore.sources.priors import Priors
from synthcore.spec import DatasetSpec
from synthcore.storage import AudioCoding
from synthcore.storage.derived import clips
from synthcore.storage.drawing import Drawing, StoredPriors
from synthcore.storage.imported import Contents, dataset_file
from synthcore.storage.schema import UNREADABLE, Header
from synthcore.storage.weights import Weights
from synthcore.vital.controls import Registry


class ImportResult(BaseModel):
    """A dataset that was made from a publication."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int
    digest: str
    published_digest: str  # of the dataset that was published, with all its rows and the audio as it was
    audio: AudioCoding | None
    audio_error: float
    left_out: dict[str, int]

    @property
    def is_same(self) -> bool:
        """Whether it is the dataset that was published."""
        return self.digest == self.published_digest

    def to_text(self) -> str:
        """Write it for a terminal."""
        lines = [f"{self.path}: {how_many(self.rows, 'row')}", f"  digest    {self.digest}"]
        if self.is_same:
            lines.append("  the same as was published" + ", without audio" * (self.audio is None))
        else:
            lines.append(f"  published {self.published_digest}; what differs:")
        if self.audio == "flac":
            lines.append(f"  audio is rounded to 24 bits: no sample moved by more than {self.audio_error:.1e}")
        lines += [f"  left out  {how_many(rows, 'row')}: {reason}" for reason, rows in self.left_out.items()]
        if self.audio is None:
            remedy = command("render", Path(self.path), "--assets", "FOLDER_OF_PRESETS", "-o", "again.h5")
            lines += ["", "a recipe, without audio; next:", f"  {remedy}"]
        return "\n".join(lines) + "\n"


def import_publication(folder: Path, output: Path, workers: int) -> ImportResult:
    """Make a dataset from a publication. Reports each row to `synthcore.base.progress`.

    Parameters
    ----------
    folder : Path
    output : Path
        Appears only when it is whole.
    workers : int
        Rows that are decoded at a time.

    Raises
    ------
    DatasetError
        It isn't a publication, or a file of it is missing, damaged or not what was published.
    DiskError
        The disk is full.
    Interrupted
        Someone asked to stop.
    """
    parquet.require_pyarrow()
    publication = read_publication(folder)
    for file in publication.files:
        if not is_whole(folder, file):
            raise DatasetError(f"{folder / file.path} is missing, or not what was published; get the files again")
    contents = _contents(folder, publication)
    columns = _Rows(publication, contents.header.spec)
    with dataset_file(output, contents, publication.rows) as writer:
        with ThreadPoolExecutor(workers) as pool, interruptible():
            for rows in _in_batches(_in_order(folder, publication)):
                writer.add(*columns.restored(rows, pool))
                progress.publish(progress.Progress(rows=len(rows), fault=None))
        digest = writer.finish()
        if publication.audio != "flac" and not publication.left_out and digest != publication.digest:
            raise DatasetError(f"the rows of {folder} don't add up to {publication.digest}, the digest that it states")
    return ImportResult(
        path=str(output),
        rows=publication.rows,
        digest=digest,
        published_digest=publication.digest,
        audio=publication.audio,
        audio_error=publication.audio_error,
        left_out=publication.left_out,
    )


class _Row(NamedTuple):
    """One published row; numbers are unique, so rows compare by them."""

    number: int
    columns: dict[str, Any]
    audio: CodedAudio | None


class _Rows:
    """Makes the columns of a dataset from published rows."""

    def __init__(self, publication: Publication, spec: DatasetSpec) -> None:
        self._coding = publication.audio
        self._shape = (2, spec.render_format.samples)

    def restored(self, rows: Sequence[_Row], pool: ThreadPoolExecutor) -> tuple[dict[str, NDArray[Any]], list[bytes]]:
        """The columns of rows, and their audio as HDF5 stores it; what was rounded is described anew."""
        columns = {name: np.array([row.columns[name] for row in rows]) for name in rows[0].columns}
        if self._coding is None:
            return columns, []
        restored = list(pool.map(self._restore, rows))
        if self._coding == "flac":
            measured = np.array([one.measured for one in restored], dtype=np.float32)
            columns["rms_dbfs"], columns["peak"] = measured.T
            columns["clips"] = clips(columns["peak"])
            columns["audio_sha256"] = np.array([one.sha256 for one in restored], dtype="S64")
        return columns, [one.chunk for one in restored]

    def _restore(self, row: _Row) -> _Audio:
        raise_if_stopped()
        if row.audio is None or self._coding is None:
            raise DatasetError(f"row {row.number} has no audio")
        audio = np.ascontiguousarray(decode(row.audio, self._coding, self._shape))
        sha256 = hashlib.sha256(audio.tobytes()).hexdigest()
        if self._coding == "wav" and sha256.encode() != row.columns["audio_sha256"]:
            raise DatasetError(f"row {row.number}: the audio is not what its audio_sha256 says")
        return _Audio(deflate(audio), sha256, measure(audio))


class _Audio(NamedTuple):
    """The audio of one row as HDF5 stores it, and what is said of it."""

    chunk: bytes
    sha256: str
    measured: tuple[float, float]


def _in_order(folder: Path, publication: Publication) -> Iterator[_Row]:
    """The rows of all splits, in the order that they had in the dataset: each file's are rising."""
    splits = ([folder / file.path for file in files] for files in publication.row_files.values())
    return heapq.merge(*(_rows_of(paths, publication) for paths in splits), key=lambda row: row.number)


def _rows_of(paths: Sequence[Path], publication: Publication) -> Iterator[_Row]:
    read = tar.read_batches if publication.format == "webdataset" else parquet.read_batches
    for path in paths:
        for batch in read(path):
            if "row" not in batch.columns:
                raise DatasetError(f"{path} has no column row; get the published files again")
            for place, number in enumerate(batch.columns["row"].tolist()):
                columns = {name: values[place] for name, values in batch.columns.items()}
                yield _Row(number, columns, batch.audio[place] if batch.audio else None)


def _in_batches(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def _contents(folder: Path, publication: Publication) -> Contents:
    """All of the dataset but its rows.

    Raises
    ------
    DatasetError
        Something of it isn't what a publication holds.
    """
    try:
        return _read_contents(folder, publication)
    except UNREADABLE as error:
        raise DatasetError(f"{folder} is damaged, or of another synthcore: {error}") from error


def _read_contents(folder: Path, publication: Publication) -> Contents:
    drawing = publication.drawing
    assets = folder / ASSETS
    places = {line.sha256: line.place for line in tables.read_asset_lines(assets) if line.place >= 0}
    return Contents(
        header=Header(
            spec=DatasetSpec.model_validate(publication.spec),
            registry=Registry.from_config(canonical_json(publication.registry)),
            engine=Engine(**publication.engine),
            drawing=Drawing(
                StoredPriors.model_validate(drawing["priors"]),
                Priors.model_validate(drawing["drawn_from"]),
                drawing["drawn_with"],
            ),
        ),
        rules=publication.rules,
        columns=publication.columns,
        classes=tables.classes_of(assets, publication.catalog_size),
        asset_names=sorted(places, key=lambda name: places[name]),
        assets=_assets(assets),
        sources=tables.read_sources(folder / SOURCES),
        rejections=tables.read_rejections(folder / REJECTIONS),
        weights=Weights.from_fields(publication.weights) if publication.weights else None,
        has_audio=publication.audio is not None,
        is_rounded=publication.audio == "flac",
    )


def _assets(path: Path) -> Iterator[tuple[str, bytes]]:
    """The assets that are there, each once."""
    known: set[str] = set()
    for line in tables.read_asset_lines(path):
        if line.content is None or line.sha256 in known:
            continue
        if hashlib.sha256(line.content).hexdigest() != line.sha256:
            raise DatasetError(f"{path} is damaged: an asset is not what its SHA-256 says; get the files again")
        known.add(line.sha256)
        yield line.sha256, line.content
