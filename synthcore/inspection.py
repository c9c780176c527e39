"""Inspecting: what a dataset holds, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from synthcore.candidates import PRESET_SOURCES, Provenance
from synthcore.controls import differences, installed
from synthcore.coverage import SPAN, Coverage, measure_coverage
from synthcore.engine.faults import REASONS
from synthcore.errors import SynthcoreError
from synthcore.hearing import QUICK, Duplicates, Heard, find_duplicates, hear
from synthcore.presets.families import SHARES
from synthcore.storage.dataset import Dataset
from synthcore.usage import Usage, count_usage

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
#: Refused presets that the text lists.
SHOWN = 20
#: Nearest pairs that the text names.
NAMED = 4
#: Columns of a terminal that everyone has.
WIDTH = 80


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
    duplicates: Duplicates
    usage: Usage
    distributions: dict[str, list[float]]  # at QUANTILES
    sources: dict[str, int]
    splits: dict[str, int]  # rows of each; none in a shard
    presets: list[SourceOfPresets]
    refused_presets: list[RefusedPreset]
    importance_weights: str
    gaps: list[dict[str, Any]]  # patches that the dataset lacks, because their shard failed
    other_synth: list[str]  # how the synth installed here differs from the one it was made with

    def to_text(self) -> str:
        """Say it, for a terminal."""
        return text_of(self._tables())

    @property
    def findings(self) -> list[dict[str, str]]:
        """What is worth a look first, line by line."""
        twice, covered = self.duplicates, self.coverage
        near = f"{twice.near:.1%} of {twice.rows_heard} rows heard" if twice.rows_heard else "not known: no audio"
        lines = {
            "rows": f"{self.rows} of tier {self.tier}, {self.patches} patches",
            "accepted": f"{self.acceptance:.1%} of {self.candidates} candidate patches",
            "refused": _counted(self.faults) or "none",
            "near-duplicates": near,
            "repeats of own notes": f"{twice.of_own_notes:.1%} of rows",
            "repeats of other patches": f"{twice.of_other_patches:.1%} of rows",
            "thin": covered.thin_unknown or f"{covered.thin_share:.1%} of a control's prior on average",
            "digest": self.digest,
        }
        return [{"what": what, "found": found} for what, found in lines.items()]

    def _tables(self) -> list[Table]:
        about = new_table("dataset", "", "")
        for name, value in {
            "file": f"{self.file} ({self.bytes / 1e6:.1f} MB, schema {self.version})",
            "rows": f"{self.rows} of tier {self.tier}, {self.patches} patches ({_counted(self.sources)})",
            "recipe": "without audio: synthcore render makes it again" if self.is_recipe else "",
            "lacks": "; ".join(f"{g['patches']} {g['source']} patches from {g['first_patch']}" for g in self.gaps),
            "splits": _counted(self.splits),
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
        covered.add_row("thin", found.thin_unknown or f"{found.thin_share:.1%} of a control's prior on average")
        covered.add_row("thinnest", _counted({k: f"{v:.0%}" for k, v in list(found.thin.items())[:SHOWN]}) or "none")
        return [about, presets, refused, shapes, faults, spread, covered, self._repeated()]

    def _repeated(self) -> Table:
        """What is there twice."""
        twice = self.duplicates
        repeated = new_table("the same sound twice", "", "")
        repeated.add_row("own notes", f"{twice.of_own_notes:.1%} of rows: bit for bit another note of their patch")
        repeated.add_row("other patches", f"{twice.of_other_patches:.1%} of rows: bit for bit a row of another patch")
        if twice.rows_heard:
            repeated.add_row(
                "near-duplicates",
                f"{twice.near:.1%} of {twice.rows_heard} rows heard: another patch's row among them is less than "
                f"{twice.near_db:g} dB away",
            )
            nearest = [f"{p.rows[0]} and {p.rows[1]} ({p.apart_db:.1f} dB)" for p in twice.pairs[:NAMED]]
            repeated.add_row("nearest rows", ", ".join(nearest))
        return repeated


def inspect(dataset: Dataset, heard: Heard | None = None) -> Inspection:
    """Gather what is in a dataset. Reads all labels, and the audio of at most `QUICK` rows unless some were heard."""
    heard = hear(dataset, QUICK) if heard is None else heard
    rejected = dataset.rejections()
    patches = len(set(zip(dataset.column("source").tolist(), dataset.column("patch_index").tolist(), strict=True)))
    faults = Counter(reason.decode() for reason in rejected["reason"].tolist())
    sources = Counter(source.decode() for source in dataset.column("source").tolist())
    candidates = patches + sum(faults.values())
    measured = {"rms (dBFS)": dataset.column("rms_dbfs"), "peak": dataset.column("peak")}
    measured |= {"centroid (Hz)": heard.centroids_hz, "sound (s)": heard.sound_seconds}
    measured["nearest (dB)"] = heard.nearest_db[np.isfinite(heard.nearest_db)]
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
        duplicates=find_duplicates(dataset, heard),
        usage=count_usage(dataset),
        distributions={k: [float(q) for q in np.quantile(v, QUANTILES)] for k, v in measured.items() if len(v)},
        sources=dict(sources),
        splits=_count_splits(dataset),
        presets=_count_presets(dataset),
        refused_presets=_refused_presets(dataset),
        importance_weights=dataset.weights_status,
        gaps=dataset.gaps,
        other_synth=_compare_synths(dataset),
    )


def _count_splits(dataset: Dataset) -> dict[str, int]:
    if "split" not in dataset.column_names:
        return {}
    splits = Counter(split.decode() for split in dataset.column("split").tolist())
    return {split: splits[split] for split in SHARES}


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
    console = Console(file=text, width=WIDTH, highlight=False, markup=False, emoji=False)  # names are people's
    for table in tables:
        if table.row_count:
            console.print(table)
    return text.getvalue()
