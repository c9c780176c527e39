"""Fit the musical priors: what many people do with each control, and what some presets say of controls together.

Run as `python -m benchmarks.musical STATISTICS COLLECTION` to write `synthcore/sources/musical.toml` anew. STATISTICS
is a JSON file that holds, for each control, how many presets were counted (`n`), the share of each of its `options`, or
its `share_at_default`, its quantiles elsewhere and its `commonest` values; COLLECTION is what `synthcore ingest` made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthcore.sources.fitting import fit_priors, to_toml
from synthcore.storage.collection import read_collection
from synthcore.vital.controls import Control, installed

MUSICAL = Path(__file__).parent.parent / "synthcore" / "sources" / "musical.toml"
QUANTILES = "elsewhere_quantiles_0_5_25_50_75_95_100"
MOST = 0.9  #: of the values that differ from the default: if so many are named one by one, they are drawn so
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
HEAD = """\
# What people do with the controls, fitted by `python -m benchmarks.musical`; not edited by hand. The full priors, from
# which the rest of the patches is drawn, are those of uniform.toml. What each table means: docs/priors.md.

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
    elif QUANTILES in found:
        row["quantiles"] = found[QUANTILES]
    return {**row, "measured": measured}


def _option(control: Control, name: str) -> str:
    """The name of an option; where the statistics had none, they have its value."""
    return name if name in control.options else control.options[int(name) - int(control.low)]


def main(statistics: Path, collection: Path) -> None:
    """Write the file."""
    registry, presets = installed(), read_collection(collection)
    of_controls = json.loads(statistics.read_text())
    tables = fit_priors(presets, registry)
    habits = {row["control"]: row for row in tables["habit"]}
    habits |= {c.name: habit_of(c, of_controls[c.name]) for c in registry.controls if c.name in of_controls}
    tables |= {
        "about": f"What people do. Controls one by one: {of_controls['osc_1_on']['n']} presets; together, and their "
        f"modulation: {len(presets.presets)} presets.",
        "licence": "Fitted from the presets of github.com/instatetragrammaton/Patches (CC-BY 4.0) and of other public "
        "repositories: shares, quantiles and correlations, no preset's settings.",
        "shapes": {**tables["shapes"], **SHAPES},
        "habit": list(habits.values()),
    }
    MUSICAL.write_text(HEAD + to_toml(tables), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
