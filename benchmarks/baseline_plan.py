"""What most would write: a pool of engines that reset, apply, inject and render, and a parent that writes gzip-4.

One `vita.Synth` to a process serves preset after preset (`maxtasksperchild=500`); the parent gathers rows and writes
them in chunks of 64. Nothing is settled and nothing isolated, so its audio depends on what was played before. Where
the design leaves a choice, the faster one is taken: a note is kept alone, judged in the pool, and nothing is synced.

Run as `python -m benchmarks.baseline_plan REQUEST`, a JSON document as `Request` has it; prints a JSON report.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import vita
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy.stats import qmc

from synthcore.engine import faults
from synthcore.engine.rendering import Performance
from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec
from synthcore.vital.catalog import builtin
from synthcore.vital.controls import Control, Registry, installed
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.wavetable import playable

TASKS_PER_CHILD = 500
CHUNK_ROWS = 64
FLUSH_ROWS = 256
BLOCK = 1024  #: presets to a hypercube
AHEAD = 8  #: presets that wait for each worker: none ever idles, and few are rendered in vain in the end
HANG_SECONDS = 300.0  #: a pool whose worker crashed waits for ever
#: The design's heuristics against silence, in unit values.
FLOORS = {"osc_1_level": 0.3, "osc_2_level": 0.3, "osc_3_level": 0.3, "filter_1_cutoff": 0.1, "filter_2_cutoff": 0.1}


class Request(BaseModel):
    """What to make: rows of drawn presets until there are enough, or every note of the presets in a folder."""

    tier: Literal[1, 2, 3]
    rows: int
    workers: int
    output: Path
    seed: int = 0
    presets: Path | None = None
    audio: AudioSpec = AudioSpec()
    acceptance: AcceptanceSpec = AcceptanceSpec()


@dataclass(frozen=True)
class Preset:
    """One preset as the pool gets it: controls one by one, and what can't be set through a control."""

    values: dict[str, float]
    wavetables: list[Any] = field(default_factory=list)
    routes: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Rendered:
    """The notes of a preset that were kept."""

    preset: Preset
    notes: list[tuple[int, NDArray[np.float32]]]
    refused: int


class Sampler:
    """Presets drawn as the design says: Latin hypercube for the continuous, uniform for the categorical controls."""

    def __init__(self, registry: Registry, tier: int, seed: int) -> None:
        self._tier, self._rng = tier, np.random.default_rng(seed)
        controls = registry.of_tier(tier)
        self._continuous = [c for c in controls if not c.is_categorical]
        self._categorical = [c for c in controls if c.is_categorical]
        self._floors = np.array([FLOORS.get(c.name, 0.0) for c in self._continuous])
        # The design varies wavetables from tier 2 on.
        self._wavetables = [json.loads(playable(t.decode())) for t in builtin().assets.values()] if tier > 1 else []

    def __iter__(self) -> Iterator[Preset]:
        while True:
            cube = qmc.LatinHypercube(d=len(self._continuous), rng=self._rng).random(BLOCK)
            units = (self._floors + cube * (1 - self._floors)).astype(np.float32)
            yield from map(self._preset, to_values(self._continuous, units))

    def _preset(self, raw: NDArray[np.float64]) -> Preset:
        values = dict(zip((c.name for c in self._continuous), raw.tolist(), strict=True))
        values.update({c.name: c.low + int(self._rng.integers(len(c.options))) for c in self._categorical})
        chosen = self._rng.integers(len(self._wavetables), size=3) if self._wavetables else ()
        return Preset(values, [self._wavetables[i] for i in chosen])


def read_presets(folder: Path, registry: Registry) -> list[Preset]:
    """Read `.vital` files as presets that are applied control by control."""
    presets = []
    for path in sorted(folder.glob("*.vital")):
        settings = json.loads(path.read_text())["settings"]
        named = {c.name: settings[c.name] for c in registry.controls}
        named |= {name: value for name, value in settings.items() if name.startswith("modulation_")}
        routes = [(m["source"], m["destination"]) for m in settings["modulations"] if m["source"]]
        presets.append(Preset(named, settings["wavetables"], routes))
    return presets


class Engine:
    """One synth that serves preset after preset."""

    def __init__(self, request: Request) -> None:
        self.audio = request.audio
        self.limits = DatasetSpec(audio=request.audio, acceptance=request.acceptance).render_format
        self.judges = request.presets is None  # presets given are rendered whatever they sound like
        self.synth = vita.Synth()
        self.synth.set_sample_rate(self.audio.sample_rate)
        self.controls = self.synth.get_controls()

    def render(self, preset: Preset) -> Rendered:
        """Reset, apply, inject, and render each note."""
        self.synth.load_init_preset()
        self.synth.clear_modulations()
        for name, value in preset.values.items():
            self.controls[name].set(value)
        if preset.wavetables:
            document = json.loads(self.synth.to_json())
            document["settings"]["wavetables"] = preset.wavetables
            if not self.synth.load_json(json.dumps(document)):
                return Rendered(preset, [], self.audio.rows_per_patch)
        for source, destination in preset.routes:
            self.synth.connect_modulation(source, destination)
        rendered = [(played.note, self._play(played)) for played in self.audio.performances]
        kept = [(note, sound) for note, sound in rendered if not self.judges or self._is_good(sound)]
        return Rendered(preset, kept, len(rendered) - len(kept))

    def _play(self, played: Performance) -> NDArray[np.float32]:
        return self.synth.render(played.note, played.velocity / 127, played.note_seconds, self.audio.render_seconds)

    def _is_good(self, sound: NDArray[np.float32]) -> bool:
        rms_dbfs, peak = faults.measure(sound)
        return faults.judge(rms_dbfs, peak, self.limits.min_rms_dbfs, self.limits.max_peak) is None


_engines: list[Engine] = []  # one in each process of the pool


def _begin(request: Request) -> None:
    _engines[:] = [Engine(request)]


def _render(preset: Preset) -> Rendered:
    return _engines[0].render(preset)


class Writer:
    """Gathers rows and appends them in whole chunks."""

    def __init__(self, file: h5py.File, samples: int, registry: Registry) -> None:
        self.file, self.registry, self.rows = file, registry, 0
        self._waiting: list[tuple[NDArray[Any], ...]] = []
        shapes = {
            "audio/waveforms": ((2, samples), "<f4"),
            "params/continuous": ((len(registry.continuous),), "<f4"),
            "params/categorical": ((len(registry.categorical),), "<i4"),
            "metadata/midi_note": ((), "<i4"),
        }
        self._columns = [
            file.create_dataset(
                name, (0, *tail), dtype, maxshape=(None, *tail), chunks=(CHUNK_ROWS, *tail), compression="gzip",
                compression_opts=4,
            )
            for name, (tail, dtype) in shapes.items()
        ]  # fmt: skip

    def add(self, rendered: Rendered) -> None:
        """Take the notes of a preset."""
        if not rendered.notes:
            return
        values = {c.name: rendered.preset.values.get(c.name, c.default) for c in self.registry.controls}
        continuous = to_units(self.registry.continuous, np.array([values[c.name] for c in self.registry.continuous]))
        categorical = np.array([_option(c, values[c.name]) for c in self.registry.categorical])
        for note, sound in rendered.notes:
            self._waiting.append((sound, continuous, categorical, np.array(note)))
            if len(self._waiting) == CHUNK_ROWS:
                self.write()

    def write(self) -> None:
        """Append what waits."""
        if not self._waiting:
            return
        before, self.rows = self.rows, self.rows + len(self._waiting)
        for column, values in zip(self._columns, zip(*self._waiting, strict=True), strict=True):
            column.resize(self.rows, axis=0)
            column[before:] = np.stack(values)
        self._waiting.clear()
        if self.rows // FLUSH_ROWS > before // FLUSH_ROWS:
            self.file.flush()

    @property
    def taken(self) -> int:
        return self.rows + len(self._waiting)


def _option(control: Control, value: float) -> int:
    return round(value - control.low)


def generate(request: Request) -> dict[str, Any]:
    """Fill one file; say how many rows it has, what was refused, and how long it took."""
    registry = installed()
    presets: Any = Sampler(registry, request.tier, request.seed)
    if request.presets:
        presets = read_presets(request.presets, registry)
    samples = int(request.audio.render_seconds * request.audio.sample_rate)
    places, is_over, refused = threading.Semaphore(request.workers * AHEAD), threading.Event(), 0

    def handed_out() -> Iterator[Preset]:
        for preset in presets:
            places.acquire()  # the pool would take an endless list at once
            if is_over.is_set():
                return
            yield preset

    started = time.monotonic()
    with h5py.File(request.output, "w") as file:
        writer = Writer(file, samples, registry)
        with multiprocessing.Pool(request.workers, _begin, (request,), TASKS_PER_CHILD) as pool:
            done = pool.imap_unordered(_render, handed_out())
            while writer.taken < request.rows:
                rendered = done.next(HANG_SECONDS)
                places.release()
                writer.add(rendered)
                refused += rendered.refused
            is_over.set()
            places.release()
        writer.write()
    seconds = time.monotonic() - started
    size = request.output.stat().st_size
    return {"rows": writer.rows, "refused": refused, "seconds": seconds, "bytes": size}


if __name__ == "__main__":
    print(json.dumps(generate(Request.model_validate_json(sys.argv[1]))))
