"""Comparing two datasets: how their specs differ, what is in both, and their numbers side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.audio import QUICK, AudioMeasurements, measure_audio
from synthcore.analysis.differences import LETTERS, in_words, spec_changes
from synthcore.analysis.inspection import Inspection, inspect, new_table, text_of
from synthcore.analysis.overview import SHORT, played_text
from synthcore.base.addresses import place_of
from synthcore.base.counting import how_many
from synthcore.storage.dataset import Dataset


class Comparison(BaseModel):
    """What two datasets have in common and how they differ. Pairs are of the first and the second."""

    model_config = ConfigDict(frozen=True)

    found: tuple[Inspection, Inspection]
    spec: dict[str, tuple[Any, Any]]  # fields that differ; None where one has no such field
    same_sound: tuple[float, float]  # of its rows: their audio is in the other file, bit for bit
    same_label: tuple[float, float]  # of its rows: their patch and note are in the other file

    @property
    def headline(self) -> list[str]:
        """What differs, in sentences."""
        if self.found[0].digest == self.found[1].digest:
            return ["They hold the same rows: their content digests are equal."]
        changed = [f"{name} ({one} and {other})" for name, (one, other) in self.changes.items()]
        spec = f"The specs differ in {_listed(changed)}." if changed else "The specs are the same."
        return [
            spec,
            _shared("sound", "bit for bit like a row", self.same_sound),
            _shared("have", "the patch and note of a row", self.same_label),
        ]

    @property
    def changes(self) -> dict[str, tuple[str, str]]:
        """The fields of the spec that differ, in words."""
        return {name: in_words(*both) for name, both in self.spec.items()}

    @property
    def lines(self) -> dict[str, tuple[str, str]]:
        """What each holds, line by line."""
        of_each = [_lines_of(found) for found in self.found]
        return {what: (of_each[0][what], of_each[1][what]) for what in of_each[0]}

    def to_text(self) -> str:
        """Describe it for a terminal."""
        names = [f"{letter}  {found.file}\n" for letter, found in zip(LETTERS, self.found, strict=True)]
        sentences = "".join(f"- {sentence}\n" for sentence in self.headline)
        table = new_table("side by side", "", *LETTERS)
        for what, (one, other) in self.lines.items():
            table.add_row(what, one, other)
        return f"{''.join(names)}\n{sentences}\n{text_of([table])}"


def compare(
    first: Dataset, second: Dataset, measured: tuple[AudioMeasurements, AudioMeasurements] | None = None
) -> Comparison:
    """Inspect two datasets, and find the rows that are in both."""
    measured = measured or (measure_audio(first, QUICK), measure_audio(second, QUICK))
    sounds = [dataset.column("audio_sha256") for dataset in (first, second)]
    labels = [_labels(dataset) for dataset in (first, second)]
    return Comparison(
        found=(inspect(first, measured[0]), inspect(second, measured[1])),
        spec=spec_changes(first, second),
        same_sound=(_share_in(*sounds), _share_in(*reversed(sounds))),
        same_label=(_share_in(*labels), _share_in(*reversed(labels))),
    )


def _labels(dataset: Dataset) -> NDArray[np.bytes_]:
    """What each row plays: its patch's hash, which includes the tempo, and how it is played."""
    labels: NDArray[np.bytes_] = dataset.column("preset_hash")
    for name in ("midi_note", "velocity", "note_seconds"):
        labels = np.char.add(np.char.add(labels, b" "), dataset.column(name).astype("S"))
    return labels


def _share_in(rows: NDArray[Any], others: NDArray[Any]) -> float:
    return float(np.isin(rows, others).mean()) if len(rows) else 0.0


def _lines_of(found: Inspection) -> dict[str, str]:
    audio, covered, twice = found.spec["audio"], found.coverage, found.duplicates
    _, low, middle, high, _ = found.distributions.get("rms (dBFS)", [float("nan")] * 5)
    varied = covered.continuous_varied + covered.categorical_varied
    return {
        "file": f"{place_of(found.file).name}, {found.bytes / 1e6:.1f} MB",
        "rows": f"{found.rows} of {how_many(found.patches, 'patch', 'es')}",
        "tier": str(found.tier),
        "notes": played_text(audio),
        "seconds": f"{audio['render_seconds']:g} at {audio['sample_rate']} Hz",
        "accepted": f"{found.acceptance:.1%} of {found.candidates}",
        "refused": ", ".join(f"{reason} {count}" for reason, count in found.faults.items()) or "none",
        "loudness": f"{middle:.1f} dBFS; 5 to 95 %: {low:.1f} to {high:.1f}" if found.rows else "-",
        "controls varied": f"{varied}; the least over {covered.lowest_span:.1%} of its range" if varied else "none",
        "thin": covered.thin_unknown or f"{covered.thin_share:.1%} of a control's prior",
        "near-duplicates": twice.near_text,
        "wavetables": f"{len(found.usage.wavetables)} in {how_many(found.usage.oscillators, 'oscillator')}",
        "vita": f"{found.engine['vita']} on {found.engine['machine']}",
        "digest": found.digest[:SHORT],
    }


def _shared(verb: str, what: str, shares: tuple[float, float]) -> str:
    return f"{shares[0]:.1%} of the rows of A and {shares[1]:.1%} of B {verb} {what} of the other."


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
