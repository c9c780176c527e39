"""Fit the musical priors: what many people do with each control, and what some presets say of controls together.

Run as `python -m benchmarks.musical STATISTICS COLLECTION` to write `synthcore/sources/musical.toml` anew. STATISTICS
is a JSON file that holds, for each control, how many presets were counted (`n`), the share of each of its `options`, or
its `share_at_default`, its quantiles elsewhere and its `commonest` values; COLLECTION is what `synthcore ingest` made.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthcore.sources.fitting import fit_priors, to_toml
from synthcore.sources.prior_rows import LEVELS
from synthcore.storage.collection import read_collection
from synthcore.vital.controls import Control, installed

MUSICAL = Path(__file__).parent.parent / "synthcore" / "sources" / "musical.toml"
OF_LEVELS = "quantiles_0_5_25_50_75_95_100"
MOST = 0.75  #: of the values that differ from the default: if so many are named one by one, only these are drawn
#: Counted by rules of thumb among 63 drawn LFO shapes, 29 curves and the 10 samples that are on, in 79 presets: how
#: much of a shape is flat, how often it turns.
SHAPES = {
    "sample": 0.4,
    "lfo_kinds": {
        "ramp": 13,
        "plucks": 10,
        "pulse": 9,
        "gate": 7,
        "random": 7,
        "smooth": 6,
        "triangle": 5,
        "steps": 3,
        "one-shot": 2,
    },
    "curve_kinds": {"ramp": 24, "pulse": 3, "smooth": 2},
}
#: Full priors that differ from the uniform set's: fewer patches are drawn from them.
FULL = [
    {
        "controls": ["osc_?_level", "sample_level"],
        "range": [0.2, 1.0],
        "skew": 0.6,
        "reason": "skewed to loud: habits reach the low end",
        "measured": "with a skew of 0.8 25 of 67 candidates from the full priors at tier 2 were silent",
    },
    {
        "controls": ["reverb_dry_wet"],
        "skew": 2.2,
        "reason": "as for the levels: a wet reverb alone loses most of the level",
    },
    {
        "controls": ["env_1_attack"],
        "range": [0.0, 1.91],
        "skew": 2.6,
        "reason": "slow attacks are refused more often, and few patches have one: skewed less to fast ones",
        "measured": "with a skew of 3.5, 40 patches from the full priors at tier 1 reached 0.73 of the range",
    },
    {
        "controls": ["env_1_delay"],
        "range": [0.0, 1.0],
        "skew": 2.2,
        "reason": "as for the attack",
        "measured": "with a skew of 3 they reached 0.88 of the range at tier 3",
    },
    {
        "controls": ["voice_amplitude"],
        "range": [0.4, 1.0],
        "skew": 0.85,
        "reason": "people leave it at 1, so its low end is reached by these few patches alone",
        "measured": "with a skew of 0.7 they reached 0.77 of the range at tier 2",
    },
]
#: What would be refused more often than people's own presets are, and what takes its place; measured on 300 candidates.
CONSTRAINTS = [
    {
        "each": ["osc_1", "osc_2", "osc_3"],
        "when": {"*_spectral_morph_type": ["High Pass"]},
        "squeeze": {"*_spectral_morph_amount": [0.0, 0.2]},
        "reason": "people cut the harmonics of wavetables that have more of them, and rarely so far",
        "measured": "cut off at 0.4, as its full prior is, 5 of 15 silent patches of tier 1 had it",
    },
    {
        "when": {"distortion_filter_order": ["Pre", "Post"]},
        "squeeze": {"distortion_filter_cutoff": [60.0, 136.0]},
        "reason": "a low pass below it takes most of the note away, before or after the distortion",
        "measured": "2 of 25 silent patches with habits at tier 2, and 7 of 23 candidates from the full priors",
    },
    {
        "when": {"compressor_on": ["On"]},
        "squeeze": {"volume": [4200.0, 5184.0]},
        "reason": "at most -8 dB: people set the compressor's gains and the volume by ear, here nobody does",
        "measured": "at tier 3 0.19 of the patches with a compressor clipped, and 0.10 of the others",
    },
    *(
        {
            "when": {switch: ["Off"] for switch in ("osc_1_on", "osc_2_on", "osc_3_on", f"{only}_midi_track")}
            | {f"{only}_on": ["On"]},
            "set": {f"{only}_midi_track": "On"},
            "reason": "the only oscillator follows the note, or all notes are one sound",
            "measured": "repeats, as below, in 0.05 of the candidates at tier 1 and 0.03 at tier 2",
        }
        for only in ("osc_1", "osc_2", "osc_3")
    ),
    {
        "when": {"osc_1_midi_track": ["Off"], "osc_2_midi_track": ["Off"]},
        "set": {"osc_1_midi_track": "On"},
        "reason": "one of two oscillators follows the note, or all notes are one sound",
        "measured": "as above",
    },
]
HEAD = """\
# What people do with the controls, fitted by `python -m benchmarks.musical`; not edited by hand. The full priors, from
# which the rest of the patches is drawn, are those of uniform.toml but for the rows here. What each table means:
# docs/priors.md.

"""


def habit_of(control: Control, found: Mapping[str, Any]) -> dict[str, Any]:
    """A control's habit, from its statistics."""
    measured = f"{found['n']} presets"
    if control.is_categorical:
        named = {_option(control, name): share for name, share in found["options"].items()}
        return {"control": control.name, "options": named, "measured": measured}
    row = {"control": control.name, "default_share": found["share_at_default"]}
    named = {f"{float(v):g}": s for v, s in found.get("commonest", {}).items() if float(v) != control.default}
    if named and sum(named.values()) >= MOST * (1 - found["share_at_default"]):
        row["values"] = named
    elif f"elsewhere_{OF_LEVELS}" in found:
        row["quantiles"] = found[f"elsewhere_{OF_LEVELS}"]
    return {**row, "measured": measured}


def _not_above_default(row: dict[str, Any], control: Control) -> dict[str, Any]:
    """A habit whose higher values are left at the default instead, as is its lowest twentieth, of a few values."""
    lowest, below = LEVELS[1], float(np.interp(control.default, row["quantiles"], LEVELS))
    levels = lowest + np.array(LEVELS) * (below - lowest)
    share = (1 - row["default_share"]) * (below - lowest)
    quantiles = np.interp(levels, LEVELS, row["quantiles"]).round(4).tolist()
    return row | {"default_share": round(1 - share, 3), "quantiles": quantiles}


def _option(control: Control, name: str) -> str:
    """The name of an option; where the statistics had none, they have its value."""
    return name if name in control.options else control.options[int(name) - int(control.low)]


def connections(fitted: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The kinds of routes: the commonest by their shares; the fitted others share what is left of each source."""
    rows = {(row["source"], row["destination"]): row for row in fitted}
    named = {tuple(route.split(" -> ")): share for route, share in found["commonest_routes"].items()}
    left = {s: share - sum(named[r] for r in named if r[0] == s) for s, share in found["sources"].items()}
    others = {route: row["weight"] for route, row in rows.items() if route not in named and left.get(route[0], 0) > 0}
    of_source = {s: sum(weight for route, weight in others.items() if route[0] == s) for s in left}
    least = min(named.values())  # none of the others is as common
    shares = named | {r: min(least, left[r[0]] * weight / of_source[r[0]]) for r, weight in others.items()}
    return [
        {**rows.get(route, dict(zip(("source", "destination"), route, strict=True))), "weight": round(1000 * share, 2)}
        for route, share in sorted(shares.items(), key=lambda item: -item[1])
    ]


def main(statistics: Path, collection: Path) -> None:
    """Write the file."""
    registry, presets = installed(), read_collection(collection)
    of_controls = json.loads(statistics.read_text())
    tables = fit_priors(presets, registry)
    habits = {row["control"]: row for row in tables["habit"]}
    # What modulation often moves is counted where nothing moves it.
    apart = {row["destination"] for row in tables["connection"] if "base" in row}
    habits |= {
        c.name: habit_of(c, of_controls[c.name])
        for c in registry.controls
        if c.name in of_controls and re.sub(r"\d+", "N", c.name) not in apart
    }
    # Modulation often moves this one too, but in too few presets to tell where it is left. It is a high cutoff of a low
    # pass or a low one of a high pass, and drawn each for itself they silence the patch: here it is the low pass.
    habits["filter_fx_cutoff"] = habits["filter_1_cutoff"] | {"control": "filter_fx_cutoff"}
    habits["filter_fx_blend"] = {"control": "filter_fx_blend", "default_share": 1.0, "measured": "31 presets"}
    # Below 48 most of what people close a filter to is opened by hand or by something that was not counted.
    for name in ("filter_1_cutoff", "filter_2_cutoff", "filter_fx_cutoff"):
        habits[name] = habits[name] | {"quantiles": [max(48.0, value) for value in habits[name]["quantiles"]]}
    # People turn the volume up where a patch is quiet. Drawn without regard to that, 15 % clip, and 9 % otherwise.
    habits["volume"] = _not_above_default(habits["volume"], registry.by_name["volume"])
    modulation = of_controls["__modulation"]
    tables["modulation"]["connections"] = [round(n, 2) for n in modulation[f"connections_{OF_LEVELS}"]]
    tables["modulation"]["bipolar"] = modulation["bipolar_share"]
    tables["connection"] = connections(tables["connection"], modulation)
    tables |= {
        "about": f"What people do. Controls one by one: {of_controls['osc_1_on']['n']} presets; together, and their "
        f"modulation: {len(presets.presets)} presets.",
        "licence": "Fitted from the presets of github.com/instatetragrammaton/Patches (CC-BY 4.0) and of other public "
        "repositories: shares, quantiles and correlations, no preset's settings.",
        "prior": FULL,
        "constraint": CONSTRAINTS,
        "shapes": {**tables["shapes"], **SHAPES},
        "habit": list(habits.values()),
    }
    MUSICAL.write_text(HEAD + to_toml(tables), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
