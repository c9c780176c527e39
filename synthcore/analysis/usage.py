"""Usage: which wavetables the oscillators play, and what modulation connects."""

from __future__ import annotations

from collections import Counter

import numpy as np
from pydantic import BaseModel, ConfigDict

from synthcore.storage.dataset import Dataset
from synthcore.vital.patch import OSCILLATORS, SlotField, is_connected

#: How many rows' labels are counted at most, in runs of `RUN` rows spread over the dataset.
COUNTED = 65_536
RUN = 64  #: the rows of a chunk of labels: reading one of them inflates all


class Usage(BaseModel):
    """What the rows use."""

    model_config = ConfigDict(frozen=True)

    rows: int  # how many were counted
    oscillators: int  # switched on, in all these rows
    wavetables: dict[str, int]  # SHA-256 -> oscillators that are on and play it, the most played first
    wavetable_names: dict[str, str]  # SHA-256 -> its name, which may hold anything
    connections: dict[int, int]  # number of connections -> rows that have so many
    modulation_sources: dict[str, int]  # connections, the most used first
    modulation_destinations: dict[str, int]


def count_usage(dataset: Dataset) -> Usage:
    """Count wavetables of oscillators that are on, and connections that aren't bypassed."""
    registry, classes = dataset.registry, dataset.classes
    names = [c.name for c in registry.categorical]
    switches = [names.index(f"osc_{n}_on") for n in range(1, OSCILLATORS + 1)]
    tables: Counter[int] = Counter()
    connections: Counter[int] = Counter()
    sources: Counter[int] = Counter()
    destinations: Counter[int] = Counter()
    counted = 0
    for rows in runs(len(dataset), COUNTED):
        is_on = dataset.column("categorical", rows)[:, switches] > 0
        tables.update(dataset.column("wavetables", rows)[is_on].tolist())
        slots = dataset.column("modulation_slots", rows)
        is_used = is_connected(slots)
        connections.update(is_used.sum(axis=1).tolist())
        sources.update(slots[is_used, SlotField.SOURCE].astype(int).tolist())
        destinations.update(slots[is_used, SlotField.DESTINATION].astype(int).tolist())
        counted += len(slots)
    return Usage(
        rows=counted,
        oscillators=tables.total(),
        wavetables={classes.wavetables[place]: count for place, count in tables.most_common()},
        wavetable_names={classes.wavetables[place]: classes.wavetable_names[place] for place in tables},
        connections=dict(sorted(connections.items())),
        modulation_sources={registry.sources[s]: count for s, count in sources.most_common()},
        modulation_destinations={registry.destinations[d]: count for d, count in destinations.most_common()},
    )


def runs(rows: int, limit: int) -> list[slice]:
    """Cover `rows` rows in runs of `RUN`, or `limit` of them in runs that are evenly spaced."""
    of_all = np.arange(0, rows, RUN)
    taken = of_all[np.unique(np.linspace(0, len(of_all) - 1, min(len(of_all), limit // RUN)).astype(int))]
    return [slice(start, start + RUN) for start in (taken.tolist() if rows else [])]
