"""Fitting priors: from patches that people made to a file that says what people do."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.base.atomic import atomic_path
from synthcore.base.counting import how_many
from synthcore.base.errors import SpecError
from synthcore.sources.collection import Collection
from synthcore.sources.prior_rows import LEVELS
from synthcore.sources.priors import WAVE_FRAME
from synthcore.vital.controls import Control, Registry, installed, module_of
from synthcore.vital.patch import OSCILLATORS, Patch, SlotField, is_connected
from synthcore.vital.shapes import canonical_line

FULL_SHARE = 0.14  #: of the patches are drawn from the full priors: a tenth, and some for what is refused of them
LEAST_PRESETS = 5  #: fewer say nothing about habits
MOVED = 1e-3  #: of its range: a control that is nearer to its default was left there
FACTORS = 6
#: What is kept of the correlations of a few dozen presets, and the least loading that is written down.
TRUSTED, LEAST_LOADING = 0.8, 0.15
FEW_ROUTES = 7  #: a kind of route with fewer says nothing about its amounts, or what its destinations are left at
COMMON = 40  #: so many different whole numbers are named one by one

Values = NDArray[np.float64]
Row = dict[str, Any]


def fit_priors(collection: Collection, registry: Registry) -> dict[str, Any]:
    """Find out what people do in a collection of presets.

    Returns
    -------
    dict
        The tables of a priors file.

    Raises
    ------
    SpecError
        There are too few presets.
    """
    patches = [preset.patch for preset in collection.presets]
    if len(patches) < LEAST_PRESETS:
        raise SpecError(f"{how_many(len(patches), 'preset')}, too few to tell what people do; it takes {LEAST_PRESETS}")
    values = np.array([_values(patch, registry) for patch in patches])
    licences = sorted({preset.licence for preset in collection.presets})
    return {
        "about": f"What people do in {len(patches)} presets.",
        "licence": f"Fitted from presets under: {', '.join(licences)}",
        "full_share": FULL_SHARE,
        "repeats": "refuse",
        "wavetables": _wavetables(patches, values, registry),
        "shapes": _shapes(collection, registry),
        "modulation": _modulation(patches, registry),
        "habit": list(_habits(values, _is_modulated(patches, registry), registry)),
        "factor": list(_factors(values, registry)),
        "connection": list(_connections(patches, registry)),
    }


class FittedPriors(BaseModel):
    """A file of priors that was fitted, and to what."""

    model_config = ConfigDict(frozen=True)

    priors: str  # the file
    presets: int
    controls: int  # that have a habit
    connections: int  # kinds of modulation routes
    licence: str

    def to_text(self) -> str:
        """Describe it for a terminal."""
        controls, kinds = how_many(self.controls, "control"), how_many(self.connections, "kind")
        lines = (
            ("presets", f"{self.presets}; {self.licence}"),
            ("habits", f"of {controls}, {kinds} of modulation routes"),
            ("priors", self.priors),
        )
        rows = "".join(f"  {name:9} {text}\n" for name, text in lines)
        return f"{rows}\nnext:\n  synthcore generate --priors {self.priors}\n"


def fit_priors_file(collection: Collection, output: Path) -> FittedPriors:
    """Write a file of priors that says what people do in a collection of presets.

    Raises
    ------
    SpecError
        There are too few presets.
    SynthcoreError
        The disk is full.
    """
    tables = fit_priors(collection, installed())
    with atomic_path(output) as temporary:
        temporary.write_text(to_toml(tables), encoding="utf-8")
    return FittedPriors(
        priors=str(output),
        presets=len(collection.presets),
        controls=len(tables["habit"]),
        connections=len(tables["connection"]),
        licence=tables["licence"],
    )


def to_toml(tables: Mapping[str, Any]) -> str:
    """Write the tables of a priors file, one row a line."""
    lines = []
    for name, table in tables.items():
        if isinstance(table, list):
            lines.append("".join([f"\n{name} = [\n", *(f"  {_inline(row)},\n" for row in table), "]"]))
        else:
            lines.append(f"{name} = {_inline(table)}")
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        fields = (
            f"{name if re.fullmatch('[A-Za-z0-9_]+', name) else json.dumps(name)} = {_inline(v)}"
            for name, v in value.items()
        )
        return f"{{ {', '.join(fields)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _values(patch: Patch, registry: Registry) -> list[float]:
    """The values of a patch in the order of the registry's controls, options as indices."""
    values = patch.values(registry)
    return [values[c.name] - c.low if c.is_categorical else values[c.name] for c in registry.controls]


def _default(control: Control) -> float:
    return control.default - control.low if control.is_categorical else control.default


def _is_moved(values: Values, registry: Registry) -> NDArray[np.bool_]:
    """Which controls left their defaults, shape (presets, controls)."""
    defaults = np.array([_default(c) for c in registry.controls])
    steps = np.array([0.5 if c.is_categorical else MOVED * (c.high - c.low) for c in registry.controls])
    moved: NDArray[np.bool_] = np.abs(values - defaults) > steps
    return moved


def _is_on(values: Values, registry: Registry) -> NDArray[np.bool_]:
    """In which presets the module of each control is on, shape (presets, controls)."""
    column = {c.name: place for place, c in enumerate(registry.controls)}
    switches = [f"{module_of(c.name)}_on" for c in registry.controls]
    return np.stack(
        [
            values[:, column[switch]] > 0 if switch in column and switch != control.name else np.ones(len(values), bool)
            for control, switch in zip(registry.controls, switches, strict=True)
        ],
        axis=1,
    )


def _is_modulated(patches: Sequence[Patch], registry: Registry) -> NDArray[np.bool_]:
    """Which controls modulation moves, shape (presets, controls)."""
    place = {control.name: i for i, control in enumerate(registry.controls)}
    found = np.zeros((len(patches), len(place)), bool)
    for row, patch in zip(found, patches, strict=True):
        row[[place[route.destination] for route in _routes([patch], registry) if route.destination in place]] = True
    return found


def _habits(values: Values, is_modulated: NDArray[np.bool_], registry: Registry) -> Iterator[Row]:
    moved, is_on = _is_moved(values, registry), _is_on(values, registry)
    for place, control in enumerate(registry.controls):
        counted = is_on[:, place] & ~is_modulated[:, place]
        if not counted.any():
            counted = is_on[:, place]
        known, left = values[counted, place], moved[counted, place]
        if len(known):
            yield {"control": control.name, **_habit(control, known, left), "measured": how_many(len(known), "preset")}


def _habit(control: Control, known: Values, left: NDArray[np.bool_]) -> Row:
    if control.is_categorical:
        counts = Counter(known.astype(int).tolist())
        twice = Counter(control.options)
        names = {i: o if twice[o] == 1 else f"#{i}" for i, o in enumerate(control.options)}
        return {"options": {names[i]: count for i, count in sorted(counts.items())}}
    elsewhere = known[left]
    row: Row = {"default_share": round(1 - float(left.mean()), 3)}
    if control.is_whole and len(set(elsewhere.tolist())) <= COMMON and len(elsewhere):
        return {**row, "values": {f"{value:g}": count for value, count in sorted(Counter(elsewhere.tolist()).items())}}
    return {**row, "quantiles": _quantiles(elsewhere)} if len(elsewhere) else row


def _quantiles(values: Values | Sequence[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in np.quantile(values, LEVELS).tolist()]


def _factors(values: Values, registry: Registry) -> Iterator[Row]:
    """What is moved together, as the strongest directions of the correlations of what was moved.

    Each flag stands for a normal number that is above or below a threshold: here for its mean there, whose correlations
    are those of the numbers but for their scale.
    """
    from scipy.special import ndtri

    moved = _is_moved(values, registry)
    share = moved.mean(axis=0)
    usable = np.flatnonzero((share > 0.02) & (share < 0.98))
    moved, share = moved[:, usable].astype(float), share[usable]
    density = np.exp(-(ndtri(1 - share) ** 2) / 2) / np.sqrt(2 * np.pi)
    means = np.where(moved > 0, density / share, -density / (1 - share))
    spread = (means**2).mean(axis=0)
    correlation = np.clip(means.T @ means / len(means) / np.outer(spread, spread), -0.95, 0.95) * TRUSTED
    np.fill_diagonal(correlation, 1)
    sizes, directions = np.linalg.eigh(correlation)
    loadings = directions[:, -FACTORS:] * np.sqrt(np.maximum(sizes[-FACTORS:], 0))
    loadings *= np.minimum(1, np.sqrt(0.9 / np.maximum((loadings**2).sum(axis=1), 1e-9)))[:, None]
    for factor in reversed(range(FACTORS)):
        strong = np.flatnonzero(np.abs(loadings[:, factor]) >= LEAST_LOADING)
        sign = np.sign(loadings[strong, factor].sum()) or 1.0  # of the factor: free, so most of its controls go up
        yield {
            "loadings": {
                registry.controls[usable[place]].name: round(float(loadings[place, factor] * sign), 2)
                for place in strong.tolist()
            }
        }


def _folded(name: str) -> str:
    return re.sub(r"\d+", "N", name)


class _Route(NamedTuple):
    source: str
    destination: str
    amount: float
    is_bipolar: bool
    is_stereo: bool
    is_modulated: bool  # something else moves its amount
    base: float | None  # what its destination is left at, if that is heard and may be anything within a range


def _routes(patches: Sequence[Patch], registry: Registry) -> Iterator[_Route]:
    for patch in patches:
        values = patch.values(registry)
        connected = np.flatnonzero(is_connected(patch.modulation_slots)).tolist()
        slots = patch.modulation_slots[connected]
        ends = [registry.destinations[int(place)] for place in slots[:, SlotField.DESTINATION]]
        for number, end, slot in zip(connected, ends, slots.tolist(), strict=True):
            control = registry.by_name.get(end)
            is_free = control and not control.is_whole and not WAVE_FRAME.fullmatch(end)
            yield _Route(
                source=registry.sources[int(slot[SlotField.SOURCE])],
                destination=end,
                amount=slot[SlotField.AMOUNT],
                is_bipolar=bool(slot[SlotField.BIPOLAR]),
                is_stereo=bool(slot[SlotField.STEREO]),
                is_modulated=f"modulation_{number + 1}_amount" in ends,
                base=values[end] if is_free and values.get(f"{module_of(end)}_on", 1) else None,
            )


def _modulation(patches: Sequence[Patch], registry: Registry) -> Row:
    routes = list(_routes(patches, registry))
    counts = [int(is_connected(patch.modulation_slots).sum()) for patch in patches]
    numbers: dict[str, list[int]] = {}
    for kind in sorted({_folded(source) for source in registry.sources if _folded(source) != source}):
        of_kind = [source for source in registry.sources if _folded(source) == kind]
        found = Counter(route.source for route in routes)
        numbers[kind] = [found[source] + 1 for source in of_kind]  # one more: none is never used
    return {
        "connections": _quantiles(np.array(counts, dtype=float)),
        "amount": _quantiles([route.amount for route in routes if not route.is_modulated] or [0.0]),
        "bipolar": round(float(np.mean([route.is_bipolar for route in routes] or [False])), 3),
        "stereo": round(float(np.mean([route.is_stereo for route in routes] or [False])), 3),
        "numbers": numbers,
        "measured": how_many(len(routes), "connection"),
    }


def _connections(patches: Sequence[Patch], registry: Registry) -> Iterator[Row]:
    """The kinds of routes. Octaves, and how far a wavetable goes, are for habits, whatever moves them."""
    kinds: dict[tuple[str, str], list[_Route]] = {}
    for route in _routes(patches, registry):
        kinds.setdefault((_folded(route.source), _folded(route.destination)), []).append(route)
    for (source, destination), routes in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        row: Row = {"source": source, "destination": destination, "weight": len(routes)}
        amounts = [route.amount for route in routes if not route.is_modulated]
        bases = [route.base for route in routes if route.base is not None]
        for name, found in (("amount", amounts), ("base", bases)):
            if len(found) >= FEW_ROUTES:
                row[name] = _quantiles(found)
        yield row


def _wavetables(patches: Sequence[Patch], values: Values, registry: Registry) -> Row:
    init, column = Patch.init(registry).wavetables, {c.name: i for i, c in enumerate(registry.controls)}
    on = values[:, [column[f"osc_{n}_on"] for n in range(1, OSCILLATORS + 1)]] > 0
    is_init = np.array([[own == there for own, there in zip(init, p.wavetables, strict=True)] for p in patches])
    return {
        "init": round(float(is_init[on].mean()) if on.any() else 0.0, 3),
        "measured": how_many(int(on.sum()), "oscillator"),
    }


def _shapes(collection: Collection, registry: Registry) -> Row:
    """How often LFOs that modulate something have another shape than the init preset's, and connections a curve."""
    init = [canonical_line(line) for line in registry.init["lfos"]]
    sources = [registry.source_index[f"lfo_{number}"] for number in range(1, len(init) + 1)]
    lfos: list[bool] = []
    curves = connections = 0
    for patch in (preset.patch for preset in collection.presets):
        connected = is_connected(patch.modulation_slots)
        connections += int(connected.sum())
        drawn = json.loads(collection.assets[patch.extras.curves]) if patch.extras.curves else {}
        curves += sum(bool(connected[int(slot)]) for slot in drawn)
        lines = json.loads(collection.assets[patch.extras.lfos]) if patch.extras.lfos else init
        used = set(patch.modulation_slots[connected][:, SlotField.SOURCE].astype(int).tolist())
        pairs = zip(sources, lines, init, strict=True)
        lfos += [canonical_line(line) != straight for source, line, straight in pairs if source in used]
    return {
        "lfo": round(float(np.mean(lfos or [False])), 3),
        "curve": round(curves / max(1, connections), 3),
        "reason": "as often as people draw them",
        "measured": f"{how_many(len(lfos), 'LFO')}, {how_many(connections, 'connection')}",
    }
