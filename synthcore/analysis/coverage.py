"""Coverage: how far the accepted rows reach into the full priors, and where they are thin.

All drawn patches count for the span. Those drawn from the full priors are counted by bins of equal probability, by what
the priors say of the control alone, so that bins show what constraints and refusals take away. Patches are counted, not
rows: the notes of a patch share their controls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.base.counting import how_many
from synthcore.sources.habits import follows_habits
from synthcore.sources.priors import Marginal, marginals
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import Registry
from synthcore.vital.normalize import to_values

#: An accepted control should span this much of its prior's range.
SPAN = 0.9
#: A control's prior is cut into this many bins at most.
BINS = 20
#: How many patches are expected in a bin, at least. Then fewer than `THIN` of them come by chance in one bin of
#: 20 million: for a Poisson distribution with mean 20, P(0 or 1) is 4e-8.
EXPECTED = 20
#: A bin with less than this share of the expected patches is thin.
THIN = 0.1
#: How many rows' labels are read at a time: memory doesn't grow with the dataset.
BATCH = 4096


class Coverage(BaseModel):
    """How much of the priors the accepted rows reach."""

    model_config = ConfigDict(frozen=True)

    continuous_varied: int
    categorical_varied: int
    lowest_span: float  # of the control that spans least, as a share of its prior's range
    narrow: dict[str, float]  # controls that span under SPAN of it
    missing_options: dict[str, list[str]]  # allowed options that no row has
    patches: int  # drawn from the full priors: those that are counted below
    thin: dict[str, float]  # controls with thin bins: the share of its prior's probability that lies in them
    filled: dict[str, list[float]]  # of every varied control: patches in each bin, as a share of those expected
    thin_unknown: str  # why there are no bins; empty when there are

    @property
    def thin_text(self) -> str:
        """How much is thin, in words."""
        return self.thin_unknown or f"{self.thin_share:.1%} of a control's prior on average"

    @property
    def thin_share(self) -> float:
        """How much of a control's prior is thin, on average over the varied controls."""
        return sum(self.thin.values()) / max(1, len(self.filled))


@dataclass(frozen=True, slots=True)
class Bins:
    """How a control's prior is cut: K - 1 inner edges in the control's units (or option indices), K shares."""

    edges: NDArray[np.float64]
    shares: NDArray[np.float64]

    def count(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """Count values by bin, shape (K,)."""
        return np.bincount(np.searchsorted(self.edges, values, side="right"), minlength=len(self.shares))


def cut(marginal: Marginal, low: float, high: float, bins: int) -> Bins:
    """Cut a prior into at most `bins` parts of equal probability, as near as whole numbers and options allow.

    Parameters
    ----------
    marginal : Marginal
        How the control is drawn.
    low, high : float
        The range that the dataset was drawn from, in the control's units; for wave frames it depends on the catalog.
    bins : int
        At least 1.
    """
    if marginal.control.is_categorical:
        return _grouped(
            np.arange(len(marginal.weights), dtype=np.float64), marginal.weights / marginal.weights.sum(), bins
        )
    if marginal.control.is_whole:
        steps = np.arange(high - low + 2) / (high - low + 1)  # as Marginal.draw: half a step wider at each end
        return _grouped(low + np.arange(high - low + 1), np.diff(steps ** (1 / marginal.skew)), bins)
    inner = (np.arange(1, bins) / bins) ** marginal.skew
    return Bins(low + inner * (high - low), np.full(bins, 1 / bins))


def _grouped(values: NDArray[np.float64], shares: NDArray[np.float64], bins: int) -> Bins:
    """Join neighbouring values until each group has a bin's share; the remainder joins the last group."""
    ends, sums, sum_so_far = [], [], 0.0
    for place, share in enumerate(shares.tolist()):
        sum_so_far += share
        if sum_so_far >= 1 / bins - 1e-9:
            ends.append(place)
            sums.append(sum_so_far)
            sum_so_far = 0.0
    sums[-1] += sum_so_far
    return Bins(values[ends[:-1]] + 0.5, np.array(sums))


class _Seen:
    """What the drawn patches hold, gathered batch by batch."""

    def __init__(self, registry: Registry, bins: dict[str, Bins]) -> None:
        self._places = {c.name: place for place, c in enumerate((*registry.continuous, *registry.categorical))}
        self._low = np.full(len(self._places), np.inf)
        self._high = -self._low
        self.options: list[set[int]] = [set() for _ in registry.categorical]
        self.bins = bins
        self._counts = {name: np.zeros(len(cut.shares), np.intp) for name, cut in bins.items()}

    def add(self, values: NDArray[np.float64], is_full: NDArray[np.bool_]) -> None:
        """Take in patches, shape (patches, 448): values of the continuous controls, then options.

        Those from the full priors, shape (patches,), are counted by bin.
        """
        self._low, self._high = np.minimum(self._low, values.min(axis=0)), np.maximum(self._high, values.max(axis=0))
        for options, column in zip(self.options, values.T[-len(self.options) :], strict=True):
            options.update(np.unique(column).astype(int).tolist())
        for name, bins in self.bins.items():
            self._counts[name] += bins.count(values[is_full, self._places[name]])

    def spans(self, ranges: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """Give the share of each range that is reached; a habit may go beyond it."""
        places = self._places
        return {
            name: float(min(high, self._high[places[name]]) - max(low, self._low[places[name]])) / (high - low)
            for name, (low, high) in ranges.items()
        }

    def filled(self, patches: int) -> dict[str, NDArray[np.float64]]:
        """Give the patches in each control's bins, as a share of those expected."""
        return {name: self._counts[name] / (patches * cut.shares) for name, cut in self.bins.items()}


def measure_coverage(dataset: Dataset) -> Coverage:
    """Compare what the synthetic rows hold with what the priors allow."""
    is_first, is_full = _drawn(dataset, slice(None))
    patches, drawn = int(is_full.sum()), int(is_first.sum())
    unknown = _why_no_bins(dataset, patches)
    seen = _look(dataset, {} if unknown else _cut_all(dataset, min(BINS, patches // EXPECTED)))
    # A shard of presets has no synthetic rows, so nothing is missing from it.
    spans = seen.spans(dataset.priors.continuous) if drawn else {}
    filled = seen.filled(patches)
    thin = {name: float(cut.shares[filled[name] < THIN].sum()) for name, cut in seen.bins.items()}
    return Coverage(
        continuous_varied=len(spans),
        categorical_varied=len(dataset.priors.categorical) if drawn else 0,
        lowest_span=min(spans.values(), default=1.0),
        narrow={name: span for name, span in sorted(spans.items(), key=lambda item: item[1]) if span < SPAN},
        missing_options=_missing_options(dataset, seen.options) if drawn else {},
        patches=patches,
        thin={name: share for name, share in sorted(thin.items(), key=lambda item: -item[1]) if share},
        filled={name: ratios.round(3).tolist() for name, ratios in filled.items()},
        thin_unknown=unknown,
    )


def _look(dataset: Dataset, bins: dict[str, Bins]) -> _Seen:
    """Go once through the labels of the drawn patches."""
    seen = _Seen(dataset.registry, bins)
    for start in range(0, len(dataset), BATCH):
        rows = slice(start, start + BATCH)
        is_first, is_full = _drawn(dataset, rows)
        if is_first.any():
            values = to_values(dataset.registry.continuous, dataset.column("continuous", rows)[is_first])
            options = dataset.column("categorical", rows)[is_first]
            seen.add(np.concatenate([values, options], axis=1), is_full[is_first])
    return seen


def _drawn(dataset: Dataset, rows: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which rows are the first of a drawn patch, and of one drawn from the full priors: two of shape (rows,)."""
    start, stop, _ = rows.indices(len(dataset))
    with_one_before = slice(max(0, start - 1), stop)
    patches, sources = dataset.column("patch_index", with_one_before), dataset.column("source", with_one_before)
    is_first = np.ones(len(patches), dtype=bool)
    is_first[1:] = (patches[1:] != patches[:-1]) | (sources[1:] != sources[:-1])
    is_first &= sources == b"synthetic"
    is_full = is_first.copy()
    if dataset.drawing.drawn_from.habit:
        is_full &= ~follows_habits(patches, dataset.drawing.drawn_from.full_share)
    shown = slice(start - with_one_before.start, None)
    return is_first[shown], is_full[shown]


def _why_no_bins(dataset: Dataset, patches: int) -> str:
    if patches < 2 * EXPECTED:
        return f"{how_many(patches, 'patch', 'es')} drawn from the priors, too few to tell; it takes {2 * EXPECTED}"
    if not dataset.drawing.drawn_from.prior:
        return "drawn from priors that the file doesn't hold"
    return ""


def _cut_all(dataset: Dataset, bins: int) -> dict[str, Bins]:
    ranges = dataset.priors.continuous
    drawn = marginals(dataset.registry, dataset.spec, dataset.drawing.drawn_from)
    return {m.control.name: cut(m, *ranges.get(m.control.name, (m.low, m.high)), bins) for m in drawn}


def _missing_options(dataset: Dataset, occurring: list[set[int]]) -> dict[str, list[str]]:
    missing: dict[str, list[str]] = {}
    for control, options in zip(dataset.registry.categorical, occurring, strict=True):
        if absent := set(dataset.priors.categorical.get(control.name, ())) - options:
            missing[control.name] = [control.options[i] for i in sorted(absent)]
    return missing
