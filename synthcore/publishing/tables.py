"""The tables of a publication besides its rows: assets, the presets that rows come from, and refused candidates.

The table of assets has a line for each class of wavetables, LFO shapes, samples and curves: what the numbers in the
labels mean. Its `content` is null where no row plays the asset, and in a recipe, where it is other people's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import DatasetError
from synthcore.publishing import parquet
from synthcore.publishing.published_rows import Columns
from synthcore.publishing.recipe import own_assets
from synthcore.sources.base import Provenance
from synthcore.storage.dataset import Dataset
from synthcore.storage.schema import REJECTIONS, SOURCE_COLUMNS
from synthcore.vital.classes import EXTRAS, Classes

WAVETABLE = "wavetable"
#: Assets that are in memory at a time: a wavetable has up to some megabytes.
AT_A_TIME = 16


class AssetLine(NamedTuple):
    """A line of the table of assets."""

    kind: str  # wavetable, or one of EXTRAS
    number: int  # the class
    sha256: str  # "" for the init preset's LFO shapes, sample and curves
    name: str
    place: int  # in the order in which rows first play them; -1 for what none plays
    licence: str
    author: str
    content: bytes | None


@dataclass(frozen=True, eq=False)
class Shared:
    """What of a dataset is published.

    Attributes
    ----------
    rows : ndarray of int, shape (R,)
        Rising.
    licences : mapping of int to str
        That of each row.
    is_recipe : bool
        Whether other people's assets are left out.
    left_out : dict of str to int
        The other rows, by reason.
    """

    rows: NDArray[np.intp]
    licences: Mapping[int, str]
    is_recipe: bool
    left_out: dict[str, int]


def write_assets(dataset: Dataset, shared: Shared, file: BinaryIO) -> int:
    """Write the table of assets, a few at a time; return how many lines it has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"number": pa.int32(), "place": pa.int32(), "content": pa.binary()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in AssetLine._fields])
    count, lines = 0, asset_lines(dataset, shared)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := [line._asdict() for line in _first(lines, AT_A_TIME)]:
            writer.write_table(pa.Table.from_pylist(some, schema))
            count += len(some)
    return count


def asset_lines(dataset: Dataset, shared: Shared) -> Iterator[AssetLine]:
    """What the table of assets holds, in the order of the classes."""
    places = {name: place for place, name in enumerate(dataset.asset_names)}
    played, terms = _terms_of_assets(dataset, shared)
    allowed = played & own_assets(dataset) if shared.is_recipe else played
    for kind, number, sha256, name in _classes_of(dataset.classes):
        licence, author = terms.get(sha256, ("", ""))
        content = dataset.asset(sha256) if sha256 in allowed else None
        place = places[sha256] if sha256 in played else -1
        yield AssetLine(kind, number, sha256, name, place, licence, author, content)


def read_asset_lines(path: Path) -> Iterator[AssetLine]:
    """Read a table of assets, a few lines at a time.

    Raises
    ------
    DatasetError
        It isn't one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_A_TIME, columns=[*AssetLine._fields]):
                for line in batch.to_pylist():
                    yield AssetLine(**line)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise parquet.damaged(path, error) from error


def classes_of(path: Path, catalog_size: int) -> Classes:
    """What the numbers in labels mean, as a table of assets says it.

    Raises
    ------
    DatasetError
        It isn't such a table, or has gaps.
    """
    lines: dict[str, list[tuple[str, str]]] = {kind: [] for kind in (WAVETABLE, *EXTRAS)}
    for line in read_asset_lines(path):
        if line.kind not in lines or line.number != len(lines[line.kind]):
            raise DatasetError(f"{path} is damaged: class {line.number} of {line.kind} is not where it should be")
        lines[line.kind].append((line.sha256, line.name))
    wavetables = lines.pop(WAVETABLE)
    return Classes(
        wavetables=tuple(sha256 for sha256, _ in wavetables),
        wavetable_names=tuple(name for _, name in wavetables),
        extras=tuple(tuple(sha256 or None for sha256, _ in lines[kind]) for kind in EXTRAS),
        catalog_size=catalog_size,
    )


def write_sources(dataset: Dataset, file: BinaryIO) -> int:
    """Write where presets come from; return how many there are."""
    presets = dataset.sources()
    columns = {name: np.array([getattr(preset, name) for preset in presets], dtype="U") for name in SOURCE_COLUMNS}
    parquet.write_table(file, columns)
    return len(presets)


def read_sources(path: Path) -> list[Provenance]:
    """Read what `write_sources` wrote."""
    columns = parquet.read_table(path)
    texts = ([text.decode() for text in columns[name].tolist()] for name in SOURCE_COLUMNS)
    return [Provenance(*fields) for fields in zip(*texts, strict=True)]


def write_rejections(dataset: Dataset, file: BinaryIO) -> int:
    """Write the refused candidates; return how many there are."""
    columns = dataset.rejections()
    parquet.write_table(file, columns)
    return len(columns["reason"])


def read_rejections(path: Path) -> Columns:
    """Read what `write_rejections` wrote, by the names that the columns have in a dataset's file."""
    columns = parquet.read_table(path)
    return {column.name: columns[column.name.split("/")[1]].astype(column.dtype) for column in REJECTIONS}


def _first(lines: Iterator[AssetLine], count: int) -> Iterator[AssetLine]:
    for _, line in zip(range(count), lines, strict=False):
        yield line


def _classes_of(classes: Classes) -> Iterator[tuple[str, int, str, str]]:
    """Kind, number, SHA-256 and name of each class."""
    named = zip(classes.wavetables, classes.wavetable_names, strict=True)
    for number, (sha256, name) in enumerate(named):
        yield WAVETABLE, number, sha256, name
    for kind, hashes in zip(EXTRAS, classes.extras, strict=True):
        for number, held in enumerate(hashes):
            yield kind, number, held or "", ""


def _terms_of_assets(dataset: Dataset, shared: Shared) -> tuple[set[str], dict[str, tuple[str, str]]]:
    """Which assets the published rows play; and of those of presets, under which licences, and who made them."""
    authors = {preset.preset_hash.encode(): preset.author for preset in dataset.sources()}
    numbers = (dataset.column("wavetables", shared.rows), dataset.column("extras", shared.rows))
    parents = dataset.column("parents", shared.rows)
    played = dataset.classes.played(*numbers)
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for place in np.flatnonzero((parents != b"").any(axis=1)).tolist():
        wavetables, extras = dataset.classes.named(numbers[0][place].tolist(), numbers[1][place].tolist())
        for name in filter(None, (*wavetables, *extras)):
            licences, makers = found.setdefault(name, ({}, {}))
            licences[shared.licences[int(shared.rows[place])]] = None
            makers.update(dict.fromkeys(authors.get(parent, "") for parent in parents[place].tolist()))
    for name in own_assets(dataset):  # whoever plays them
        found.pop(name, None)
    return played, {name: (_listed(licences), _listed(makers)) for name, (licences, makers) in found.items()}


def _listed(texts: Mapping[str, None]) -> str:
    return "; ".join(text for text in texts if text)
