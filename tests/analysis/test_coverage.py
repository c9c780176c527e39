"""Coverage: what the sampler draws fills every bin; what is taken away is found; too few patches say nothing."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcore.analysis import coverage
from synthcore.analysis.coverage import BINS, EXPECTED, THIN, cut, measure_coverage
from synthcore.sources.prior_rows import PriorRow
from synthcore.sources.priors import Marginal
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import Control
from synthcore.vital.normalize import to_values

PATCHES = 500  #: enough for every bin


def thin_share(marginal: Marginal, values: np.ndarray) -> float:
    bins = cut(marginal, marginal.low, marginal.high, min(BINS, len(values) // EXPECTED))
    return float(bins.shares[bins.count(values) < THIN * len(values) * bins.shares].sum())


@pytest.mark.slow
@pytest.mark.parametrize("tier", [1, 2, 3])
def test_what_the_sampler_draws_is_thin_nowhere(tier, registry):
    """Constraints, squeezes and the wavetables' lengths included."""
    sampler = SyntheticSource(DatasetSpec(tier=tier, priors="uniform", n_samples=3 * PATCHES), registry)
    patches = [sampler.draw(index, 0) for index in range(PATCHES)]
    units, options = (np.stack([getattr(p, name) for p in patches]) for name in ("continuous", "categorical"))
    drawn = np.concatenate([to_values(registry.continuous, units), options], axis=1)
    place = {c.name: i for i, c in enumerate((*registry.continuous, *registry.categorical))}
    thin = {m.control.name: thin_share(m, drawn[:, place[m.control.name]]) for m in sampler.marginals}
    assert {name: share for name, share in thin.items() if share} == {}


def marginal_of(control: Control, **row: object) -> Marginal:
    return Marginal(control, PriorRow(controls=(control.name,), reason="", **row))


KNOB = Control("knob", 0.0, 10.0, 0.0, False, (), 1)
STEPS = Control("steps", -24.0, 24.0, 0.0, True, (), 1)
MENU = Control("menu", 0.0, 3.0, 0.0, True, ("a", "b", "c", "d"), 1)


@pytest.mark.parametrize("marginal", [marginal_of(KNOB, skew=3), marginal_of(STEPS), marginal_of(STEPS, skew=0.5)])
def test_a_part_that_is_taken_away_is_as_thin_as_it_was_likely(marginal):
    quantiles = (np.arange(4000) + 0.5) / 4000
    left = marginal.draw(quantiles[quantiles > 0.3])
    assert thin_share(marginal, left) == pytest.approx(0.3, abs=0.07)  # by a bin, at most


def test_an_option_that_is_never_kept_is_thin_by_its_weight():
    marginal = marginal_of(MENU, options={"a": 5, "b": 3, "c": 2})
    drawn = marginal.draw((np.arange(1000) + 0.5) / 1000)
    assert thin_share(marginal, drawn) == 0
    assert thin_share(marginal, drawn[drawn != 1]) == pytest.approx(0.3)


@given(st.floats(0.1, 8), st.integers(1, 40), st.sampled_from([KNOB, STEPS]))
def test_bins_hold_all_of_a_prior_and_each_has_its_share(skew, count, control):
    marginal = marginal_of(control, skew=skew)
    bins = cut(marginal, marginal.low, marginal.high, count)
    assert bins.shares.sum() == pytest.approx(1)
    assert bins.shares.min() >= 1 / count - 1e-6
    assert len(bins.edges) == len(bins.shares) - 1
    found = bins.count(marginal.draw((np.arange(5000) + 0.5) / 5000)) / 5000
    np.testing.assert_allclose(found, bins.shares, atol=1e-3)


# ----------------------------------------------------------------------------------------------------------- of a file


def test_a_few_patches_tell_nothing(each_tier):
    with Dataset(each_tier.path) as dataset:
        found = measure_coverage(dataset)
    assert found.patches == 8  # of 15 rows: patches are counted, not notes
    assert "8 patches drawn from the priors, too few to tell; it takes 40" in found.thin_unknown
    assert (found.thin, found.filled) == ({}, {})


def test_a_control_stuck_at_one_end_is_thin(tier_1, forge, registry, monkeypatch):
    monkeypatch.setattr(coverage, "EXPECTED", 2)
    column = [c.name for c in registry.continuous].index("filter_1_cutoff")
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["params/continuous"][:, column] = 1.0
    with Dataset(path) as dataset:
        found = measure_coverage(dataset)
    assert found.filled["filter_1_cutoff"] == [0, 0, 0, 4]
    assert found.thin["filter_1_cutoff"] == pytest.approx(0.75)
    assert found.thin_share == pytest.approx(sum(found.thin.values()) / len(found.filled))
    assert found.thin_unknown == ""


def test_of_priors_that_are_not_kept_nothing_is_claimed(tier_1, forge, monkeypatch):
    monkeypatch.setattr(coverage, "EXPECTED", 2)
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        del file["schema/drawn_from"]  # as in a file from before it was kept
    with Dataset(path) as dataset:
        found = measure_coverage(dataset)
    assert found.thin_unknown == "drawn from priors that the file doesn't hold"
    assert found.lowest_span > 0
