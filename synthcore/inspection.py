"""Inspecting: what a dataset holds, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from synthcore.candidates import PRESET_SOURCES, Provenance
from synthcore.controls import differences, installed
from synthcore.engine.faults import REASONS
from synthcore.errors import DatasetError, SynthcoreError
from synthcore.normalize import to_values
from synthcore.storage.dataset import Dataset

#: Rows whose audio is read for the spectral centroid: enough for quantiles, little to inflate.
CENTROID_ROWS = 256
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
#: An accepted control should span this much of its prior's range.
SPAN = 0.9
#: Rows whose labels are read at a time: memory doesn't grow with the dataset.
BATCH = 4096
#: Refused presets that the text lists.
SHOWN = 20
#: Columns of a terminal that everyone has.
WIDTH = 80


class Coverage(BaseModel):
    """How much of the priors the accepted rows reach."""

    model_config = ConfigDict(frozen=True)

    continuous_varied: int
    categorical_varied: int
    lowest_span: float  # share of its prior's range, of the control that spans least
    narrow: dict[str, float]  # controls that span under SPAN of it
    missing_options: dict[str, list[str]]  # allowed options that no row has


class SourceOfPresets(BaseModel):
    """Presets of one place and one licence."""

    model_config = ConfigDict(frozen=True)

    source: str
    repository: str
    commit: str
    licence: str
    authors: list[str]
    presets: int
    rows: int  # made from them, variations included


class RefusedPreset(BaseModel):
    """A preset that made no row."""

    model_config = ConfigDict(frozen=True)

    file: str
    reason: str


class Inspection(BaseModel):
    """What is in a dataset."""

    model_config = ConfigDict(frozen=True)

    file: str
    bytes: int
    version: str
    rows: int
    patches: int
    tier: int
    digest: str
    is_recipe: bool
    spec: dict[str, Any]
    engine: dict[str, Any]
    shapes: dict[str, list[int]]
    acceptance: float
    candidates: int
    faults: dict[str, int]
    coverage: Coverage
    distributions: dict[str, list[float]]  # at QUANTILES
    sources: dict[str, int]
    presets: list[SourceOfPresets]
    refused_presets: list[RefusedPreset]
    importance_weights: str
    gaps: list[dict[str, Any]]  # patches that the dataset lacks, because their shard failed
    other_synth: list[str]  # how the synth installed here differs from the one it was made with

    def to_text(self) -> str:
        """Say it, for a terminal."""
        return text_of(self._tables())

    def _tables(self) -> list[Table]:
        about = new_table("dataset", "", "")
        for name, value in {
            "file": f"{self.file} ({self.bytes / 1e6:.1f} MB, schema {self.version})",
            "rows": f"{self.rows} of tier {self.tier}, {self.patches} patches ({_counted(self.sources)})",
            "recipe": "without audio: synthcore render makes it again" if self.is_recipe else "",
            "lacks": "; ".join(f"{g['patches']} {g['source']} patches from {g['first_patch']}" for g in self.gaps),
            "digest": self.digest,
            "accepted": f"{self.acceptance:.1%} of {self.candidates} candidate patches",
            "weights": self.importance_weights,
            "audio": _counted(self.spec["audio"]),
            "spec": _counted({k: v for k, v in self.spec.items() if k not in ("audio", "acceptance")}),
            "vita": f"{self.engine['vita']} on {self.engine['machine']}",
            "synth here": "; ".join(self.other_synth) or "the same",
        }.items():
            if value:
                about.add_row(name, str(value))
        presets = new_table("presets", "from", "commit", "licence", "by", "presets", "rows")
        for found_at in self.presets:
            by = ", ".join(found_at.authors[:3]) + (", ..." if len(found_at.authors) > 3 else "")
            where = found_at.repository or found_at.source
            counts = (str(found_at.presets), str(found_at.rows))
            presets.add_row(where, found_at.commit[:10], found_at.licence, by, *counts)
        refused = new_table("refused presets", "file", "reason")
        for preset in self.refused_presets[:SHOWN]:
            refused.add_row(preset.file, preset.reason)
        if len(self.refused_presets) > SHOWN:
            refused.add_row(f"... and {len(self.refused_presets) - SHOWN} more (--json lists all)", "")
        shapes = new_table("columns", "name", "shape")
        for name, shape in self.shapes.items():
            shapes.add_row(name, " x ".join(map(str, shape)))
        faults = new_table("refused candidates", "reason", "count", "meaning")
        for reason, count in self.faults.items():
            faults.add_row(reason, str(count), REASONS[reason])
        spread = new_table("distributions", "", *("min", "5 %", "median", "95 %", "max"))
        for name, values in self.distributions.items():
            spread.add_row(name, *(f"{v:.3g}" for v in values))
        covered = new_table("coverage of the priors", "", "")
        found = self.coverage
        covered.add_row(
            "varied", f"{found.continuous_varied} continuous, {found.categorical_varied} categorical controls"
        )
        covered.add_row("lowest span", f"{found.lowest_span:.1%} of a prior's range")
        covered.add_row(f"under {SPAN:.0%}", _counted({k: f"{v:.0%}" for k, v in found.narrow.items()}) or "none")
        covered.add_row("missing options", _counted(found.missing_options) or "none")
        return [about, presets, refused, shapes, faults, spread, covered]


class RowWords(BaseModel):
    """One row in words."""

    model_config = ConfigDict(frozen=True)

    file: str
    row: int
    metadata: dict[str, Any]
    controls: dict[str, str]  # those that differ from the init preset
    modulation: list[str]

    def to_text(self) -> str:
        """Say it, for a terminal."""
        about = new_table(f"row {self.row} of {self.file}", "", "")
        for name, value in self.metadata.items():
            about.add_row(name, str(value))
        controls = new_table("controls that differ from the init preset", "control", "value")
        for name, value in self.controls.items():
            controls.add_row(name, value)
        routes = new_table("modulation", "route")
        for line in self.modulation:
            routes.add_row(line)
        return text_of([about, controls, *([routes] if self.modulation else [])])


def inspect(dataset: Dataset) -> Inspection:
    """Gather what is in a dataset. Reads all labels, and the audio of at most `CENTROID_ROWS` rows."""
    rejected = dataset.rejections()
    patches = len(set(zip(dataset.column("source").tolist(), dataset.column("patch_index").tolist(), strict=True)))
    faults = Counter(reason.decode() for reason in rejected["reason"].tolist())
    sources = Counter(source.decode() for source in dataset.column("source").tolist())
    candidates = patches + sum(faults.values())
    measured = {"rms (dBFS)": dataset.column("rms_dbfs"), "peak": dataset.column("peak")}
    if not dataset.is_recipe and len(dataset):
        measured["centroid (Hz)"] = _sample_centroids(dataset)
    return Inspection(
        file=str(dataset.path),
        bytes=dataset.path.stat().st_size,
        version=dataset.version,
        rows=len(dataset),
        patches=patches,
        tier=dataset.spec.tier,
        digest=dataset.digest,
        is_recipe=dataset.is_recipe,
        spec=dataset.spec.model_dump(mode="json"),
        engine={
            name: getattr(dataset.engine, name) for name in ("vita", "build", "machine", "cpu_features", "version")
        },
        shapes=dataset.shapes,
        acceptance=patches / max(1, candidates),
        candidates=candidates,
        faults=dict(faults.most_common()),
        coverage=measure_coverage(dataset),
        distributions={k: [float(q) for q in np.quantile(v, QUANTILES)] for k, v in measured.items() if len(v)},
        sources=dict(sources),
        presets=_count_presets(dataset),
        refused_presets=_refused_presets(dataset),
        importance_weights=dataset.weights_status,
        gaps=dataset.gaps,
        other_synth=_compare_synths(dataset),
    )


def _sample_centroids(dataset: Dataset) -> NDArray[np.float64]:
    """Spectral centroids of some rows, evenly spaced."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, CENTROID_ROWS).astype(int)).tolist()
    rate = dataset.spec.audio.sample_rate
    return np.array([centroid_hz(dataset.column("audio", [row])[0], rate) for row in rows])


def _count_presets(dataset: Dataset) -> list[SourceOfPresets]:
    """Group the presets by place and licence, and count the rows that descend from each group."""
    groups: dict[tuple[str, str, str, str], list[Provenance]] = {}
    for preset in dataset.sources():
        place = (preset.source, preset.repository, preset.commit, preset.licence)
        groups.setdefault(place, []).append(preset)
    parents = dataset.column("parents")
    found = []
    for (source, repository, commit, licence), presets in sorted(groups.items()):
        hashes = np.array([p.preset_hash for p in presets], dtype="S64")
        found.append(
            SourceOfPresets(
                source=source,
                repository=repository,
                commit=commit,
                licence=licence,
                authors=sorted({p.author for p in presets if p.author}),
                presets=len(presets),
                rows=int(np.isin(parents, hashes).any(axis=1).sum()),
            )
        )
    return found


def _refused_presets(dataset: Dataset) -> list[RefusedPreset]:
    """The presets that made no row, and why."""
    files = {p.preset_hash: f"{p.repository} {p.file}".strip() for p in dataset.sources()}
    rejected = dataset.rejections()
    of_presets = np.isin(rejected["source"], [source.encode() for source in PRESET_SOURCES])
    hashes, reasons = rejected["parents"][of_presets, 0].tolist(), rejected["reason"][of_presets].tolist()
    refused = zip(hashes, reasons, strict=True)
    return [RefusedPreset(file=files[p.decode()], reason=reason.decode()) for p, reason in refused]


def _compare_synths(dataset: Dataset) -> list[str]:
    try:
        ours = installed()
    except SynthcoreError as error:  # a dataset can be looked at without a synth
        return [str(error)]
    return differences(dataset.registry, ours) if ours.fingerprint != dataset.registry.fingerprint else []


def measure_coverage(dataset: Dataset) -> Coverage:
    """Compare what the synthetic rows hold with what the priors allow."""
    priors, registry = dataset.priors, dataset.registry
    low = np.full(len(registry.continuous), np.inf)
    high = -low
    occurring: list[set[int]] = [set() for _ in registry.categorical]
    for start in range(0, len(dataset), BATCH):
        rows = slice(start, start + BATCH)
        drawn = dataset.column("source", rows) == b"synthetic"
        if not drawn.any():
            continue
        values = to_values(registry.continuous, dataset.column("continuous", rows)[drawn])
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
        for options, column in zip(occurring, dataset.column("categorical", rows)[drawn].T, strict=True):
            options.update(np.unique(column).tolist())
    if not np.isfinite(high).any():  # a shard of presets has no synthetic row
        return Coverage(continuous_varied=0, categorical_varied=0, lowest_span=1.0, narrow={}, missing_options={})
    reached = {c.name: float(span) for c, span in zip(registry.continuous, high - low, strict=True)}
    spans = {name: reached[name] / (top - bottom) for name, (bottom, top) in priors.continuous.items()}
    missing: dict[str, list[str]] = {}
    for control, options in zip(registry.categorical, occurring, strict=True):
        if absent := set(priors.categorical.get(control.name, ())) - options:
            missing[control.name] = [control.options[i] for i in sorted(absent)]
    return Coverage(
        continuous_varied=len(priors.continuous),
        categorical_varied=len(priors.categorical),
        lowest_span=min(spans.values(), default=1.0),
        narrow={name: span for name, span in sorted(spans.items(), key=lambda item: item[1]) if span < SPAN},
        missing_options=missing,
    )


def describe_row(dataset: Dataset, row: int) -> RowWords:
    """Put one row into words.

    Raises
    ------
    DatasetError
        There is no such row.
    """
    try:
        stored = dataset[row]
    except IndexError as error:
        raise DatasetError(str(error)) from error
    patch, registry = dataset.patch(row), dataset.registry
    played = patch.values(registry)
    told = {}
    for control in sorted(registry.controls, key=lambda c: (c.tier, c.name)):
        value = played[control.name]
        # Labels are float32: a default can come back a little off.
        if not np.isclose(value, control.default, rtol=1e-5, atol=1e-6 * (control.high - control.low)):
            is_option = control.is_categorical
            told[control.name] = control.options[round(value - control.low)] if is_option else f"{value:.6g}"
    routes = [
        f"slot {slot}: {registry.sources[int(s)]} -> {registry.destinations[int(d)]}, amount {amount:+.3f}, "
        f"power {power:+.2f}" + (", bipolar" if bipolar else "") + (", stereo" if stereo else "")
        for slot, (s, d, amount, bipolar, power, stereo, _) in enumerate(patch.modulation_slots.tolist(), start=1)
        if s >= 0
    ]
    metadata = {name: _plain(stored[name]) for name in dataset.metadata_names}
    return RowWords(file=str(dataset.path), row=row % len(dataset), metadata=metadata, controls=told, modulation=routes)


def _plain(value: Any) -> Any:
    """Turn what is stored into what people read."""
    if isinstance(value, np.ndarray):
        return ", ".join(v.decode() for v in value.tolist() if v)
    return value.decode() if isinstance(value, bytes) else value.item()


def centroid_hz(audio: NDArray[np.float32], sample_rate: int) -> float:
    """Centre of mass of the power spectrum, both channels together.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In Hz; 0 for digital silence.
    """
    power = (np.abs(np.fft.rfft(audio)) ** 2).sum(axis=0)
    frequencies = np.fft.rfftfreq(audio.shape[1], 1 / sample_rate)
    total = power.sum()
    return float((frequencies * power).sum() / total) if total else 0.0


def new_table(title: str, *headings: str) -> Table:
    """Begin a table for a terminal, without a head if no heading says anything."""
    table = Table(title=title, title_justify="left", show_header=any(headings))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _counted(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def text_of(tables: list[Table]) -> str:
    """Write those tables that have rows, in columns that every terminal has."""
    text = StringIO()
    console = Console(file=text, width=WIDTH, highlight=False)
    for table in tables:
        if table.row_count:
            console.print(table)
    return text.getvalue()
