"""The overview of a dataset: what people want to know first, without audio, a synth or anything slow.

The rest is in `synthcore.analysis.inspection`. This module imports little, so that its lines appear at once.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from synthcore.base.addresses import place_of
from synthcore.base.counting import how_many, listed
from synthcore.base.quantities import Span
from synthcore.base.shell import command, typed
from synthcore.sources.base import PRESET_SOURCES, Provenance
from synthcore.sources.splits import SHARES
from synthcore.spec import CLIPS_ABOVE
from synthcore.storage.dataset import Dataset

WIDTH = 80  #: columns that every terminal has
SHORT = 12  #: digits of a hash, enough for people to compare; JSON has all of them
PLACES = 4  #: how many places of presets the text names; `inspect` lists all
#: The limit of the peak where a spec names none.
BY_SOURCE = f"{CLIPS_ABOVE} where drawn, any of presets"
USUAL = (0.05, 0.5, 0.95)  #: quantiles of the loudness that the text gives


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


class Overview(BaseModel):
    """What a dataset says of itself."""

    model_config = ConfigDict(frozen=True)

    file: str
    bytes: int
    version: str
    rows: int
    patches: int
    tier: int
    digest: str
    is_recipe: bool
    is_rounded: bool
    spec: dict[str, Any]
    engine: dict[str, Any]
    shapes: dict[str, list[int]]
    acceptance: float
    candidates: int
    faults: dict[str, int]
    loudness_dbfs: list[float]  # at USUAL; empty if there are no rows
    highest_peak: float
    clipping_rows: int  # whose peak is above CLIPS_ABOVE
    played: dict[str, tuple[float, float]]  # the least and the most of each part of a performance; empty if no rows
    wavetables: int  # how many the oscillators play, each counted once
    sources: dict[str, int]
    splits: dict[str, int]  # rows of each; none in a shard
    presets: list[SourceOfPresets]
    refused_presets: list[RefusedPreset]
    importance_weights: str
    features: list[str]  # of each: name, shape of a row, type, and whether it is complete or stale
    gaps: list[dict[str, Any]]  # patches that the dataset lacks, because their shard failed

    @property
    def accepted(self) -> str:
        """How many candidates were kept, and why others were refused, in words."""
        return accepted(self.candidates, self.faults)

    @property
    def refuses(self) -> dict[str, Any]:
        """What candidates are refused for, as the spec says it; in words where each source has its own limit."""
        limits: dict[str, Any] = self.spec["acceptance"]
        return limits if limits["max_peak"] is not None else {**limits, "max_peak": BY_SOURCE}

    @property
    def facts(self) -> dict[str, str]:
        """What the rows are, in words, by name; nothing of where the file lies."""
        pairs = self._pairs()
        return {name: pairs[name] for name in ("notes", "tempo", "from", "plays", "loudness", "clips") if pairs[name]}

    def begin_text(self) -> str:
        """Describe what there is and what to do next, for a terminal."""
        rows, patches = how_many(self.rows, "row"), how_many(self.patches, "patch", "es")
        lines = [f"{place_of(self.file).name}: {rows} of tier {self.tier}, {patches}"]
        lines += pairs_text(self._pairs())
        next_steps = [f"  {line}" for line in self._next()]
        return "\n".join([*lines, "", "next:", *next_steps]) + "\n"

    def _pairs(self) -> dict[str, str]:
        audio, refused = self.spec["audio"], len(self.refused_presets)
        return {
            "recipe": "without audio" if self.is_recipe else "",
            "audio": "rounded to 24 bits: imported from FLAC" if self.is_rounded else "",
            "notes": f"{played_text(audio)}; {_seconds(audio['note_seconds'])} s held of "
            f"{audio['render_seconds']:g} s, at {audio['sample_rate']} Hz",
            "tempo": self._tempo(),
            "from": listed(self.sources),
            "presets": "; ".join(self._places()),
            "plays": how_many(self.wavetables, "wavetable"),
            "splits": listed(self.splits),
            "loudness": self._loudness(),
            "clips": clipping_text(self.clipping_rows, self.rows),
            "accepted": self.accepted,
            "no rows": f"from {how_many(refused, 'preset')}, listed below" if refused else "",
            "lacks": "; ".join(map(gap_text, self.gaps)),
            "weights": "" if self.importance_weights == "absent" else self.importance_weights,
            "features": "; ".join(self.features),
            "digest": f"{self.digest[:SHORT]} (whole with --json)",
            "file": f"{typed(place_of(self.file))} ({self.bytes / 1e6:.1f} MB)",
        }

    def _tempo(self) -> str:
        low, high = self.played.get("bpm", (0.0, 0.0))
        return f"{low:g} to {high:g} bpm" if low < high else f"{low:g} bpm" if "bpm" in self.spec["audio"] else ""

    def _loudness(self) -> str:
        if not self.loudness_dbfs:
            return ""
        low, middle, high = self.loudness_dbfs
        return f"median {middle:.1f} dBFS, nine in ten {low:.1f} to {high:.1f}; peaks up to {self.highest_peak:.2f}"

    def _places(self) -> Iterator[str]:
        for place in self.presets[:PLACES]:
            licence = f" ({place.licence})" if place.licence else ""
            yield f"{place.presets} of {place.repository or place.source}{licence}, {how_many(place.rows, 'row')}"
        if len(self.presets) > PLACES:
            yield f"and {how_many(len(self.presets) - PLACES, 'more place')}, listed below"

    def _next(self) -> list[str]:
        file = place_of(self.file)
        if self.is_recipe:
            return [command("render", file, "-o", f"{file.stem}-again.h5")]
        verify = command("verify", file)
        if not self.rows:
            return [verify]
        return [command("inspect", file, "--html", f"{file.stem}.html"), command("inspect", file, "--row", "0"), verify]


def look(dataset: Dataset) -> Overview:
    """Gather what a dataset says of itself. Reads a few columns, no audio."""
    patches, faults = count_candidates(dataset)
    rms_dbfs = dataset.column("rms_dbfs")
    return Overview(
        file=str(dataset.path),
        bytes=dataset.size,
        version=dataset.version,
        rows=len(dataset),
        patches=patches,
        tier=dataset.spec.tier,
        digest=dataset.digest,
        is_recipe=dataset.is_recipe,
        is_rounded=dataset.is_rounded,
        spec=dataset.spec.model_dump(mode="json"),
        engine={
            name: getattr(dataset.engine, name) for name in ("vita", "build", "machine", "cpu_features", "version")
        },
        shapes=dataset.shapes,
        acceptance=patches / max(1, patches + sum(faults.values())),
        candidates=patches + sum(faults.values()),
        faults=faults,
        loudness_dbfs=[float(q) for q in np.quantile(rms_dbfs, USUAL)] if len(rms_dbfs) else [],
        highest_peak=float(dataset.column("peak").max(initial=0)),
        clipping_rows=count_clipping(dataset),
        played=_ranges_played(dataset),
        wavetables=len(np.unique(dataset.column("wavetables"))),
        sources=dict(Counter(source.decode() for source in dataset.column("source").tolist())),
        splits=_count_splits(dataset),
        presets=_count_presets(dataset),
        refused_presets=_refused_presets(dataset),
        importance_weights=dataset.weights_status,
        features=[feature.text for feature in dataset.features.values()],
        gaps=dataset.gaps,
    )


def played_text(audio: Mapping[str, Any]) -> str:
    """Write which notes a spec plays, and how loud: `audio` is that part of it as JSON."""
    notes = audio["notes"]
    text = f"{audio['notes_per_patch']} of {notes}" if isinstance(notes, str) else ", ".join(map(str, notes))
    return f"{text} at velocity {audio['velocity']}"


def _seconds(held: float | str) -> str:
    return held if isinstance(held, str) else f"{held:g}"


def played_in_row(dataset: Dataset, row: int) -> tuple[str, ...]:
    """Write how one row is played: its note, and where anything is drawn, also velocity, length and tempo."""
    names = ("midi_note", "velocity", "note_seconds", "bpm")
    note, velocity, held, bpm = (dataset.column(name, [row])[0] for name in names)
    audio = dataset.spec.audio
    is_drawn = not audio.performances or isinstance(audio.bpm, Span)
    return (f"note {note}", *([f"velocity {velocity}", f"{held:g} s", f"{bpm:g} bpm"] if is_drawn else []))


def _ranges_played(dataset: Dataset) -> dict[str, tuple[float, float]]:
    if not len(dataset):
        return {}
    columns = {name: dataset.column(name) for name in ("midi_note", "velocity", "note_seconds", "bpm")}
    return {name: (values.min().item(), values.max().item()) for name, values in columns.items()}


def count_candidates(dataset: Dataset) -> tuple[int, dict[str, int]]:
    """Count a file's patches, and by reason the candidates refused for them, the most frequent first."""
    patches = set(zip(dataset.column("source").tolist(), dataset.column("patch_index").tolist(), strict=True))
    reasons = Counter(reason.decode() for reason in dataset.rejections()["reason"].tolist())
    return len(patches), dict(reasons.most_common())


def count_clipping(dataset: Dataset) -> int:
    """Count the rows that clip wherever they aren't stored as floats. Files of an older synthcore lack the column."""
    return int((dataset.column("peak").astype(np.float64) > CLIPS_ABOVE).sum())


def gap_text(gap: Mapping[str, Any]) -> str:
    """Say which patches a file lacks."""
    patches = how_many(gap["patches"], f"{gap['source']} patch", "es")
    return f"{patches} from {gap['first_patch']}"


def clipping_text(clipping: int, rows: int) -> str:
    """Say how many rows clip; nothing if none does."""
    return f"{clipping} of {how_many(rows, 'row')} with a peak above {CLIPS_ABOVE} (column clips)" if clipping else ""


def accepted(candidates: int, refused: Mapping[str, int]) -> str:
    """Say which share of the candidates was kept, and why others were refused."""
    share = 1 - sum(refused.values()) / max(1, candidates)
    return f"{share:.1%} of {how_many(candidates, 'candidate patch', 'es')}; refused: {listed(refused) or 'none'}"


def pairs_text(pairs: Mapping[str, str]) -> list[str]:
    """Write names and texts in aligned lines, without empty texts."""
    return [line for name, text in pairs.items() if text for line in wrapped(f"{name:<10}{text}", " " * 12)]


def wrapped(text: str, hanging: str) -> list[str]:
    """Wrap a line to the width of a terminal, never within a path or an address."""
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
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
