"""Predictions: a model's answers to rows of a dataset, in one HDF5 file that is readable whenever its writer is killed.

Room for answers is reserved ahead, so that adding some changes nothing of the file's structure; how many there are is
written last. Where the room is used up, the file is replaced, as a whole, by one with twice as much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthcore.base.atomic import atomic_path, disk_errors_of
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, SpecError, SynthcoreError
from synthcore.spec import AudioSpec
from synthcore.storage import answered, schema
from synthcore.storage.dataset import Dataset
from synthcore.storage.dense import from_dense
from synthcore.storage.labels import LABEL_COLUMNS, label_of, patch_at
from synthcore.storage.opening import flush, new_file, open_file, reason_of
from synthcore.vital.classes import Classes, Numbering
from synthcore.vital.controls import installed
from synthcore.vital.nearest import best_options
from synthcore.vital.patch import LABELS, Patch

VERSION = "1.0.0"
KIND = "synthcore predictions"  #: distinguishes the file from a dataset
RESERVED = 1_024  #: answers that a new file has room for: 4 MB, of which the disk holds what was written
COUNT, ROW, HASH = "answers/count", "answers/row", "answers/patch_hash"
#: What `append` takes besides `LABELS`: what some models give in their place.
SCORES, DENSE = "option_scores", "modulation_t3"


@dataclass(frozen=True, slots=True)
class Header:
    """Which dataset a file answers, or which sounds, and how.

    Attributes
    ----------
    digest : str
        The dataset's content digest; of sounds, over their names and checksums.
    tier : int
        Of the dataset; of sounds, of the one that was learned from.
    rows : int
        How many the dataset has; or how many sounds there are.
    registry : str
        The fingerprint of its controls.
    several : bool
        Whether a row may have several answers.
    """

    digest: str
    tier: int
    rows: int
    registry: str
    several: bool

    @classmethod
    def of(cls, dataset: Dataset, *, several: bool) -> Header:
        """What a file that answers a dataset says of it."""
        return cls(dataset.digest, dataset.spec.tier, len(dataset), dataset.registry.fingerprint, several)


class Predictions:
    """Answers to rows of a dataset, as `Predictions.create` begins them.

    Nothing stays open: each call opens the file for itself, so answers can be read while others are still added.

    Parameters
    ----------
    path : str or Path

    Attributes
    ----------
    header : Header
        Which dataset they answer.

    Raises
    ------
    DatasetError
        There is no such file, or it is another kind of file, or damaged.
    FileUnavailable
        Another program is writing it, or it may not be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        with _opened(self.path) as file:
            self.header = _read_header(file, self.path)

    @classmethod
    def create(
        cls, path: str | Path, dataset: Dataset, *, several: bool = False, sounds: Mapping[str, str] | None = None
    ) -> Predictions:
        """Begin a file of answers.

        Parameters
        ----------
        path : str or Path
            A new file.
        dataset : Dataset
            Whose rows are answered, by their numbers.
        several : bool
            Whether a row may have several answers: then the best of them and their mean are both reported.
        sounds : mapping of str to str, optional
            From `synthcore.find_sounds`: row i is the i-th of them. The dataset is the one that was learned from then.

        Raises
        ------
        SpecError, DatasetError
            The file is there already; or sounds are to be answered, and the dataset is a recipe.
        EngineMismatch
            The dataset was made with another synth than the installed one.
        DiskError
            The file can't be written.
        """
        path = Path(path).absolute()
        if path.exists():
            raise SpecError(f"{path} is there already; name another file, or add to it with Predictions(path).append")
        installed().require_same(dataset.registry, str(dataset.path))
        header = Header.of(dataset, several=several)
        if sounds:
            header = replace(header, digest=answered.digest_of(sounds), rows=len(sounds))
        with atomic_path(path) as temporary, new_file(temporary) as file:
            schema.write_classes(file, dataset.classes)
            values = {name: getattr(header, name) for name in Header.__slots__}
            file["schema"].attrs.update({"kind": KIND, "version": VERSION, **values})
            if sounds:
                answered.write(file, dataset, sounds)
            _reserve(file, RESERVED)
        return cls(path)

    def __len__(self) -> int:
        with _opened(self.path) as file:
            return _count(file)

    def __repr__(self) -> str:
        return f"Predictions({str(self.path)!r}: {how_many(len(self), 'answer')}, tier {self.header.tier})"

    @cached_property
    def classes(self) -> Classes:
        """What the numbers of wavetables and extras mean: the same as in the dataset."""
        with _opened(self.path) as file:
            return schema.read_classes(file)

    @cached_property
    def sounds(self) -> dict[str, str]:
        """The sounds that are answered, with their checksums, in the order of their rows; none if a dataset's are."""
        with _opened(self.path) as file:
            return answered.read_sounds(file)

    @property
    def audio(self) -> AudioSpec:
        """The form in which answers to sounds are rendered."""
        with _opened(self.path) as file:
            return answered.read_audio(file)

    def assets_of(self, patches: Sequence[Patch]) -> dict[str, bytes]:
        """What answers to sounds play, by SHA-256."""
        names = {name for patch in patches for name in patch.asset_names}
        with _opened(self.path) as file:
            return {name: file[f"assets/{name}"][:].tobytes() for name in names if name in file["assets"]}

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row that each answer is to, shape (answers,), in the order in which they were given."""
        return self._column(ROW)

    @property
    def patch_hashes(self) -> list[str]:
        """The hash of each answer's patch."""
        return [name.decode() for name in self._column(HASH).tolist()]

    def patches(self, answers: Sequence[int]) -> list[Patch]:
        """The patches of some answers, by their numbers from 0."""
        with _opened(self.path) as file:
            return [_patch(file, answer, self.classes) for answer in answers]

    def append(self, rows: ArrayLike, **vectors: Any) -> None:
        """Add answers. Once this returns they are on the disk; if it is killed before, the file is as it was.

        What can't be played becomes the nearest that can, as `Patch.from_vectors` says, and is stored like that.

        Parameters
        ----------
        rows : array_like, shape (n,), int
            The number in the dataset of the row that each is an answer to.
        **vectors : array_like, shape (n, ...)
            The parts of `LABELS` under their names, each with an answer to a line: as `Patch.from_vectors` takes them,
            with the dataset's classes. `continuous` must be given. Options are given as `categorical`, indices, or as
            `option_scores`: for each categorical control (or each of tier 1) an array of shape (n, options), of which
            the highest counts. Modulation is given as `modulation_slots`, or as `modulation_t3`, shape
            (n, 4, 32, 428): see `dense.from_dense`.

        Raises
        ------
        SynthcoreError
            A row is not in the dataset, or named twice where one answer a row is meant; or a vector is missing, has
            another length, or holds something that isn't a number. Nothing is added then.
        FileUnavailable
            Another program has the file open, or it may not be written.
        DiskError
            The disk is full.
        """
        numbers = self._require_rows(rows)
        labels = self._labels(numbers, _with_labels_alone(vectors, len(numbers)))
        _make_room(self.path, len(numbers))
        with _opened(self.path, "r+") as file, disk_errors_of(self.path):
            there = _count(file)
            for name, values in {ROW: numbers, **labels}.items():
                file[name][there : there + len(numbers)] = values
            flush(file)
            file[COUNT][()] = there + len(numbers)
            flush(file)

    def require_of(self, dataset: Dataset) -> None:
        """Refuse answers to another dataset.

        Raises
        ------
        SpecError
        """
        answered.require_installed(self.path, self.header.registry)
        answered.require_rows(self.path, self.sounds, dataset)
        own, other = self.header, Header.of(dataset, several=self.header.several)
        if own != other:
            told = [f"tier {one.tier}, {how_many(one.rows, 'row')}, digest {one.digest[:12]}" for one in (own, other)]
            raise SpecError(
                f"{self.path} answers another dataset ({told[0]}) than {dataset.path} ({told[1]}); name the dataset "
                "that it was created for, or predict again"
            )

    def require_of_sounds(self, found: Mapping[str, str], folder: Path) -> None:
        """Refuse answers to a dataset, or to other sounds than those of a folder.

        Raises
        ------
        SpecError
        """
        answered.require_installed(self.path, self.header.registry)
        answered.require_same(self.path, self.sounds, found, folder)

    def _column(self, name: str) -> NDArray[Any]:
        with _opened(self.path) as file:
            found: NDArray[Any] = file[name][: _count(file)]
            return found

    def _require_rows(self, rows: ArrayLike) -> NDArray[np.int64]:
        numbers = np.asarray(rows)
        if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iu"):
            raise SpecError(f"rows must be a list of whole numbers, not {numbers.dtype} of shape {numbers.shape}")
        numbers = numbers.astype(np.int64)
        beyond = numbers[(numbers < 0) | (numbers >= self.header.rows)]
        if len(beyond):
            raise SpecError(f"there is no row {beyond[0]}: the dataset has rows 0 to {self.header.rows - 1}")
        if not self.header.several:
            found, times = np.unique(np.concatenate([self.rows, numbers]), return_counts=True)
            twice = found[times > 1]
            if len(twice):
                raise SpecError(
                    f"row {twice[0]} is answered twice; give one answer, or create the file with several=True"
                )
        return numbers

    def _labels(self, rows: NDArray[np.int64], vectors: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of answers, each brought to what can be played."""
        numbering = Numbering(self.classes)
        labels: dict[str, list[Any]] = {name: [] for name in (HASH, *LABEL_COLUMNS)}
        for place, row in enumerate(rows.tolist()):
            try:
                patch = Patch.from_vectors(**{n: of[place] for n, of in vectors.items()}, classes=self.classes)
            except SynthcoreError as error:
                raise SpecError(f"answer {place} (to row {row}): {error}") from error
            label = label_of(patch, *numbering.of(patch.wavetables, patch.extras))
            for name, value in {HASH: patch.hash.encode(), **label}.items():
                labels[name].append(value)
        return labels if len(rows) else {}


def is_predictions(path: Path) -> bool:
    """Whether a file holds answers; False if there is no such file, or another kind of file.

    Raises
    ------
    FileUnavailable
        Another program is writing it, or it may not be read.
    """
    try:
        with open_file(path) as file:
            return bool(file["schema"].attrs.get("kind") == KIND)
    except schema.UNREADABLE:
        return False


def _with_labels_alone(vectors: Mapping[str, Any], answers: int) -> dict[str, Any]:
    """Check that there is a line for each answer, and turn scores and dense modulation into labels."""
    known = (*LABELS, SCORES, DENSE)
    unknown = sorted(vectors.keys() - set(known))
    if unknown:
        raise SpecError(f"answers have no {unknown[0]!r}; they have {', '.join(known)}")
    given = {name: value for name, value in vectors.items() if value is not None}
    for one, other in (("categorical", SCORES), ("modulation_slots", DENSE)):
        if one in given and other in given:
            raise SpecError(f"{one} and {other} say the same thing; give one of them")
    if SCORES in given:
        given["categorical"] = best_options(given.pop(SCORES), installed())
    for needed in ("continuous", "categorical"):
        if needed not in given:
            raise SpecError(f"an answer needs {needed}; give it, with a line for each row")
    lines: dict[str, Any] = {name: _lines(name, value, answers) for name, value in given.items()}
    if DENSE in lines:
        lines["modulation_slots"] = [from_dense(dense, installed()) for dense in lines.pop(DENSE)]
    return lines


def _lines(name: str, given: Any, answers: int) -> NDArray[Any]:
    try:
        found = np.asarray(given)
    except ValueError as error:
        raise SpecError(f"{name} has lines of several lengths; give an array") from error
    if not found.ndim or len(found) != answers:
        raise SpecError(f"{name} has shape {found.shape}; give a line for each of {how_many(answers, 'row')}")
    return found


@contextlib.contextmanager
def _opened(path: Path, mode: Literal["r", "r+"] = "r") -> Iterator[h5py.File]:
    """Open the file, and say in one line if it isn't ours."""
    try:
        with open_file(path, mode) as file:
            yield file
    except schema.UNREADABLE as error:
        reason = reason_of(error) if path.exists() else "there is no such file"
        raise DatasetError(f"{path} can't be read as predictions: {reason}; predict again") from error


def _read_header(file: h5py.File, path: Path) -> Header:
    header = file["schema"].attrs if "schema" in file else {}
    if header.get("kind") != KIND:
        raise DatasetError(f"{path} doesn't hold predictions; name a file that Predictions.create began")
    if header["version"] != VERSION:
        raise DatasetError(f"{path} has version {header['version']}, this synthcore reads {VERSION}; predict again")
    return Header(
        digest=str(header["digest"]),
        tier=int(header["tier"]),
        rows=int(header["rows"]),
        registry=str(header["registry"]),
        several=bool(header["several"]),
    )


def _columns() -> tuple[schema.Column, ...]:
    labels = tuple(column for column in schema.columns(installed()) if column.name in LABEL_COLUMNS)
    return (schema.Column(ROW, "<i8"), schema.Column(HASH, "S64"), *labels)


def _reserve(file: h5py.File, answers: int) -> None:
    """Make room for answers, in places that never change: none of them is written yet."""
    for column in _columns():
        reserved = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        reserved.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        reserved.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        file.create_dataset(column.name, (answers, *column.shape), column.dtype, dcpl=reserved)
    file.create_dataset(COUNT, data=np.int64(0))


def _count(file: h5py.File) -> int:
    return int(file[COUNT][()])


def _make_room(path: Path, answers: int) -> None:
    """Where they don't fit in, replace the file by one with twice the room."""
    with _opened(path) as file:
        there, room = _count(file), len(file[ROW])
        if there + answers <= room:
            return
        with atomic_path(path) as temporary, new_file(temporary) as larger:
            for name in ("schema", "assets"):
                if name in file:
                    file.copy(name, larger)
            _reserve(larger, max(2 * room, there + answers))
            for column in _columns():
                larger[column.name][:there] = file[column.name][:there]
            larger[COUNT][()] = there


def _patch(file: h5py.File, answer: int, classes: Classes) -> Patch:
    if not 0 <= answer < _count(file):
        raise IndexError(f"there is no answer {answer}: there are {_count(file)}")
    return patch_at({name: file[name][answer : answer + 1] for name in LABEL_COLUMNS}, 0, classes)
