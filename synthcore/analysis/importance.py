"""Importance weights: how far the sound moves when one control is moved, averaged over rows of a dataset.

In a few rows, the bases, each control that can be heard is moved: a step up and down, or to other options. Base and
moved sound are made in the same way: one child process loads the base and forks; each fork sets the control, settles
(lets it arrive at its value in a silent render) and renders. What it plays is bit for bit what a row with that label
would hold. So the distance between the two comes from the control alone, and is exactly 0 where it can't be heard.

The unit of work is a probe: a few bases, with a result file of its own. It is a function of its key, which identifies
the bases by their content, never by their file or row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints

from synthcore.analysis.distances import level_distance, mel_powers
from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError
from synthcore.base.hashing import content_hash, file_checksum
from synthcore.base.quantities import Span
from synthcore.engine.chunk import inflate
from synthcore.engine.machine import engine
from synthcore.engine.play import play
from synthcore.engine.rendering import Performance, RenderedRow, RenderFormat
from synthcore.spec import DatasetSpec
from synthcore.storage import weights
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.storage.refs import ResultRef
from synthcore.vital import activity
from synthcore.vital.controls import Control, Registry, installed
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.patch import Patch
from synthcore.vital.tempo import CONTROL

#: Raise it when the same bases get other weights.
METHOD_VERSION = 1
#: How far a continuous control is moved, in unit values. Controls with whole numbers move by at least 1.
STEP = 0.1
#: To how many of its other options a categorical control is moved.
OPTIONS = 3
#: The longest renders at tier 1: 0.6 of the cost of two seconds, with the same ranking. At higher tiers, echoes come
#: later (docs/decisions/0010).
NOTE_SECONDS, RENDER_SECONDS = 0.75, 1.0
#: How many bases make a probe: at tier 1 half a minute of work, which an accident can cost.
BASES = 4
#: Into how many renders one child of the base forks: all their sounds wait in memory.
PLACES = 16
#: Controls that can't be set after loading: the synth takes `oversampling` only from a document, and the document of a
#: patch whose sample is off leaves the sample out.
LOAD_ONLY = ("oversampling", "sample_on")

T = TypeVar("T")


class Probe(BaseModel):
    """Some bases whose controls are to be moved."""

    model_config = ConfigDict(frozen=True)

    index: int
    file: str  # where the bases are read; not part of the key
    rows: tuple[int, ...]
    key: str  # SHA-256 in hex of what is measured; names the result file and the cache entry

    @property
    def name(self) -> str:
        """Where the result lies, relative to the data directory."""
        return f"weights/{self.key[:2]}/{self.key}.json"

    @property
    def sounds(self) -> int:
        """How many bases there are."""
        return len(self.rows)


class BaseResult(BaseModel):
    """What was measured at one base."""

    model_config = ConfigDict(frozen=True)

    preset_hash: str
    note: int
    moved: dict[str, float] | None  # control -> mean distance in dB; None if the base itself couldn't be rendered
    lost: tuple[str, ...] = ()  # controls of which no moved sound could be rendered


class ProbeResult(BaseModel):
    """What a probe's file holds."""

    model_config = ConfigDict(frozen=True)

    bases: tuple[BaseResult, ...]


class ProbeRef(ResultRef):
    """A finished probe."""

    name: Annotated[str, StringConstraints(pattern=r"^[\w-]+(/[\w-]+)*\.json$")]  # within the data directory
    renders: int
    synth_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Move:
    """One moved control, and the resulting patch."""

    control: str
    value: float
    patch: Patch


def plan(file: Path, n_base: int) -> list[Probe]:
    """Plan how to measure the weights of a dataset, after checking that they can be measured and written.

    Raises
    ------
    DatasetError
        The file is missing, isn't a dataset, is a recipe or a shard, has no rows, or can't be written.
    EngineMismatch
        The installed vita has other controls.
    """
    with damage_named(file), Dataset(file) as dataset:
        probes = plan_probes(dataset, n_base)
    weights.require_reserved(file)
    return probes


def plan_probes(dataset: Dataset, n_base: int) -> list[Probe]:
    """Choose bases and group them into probes. A dataset always gives the same ones; fewer are the first of more.

    Raises
    ------
    DatasetError
        The dataset is a recipe, or has no rows.
    EngineMismatch
        The installed vita has other controls.
    """
    if dataset.is_recipe:
        raise DatasetError(f"{dataset.path} is a recipe, without audio; make it again with synthcore render")
    if not len(dataset):
        raise DatasetError(f"{dataset.path} has no rows, so there is nothing to weigh; generate some first")
    installed().require_same(dataset.registry, str(dataset.path))
    parts = _parts(choose_bases(dataset, n_base), BASES)
    return [probe_of(dataset, rows, index) for index, rows in enumerate(parts)]


def probe_of(dataset: Dataset, rows: Sequence[int], index: int = 0) -> Probe:
    """The probe that measures at some rows; its key says by content what is measured, and how."""
    key_parts = [METHOD_VERSION, engine().fingerprint, dataset.registry.fingerprint]
    key_parts += [asdict(render_format(dataset.spec)), sorted(varied(dataset)), activity.activity_rules().digest]
    hashes = dataset.column("preset_hash", rows)
    bases = [[patch.decode(), *astuple(performance_of(dataset, row))] for row, patch in zip(rows, hashes, strict=True)]
    return Probe(index=index, file=str(dataset.path), rows=tuple(rows), key=content_hash([*key_parts, bases]))


def choose_bases(dataset: Dataset, n_base: int) -> list[int]:
    """Draw rows: one note of every patch comes before another note of any patch."""
    seed = int.from_bytes(hashlib.sha256(f"bases {dataset.digest}".encode()).digest())
    hashes = dataset.column("preset_hash")
    drawn = np.random.default_rng(seed).permutation(len(dataset))
    seen: dict[bytes, int] = {}
    turns = []
    for row in drawn:
        turns.append(seen.get(hashes[row], 0))
        seen[hashes[row]] = turns[-1] + 1
    return [int(row) for row in drawn[np.argsort(turns, kind="stable")][:n_base]]


def varied(dataset: Dataset) -> set[str]:
    """The controls that vary in a dataset: those drawn, or all of the tier if there are rows made from presets.

    What is the same in every row has no weight: there is nothing to learn about it.
    """
    tempo = {CONTROL} if isinstance(dataset.spec.audio.bpm, Span) else set()
    if dataset.spec.presets_digest:
        return {control.name for control in dataset.registry.of_tier(dataset.spec.tier)}
    return {*dataset.priors.continuous, *dataset.priors.categorical, *tempo}


def render_format(spec: DatasetSpec) -> RenderFormat:
    """How bases and moved sounds are recorded: as rows, but shorter where that keeps the ranking."""
    fmt = replace(spec.render_format.refusing_nothing(), places=PLACES)
    return fmt if spec.tier > 1 else replace(fmt, render_seconds=min(RENDER_SECONDS, fmt.render_seconds))


def performance_of(dataset: Dataset, row: int) -> Performance:
    """How a base and its moved sounds are played: as the row, but held no longer than keeps the ranking."""
    performance = dataset.performances([row])[0]
    if dataset.spec.tier > 1:
        return performance
    return replace(performance, note_seconds=min(NOTE_SECONDS, performance.note_seconds))


def measure(probe: Probe, data_dir: Path) -> ProbeRef:
    """Move the controls of each base of a probe, and write down how far the sound moved.

    Raises
    ------
    DatasetError
        The file is gone, or has been replaced since this was planned.
    Accident
        The same render failed by chance again and again: killed, timed out.
    Interrupted
        Rendering was stopped.
    """
    with Dataset(probe.file) as dataset:
        with damage_named(Path(probe.file)):
            if max(probe.rows) >= len(dataset) or probe_of(dataset, probe.rows).key != probe.key:
                raise DatasetError(f"{probe.file} has been replaced meanwhile; run the same command again")
            works = [BaseWork(dataset, row, varied(dataset)) for row in probe.rows]
        result = ProbeResult(bases=tuple(work.run() for work in works))
    with atomic_path(data_dir / probe.name) as temporary:
        temporary.write_text(result.model_dump_json())
    return ProbeRef(
        name=probe.name,
        checksum=file_checksum(data_dir / probe.name),
        renders=sum(work.renders for work in works),
        synth_cpu_seconds=round(sum(work.cpu_seconds for work in works), 3),
    )


class BaseWork:
    """One base: its moves, their sounds, and how far these are from its own.

    Parameters
    ----------
    dataset : Dataset
    row : int
    names : set of str
        Controls to move, those that can be heard.
    """

    def __init__(self, dataset: Dataset, row: int, names: Set[str]) -> None:
        self.patch, self.registry, self.assets = dataset.patch(row), dataset.registry, dataset.assets
        self.performance = performance_of(dataset, row)
        self.note = self.performance.note
        self.names = names & audible(self.patch, self.registry)
        self.fmt = render_format(dataset.spec)
        self.rate = dataset.spec.audio.sample_rate
        self.renders = 0
        self.cpu_seconds = 0.0

    def run(self) -> BaseResult:
        moves = [move for move in moves_of(self.patch, self.registry, self.note) if move.control in self.names]
        set_here = [move for move in moves if move.control not in LOAD_ONLY]
        in_documents = [move for move in moves if move.control in LOAD_ONLY]
        own = self._play(self.patch, [{}])[0]
        if own is None:
            return BaseResult(preset_hash=self.patch.hash, note=self.note, moved=None)
        base = _Reference(own, self.fmt.samples, self.rate)
        apart: dict[str, list[float]] = {move.control: [] for move in moves}
        for some in _parts(set_here, PLACES):
            sounds = self._play(self.patch, [{move.control: move.value} for move in some])
            for move, sound in zip(some, sounds, strict=True):
                apart[move.control] += base.distances([sound])
        for move in in_documents:
            apart[move.control] += base.distances(self._play(move.patch, [{}]))
        progress.publish(progress.Progress(rows=1, fault=None))
        moved = {name: float(np.mean(found)) for name, found in apart.items() if found}
        lost = tuple(name for name, found in apart.items() if not found)
        return BaseResult(preset_hash=self.patch.hash, note=self.note, moved=moved, lost=lost)

    def _play(self, patch: Patch, changes: Sequence[Mapping[str, float]]) -> list[RenderedRow | None]:
        """Render a patch with each of some changes; None where the synth doesn't survive it."""
        preset = patch.to_json(self.registry, self.assets).encode()
        outcome = play(preset, self.fmt, (self.performance,) * len(changes), changes)
        self.renders += len(outcome.rows)
        self.cpu_seconds += outcome.cpu.settle + outcome.cpu.render
        if not outcome.fault:
            return list(outcome.rows)
        # One of them is the cause; it is found by rendering each alone.
        return [None] if len(changes) == 1 else [self._play(patch, [change])[0] for change in changes]


def audible(patch: Patch, registry: Registry) -> set[str]:
    """The controls that can be heard in a patch, by the rules of `activity`."""
    controls = (*registry.continuous, *registry.categorical)
    return {control.name for control, heard in zip(controls, activity.active(patch, registry), strict=True) if heard}


class _Reference:
    """The sound of a base, measured once."""

    def __init__(self, row: RenderedRow, samples: int, rate: int) -> None:
        self.sha256, self.shape, self.rate = row.audio_sha256, (2, samples), rate
        self.powers = mel_powers(inflate(row.chunk, self.shape), rate)

    def distances(self, sounds: Sequence[RenderedRow | None]) -> list[float]:
        """Measure how far away sounds are, leaving out those that are None."""
        return [self._distance(sound) for sound in sounds if sound is not None]

    def _distance(self, sound: RenderedRow) -> float:
        if sound.audio_sha256 == self.sha256:
            return 0.0
        return level_distance(self.powers, mel_powers(inflate(sound.chunk, self.shape), self.rate))


def moves_of(patch: Patch, registry: Registry, note: int) -> Iterator[Move]:
    """List every move of every control of a base: the same for the same patch and note."""
    for place, control in enumerate(registry.continuous):
        for unit in steps(control, patch.continuous[place]):
            units = patch.continuous.copy()
            units[place] = unit
            value = float(to_values([control], units[place : place + 1])[0])
            yield Move(control.name, value, patch.moved(continuous=units))
    seed = int.from_bytes(hashlib.sha256(f"options {patch.hash} {note}".encode()).digest())
    rng = np.random.default_rng(seed)
    for place, control in enumerate(registry.categorical):
        others = [option for option in range(len(control.options)) if option != patch.categorical[place]]
        for option in rng.permutation(others)[:OPTIONS]:
            options = patch.categorical.copy()
            options[place] = option
            yield Move(control.name, control.low + float(option), patch.moved(categorical=options))


def steps(control: Control, unit: np.float32) -> list[np.float32]:
    """Give the unit values a step down and a step up, without those out of range."""
    step = max(STEP, 1 / (control.high - control.low)) if control.is_whole else STEP
    reached = np.array([unit - step, unit + step])
    inside = reached[(reached > -1e-6) & (reached < 1 + 1e-6)]
    values = to_values([control] * len(inside), np.clip(inside, 0, 1).astype(np.float32))
    return list(to_units([control] * len(inside), values))


def _parts(whole: Sequence[T], size: int) -> list[Sequence[T]]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]
