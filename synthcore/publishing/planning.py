"""Planning a publication: which rows, in which files; and making one of these files.

A file's key is made of what it will hold and of how: never of where the dataset lies, or of other files. How many rows
a file has follows from the size of some rows, so the same dataset is always cut alike, and a run that was stopped finds
the files that it has made.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, StringConstraints

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError
from synthcore.base.hashing import HashedFile, canonical_json, content_hash
from synthcore.engine.stopping import interruptible
from synthcore.publishing import parquet, tables, tar
from synthcore.publishing.publication import ASSETS, REJECTIONS, SOURCES
from synthcore.publishing.published_rows import label_names, read_batches
from synthcore.publishing.sharing import decide_sharing
from synthcore.publishing.tables import Shared
from synthcore.sources.splits import SHARES
from synthcore.storage import AudioCoding, PublishedFormat
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.storage.refs import ResultRef

FOLDER = "published"
VERSION = "1.0"  #: of what the files hold and how
SAMPLED = 16  #: rows that are coded to know how large rows are
#: Label columns that a row's `preset_hash` says, and the header's rules: large, and so not read for a key.
_IMPLIED = ("continuous", "categorical", "modulation_slots", "exact_values", "active")
_ENDINGS: dict[PublishedFormat, str] = {"parquet": "parquet", "webdataset": "tar"}


class Form(BaseModel):
    """How a dataset is published: a part of the settings of `publish`."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    format: PublishedFormat
    audio: AudioCoding
    licence: str | None  # the user's own
    recipe: bool
    file_bytes: int  # of a file, about

    @property
    def coding(self) -> AudioCoding | None:
        """What audio is written as; None in a recipe, which has none."""
        return None if self.recipe else self.audio

    @property
    def ending(self) -> str:
        """What the names of the files end with."""
        return _ENDINGS[self.format]


class FilePlan(BaseModel):
    """One file of a publication."""

    model_config = ConfigDict(frozen=True)

    key: str  # SHA-256 in hex; names the file and the cache entry
    path: str  # in the publication
    file: str  # the dataset
    split: str
    rows: tuple[int, ...]
    licences: tuple[str, ...]  # of each row
    form: Form
    encoders: int  # rows that are coded at a time

    @property
    def name(self) -> str:
        """Where the file lies, relative to the data directory."""
        return f"{FOLDER}/{self.key[:2]}/{self.key}.{self.form.ending}"

    @property
    def sounds(self) -> int:
        """How many rows there are."""
        return len(self.rows)


class TablePlan(BaseModel):
    """One of the tables that a publication holds besides its rows."""

    model_config = ConfigDict(frozen=True)

    key: str
    path: Literal["assets/assets.parquet", "assets/sources.parquet", "assets/rejections.parquet"]
    file: str
    form: Form
    split: Literal[""] = ""
    sounds: Literal[0] = 0

    @property
    def name(self) -> str:
        """Where the file lies, relative to the data directory."""
        return f"{FOLDER}/{self.key[:2]}/{self.key}.parquet"


AnyPlan = FilePlan | TablePlan


class FileRef(ResultRef):
    """A finished file of a publication."""

    name: Annotated[str, StringConstraints(pattern=rf"^{FOLDER}/[0-9a-f]{{2}}/[0-9a-f]{{64}}\.(parquet|tar)$")]
    rows: int
    bytes: int
    sha256: str
    scaled: int  # rows whose peak is too high for FLAC as it is
    error: float  # the largest that coding made in a sample


@dataclass(frozen=True)
class Planned:
    """A publication that is to be made."""

    file: Path
    form: Form
    plans: list[AnyPlan]
    rows: int
    left_out: dict[str, int]  # rows by reason

    @property
    def key(self) -> str:
        """A hash of all that it will hold."""
        return content_hash([[plan.path, plan.key] for plan in self.plans])


def plan(file: Path, form: Form, workers: int) -> Planned:
    """Plan the files of a publication.

    Parameters
    ----------
    file : Path
        The dataset.
    form : Form
    workers : int
        Rows that are coded at a time for a file.

    Raises
    ------
    DatasetError
        It isn't a dataset, is a shard or a recipe, has gaps, or no row that may be published.
    SpecError
        Rows are the user's own, and no licence is stated for them; or it isn't one.
    SynthcoreError
        A library is missing.
    """
    parquet.require_pyarrow()
    with damage_named(file), Dataset(file) as dataset:
        _require_publishable(dataset, form)
        shared = _shared(dataset, form)
        if not len(shared.rows):
            reasons = "; ".join(shared.left_out)
            raise DatasetError(f"no row of {file} may be published: {reasons}; --recipe publishes it without audio")
        cuts = list(_cut(dataset, shared.rows, form))
        plans: list[AnyPlan] = []
        for split, name, rows in cuts:
            licences = tuple(shared.licences[row] for row in rows)
            plans.append(
                FilePlan(
                    key=_key(dataset, rows, licences, form),
                    path=f"data/{name}.{form.ending}",
                    file=str(dataset.path),
                    split=split,
                    rows=tuple(rows),
                    licences=licences,
                    form=form,
                    encoders=workers,
                )
            )
        plans += _plan_tables(dataset, shared, form)
        return Planned(file, form, plans, len(shared.rows), shared.left_out)


def make(plan: AnyPlan, data_dir: Path) -> FileRef:
    """Make one file of a publication. Reports each row to `synthcore.base.progress`.

    Raises
    ------
    DatasetError
        The dataset is gone or damaged, or has been replaced since this was planned.
    DiskError
        The disk is full.
    Interrupted
        Someone asked to stop.
    """
    path = data_dir / plan.name
    with damage_named(Path(plan.file)), Dataset(plan.file) as dataset, atomic_path(path) as temporary:
        write = _write_rows if isinstance(plan, FilePlan) else _write_table
        with HashedFile(temporary) as file:
            written = write(dataset, plan, file)  # type: ignore[arg-type]  # each its own plan
            size = file.tell()
    return FileRef(name=plan.name, checksum=file.checksum, bytes=size, sha256=file.sha256, **written._asdict())


class _Written(NamedTuple):
    """What was written into a file."""

    rows: int
    scaled: int = 0
    error: float = 0.0


def _write_rows(dataset: Dataset, plan: FilePlan, file: HashedFile) -> _Written:
    if _key(dataset, plan.rows, plan.licences, plan.form) != plan.key:
        raise _replaced(plan.file)
    scaled, error = 0, 0.0
    batches = read_batches(dataset, plan.rows, plan.licences, plan.form.coding, plan.encoders)
    with contextlib.closing(batches), _writer(file, plan.form, dataset.spec.audio.sample_rate) as writer:
        for batch in batches:
            writer.add(batch)
            scaled += sum(coded.scale > 1 for coded in batch.audio)
            error = max(error, batch.error)
    return _Written(plan.sounds, scaled, error)


def _write_table(dataset: Dataset, plan: TablePlan, file: HashedFile) -> _Written:
    shared = _shared(dataset, plan.form)
    if plan not in _plan_tables(dataset, shared, plan.form):
        raise _replaced(plan.file)
    if plan.path == ASSETS:
        return _Written(tables.write_assets(dataset, shared, file))
    write = tables.write_sources if plan.path == SOURCES else tables.write_rejections
    return _Written(write(dataset, file))


def _replaced(file: str) -> DatasetError:
    return DatasetError(f"{file} has been replaced meanwhile; run the same command again")


def sha256_of(path: Path) -> str:
    """SHA-256 in hex of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_publishable(dataset: Dataset, form: Form) -> None:
    path = dataset.path
    if "split" not in dataset.column_names:
        raise DatasetError(f"{path} is a shard; publish the dataset that was merged from it")
    if not len(dataset):
        raise DatasetError(f"{path} has no rows, so there is nothing to publish; generate some first")
    if dataset.gaps:
        raise DatasetError(f"{path} lacks patches whose shards failed; run generate again to complete it first")
    if dataset.is_recipe and not form.recipe:
        raise DatasetError(f"{path} is a recipe, without audio: make it whole with synthcore render, or give --recipe")


def _shared(dataset: Dataset, form: Form) -> Shared:
    """Decide what may be published: of a recipe, all rows."""
    sharing = decide_sharing(dataset, form.licence)
    is_shared = sharing.is_shared if not form.recipe else np.ones(len(dataset), dtype=bool)
    rows = np.flatnonzero(is_shared)
    licences = {row: sharing.licence(row) for row in rows.tolist()}
    return Shared(rows, licences, form.recipe, sharing.left_out if not form.recipe else {})


def _cut(dataset: Dataset, shared: NDArray[np.intp], form: Form) -> Iterator[tuple[str, str, list[int]]]:
    """Cut the rows into files: the split of each, its name, and its rows."""
    high = max(1, int(form.file_bytes / _row_bytes(dataset, shared, form)))
    splits = dataset.column("split")[shared]
    for split in SHARES:
        rows = shared[splits == split.encode()].tolist()
        starts = range(0, len(rows), high)
        for number, start in enumerate(starts):
            yield split, f"{split}-{number:05d}-of-{len(starts):05d}", rows[start : start + high]


def _plan_tables(dataset: Dataset, shared: Shared, form: Form) -> list[TablePlan]:
    presets = [astuple(preset) for preset in dataset.sources()]
    refused = hashlib.sha256(b"".join(values.tobytes() for values in dataset.rejections().values())).hexdigest()
    numbers = [dataset.column(name, shared.rows).tobytes() for name in ("wavetables", "extras", "parents")]
    played = hashlib.sha256(b"".join([shared.rows.tobytes(), *numbers])).hexdigest()
    classes, names = asdict(dataset.classes), dataset.asset_names
    held = [played, classes, names, presets, [*shared.licences.values()], shared.is_recipe]
    parts: dict[Any, list[Any]] = {ASSETS: held, SOURCES: presets, REJECTIONS: [refused]}
    return [
        TablePlan(key=content_hash([VERSION, path, part]), path=path, file=str(dataset.path), form=form)
        for path, part in parts.items()
    ]


def _row_bytes(dataset: Dataset, rows: NDArray[np.intp], form: Form) -> float:
    """About what a row takes in a file, by some of them."""
    places = np.unique(np.linspace(0, len(rows) - 1, SAMPLED).astype(np.intp))
    chosen = rows[places].tolist()
    size = 0
    licences = [form.licence or ""] * len(chosen)
    with interruptible():
        batches = list(read_batches(dataset, chosen, licences, form.coding))
    for batch in batches:
        size += sum(len(coded.content) for coded in batch.audio)
        if form.format == "webdataset":
            size += sum(len(tar.to_json(batch, place)) + 2 * tar.OVERHEAD for place in range(len(batch)))
        else:
            size += sum(values.nbytes for values in batch.columns.values())
    return size / len(chosen)


def _key(dataset: Dataset, rows: Sequence[int], licences: Iterable[str], form: Form) -> str:
    """A hash of all that a file will hold, and of how."""
    shape = form.model_dump(exclude={"file_bytes"})
    digest = hashlib.sha256(canonical_json([VERSION, shape, *licences, dataset.rules]).encode())
    presets = [[s.preset_hash, s.author] for s in dataset.sources()]
    digest.update(canonical_json([dataset.spec.audio.model_dump(mode="json"), presets]).encode())
    digest.update(np.array(rows, dtype=np.int64).tobytes())
    for name in label_names(dataset):
        if name not in _IMPLIED:
            digest.update(name.encode() + dataset.column(name, rows).tobytes())
    return digest.hexdigest()


def _writer(file: HashedFile, form: Form, sample_rate: int) -> parquet.ParquetWriter | tar.TarWriter:
    if form.format == "webdataset":
        return tar.TarWriter(file, form.coding)
    return parquet.ParquetWriter(file, sample_rate, form.coding)
