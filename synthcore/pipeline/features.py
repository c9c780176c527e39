"""Computing features: from rows to files in the data directory, one to a plan, named by content; and into the dataset.

A plan's key is made of its rows' audio hashes and of how the feature is computed: never of where the rows lie. A
dataset that grew is cut where it was cut before, so only its new rows are computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, StringConstraints

from synthcore.analysis.feature_specs import FeatureSpec, spec_of, stored_spec
from synthcore.analysis.features import feature_of
from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, SpecError
from synthcore.base.hashing import canonical_json, file_checksum
from synthcore.engine.stopping import raise_if_stopped
from synthcore.storage import features as file_format
from synthcore.storage.dataset import Dataset
from synthcore.storage.features import NewFeature
from synthcore.storage.opening import damage_named
from synthcore.storage.refs import ResultRef

ROWS = 256  #: in a plan: some seconds of work
READ = 32  #: rows whose audio is in memory at a time
FOLDER = "features"


class FeaturePlan(BaseModel):
    """One feature of some rows of a dataset. Where they are is not part of the key."""

    model_config = ConfigDict(frozen=True)

    index: int
    key: str  # SHA-256 in hex; names the file and the cache entry
    file: str
    start: int
    stop: int
    spec: FeatureSpec

    @property
    def name(self) -> str:
        """Where the values lie, relative to the data directory."""
        return f"{FOLDER}/{self.key[:2]}/{self.key}.npy"

    @property
    def sounds(self) -> int:
        """How many there are."""
        return self.stop - self.start


class FeatureRef(ResultRef):
    """Finished values of a plan."""

    name: Annotated[str, StringConstraints(pattern=rf"^{FOLDER}/[0-9a-f]{{2}}/[0-9a-f]{{64}}\.npy$")]


class FeaturesResult(BaseModel):
    """What was computed and stored."""

    model_config = ConfigDict(frozen=True)

    file: str
    rows: int
    computed_rows: dict[str, int]  # by feature: of those rows that were not there already
    features: dict[str, dict[str, Any]]  # what the file says of each: shape, type, spec

    def to_text(self) -> str:
        """Write it for a terminal."""
        lines = [f"{self.file}: {how_many(self.rows, 'row')}"]
        for name, said in self.features.items():
            shape = " x ".join(map(str, said["shape"]))
            done = f"computed for {how_many(self.computed_rows.get(name, 0), 'row')}"
            lines.append(f"  features/{name}: {shape} of {said['dtype']}, {said['bytes'] / 1e6:.1f} MB; {done}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Planned:
    """The plans of one feature, in the order of the rows."""

    spec: FeatureSpec
    plans: list[FeaturePlan]
    sample_rate: int

    def to_store(self, data_dir: Path) -> NewFeature:
        """The feature, whose values are read from the data directory, a plan at a time."""
        values = (np.load(data_dir / plan.name) for plan in self.plans)
        return NewFeature(self.spec.kind, stored_spec(self.spec, self.sample_rate), values)


def plan(file: Path, specs: Sequence[FeatureSpec], data_dir: Path, *, again: bool = False) -> list[Planned]:
    """Plan what is to be computed of a dataset's rows. What the file holds already needs no plan, unless `again`.

    Raises
    ------
    DatasetError
        It can't have features, or isn't a dataset.
    FileUnavailable
        It may not be written.
    SpecError
        A feature can't be computed at the file's sample rate.
    """
    known = {path.stem for path in (data_dir / FOLDER).glob("*/*.npy")}
    with damage_named(file), Dataset(file) as dataset:
        file_format.require_addable(file)
        rate, hashes = dataset.spec.audio.sample_rate, dataset.column("audio_sha256").tolist()
        planned = []
        for spec in specs:
            there = dataset.features.get(spec.kind)
            if again or there is None or there.status == "stale" or there.spec != stored_spec(spec, rate):
                feature_of(np.zeros((2, rate), np.float32), rate, spec)  # what can't be computed is refused now
                cut = [one for start in range(0, len(hashes), ROWS) for one in _cut(hashes, start, spec, rate, known)]
                plans = [
                    FeaturePlan(index=i, key=key, file=str(dataset.path), start=start, stop=stop, spec=spec)
                    for i, (start, stop, key) in enumerate(cut)
                ]
                planned.append(Planned(spec, plans, rate))
    return planned


def specs_of(file: Path, named: Sequence[FeatureSpec]) -> list[FeatureSpec]:
    """What is to be computed: what is named; or, if nothing is, what the file has that is stale.

    Raises
    ------
    SpecError
        There is nothing of either.
    DatasetError
        It isn't a dataset.
    """
    if named:
        return [*named]
    with damage_named(file), Dataset(file) as dataset:
        found = [spec_of(feature.spec) for feature in dataset.features.values() if feature.status == "stale"]
    stale = [spec for spec in found if spec]
    if not stale:
        raise SpecError(f"{file} has no stale features to make anew; name some with --log-mel or --sketch")
    return stale


def compute(plan: FeaturePlan, data_dir: Path) -> FeatureRef:
    """Compute a feature of some rows, and write it down. Reports each row to `synthcore.base.progress`.

    Raises
    ------
    DatasetError
        The file is gone or damaged, or has been replaced since this was planned.
    DiskError
        The disk is full.
    Interrupted
        Someone asked to stop.
    """
    with damage_named(Path(plan.file)), Dataset(plan.file) as dataset:
        rate = dataset.spec.audio.sample_rate
        hashes = dataset.column("audio_sha256", slice(plan.start, plan.stop)).tolist()
        if [*_keys(hashes, plan.spec, rate)][-1:] != [plan.key]:
            raise DatasetError(f"{plan.file} has been replaced meanwhile; run the same command again")
        values = [*_values(dataset, plan.start, plan.stop, lambda audio: _each(plan.spec, audio, rate))]
    with atomic_path(data_dir / plan.name) as temporary, temporary.open("wb") as opened:
        np.save(opened, np.concatenate(values))
    return FeatureRef(name=plan.name, checksum=file_checksum(data_dir / plan.name))


def store(file: Path, planned: Sequence[Planned], data_dir: Path) -> None:
    """Write what was computed into the dataset.

    Raises
    ------
    DatasetError, FileUnavailable, DiskError
        As `synthcore.storage.features.write`.
    """
    if planned:
        file_format.write(file, [one.to_store(data_dir) for one in planned])


def result_of(file: Path, specs: Sequence[FeatureSpec], computed_rows: dict[str, int]) -> FeaturesResult:
    """Say what the file holds of these features now."""
    with damage_named(file), Dataset(file) as dataset:
        said = {}
        for spec in specs:
            feature = dataset.features[spec.kind]
            size = len(dataset) * int(np.prod(feature.shape)) * feature.dtype.itemsize
            said[feature.name] = {
                "shape": [len(dataset), *feature.shape],
                "dtype": str(feature.dtype),
                "bytes": size,
                "spec": dict(feature.spec),
            }
        return FeaturesResult(file=str(dataset.path), rows=len(dataset), computed_rows=computed_rows, features=said)


def map_rows(
    dataset: Dataset, function: Callable[[NDArray[np.float32]], NDArray[Any]], batch: int = READ
) -> Iterator[NDArray[Any]]:
    """Give a function the audio of all rows, a batch at a time, each of shape (B, 2, S)."""
    return _values(dataset, 0, len(dataset), function, batch)


def _values(
    dataset: Dataset, start: int, stop: int, function: Callable[[NDArray[np.float32]], NDArray[Any]], batch: int = READ
) -> Iterator[NDArray[Any]]:
    for first in range(start, stop, batch):
        raise_if_stopped()
        audio = dataset.column("audio", slice(first, min(first + batch, stop)))
        yield function(audio)
        progress.publish(progress.Progress(len(audio), None))


def _each(spec: FeatureSpec, audio: NDArray[np.float32], sample_rate: int) -> NDArray[Any]:
    return np.stack([feature_of(sound, sample_rate, spec) for sound in audio])


def _keys(hashes: Sequence[bytes], spec: FeatureSpec, sample_rate: int) -> Iterator[str]:
    """The keys of the first row, the first two rows, and so on."""
    digest = hashlib.sha256(canonical_json(stored_spec(spec, sample_rate)).encode())
    for one in hashes:
        digest.update(b"\n" + one)
        yield digest.hexdigest()


def _cut(
    hashes: Sequence[bytes], start: int, spec: FeatureSpec, sample_rate: int, known: set[str]
) -> Iterator[tuple[int, int, str]]:
    """Cut up to `ROWS` rows from `start` on into what is computed already, as far as it goes, and the rest."""
    end = min(start + ROWS, len(hashes))
    while start < end:
        keys = [*_keys(hashes[start:end], spec, sample_rate)]
        rows = max((rows for rows, key in enumerate(keys, 1) if key in known), default=len(keys))
        yield start, start + rows, keys[rows - 1]
        start += rows
