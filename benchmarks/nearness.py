"""How near rows come to presets that people made, and whether a classifier tells the two apart.

SYNTHCORE_PRESETS names a folder of presets; without one there is nothing to measure. Rows are held against every second
preset; the others are the parents of variations, and say how near other presets of the same people
come. Then the halves change places, and each figure is the mean of both: of 40 presets, an AUC says little. All are
played at note 60 and brought to the same loudness. The musical priors know statistics of all 79 presets that they were
fitted to, so against these the figures flatter them a little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.measure import Measure, synthcore
from synthcore import render_many
from synthcore.analysis.nearness import Figures, Sketches, measure, sketch_sounds
from synthcore.engine.rendering import Fault
from synthcore.sources.synthetic import SyntheticSource
from synthcore.sources.variations import VariationSource
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.collection import read_collection
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch

ROWS = 700
AUDIO = AudioSpec(notes=(60,))
QUIETEST_DBFS, LOUDEST = -50.0, 0.99  #: as rows are accepted
#: The highest AUC of each kind of row.
TOLD_APART = {"tier 1": None, "tier 3": 0.68, "tier 3 uniform": None, "variations": 0.65}
SPECS = {
    "tier 1": DatasetSpec(tier=1, audio=AUDIO),
    "tier 3": DatasetSpec(tier=3, audio=AUDIO),
    "tier 3 uniform": DatasetSpec(tier=3, audio=AUDIO, priors="uniform"),
}


def run(folder: Path) -> Iterator[Measure]:
    """Measure rows of the shipped priors, and variations."""
    given = os.environ.get("SYNTHCORE_PRESETS")
    if not given:
        print("nearness takes a folder of presets, and SYNTHCORE_PRESETS names none", file=sys.stderr)
        return
    synthcore("ingest", given, "--data-dir", folder)
    (file,) = folder.glob("*.h5")
    presets = read_collection(file)
    registry = installed()
    halves = [replace(presets, presets=presets.presets[start::2]) for start in (0, 1)]
    sounds = [_heard((p.patch for p in half.presets), half.assets, loudest=None) for half in halves]
    apart = [measure([near], others, matched=True).to_rows.median_db for near, others in (sounds, sounds[::-1])]
    yield Measure("nearest other preset, median", fmean(apart), unit="dB")
    for kind, spec in SPECS.items():
        rows = _drawn(SyntheticSource(spec, registry))
        found = [measure([rows], others, matched=True) for others in sounds]
        yield from _measures(kind, found, apart)
    variations = [
        measure([_drawn(VariationSource(SPECS["tier 3"], registry, known))], others, matched=True)
        for known, others in zip(halves[::-1], sounds, strict=True)
    ]
    yield from _measures("variations", variations, apart)


def _measures(kind: str, found: Sequence[Figures], apart: Sequence[float]) -> Iterator[Measure]:
    """What was found against either half of the presets, and the mean of both. Bars: the first half, and the mean."""
    medians = [figures.to_rows.median_db for figures in found]
    yield Measure(f"nearest row to presets {kind}, median", fmean(medians), unit="dB")
    if kind == "tier 3":
        ratio = fmean(medians) / fmean(apart)
        yield Measure("nearest row to presets tier 3, to the nearest other preset", ratio, 1.0, at_least=False)
    aucs = [figures.told_apart.auc for figures in found if figures.told_apart]
    for half, auc, bar in zip(("one half", "the other half"), aucs, (TOLD_APART[kind], None), strict=True):
        yield Measure(f"told apart from {half} of the presets {kind}, AUC", auc, bar, at_least=False)
    yield Measure(f"told apart from presets {kind}, AUC", fmean(aucs), TOLD_APART[kind], at_least=False)


def _drawn(source: SyntheticSource | VariationSource) -> Sketches:
    candidates = [source.candidate(index, 0) for index in range(ROWS)]
    assets = dict(source.assets)
    for candidate in candidates:
        assets.update(candidate.assets)
    return _heard((c.patch for c in candidates), assets, LOUDEST if isinstance(source, SyntheticSource) else None)


def _heard(patches: Iterable[Patch], assets: Mapping[str, bytes], loudest: float | None) -> Sketches:
    """Sketch what is kept of some patches."""
    quietest = 10 ** (QUIETEST_DBFS / 20)
    kept = [
        sketch_sounds([sound], AUDIO.sample_rate)
        for sound in render_many(patches, 60, audio=AUDIO, assets=assets)
        if not isinstance(sound, Fault)
        and np.sqrt(np.square(sound).mean()) >= quietest
        and (loudest is None or np.abs(sound).max() <= loudest)
    ]
    levels, rms = (np.concatenate(part) for part in zip(*((s.levels, s.rms_dbfs) for s in kept), strict=True))
    return Sketches(levels, rms, np.arange(len(kept)))
