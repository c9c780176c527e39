"""Importance weights: how far the sound moves when one control is moved, averaged over rows of a dataset.

Of a few rows, the bases, each control that can be heard is moved: a step up and down, or to other options. Base and
moved sound take the same road: one child loads the base and forks; each fork sets the control, settles and renders.
What it plays is bit for bit what a row with that label would hold. So the distance between both is the control's
doing alone, and exactly 0 where it can't be heard.

The unit of work is a probe: a few bases, with a result file of its own. It is a function of its key, which knows the
bases by what they are, never by the file or the row they are in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints

from synthcore.analysis.distances import level_distance, mel_powers
from synthcore.base import progress
from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError
from synthcore.base.hashing import content_hash, file_checksum
from synthcore.engine.chunk import inflate
from synthcore.engine.machine import engine
from synthcore.engine.play import play
from synthcore.engine.rendering import RenderedRow, RenderFormat
from synthcore.spec import DatasetSpec
from synthcore.storage import weights
from synthcore.storage.dataset import Dataset, damage_named
from synthcore.vital import activity
from synthcore.vital.controls import Control, Registry, installed
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.patch import Patch

#: Raise it when the same bases would get other weights.
METHOD_VERSION = 1
#: How far a continuous control is moved, in unit values. Whole numbers move by at least one.
STEP = 0.1
#: To how many of its other options a categorical control is moved.
OPTIONS = 3
#: At tier 1 renders are no longer than this: 0.6 of the cost, and the ranking is that of two seconds. Above, echoes
#: come later (docs/decisions/0010).
NOTE_SECONDS, RENDER_SECONDS = 0.75, 1.0
#: Bases of a probe: at tier 1 half a minute of work that an accident can cost.
BASES = 4
#: Renders that one child of the base is forked into: their sounds wait in memory together.
PLACES = 16
#: What setting a control doesn't do: the synth takes `oversampling` from a document alone, and a document leaves out
#: the sample of a patch that has it off.
LOAD_ONLY = ("oversampling", "sample_on")

T = TypeVar("T")


class Probe(BaseModel):
    """Some bases whose controls are to be moved."""

    model_config = ConfigDict(frozen=True)

    index: int
    file: str  # where the bases are read; says nothing of what is measured
    rows: tuple[int, ...]
    key: str  # SHA-256 in hex: names what is measured, the result file and the cache entry

    @property
    def name(self) -> str:
        """Where the result lies, relative to the data directory."""
        return f"weights/{self.key[:2]}/{self.key}.json"


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


class ProbeRef(BaseModel):
    """A finished probe."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[\w-]+(/[\w-]+)*\.json$")]  # within the data directory
    checksum: str
    renders: int
    synth_cpu_seconds: float

    def is_intact(self, data_dir: Path) -> bool:
        """Whether the file is there, and holds what was written."""
        path = data_dir / self.name
        return path.is_file() and file_checksum(path) == self.checksum


@dataclass(frozen=True, slots=True)
class Move:
    """One control moved, and the patch that results."""

    control: str
    value: float
    patch: Patch


def plan(file: Path, n_base: int) -> list[Probe]:
    """Plan the weights of a dataset, if they can be measured and written.

    Raises
    ------
    DatasetError
        The file is missing, no dataset, a recipe or a shard, has no rows, or can't be written.
    EngineMismatch
        The installed vita has other controls.
    """
    with damage_named(file), Dataset(file) as dataset:
        probes = plan_probes(dataset, n_base)
    weights.require_reserved(file)
    return probes


def plan_probes(dataset: Dataset, n_base: int) -> list[Probe]:
    """Choose bases and hand them to probes. The same dataset always gives the same; fewer are the first of more.

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
    hashes, notes = dataset.column("preset_hash"), dataset.column("midi_note")
    made_of = [METHOD_VERSION, engine().fingerprint, dataset.registry.fingerprint]
    made_of += [asdict(render_format(dataset.spec)), sorted(varied(dataset)), activity.activity_rules().digest]
    probes: list[Probe] = []
    for rows in _parts(choose_bases(dataset, n_base), BASES):
        bases = [[hashes[row].decode(), int(notes[row])] for row in rows]
        key = content_hash([*made_of, bases])
        probes.append(Probe(index=len(probes), file=str(dataset.path), rows=tuple(rows), key=key))
    return probes


def choose_bases(dataset: Dataset, n_base: int) -> list[int]:
    """Draw rows: of each patch one note, before any patch comes with another note."""
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
    """The controls that vary in a dataset: those drawn, and with rows made from presets all of the tier.

    What is the same in every row has no weight: there is nothing to learn of it.
    """
    if dataset.spec.presets_digest:
        return {control.name for control in dataset.registry.of_tier(dataset.spec.tier)}
    return {*dataset.priors.continuous, *dataset.priors.categorical}


def render_format(spec: DatasetSpec) -> RenderFormat:
    """What bases and moved sounds are rendered as: as rows, but cut short where the ranking keeps."""
    fmt = replace(spec.render_format.refusing_nothing(), notes=(0,) * PLACES)
    if spec.tier > 1:
        return fmt
    short = {"note_seconds": NOTE_SECONDS, "render_seconds": RENDER_SECONDS}
    return replace(fmt, **{name: min(seconds, getattr(fmt, name)) for name, seconds in short.items()})


def measure(probe: Probe, data_dir: Path) -> ProbeRef:
    """Move the controls of each base of a probe, and write down how far the sound went.

    Raises
    ------
    DatasetError
        The file is gone, or no longer holds the bases.
    Accident
        The same render met accident after accident.
    Interrupted
        Rendering was stopped.
    """
    with Dataset(probe.file) as dataset:
        with damage_named(Path(probe.file)):
            works = [_BaseWork(dataset, row) for row in probe.rows]
        result = ProbeResult(bases=tuple(work.run() for work in works))
    with atomic_path(data_dir / probe.name) as temporary:
        temporary.write_text(result.model_dump_json())
    return ProbeRef(
        name=probe.name,
        checksum=file_checksum(data_dir / probe.name),
        renders=sum(work.renders for work in works),
        synth_cpu_seconds=round(sum(work.cpu_seconds for work in works), 3),
    )


class _BaseWork:
    """One base: its moves, their sounds, how far these are from its own."""

    def __init__(self, dataset: Dataset, row: int) -> None:
        self.patch, self.registry, self.assets = dataset.patch(row), dataset.registry, dataset.assets
        self.note = int(dataset.column("midi_note", [row])[0])
        self.names = varied(dataset) & audible(self.patch, self.registry)
        self.fmt = render_format(dataset.spec)
        self.rate = dataset.spec.audio.sample_rate
        self.renders = 0
        self.cpu_seconds = 0.0

    def run(self) -> BaseResult:
        moves = [move for move in moves_of(self.patch, self.registry, self.note) if move.control in self.names]
        set_here = [move for move in moves if move.control not in LOAD_ONLY]
        in_documents = [move for move in moves if move.control in LOAD_ONLY]
        own = self._play(self.patch, [{}])[0]
        told = {"preset_hash": self.patch.hash, "note": self.note}
        if own is None:
            return BaseResult(**told, moved=None)
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
        return BaseResult(**told, moved=moved, lost=tuple(name for name, found in apart.items() if not found))

    def _play(self, patch: Patch, changes: Sequence[Mapping[str, float]]) -> list[RenderedRow | None]:
        """Render a patch with each of some changes; None where the synth doesn't survive it."""
        preset = patch.to_json(self.registry, self.assets).encode()
        outcome = play(preset, self.fmt, (self.note,) * len(changes), changes)
        self.renders += len(outcome.rows)
        self.cpu_seconds += outcome.cpu.settle + outcome.cpu.render
        if not outcome.fault:
            return list(outcome.rows)
        # One of them is to blame: it is found by rendering each alone.
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
        """How far sounds are away, those that are there."""
        return [self._distance(sound) for sound in sounds if sound is not None]

    def _distance(self, sound: RenderedRow) -> float:
        if sound.audio_sha256 == self.sha256:
            return 0.0
        return level_distance(self.powers, mel_powers(inflate(sound.chunk, self.shape), self.rate))


def moves_of(patch: Patch, registry: Registry, note: int) -> Iterator[Move]:
    """Every move of every control of a base: the same for the same patch and note."""
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
    """Where a step up and a step down lead that stays in the range: one of them at its ends, else both."""
    step = max(STEP, 1 / (control.high - control.low)) if control.is_whole else STEP
    reached = np.array([unit - step, unit + step])
    inside = reached[(reached > -1e-6) & (reached < 1 + 1e-6)]
    values = to_values([control] * len(inside), np.clip(inside, 0, 1).astype(np.float32))
    return list(to_units([control] * len(inside), values))


def _parts(whole: Sequence[T], size: int) -> list[Sequence[T]]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]
