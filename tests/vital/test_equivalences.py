"""Equivalences: one patch stands for all that are the same sound, and the synth agrees that they are."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from synthcore.base.errors import SpecError
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.vital.controls import Registry, installed
from synthcore.vital.equivalences import Equivalences, Rule, Table, equivalences
from synthcore.vital.panel import EFFECTS, effects_in_order, order_code
from synthcore.vital.patch import Patch, SlotField
from synthcore.vital.renaming import rename, routes, swapped
from tests.patches import with_connections, with_controls


@pytest.fixture
def init(registry: Registry) -> Patch:
    return Patch.init(registry)


@pytest.mark.slow
@example(priors="musical", tier=3, slot=171, seed=0)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    priors=st.sampled_from(["uniform", "musical"]),
    tier=st.sampled_from([1, 2, 3]),
    slot=st.integers(0, 200),
    seed=st.integers(0, 1000),
)
def test_all_that_are_the_same_sound_have_one_canonical_patch(priors, tier, slot, seed):
    registry = installed()
    patch = SyntheticSource(DatasetSpec(tier=tier, priors=priors), registry).draw(slot, 0)
    canonical = patch.canonical()
    assert canonical.canonical() == canonical
    walk = equivalences(registry).relatives(patch, np.random.default_rng(seed))
    assert [relative.canonical() for relative in islice(walk, 3)] == [canonical] * 3


def test_what_is_heard_keeps_its_label(init, registry):
    patch = with_controls(init, registry, osc_1_transpose=7, osc_2_transpose=5, reverb_dry_wet=0.3)
    values = patch.canonical().values(registry)
    assert values["osc_1_transpose"] == 7
    assert values["osc_2_transpose"] == init.values(registry)["osc_2_transpose"]  # it is off
    assert values["reverb_dry_wet"] == init.values(registry)["reverb_dry_wet"]


def test_slots_and_modulators_are_numbered_as_the_sound_meets_them(init, registry):
    tangled = with_connections(
        init,
        registry,
        ("macro_control_4", "modulation_3_amount", 0.5),
        ("lfo_7", "reverb_dry_wet", 0.5),  # the reverb is off
        ("lfo_5", "osc_1_level", 0.5),
        ("env_6", "lfo_5_tempo", 0.5),
    )
    assert routes(tangled.canonical(), registry) == [
        ("osc_1_level", 0, "lfo_1"),
        ("modulation_1_amount", 1, "macro_control_1"),
        ("lfo_1_tempo", 2, "env_2"),
    ]


@pytest.mark.slow
def test_slots_of_one_destination_keep_their_order(init, registry):
    one = with_connections(init, registry, ("env_2", "osc_1_level", 0.5), ("env_3", "osc_1_level", -0.25))
    other = with_connections(init, registry, ("env_2", "osc_1_level", -0.25), ("env_3", "osc_1_level", 0.5))
    assert one.canonical() != other.canonical()
    assert one.canonical().modulation_slots[:2, SlotField.AMOUNT].tolist() == [0.5, -0.25]


@pytest.mark.slow
def test_shapes_and_curves_of_its_own_keep_their_numbers(init, registry):
    patch = with_connections(init, registry, ("lfo_5", "osc_1_level", 0.5), ("lfo_4", "osc_1_pan", 0.5))
    shaped = replace(patch, extras=patch.extras._replace(lfos="0" * 64)).canonical()
    assert routes(shaped, registry) == [("osc_1_level", 0, "lfo_5"), ("osc_1_pan", 1, "lfo_4")]
    moved = rename(patch, swapped("modulation_1", "modulation_9"), registry)
    curved = replace(moved, extras=moved.extras._replace(curves="0" * 64)).canonical()
    assert [slot for _, slot, _ in routes(curved, registry)] == [1, 8]


@pytest.mark.slow
def test_swapped_filters_have_one_canonical_patch(init, registry):
    one = with_controls(init, registry, filter_1_on=1, filter_1_cutoff=70)
    other = with_controls(init, registry, filter_2_on=1, filter_2_cutoff=70, osc_1_destination=1)
    assert one.canonical() == other.canonical()
    assert one.canonical().values(registry)["filter_1_on"] == 1
    beside = with_controls(init, registry, filter_2_on=1, filter_2_cutoff=70)  # it hears nothing
    assert one.canonical() != beside.canonical()


@pytest.mark.slow
def test_the_loudest_oscillator_comes_first(init, registry):
    both = with_controls(init, registry, osc_1_on=1, osc_2_on=1, osc_1_destination=0, osc_2_destination=0)
    one = with_controls(both, registry, osc_1_level=0.3, osc_2_level=0.9, osc_2_transpose=7)
    other = with_controls(both, registry, osc_1_level=0.9, osc_2_level=0.3, osc_1_transpose=7)
    assert one.canonical() == other.canonical()
    assert one.canonical().values(registry)["osc_1_transpose"] == 7
    last = with_controls(init, registry, osc_1_on=0, osc_3_on=1, osc_3_level=0.1, osc_3_destination=0)
    assert last.canonical().values(registry)["osc_1_on"] == 1


def test_oscillators_that_modulate_each_other_or_whose_draws_are_modulated_keep_their_numbers(init, registry):
    last = with_controls(init, registry, osc_1_on=0, osc_3_on=1, osc_3_destination=0)
    modulated = with_controls(last, registry, osc_3_distortion_type=7)
    assert modulated.canonical().values(registry)["osc_3_on"] == 1
    drawn = with_connections(last, registry, ("lfo_1", "osc_3_random_phase", 0.5))
    assert drawn.canonical().values(registry)["osc_3_on"] == 1


def test_effects_that_are_off_come_last(init, registry):
    order = ("reverb", "eq", "delay", *(name for name in EFFECTS if name not in ("reverb", "eq", "delay")))
    patch = with_controls(init, registry, reverb_on=1, delay_on=1, effect_chain_order=order_code(order))
    code = patch.canonical().values(registry)["effect_chain_order"]
    assert effects_in_order(round(code))[:3] == ("reverb", "delay", "chorus")


@given(code=st.integers(0, 362_879))
def test_an_order_of_effects_has_one_code(code):
    assert order_code(effects_in_order(code)) == code


def test_unheard_assets_are_the_init_presets(init):
    patch = replace(init, wavetables=("a" * 64, "b" * 64, "c" * 64), extras=init.extras._replace(sample="d" * 64))
    canonical = patch.canonical()
    assert canonical.wavetables == ("a" * 64, *init.wavetables[1:])
    assert canonical.extras.sample is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "number", "modules": ("osc_1", "filter_1")}, "exchanges filter_1_blend for None"),
        ({"kind": "swap", "modules": ("filter_1", "filter_2"), "options": {"x_*": ()}, "first": "mix"}, "names 'x_"),
        (
            {
                "kind": "swap",
                "modules": ("filter_1", "filter_2"),
                "options": {"osc_1_on": (("Off", "x"),)},
                "first": "mix",
            },
            "its options are",
        ),
    ],
)
def test_a_rule_that_the_synth_has_no_names_for_is_refused(fields, said, registry):
    with pytest.raises(SpecError, match=said):
        Equivalences(registry, Table(version=1, rule=(Rule(id="x", reason="y", **fields),)))
