"""Sampling: which patches a spec asks for, and how they are spread."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from synthcore.base.errors import SpecError
from synthcore.sources.modulation import MAX_CONNECTIONS, MIN_AMOUNT, STOP
from synthcore.sources.prior_rows import ConstraintRow, PriorRow, RouteRow
from synthcore.sources.priors import Priors, marginals, shipped_priors
from synthcore.sources.synthetic import BLOCK, SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.vital.catalog import Catalog, builtin
from synthcore.vital.controls import installed
from synthcore.vital.normalize import to_units, to_values
from synthcore.vital.patch import EMPTY_SLOT, Patch

REGISTRY = installed()
KINDS = {
    "tier-1": {"tier": 1, "priors": "uniform"},
    "tier-2": {"tier": 2, "priors": "uniform"},
    "tier-2-fixed": {"tier": 2, "priors": "uniform", "fixed_modulation": True},
    "tier-3": {"tier": 3, "priors": "uniform"},
}
CONTINUOUS = {c.name: i for i, c in enumerate(REGISTRY.continuous)}
CATEGORICAL = {c.name: i for i, c in enumerate(REGISTRY.categorical)}


class Block:
    """All first candidates of one hypercube, as columns."""

    def __init__(self, kind):
        self.sampler = SyntheticSource(DatasetSpec(**KINDS[kind], seed=7), REGISTRY)
        self.patches = [self.sampler.draw(slot, 0) for slot in range(BLOCK)]
        self.units = np.array([p.continuous for p in self.patches])
        self.options = np.array([p.categorical for p in self.patches])
        self.slots = np.array([p.modulation_slots for p in self.patches])
        values = to_values(REGISTRY.continuous, self.units)
        self.values = dict(zip(CONTINUOUS, values.T, strict=True))
        priors = self.sampler.priors
        self.constraints = [row for row in priors.constraint if kind in row.kinds]
        self.constrained = {name for row in self.constraints for name in (*row.set, *row.squeeze)}
        self.constrained |= {f"osc_{n}_wave_frame" for n in (1, 2, 3)}  # each to its wavetable's frames
        self.rows = {c.name: priors.of(c, self.sampler.spec) for c in REGISTRY.controls}

    def option_names(self, name):
        return np.array(REGISTRY.by_name[name].options)[self.options[:, CATEGORICAL[name]]]


@pytest.fixture(scope="module", params=list(KINDS))
def block(request):
    return Block(request.param)


# ------------------------------------------------------------------------------------------------------- the hypercube


def test_each_of_1024_slots_is_in_a_stratum_of_its_own(block):
    """Latin hypercube: of n values, sorted, the k-th lies between k/n and (k+1)/n of the prior's range."""
    edges = np.arange(BLOCK + 1) / BLOCK
    checked = 0
    for m in block.sampler.marginals:
        if m.control.is_whole or m.control.is_categorical or m.skew != 1 or m.control.name in block.constrained:
            continue
        drawn = np.sort((block.values[m.control.name] - m.low) / (m.high - m.low))
        rounding = 2**-23 * (m.control.high - m.control.low) / (m.high - m.low)  # of the stored float32
        assert (drawn >= edges[:-1] - rounding).all(), m.control.name
        assert (drawn <= edges[1:] + rounding).all(), m.control.name
        checked += 1
    assert checked >= 10


def test_a_skewed_control_favours_its_end(block):
    checked = 0
    for m in block.sampler.marginals:
        if m.control.is_categorical or m.skew == 1 or m.control.name in block.constrained:
            continue
        drawn = (block.values[m.control.name] - m.low) / (m.high - m.low)
        assert np.median(drawn) == pytest.approx(0.5**m.skew, abs=0.02), m.control.name
        checked += 1
    assert checked


def test_options_come_as_often_as_their_weights_say(block):
    """Stratified: an option's share of the strata is met but for one stratum at either edge."""
    checked = 0
    for m in block.sampler.marginals:
        if m.control.is_categorical and m.control.name not in block.constrained:
            counts = np.bincount(block.options[:, CATEGORICAL[m.control.name]], minlength=len(m.control.options))
            expected = BLOCK * m.weights / m.weights.sum()
            assert (abs(counts - expected) < 2).all(), m.control.name
            checked += 1
    assert checked


def test_the_ends_of_a_whole_number_come_as_often_as_the_rest(block):
    checked = 0
    for m in block.sampler.marginals:
        count = m.high - m.low + 1
        if m.control.is_categorical or not m.control.is_whole or m.skew != 1 or count > 128:
            continue
        if m.control.name not in block.constrained:
            counts = np.bincount((block.values[m.control.name] - m.low).astype(int), minlength=int(count))
            assert (abs(counts - BLOCK / count) < 2).all(), m.control.name
            checked += 1
    assert checked


def test_whole_numbers_are_stored_rounded(block):
    whole = [c for c in REGISTRY.continuous if c.is_whole]
    columns = [CONTINUOUS[c.name] for c in whole]
    stored = block.units[:, columns]
    played = to_values(whole, stored)
    np.testing.assert_array_equal(played, np.rint(played))
    np.testing.assert_array_equal(to_units(whole, played), stored)


def test_every_draw_lies_in_its_prior(block):
    for m in block.sampler.marginals:
        name = m.control.name
        if m.control.is_categorical and name not in block.constrained:
            assert set(block.options[:, CATEGORICAL[name]]) <= set(m.allowed), name
        elif not m.control.is_categorical:
            rounding = 1e-7 * (m.control.high - m.control.low)
            assert block.values[name].min() >= m.low - rounding, name
            assert block.values[name].max() <= m.high + rounding, name


def test_what_is_not_drawn_keeps_its_default(block):
    drawn = {m.control.name for m in block.sampler.marginals}
    init = Patch.init(REGISTRY)
    for name, column in CONTINUOUS.items():
        if name not in drawn:
            assert (block.units[:, column] == init.continuous[column]).all(), name
    for name, column in CATEGORICAL.items():
        if name not in drawn | block.constrained:
            assert (block.options[:, column] == init.categorical[column]).all(), name


def test_pinned_controls_and_those_of_a_higher_tier_are_not_drawn(block):
    drawn = {m.control.name for m in block.sampler.marginals}
    pinned = {name for name, row in block.rows.items() if row and row.pin}
    assert drawn == {c.name for c in REGISTRY.of_tier(block.sampler.spec.tier)} - pinned


def test_constraints_hold_in_every_candidate(block):
    drawn = {m.control.name for m in block.sampler.marginals}
    checked = 0
    for row in block.constraints:
        holds = np.all([np.isin(block.option_names(name), options) for name, options in row.when.items()], axis=0)
        for name, option in row.set.items():
            assert (block.option_names(name)[holds] == option).all(), row
        for name, (low, high) in row.squeeze.items():
            if name in drawn:
                rounding = 1e-7 * (REGISTRY.by_name[name].high - REGISTRY.by_name[name].low)
                squeezed = block.values[name][holds]
                assert ((squeezed >= low - rounding) & (squeezed <= high + rounding)).all(), row
        checked += holds.any()
    assert checked


def test_an_oscillator_that_is_on_draws_each_wavetable_as_often_as_any_other(block):
    init = Patch.init(REGISTRY).wavetables
    varied = (1, 2) if block.sampler.spec.tier == 1 else (1, 2, 3)
    for n in (1, 2, 3):
        played = np.array([p.wavetables[n - 1] for p in block.patches])
        is_on = block.option_names(f"osc_{n}_on") == "On"
        assert (played[~is_on] == init[n - 1]).all()
        if n in varied:
            counts = Counter(played[is_on].tolist())
            assert {*counts} == {*builtin().assets}
            fair = is_on.sum() / len(builtin())
            assert max(counts.values()) < fair + 6 * fair**0.5
        else:
            assert (played == init[n - 1]).all()


def test_the_frame_goes_as_far_as_its_wavetable_and_no_farther(block):
    for n in (1, 2) if block.sampler.spec.tier == 1 else (1, 2, 3):
        frame, is_on = block.values[f"osc_{n}_wave_frame"], block.option_names(f"osc_{n}_on") == "On"
        assert (frame[~is_on] == 0).all()
        assert 60 < frame[is_on].max() <= 64
        assert frame[is_on].min() < 4


def test_the_frame_of_a_longer_wavetable_goes_farther():
    longest = Catalog(tuple(e.model_copy(update={"frames": 257}) for e in builtin().entries), builtin().assets)
    sampler = SyntheticSource(DatasetSpec(priors="uniform"), REGISTRY, catalog=longest)
    column = [c.name for c in REGISTRY.continuous].index("osc_1_wave_frame")
    assert max(sampler.draw(i, 0).continuous[column] for i in range(100)) > 0.9
    (marginal,) = (m for m in sampler.marginals if m.control.name == "osc_1_wave_frame")
    assert (marginal.low, marginal.high) == (0, 256)


@pytest.mark.slow
def test_a_catalog_larger_than_a_block_is_drawn_from_whole():
    entries = tuple(
        e.model_copy(update={"digest": f"{50 * n + i:064}"}) for i in range(50) for n, e in enumerate(builtin().entries)
    )
    sampler = SyntheticSource(DatasetSpec(priors="uniform"), REGISTRY, catalog=Catalog(entries, {}))
    drawn = {w for i in range(4 * BLOCK) for w in sampler.draw(i, 0).wavetables}
    assert len(drawn) > 0.85 * len(entries)


def test_wavetables_can_begin_at_tier_2():
    tier_1, tier_2 = (
        SyntheticSource(DatasetSpec(tier=tier, priors="uniform", wavetables_from_tier=2), REGISTRY) for tier in (1, 2)
    )
    init = Patch.init(REGISTRY).wavetables
    assert {tier_1.draw(i, 0).wavetables for i in range(20)} == {init}
    assert len({tier_2.draw(i, 0).wavetables for i in range(20)}) > 10
    names = {m.control.name for m in tier_1.marginals}
    assert "osc_1_wave_frame" not in names
    assert "osc_1_wave_frame" in {m.control.name for m in tier_2.marginals}


# ---------------------------------------------------------------------------------------------------------- the purity

SOME = [(0, 0), (5, 3), (BLOCK - 1, 0), (BLOCK, 0), (BLOCK + 5, 3), (10 * BLOCK, 99)]


@pytest.fixture(scope="module", params=list(KINDS))
def spec(request):
    return DatasetSpec(**KINDS[request.param])


def hashes(sampler, candidates=SOME):
    return [sampler.draw(slot, attempt).hash for slot, attempt in candidates]


@pytest.mark.slow
def test_a_candidate_depends_on_its_slot_and_attempt_alone(spec):
    forwards = hashes(SyntheticSource(spec, REGISTRY))
    sampler = SyntheticSource(spec, REGISTRY)
    backwards = hashes(sampler, SOME[::-1])
    assert forwards == backwards[::-1] == hashes(sampler)


@pytest.mark.long
def test_a_candidate_is_the_same_in_another_process(fresh):
    specs = [DatasetSpec(**fields) for fields in KINDS.values()]
    code = f"""
from synthcore.vital.controls import installed
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
for spec in sys.argv[1:]:
    sampler = SyntheticSource(DatasetSpec.model_validate_json(spec), installed())
    print(*(sampler.draw(slot, attempt).hash for slot, attempt in {SOME}))
"""
    theirs = fresh(code, *(s.model_dump_json() for s in specs)).stdout.splitlines()
    assert [line.split() for line in theirs] == [hashes(SyntheticSource(s, REGISTRY)) for s in specs]


@pytest.mark.slow
def test_the_size_of_the_dataset_changes_no_candidate(spec):
    more = spec.model_copy(update={"n_samples": 1_000_000})
    assert hashes(SyntheticSource(more, REGISTRY)) == hashes(SyntheticSource(spec, REGISTRY))


@pytest.mark.slow
def test_slots_attempts_and_seeds_differ(spec):
    other_seed = SyntheticSource(spec.model_copy(update={"seed": 1}), REGISTRY)
    everywhere = [(slot, attempt) for slot in (0, 1, BLOCK, BLOCK + 1) for attempt in range(3)]
    found = hashes(SyntheticSource(spec, REGISTRY), everywhere) + hashes(other_seed, everywhere)
    assert len(set(found)) == 2 * len(everywhere)


# ------------------------------------------------------------------------------------------------------ the modulation


def used(slots):
    """The slots of one patch that hold a connection."""
    return slots[slots[:, 0] >= 0]


@pytest.mark.parametrize("block", ["tier-1", "tier-2"], indirect=True)
def test_tiers_1_and_2_connect_nothing(block):
    assert (block.slots == EMPTY_SLOT).all()


@pytest.mark.parametrize("block", ["tier-3"], indirect=True)
def test_tier_3_connects_up_to_20_distinct_pairs(block):
    counts = [len(used(slots)) for slots in block.slots]
    assert min(counts) == 0
    assert max(counts) == MAX_CONNECTIONS == 20
    assert all(len({tuple(pair) for pair in used(slots)[:, :2]}) == len(used(slots)) for slots in block.slots)


@pytest.mark.parametrize("block", ["tier-3"], indirect=True)
def test_tier_3s_number_of_connections_is_geometric_less_one_cut_at_20(block):
    counts = [len(used(slots)) for slots in block.slots]
    expected = sum((1 - STOP) ** k for k in range(1, MAX_CONNECTIONS + 1))
    spread = np.std(counts) / np.sqrt(BLOCK)
    assert np.mean(counts) == pytest.approx(expected, abs=4 * spread)
    assert counts.count(0) / BLOCK == pytest.approx(STOP, abs=0.05)


@pytest.mark.parametrize("block", ["tier-2-fixed", "tier-3"], indirect=True)
def test_connections_are_what_the_synth_can_take(block):
    source, destination, amount, bipolar, power, stereo, bypass = np.concatenate([used(s) for s in block.slots]).T
    assert set(source) <= set(range(len(REGISTRY.sources)))
    assert set(destination) <= set(range(len(REGISTRY.destinations)))
    assert (abs(amount) >= np.float32(MIN_AMOUNT)).all()
    assert (abs(amount) <= 1).all()
    assert {*np.sign(amount)} == {-1, 1}
    assert (abs(power) <= 10).all()
    assert {*bipolar} == {*stereo} == {0, 1}
    assert {*bypass} == {0}


@pytest.mark.parametrize("block", ["tier-3"], indirect=True)
def test_every_source_is_used_and_most_destinations(block):
    connections = np.concatenate([used(s) for s in block.slots])
    assert len(np.unique(connections[:, 0])) == len(REGISTRY.sources)
    assert len(np.unique(connections[:, 1])) > 0.9 * len(REGISTRY.destinations)


@pytest.mark.parametrize("block", ["tier-2-fixed", "tier-3"], indirect=True)
def test_an_unused_slot_is_empty(block):
    assert (block.slots[block.slots[:, :, 0] < 0] == EMPTY_SLOT).all()


@pytest.mark.parametrize("block", ["tier-2-fixed"], indirect=True)
def test_each_of_8_fixed_routes_is_on_in_half_of_the_patches_in_a_slot_of_its_own(block):
    routes = shipped_priors("uniform").route
    assert len(routes) == len({(r.source, r.destination) for r in routes}) == 8
    for place, route in enumerate(routes):
        slot = block.slots[:, place]
        on = slot[:, 0] >= 0
        assert on.mean() == pytest.approx(0.5, abs=0.08)
        ends = {(REGISTRY.sources[int(s)], REGISTRY.destinations[int(d)]) for s, d in slot[on, :2]}
        assert ends == {(route.source, route.destination)}
        assert len(np.unique(slot[on, 2])) > 100  # the amounts are free
    assert (block.slots[:, len(routes) :] == EMPTY_SLOT).all()


def test_a_fixed_route_that_the_synth_cannot_take_is_an_error():
    priors = shipped_priors("uniform").model_copy(update={"route": (RouteRow(source="lfo_1", destination="osc_1_on"),)})
    sampler = SyntheticSource(DatasetSpec(tier=2, fixed_modulation=True), REGISTRY, priors)
    with pytest.raises(SpecError, match="'osc_1_on' is not a modulation destination"):
        sampler.draw(0, 0)


# --------------------------------------------------------------------------------------------------------- priors.toml


def test_every_row_says_why():
    assert [
        row
        for row in (*shipped_priors("uniform").prior, *shipped_priors("uniform").constraint)
        if not row.reason.strip()
    ] == []


def of_kinds(row):
    """A spec of each kind that a row is for, without wavetables where that is all the row is for."""
    return [
        DatasetSpec(**KINDS[kind], wavetables_from_tier=2 if row.without_wavetables and kind == "tier-1" else 1)
        for kind in row.kinds
    ]


def matched(row):
    return [c for c in REGISTRY.controls if any(Priors.of(_only(row), c, spec) for spec in of_kinds(row))]


def _only(row):
    return Priors(prior=(row,), constraint=(), route=(), digest="")


@pytest.mark.slow
def test_a_range_cut_by_more_than_a_fifth_says_what_was_measured():
    for row in shipped_priors("uniform").prior:
        if row.range:
            share = min((row.range[1] - row.range[0]) / (c.high - c.low) for c in matched(row))
            assert share >= 0.8 - 1e-9 or row.measured.strip(), (row.controls, share)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_synth_has_all_that_priors_toml_names(kind):
    assert marginals(REGISTRY, DatasetSpec(**KINDS[kind]), shipped_priors("uniform"))


def prior(**row):
    return {"prior": (PriorRow(reason="a test", **row),)}


def constraint(**row):
    return {"constraint": (ConstraintRow(reason="a test", **row),)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (prior(controls=("osc_9_level",)), "osc_9_level"),
        (prior(controls=("osc_9_*",)), r"osc_9_\*"),
        (prior(controls=("volume", "loudness")), "loudness"),
        (prior(controls=("osc_1_on",), options={"Perhaps": 1.0}), "osc_1_on has no option .*Perhaps"),
        (prior(controls=("osc_1_on",), options={"#2": 1.0}), "osc_1_on has no option .*#2"),
        (prior(controls=("osc_1_level",), range=(0.5, 1.5)), "osc_1_level"),
        (prior(controls=("osc_1_level",), range=(-0.5, 0.5)), "osc_1_level"),
        (prior(controls=("osc_1_level",), range=(0.5, 0.5)), "osc_1_level"),
        (constraint(when={"osc_9_on": ("On",)}), "osc_9_on"),
        (constraint(when={"osc_1_on": ("On", "Perhaps")}), "Perhaps"),
        (constraint(when={"osc_1_on": ("On",)}, set={"osc_9_on": "On"}), "osc_9_on"),
        (constraint(when={"osc_1_on": ("On",)}, set={"osc_2_on": "Perhaps"}), "Perhaps"),
        (constraint(when={"osc_1_on": ("On",)}, squeeze={"osc_9_level": (0.0, 1.0)}), "osc_9_level"),
        (constraint(when={"osc_1_on": ("On",)}, squeeze={"osc_1_level": (0.0, 2.0)}), "osc_1_level"),
    ],
)
def test_priors_that_the_synth_cannot_meet_are_refused_by_name(wrong, said):
    priors = shipped_priors("uniform").model_copy(update=wrong)
    with pytest.raises(SpecError, match=rf"uniform\.toml: .*{said}"):
        SyntheticSource(DatasetSpec(), REGISTRY, priors)


def test_of_several_rows_for_a_control_the_last_holds():
    rows = tuple(PriorRow(controls=("osc_?_level",), range=r, reason="a test") for r in ((0.0, 0.5), (0.25, 0.75)))
    priors = shipped_priors("uniform").model_copy(update={"prior": rows, "constraint": ()})
    (level,) = (m for m in marginals(REGISTRY, DatasetSpec(), priors) if m.control.name == "osc_1_level")
    assert (level.low, level.high) == (0.25, 0.75)


def test_of_several_constraints_that_squeeze_a_control_the_last_holds():
    rows = tuple(
        ConstraintRow(when={"osc_1_on": ("On", "Off")}, squeeze={"volume": limits}, reason="a test")
        for limits in ((4000.0, 5000.0), (3000.0, 5000.0))
    )
    priors = shipped_priors("uniform").model_copy(update={"prior": (), "constraint": rows})
    sampler = SyntheticSource(DatasetSpec(), REGISTRY, priors)
    units = [sampler.draw(index, 0).continuous for index in range(BLOCK)]
    volumes = to_values(REGISTRY.continuous, np.array(units))[:, CONTINUOUS["volume"]]
    assert 3000 <= volumes.min() < 3020
    assert 4980 < volumes.max() <= 5000


def test_an_option_that_shares_its_name_is_weighted_by_its_number():
    """`FM <- Osc` is there twice, for either of the other oscillators."""
    control = REGISTRY.by_name["osc_1_distortion_type"]
    twins = [i for i, name in enumerate(control.options) if control.options.count(name) > 1]
    assert len(twins) > 1
    weights = {"None": 1.0, f"#{twins[0]}": 1.0}
    rows = (PriorRow(controls=(control.name,), options=weights, reason="a test"),)
    priors = shipped_priors("uniform").model_copy(update={"prior": rows, "constraint": ()})
    (marginal,) = (m for m in marginals(REGISTRY, DatasetSpec(), priors) if m.control == control)
    drawn = marginal.draw(np.linspace(0, 1, 100, endpoint=False))
    assert set(drawn) == {control.options.index("None"), twins[0]}


def test_a_constraint_for_each_of_several_names_is_written_out():
    row = ConstraintRow(
        each=("osc_1", "osc_2"), when={"*_on": ("On",)}, set={"*_destination": "EFFECTS"}, squeeze={}, reason="a test"
    )
    written = Priors(prior=(), constraint=(row,), route=(), digest="").constraint
    assert [(dict(r.when), dict(r.set)) for r in written] == [
        ({"osc_1_on": ("On",)}, {"osc_1_destination": "EFFECTS"}),
        ({"osc_2_on": ("On",)}, {"osc_2_destination": "EFFECTS"}),
    ]
