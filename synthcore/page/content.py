"""Content: all that a page shows, gathered in one place, so that the template only lays it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthcore.analysis import inspection
from synthcore.analysis.audio import NEAR_DB, AudioMeasurements, measure_audio
from synthcore.analysis.comparison import Comparison, compare
from synthcore.analysis.inspection import Inspection
from synthcore.analysis.usage import Usage
from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.progress import Progress
from synthcore.engine.faults import REASONS
from synthcore.page.charts import Histogram, Measure, draw_histograms, silhouette
from synthcore.page.clips import Clip, make_clip
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import module_of

#: Rows at most that are listened to for a page, evenly spaced: it takes a minute whatever the dataset.
HEARD = 2_048
ROWS = 24  #: in the grid
PAIRS = 4  #: of nearest rows that can be listened to
LISTED = 15  #: wavetables, modulation sources or destinations; the rest is added up


@dataclass(frozen=True, slots=True)
class Share:
    """One line of a ranked list. The name can be people's."""

    name: str
    count: int
    share: float
    bar: float | None  # length, 1 for the largest; None for what is added up, which may be more than the largest


@dataclass(frozen=True, slots=True)
class Weight:
    """One control's importance weight."""

    name: str
    value: float
    error: float
    bar: float  # length, 1 for the largest


@dataclass(frozen=True, slots=True)
class CoveredControl:
    """How the patches are spread over one control's prior."""

    name: str
    outline: str  # an SVG path, a unit wide for each bin
    bins: int
    lowest: float  # the emptiest bin, as a share of the expected number
    thin: float
    missing: list[str]


@dataclass(frozen=True, slots=True)
class Side:
    """What one of two datasets is made of."""

    title: str
    sources: list[Share]
    wavetables: list[Share]
    modulation: dict[str, list[Share]]


@dataclass(frozen=True, slots=True)
class ComparedContent:
    """What the page of two datasets shows."""

    comparison: Comparison
    sides: list[Side]
    charts: list[tuple[str, list[Histogram | None]]]  # by title; None where that dataset has no such numbers


@dataclass(frozen=True, slots=True)
class Content:
    """What the page shows."""

    inspection: Inspection
    title: str
    hours: float
    clips: list[Clip]
    pairs: list[tuple[float, Clip, Clip]]
    histograms: list[Histogram]
    modules: dict[str, list[CoveredControl]]
    sources: list[Share]
    splits: list[Share]
    wavetables: list[Share]
    modulation: dict[str, list[Share]]
    weights: list[Weight]
    meanings: dict[str, str]  # of faults


def rows_heard(rows: int) -> int:
    """How many rows `gather` reports to `synthcore.base.progress` for a dataset with audio."""
    return min(rows, HEARD) + min(rows, ROWS)


def gather(dataset: Dataset) -> Content:
    """Read and measure what is shown.

    Memory and time hardly depend on the number of rows: only the labels of all rows are read, once and in batches.
    """
    audio = measure_audio(dataset, HEARD)
    found = inspection.inspect(dataset, audio)
    return Content(
        inspection=found,
        title=dataset.path.name,
        hours=0.0 if dataset.is_recipe else len(dataset) * dataset.spec.audio.render_seconds / 3600,
        clips=_make_clips(dataset),
        pairs=[] if dataset.is_recipe else _make_pairs(dataset, found),
        histograms=[drawn for measure in _measure(dataset, audio) for drawn in draw_histograms([measure])],
        modules=_by_module(found),
        sources=_ranked(found.sources, found.rows),
        splits=_ranked(found.splits, found.rows),
        wavetables=_rank_wavetables(found.usage),
        modulation=_rank_modulation(found.usage),
        weights=_weigh(dataset),
        meanings=REASONS,
    )


def gather_both(first: Dataset, second: Dataset) -> ComparedContent:
    """Read and measure what is shown of two datasets, as `gather` does of one."""
    both = (first, second)
    audio = (measure_audio(first, HEARD), measure_audio(second, HEARD))
    comparison = compare(first, second, audio)
    measures = [
        {measure.name: measure for measure in _measure(dataset, of_it)}
        for dataset, of_it in zip(both, audio, strict=True)
    ]
    sides = [
        Side(
            title=dataset.path.name,
            sources=_ranked(found.sources, found.rows),
            wavetables=_rank_wavetables(found.usage),
            modulation=_rank_modulation(found.usage),
        )
        for dataset, found in zip(both, comparison.found, strict=True)
    ]
    names = list(dict.fromkeys(name for of_it in measures for name in of_it))
    return ComparedContent(comparison, sides, [_draw_both([of_it.get(name) for of_it in measures]) for name in names])


def _draw_both(measures: list[Measure | None]) -> tuple[str, list[Histogram | None]]:
    there = [measure for measure in measures if measure]
    drawn = iter(draw_histograms(there))
    return there[0].title, [next(drawn) if measure else None for measure in measures]


def _rank_wavetables(usage: Usage) -> list[Share]:
    return _ranked(_named(usage.wavetables, usage.wavetable_names), usage.oscillators)


def _rank_modulation(usage: Usage) -> dict[str, list[Share]]:
    connections = sum(usage.modulation_sources.values())
    ends = {"from": usage.modulation_sources, "to": usage.modulation_destinations}
    return {end: _ranked(counts, connections) for end, counts in ends.items()}


def _make_clips(dataset: Dataset) -> list[Clip]:
    """Make clips of rows drawn at random, seeded by the digest: the same dataset has the same page."""
    if dataset.is_recipe:
        return []
    chance = np.random.default_rng(int(dataset.digest[:16], 16))
    # Not by a permutation of all rows, of which there may be millions.
    rows = np.sort(chance.choice(len(dataset), size=min(ROWS, len(dataset)), replace=False, shuffle=False))
    clips = []
    for row in rows.tolist():
        clips.append(make_clip(dataset, row))
        progress.publish(Progress(1, None))
    return clips


def _make_pairs(dataset: Dataset, found: Inspection) -> list[tuple[float, Clip, Clip]]:
    """Make clips of the nearest pairs. No row is shown twice: of many that are nearly the same, one pair is enough."""
    pairs: list[tuple[float, Clip, Clip]] = []
    shown: set[int] = set()
    for pair in found.duplicates.pairs:
        if len(pairs) < PAIRS and not shown & {*pair.rows}:
            shown |= {*pair.rows}
            pairs.append((pair.apart_db, make_clip(dataset, pair.rows[0]), make_clip(dataset, pair.rows[1])))
    return pairs


def _measure(dataset: Dataset, audio: AudioMeasurements) -> list[Measure]:
    """The measures to draw: loudness and peak of all rows, the others of the rows that were listened to."""
    nearest = audio.nearest_db[np.isfinite(audio.nearest_db)]
    measures = [
        Measure("rms", "Loudness", "dBFS", dataset.column("rms_dbfs")),
        Measure("peak", "Peak", "of full scale", dataset.column("peak")),
        Measure("centroid", "Spectral centroid", "Hz", audio.centroids_hz, is_log=True),
        Measure("sound", "Duration of sound", "s", audio.sound_seconds),
        Measure("nearest", "Nearest row of another patch", "dB", nearest, mark=NEAR_DB),
    ]
    return [measure for measure in measures if len(measure.values)]


def _by_module(found: Inspection) -> dict[str, list[CoveredControl]]:
    coverage = found.coverage
    modules: dict[str, list[CoveredControl]] = {}
    for name, ratios in sorted(coverage.filled.items()):
        covered = CoveredControl(
            name=name,
            outline=silhouette(ratios),
            bins=len(ratios),
            lowest=min(ratios),
            thin=coverage.thin.get(name, 0.0),
            missing=coverage.missing_options.get(name, []),
        )
        modules.setdefault(module_of(name), []).append(covered)
    return modules


def _named(counts: dict[str, int], names: dict[str, str]) -> dict[str, int]:
    """Count by name; where several share a name, or have none, with the beginning of the hash as well."""
    called = [names[digest] for digest in counts]
    return {
        (name if name and called.count(name) == 1 else f"{name or 'unnamed'} {digest[:8]}"): count
        for (digest, count), name in zip(counts.items(), called, strict=True)
    }


def _weigh(dataset: Dataset) -> list[Weight]:
    """The importance weights of the controls of the dataset's tier, the largest first."""
    stored = dataset.importance_weights()
    own = {name: stored[name] for name in dataset.control_names(dataset.spec.tier) if name in stored}
    ranked = sorted(own.items(), key=lambda item: -item[1][0])
    largest = max((weight for _, (weight, _) in ranked), default=0.0) or 1.0
    return [Weight(name, weight, error, weight / largest) for name, (weight, error) in ranked]


def _ranked(counts: dict[str, int], whole: int) -> list[Share]:
    """Rank the largest, with the rest in one line."""
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    largest = max([1, *counts.values()])
    shares = [Share(name, count, count / max(1, whole), count / largest) for name, count in ranked[:LISTED]]
    if rest := sum(count for _, count in ranked[LISTED:]):
        shares.append(Share(how_many(len(ranked) - LISTED, "other"), rest, rest / max(1, whole), None))
    return shares
