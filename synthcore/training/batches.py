"""Batches for training: which rows make up which batch of an epoch, and what is read of them.

Knows nothing of torch, unlike `synthcore.training.torch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.analysis.feature_specs import KINDS
from synthcore.base.addresses import Place
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, SpecError
from synthcore.base.quantities import Span
from synthcore.sources.splits import Split
from synthcore.storage.dataset import Dataset
from synthcore.storage.schema import AUDIO, LABEL_CHUNK, audio_shapes
from synthcore.vital.classes import EXTRAS
from synthcore.vital.controls import Control
from synthcore.vital.patch import LABELS
from synthcore.vital.shapes import LFOS, lfo_numbers

Batch = dict[str, NDArray[Any]]
RowNumbers = NDArray[np.intp]

#: What a batch can hold, by the name to request it by.
PARTS = ("audio", *LABELS, "modulation_t3", "active", "weights", "midi_note", "velocity", "note_seconds", "bpm")


@dataclass(frozen=True, slots=True)
class Order:
    """The order in which rows are read, in which batches, and which of these are one process's share.

    Every epoch reads every row once, in another order. The order depends on nothing but the rows, the seed, the epoch,
    `batch_size`, `mixed_chunks` and the number of ranks: never on the number of workers or on the file's layout.

    Rows are shuffled by chunk: first the chunks of 64 rows in which labels are stored, then the rows of `mixed_chunks`
    of them together. So a batch has its rows from all over the file and inflates few chunks.

    Parameters
    ----------
    batch_size : int
        The most rows a batch can have. Batches of an epoch differ by at most one row: none is a small remainder.
    seed : int
        From 0.
    share : tuple of int and int, optional
        (rank, number of ranks): with n ranks this process takes every n-th batch. All ranks take equally many, so that
        none waits for another at the end. Without it one process takes all; in `synthcore.training.torch` the process
        group of torch.distributed decides, if there is one.
    mixed_chunks : int
        How many chunks are mixed. Where audio has 64 rows to a chunk (`--chunk-rows 64`), 1 is many times faster.
    drop_last : bool
        Every batch has exactly `batch_size` rows, and the rows that don't fill one are left out: other rows in each
        epoch.

    Raises
    ------
    SpecError
        A number is out of range.
    """

    batch_size: int
    seed: int = 0
    share: tuple[int, int] | None = None
    mixed_chunks: int = 16
    drop_last: bool = False

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("seed", 0), ("mixed_chunks", 1)):
            if getattr(self, name) < least:
                raise SpecError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 <= self.rank < self.ranks:
            raise SpecError(f"there is no rank {self.rank} of {self.ranks}; ranks count from 0")

    @property
    def rank(self) -> int:
        return self.share[0] if self.share else 0

    @property
    def ranks(self) -> int:
        return self.share[1] if self.share else 1

    def count(self, rows: int) -> int:
        """How many batches of `rows` rows one rank takes in an epoch, the same for every rank.

        Raises
        ------
        SpecError
            There are too few rows for every rank to get as many batches, none of them empty.
        """
        if self.drop_last:
            batches = rows // (self.batch_size * self.ranks)
        else:
            batches = -(-rows // (self.ranks * self.batch_size))
        if not 0 < batches * self.ranks <= rows:
            given, ranks = how_many(rows, "row"), how_many(self.ranks, "rank")
            dropped = " with the last one dropped" * self.drop_last
            raise SpecError(
                f"{given} can't give {ranks} equally many batches of {self.batch_size}{dropped}; choose another batch "
                "size, or fewer ranks"
            )
        return batches

    def batches(self, rows: RowNumbers, epoch: int) -> list[RowNumbers]:
        """Share out the rows of one epoch.

        Parameters
        ----------
        rows : ndarray, shape (N,), int
            The numbers of all rows to read, rising.
        epoch : int
            From 0.

        Returns
        -------
        list of ndarray
            This rank's batches, `count(N)` of them; the rows of each are rising.
        """
        count = self.count(len(rows)) * self.ranks
        shuffled = self.shuffled(rows, epoch)
        taken = shuffled[: count * self.batch_size] if self.drop_last else shuffled
        return [np.sort(batch) for batch in np.array_split(taken, count)[self.rank :: self.ranks]]

    def shuffled(self, rows: RowNumbers, epoch: int) -> RowNumbers:
        """All rows in the order of an epoch, before they are cut into batches."""
        random = np.random.default_rng([self.seed, epoch])
        chunks = np.split(rows, np.flatnonzero(np.diff(rows // LABEL_CHUNK)) + 1)
        order = random.permutation(len(chunks))
        mixed = (order[start : start + self.mixed_chunks] for start in range(0, len(order), self.mixed_chunks))
        return np.concatenate([random.permutation(np.concatenate([chunks[i] for i in places])) for places in mixed])


class Examples:
    """Some rows and some columns of a dataset, read by the batch. It can be pickled, and used after a fork.

    Parameters
    ----------
    path : str, Path or Address
        A merged dataset, or its address; without `split`, a shard as well.
    split : {"train", "val", "test"}, optional
        Only the rows of this split.
    tier : int, optional
        Only this tier's columns of labels and masks; the dataset's own tier if left out.
    parts : sequence of str, optional
        Which of `PARTS` to read, and which features. By default all parts that the file has; of labels, those that
        vary in it, and modulation only if `tier` is its own: then these labels and `classes` give `Patch.from_vectors`
        the rows' own patches. `note_seconds` and `bpm` if they are drawn from ranges. Features, such as `log_mel`, only
        if they are named.
    mono : bool
        The mean of the two channels of audio instead of both; features have the channels that they were made with.
    normalise : bool
        Features less the mean of their band over the training split, and divided by its deviation, as float32.

    Attributes
    ----------
    rows : ndarray, shape (N,), int
        The numbers of the rows selected, rising.
    continuous, categorical : tuple of Control
        What the columns of these labels are.
    classes : Classes
        What the numbers in `wavetables` and `extras` mean.

    Raises
    ------
    DatasetError
        The file can't be read, has no such split, tier or part, or no row to select.
    SpecError
        There is no such part.
    """

    def __init__(
        self,
        path: str | Place,
        *,
        split: Split | None = None,
        tier: int | None = None,
        parts: Sequence[str] | None = None,
        mono: bool = False,
        normalise: bool = False,
    ) -> None:
        self.dataset = Dataset(path)
        self.mono, self.normalise = mono, normalise
        self.rows = _rows_of(self.dataset, split)
        own = self.dataset.spec.tier
        self._columns = self.dataset.columns(own if tier is None else tier)
        self.parts = _parts_of(self.dataset, parts, has_own_tier=tier in (None, own))
        registry, self.classes = self.dataset.registry, self.dataset.classes
        self.continuous: tuple[Control, ...] = tuple(registry.continuous[i] for i in self._columns[0])
        self.categorical: tuple[Control, ...] = tuple(registry.categorical[i] for i in self._columns[1])
        self._shapes: dict[int, list[int]] = {}
        self._weights = self._weights_of_columns() if "weights" in self.parts else {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def audio_shape(self) -> tuple[int, int]:
        """Channels and samples of a row's audio in a batch."""
        channels, samples = audio_shapes(self.dataset.spec, self.dataset.registry)[AUDIO]
        return 1 if self.mono else channels, samples

    @property
    def feature_forms(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and type of a row's features in a batch, by name."""
        read = {name: feature for name, feature in self.dataset.features.items() if name in self.parts}
        return {name: (of.shape, np.dtype("f4") if self.normalise else of.dtype) for name, of in read.items()}

    def read(
        self,
        rows: RowNumbers,
        audio: NDArray[np.float32] | None = None,
        features: Mapping[str, NDArray[Any]] | None = None,
    ) -> Batch:
        """Read a batch in one go.

        Parameters
        ----------
        rows : ndarray, shape (B,), int
            Numbers of rows of the file; rising ones are read fastest.
        audio : ndarray, shape (B, *audio_shape), float32, optional
            Where to put the audio.
        features : mapping of str to ndarray, optional
            Where to put features, by name: as `feature_forms`, with B rows.

        Returns
        -------
        dict of str to ndarray
            Each with B rows: `row` (B,) the numbers; `audio` (B, 2, S), or (B, 1, S) if mono, float32 at full scale 1;
            `continuous` (B, C) float32 unit values; `categorical` (B, K) int32; `wavetables` (B, 3) and `extras` (B, 3)
            int32, numbers of `classes`; with `extras`, `lfo_shapes` (B, 8) int32: of each LFO, 0 for the init preset's
            shape, n for the n-th built-in one, -1 for any other; `exact_values` (B, C) float32; `modulation_slots`,
            `modulation_t3` as they are in the file; `active_continuous` (B, C) and `active_categorical` (B, K) bool:
            can the control be heard; `weights_continuous` (B, C) and `weights_categorical` (B, K) float32, the same
            in each row; `midi_note` (B,), `velocity` (B,) int32; `note_seconds` (B,), `bpm` (B,) float64; features, by
            name, (B, ...) as in the file, or float32 if they are normalised.
        """
        batch: Batch = {"row": np.asarray(rows)}
        if "audio" in self.parts:
            batch["audio"] = self._audio(rows, audio)
        for name in self.parts:
            if name in self.dataset.features:
                batch[name] = self._feature(name, rows, (features or {}).get(name))
            elif name not in ("audio", "weights"):
                batch.update(self._selected(name, self.dataset.column(name, rows)))
        if "extras" in batch:
            batch["lfo_shapes"] = self._lfo_shapes(batch["extras"][:, EXTRAS.index("lfos")])
        batch.update({name: np.tile(weights, (len(rows), 1)) for name, weights in self._weights.items()})
        return batch

    def _lfo_shapes(self, classes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Number the shape of each LFO; an asset is read when a batch first needs it."""
        names = self.classes.extras[EXTRAS.index("lfos")]
        for number in set(classes.tolist()) - self._shapes.keys():
            content = None if (name := names[number]) is None else self.dataset.asset(name) or b""
            self._shapes[number] = lfo_numbers(content, self.dataset.registry)
        return np.array([self._shapes[number] for number in classes.tolist()], dtype=np.int32).reshape(-1, LFOS)

    def _weights_of_columns(self) -> Batch:
        weights, (continuous, categorical) = self.dataset.weights, self._columns
        assert weights is not None  # `_parts_of` has made sure
        return {
            "weights_continuous": weights.continuous[continuous],
            "weights_categorical": weights.categorical[categorical],
        }

    def _audio(self, rows: RowNumbers, out: NDArray[np.float32] | None) -> NDArray[np.float32]:
        if self.mono:
            mean: NDArray[np.float32] = self.dataset.column("audio", rows).mean(axis=1, keepdims=True, out=out)
            return mean
        return self.dataset.column("audio", rows, out)

    def _feature(self, name: str, rows: RowNumbers, out: NDArray[Any] | None) -> NDArray[Any]:
        if self.normalise:
            return self.dataset.features[name].normalised(self.dataset.feature(name, rows), out)
        return self.dataset.feature(name, rows, out)

    def _selected(self, name: str, values: NDArray[Any]) -> Batch:
        continuous, categorical = self._columns
        if name in ("continuous", "exact_values"):
            return {name: values[:, continuous]}
        if name == "categorical":
            return {name: values[:, categorical]}
        if name == "active":  # continuous controls come first
            before = len(self.dataset.registry.continuous)
            return {"active_continuous": values[:, continuous], "active_categorical": values[:, before + categorical]}
        return {name: values}


def _rows_of(dataset: Dataset, split: Split | None) -> RowNumbers:
    rows = np.arange(len(dataset)) if split is None else dataset.split(split).rows
    if not len(rows):
        raise DatasetError(f"{dataset.path} has no row{f' in the split {split}' if split else ''}; make a larger one")
    return rows


def _parts_of(dataset: Dataset, requested: Sequence[str] | None, has_own_tier: bool) -> tuple[str, ...]:
    known = (*PARTS, *KINDS, *dataset.features)
    if unknown := [name for name in requested or () if name not in known]:
        raise SpecError(f"a batch has no {', '.join(unknown)}; it can have {', '.join(dict.fromkeys(known))}")
    for name in requested or ():
        if name not in PARTS:
            dataset.require_feature(name)
    there = {*dataset.column_names, *dataset.features, *(["weights"] * (dataset.weights_status == "complete"))}
    idle = {*LABELS} - {*dataset.varied_labels}
    idle |= {name for name in ("note_seconds", "bpm") if not isinstance(getattr(dataset.spec.audio, name), Span)}
    if "modulation_slots" in idle or not has_own_tier:
        idle |= {"modulation_slots", "modulation_t3"}
    usual = [name for name in PARTS if name in there and name not in idle]
    wanted = tuple(requested if requested is not None else dict.fromkeys(("audio", *usual)))
    if lacking := [name for name in wanted if name not in there]:
        why = "it is a recipe: make it whole with synthcore render" if dataset.is_recipe else "leave them out"
        raise DatasetError(f"{dataset.path} has no {', '.join(lacking)}; {why}")
    return wanted
