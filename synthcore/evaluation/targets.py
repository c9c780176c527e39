"""Targets: what is answered. Rows of a dataset, or the sounds of a folder, which have no labels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synthcore.base import shell
from synthcore.engine.rendering import Performance
from synthcore.evaluation import statistics
from synthcore.evaluation.curves import Curve, find_curves
from synthcore.evaluation.labels import label_errors, label_errors_up_to_equivalences
from synthcore.evaluation.metrics import EQUIVALENT, METRICS, Metric
from synthcore.evaluation.sounds import SoundFolder
from synthcore.spec import AudioSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.vital.controls import module_of
from synthcore.vital.patch import Patch

Rows = Sequence[int]


class Targets(Protocol):
    """What is answered, each by its number, its row."""

    @property
    def path(self) -> str:
        """Where they are."""

    @property
    def digest(self) -> str:
        """What they are, by content."""

    @property
    def audio(self) -> AudioSpec:
        """In which form they and their answers are compared."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Those that apply, by name."""

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """The importance of each continuous control, if known."""

    def content(self, rows: Rows, /) -> list[list[str]]:
        """What is compared of each, by content."""

    def performances(self, rows: Rows, /) -> tuple[Performance, ...]:
        """How answers are played."""

    def sound(self, row: int, /) -> NDArray[np.float32]:
        """The audio of one, shape (2, S)."""

    def label_scores(self, row: int, patch: Patch, /) -> dict[str, float]:
        """Score a label as an answer to one's label."""

    def families(self, rows: Rows, /) -> NDArray[np.bytes_]:
        """Which are alike."""

    def groups(self, rows: Rows, /) -> dict[str, dict[str, NDArray[np.bool_]]]:
        """Groups of these rows, by what they are grouped by."""

    def curves(self, scores: NDArray[np.float64], rows: Rows, /) -> tuple[Curve, ...]:
        """How scores of these rows follow the controls."""

    def title(self, row: int, /) -> str:
        """What one is called."""

    def preset_name(self, row: int, /) -> str:
        """What its preset is called; empty if it isn't known."""

    def listen(self, row: int, /) -> str:
        """The command that exports it, or the file to play."""


@contextlib.contextmanager
def opened(against: str | Path, sounds: SoundFolder | None) -> Iterator[Targets]:
    """The sounds of a folder, or the rows of a dataset, which is open meanwhile.

    Raises
    ------
    DatasetError
        The file isn't a dataset, or is damaged.
    """
    if sounds is not None:
        yield sounds
        return
    with damage_named(Path(against)), Dataset(against) as dataset:
        yield RowTargets(dataset)


@dataclass(frozen=True)
class RowTargets:
    """Rows of a dataset."""

    dataset: Dataset

    @property
    def path(self) -> str:
        """The file."""
        return str(self.dataset.path)

    @property
    def digest(self) -> str:
        """The content digest."""
        return self.dataset.digest

    @property
    def audio(self) -> AudioSpec:
        """The form of the rows."""
        return self.dataset.spec.audio

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """All of them."""
        return METRICS

    @cached_property
    def weights(self) -> NDArray[np.float32] | None:
        """The importance of each continuous control, if the dataset's weights are of its rows."""
        weights = self.dataset.weights
        return weights.continuous if weights is not None and weights.status == "complete" else None

    def content(self, rows: Rows) -> list[list[str]]:
        """Hashes of audio and label."""
        columns = (self.dataset.column(name, list(rows)).tolist() for name in ("audio_sha256", "preset_hash"))
        return [[sound.decode(), label.decode()] for sound, label in zip(*columns, strict=True)]

    def performances(self, rows: Rows) -> tuple[Performance, ...]:
        """How the rows are played."""
        return self.dataset.performances(list(rows))

    def sound(self, row: int) -> NDArray[np.float32]:
        """The audio of a row, shape (2, S)."""
        audio: NDArray[np.float32] = self.dataset.column("audio", [row])[0]
        return audio

    def label_scores(self, row: int, patch: Patch) -> dict[str, float]:
        """Score a label as an answer to a row's."""
        compared = (self.dataset.patch(row), patch, self.dataset.registry, self.weights)
        nearest = asdict(label_errors_up_to_equivalences(*compared))
        return asdict(label_errors(*compared)) | {f"{name}{EQUIVALENT}": error for name, error in nearest.items()}

    def families(self, rows: Rows) -> NDArray[np.bytes_]:
        """The families; of a shard, which knows none, the patches."""
        name = "family" if "family" in self.dataset.column_names else "preset_hash"
        return self.dataset.column(name, list(rows))

    def groups(self, rows: Rows) -> dict[str, dict[str, NDArray[np.bool_]]]:
        """By tier, source, note, and module that is heard."""
        groups = {name: statistics.group_by(self.dataset.column(name, list(rows))) for name in ("tier", "source")}
        groups["note"] = statistics.group_by_note(self.dataset.column("midi_note", list(rows)))
        return groups | ({"module": self._by_module(rows)} if "active" in self.dataset.column_names else {})

    def curves(self, scores: NDArray[np.float64], rows: Rows) -> tuple[Curve, ...]:
        """How scores follow the controls."""
        return find_curves(scores, self.dataset, np.asarray(rows, np.int64))

    def title(self, row: int) -> str:
        """Its number."""
        return f"row {row}"

    def preset_name(self, row: int) -> str:
        """What people call its preset: anything can be in it."""
        name: bytes = self.dataset.column("preset_name", [row])[0]
        return name.decode(errors="replace")

    def listen(self, row: int) -> str:
        """The command that exports it."""
        return shell.command("export", self.dataset.path, str(row), "-o", "out")

    def _by_module(self, rows: Rows) -> dict[str, NDArray[np.bool_]]:
        """In which rows each module can be heard: it is on, and a control of it is active besides its switch.

        Both are needed: of a module that is off, a control may be active that decides in which order others play.
        Modules that are heard in all rows, or in none, are left out.
        """
        active, registry = self.dataset.column("active", list(rows)), self.dataset.registry
        names = [control.name for control in (*registry.continuous, *registry.categorical)]
        modules = np.array(["" if name.endswith("_on") else module_of(name) for name in names])
        options = self.dataset.column("categorical", list(rows))
        is_on = {
            module_of(control.name): options[:, place] > 0
            for place, control in enumerate(registry.categorical)
            if control.name.endswith("_on")
        }
        heard = {
            name: np.logical_or.reduce(active[:, modules == name], axis=1) & is_on.get(name, np.True_)
            for name in sorted({*modules.tolist()} - {""})
        }
        return {name: in_rows for name, in_rows in heard.items() if in_rows.any() and not in_rows.all()}
