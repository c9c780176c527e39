"""Label errors: figures of patches made by hand, as given and up to equivalences."""

from __future__ import annotations

import itertools
import math
from dataclasses import astuple, replace

import numpy as np
import pytest

from synthcore.evaluation.labels import (
    LabelErrors,
    Routes,
    label_errors,
    label_errors_up_to_equivalences,
    mean_error,
    route_errors,
    routes_of,
)
from synthcore.storage.dataset import Dataset
from synthcore.vital.activity import active
from synthcore.vital.controls import Registry
from synthcore.vital.patch import Patch


def made(registry: Registry, controls: dict[str, float], *routes: tuple[str, str, float]) -> Patch:
    """The init preset with unit values or options, and with routes in the first slots."""
    patch = Patch.init(registry)
    continuous, categorical, slots = patch.continuous.copy(), patch.categorical.copy(), patch.modulation_slots.copy()
    for name, value in controls.items():
        control = registry.by_name[name]
        if control.is_categorical:
            categorical[registry.categorical.index(control)] = value
        else:
            continuous[registry.continuous.index(control)] = value
    for place, (source, destination, amount) in enumerate(routes):
        slots[place] = (registry.source_index[source], registry.destination_index[destination], amount, 0, 0, 0, 0)
    return replace(patch, continuous=continuous, categorical=categorical, modulation_slots=slots)


def heard(patch: Patch, registry: Registry) -> tuple[int, int]:
    """How many continuous and categorical controls can be heard."""
    is_active = active(patch, registry)
    return int(is_active[:322].sum()), int(is_active[322:].sum())


def both(target: Patch, answer: Patch, registry: Registry) -> tuple[LabelErrors, LabelErrors]:
    return label_errors(target, answer, registry), label_errors_up_to_equivalences(target, answer, registry)


@pytest.mark.slow
def test_the_right_answer_has_no_error(registry):
    target = made(registry, {"osc_1_level": 0.5}, ("lfo_1", "osc_1_level", 0.5))
    for found in both(target, target, registry):
        assert (found.continuous, found.categorical, found.precision, found.recall, found.amounts) == (0, 1, 1, 1, 0)
        assert math.isnan(found.weighted)


def test_only_what_can_be_heard_in_the_target_counts(registry):
    target = made(registry, {"osc_1_level": 0.5, "osc_2_level": 0.5})  # the second oscillator is off
    values, options = heard(target, registry)
    answer = made(registry, {"osc_1_level": 0.75, "osc_2_level": 1.0, "osc_1_pan": 0.25, "reverb_on": 1})
    given = label_errors(target, answer, registry)
    assert given.continuous == pytest.approx((0.25 + 0.25) / values)
    assert given.categorical == pytest.approx(1 - 1 / options)


def test_importance_weighs_the_errors(registry):
    target, answer = made(registry, {"osc_1_level": 0.5}), made(registry, {"osc_1_level": 0.75, "volume": 0.0})
    weights = np.zeros(322, dtype=np.float32)
    weights[[registry.continuous.index(registry.by_name[name]) for name in ("osc_1_level", "osc_1_pan")]] = 3, 1
    assert label_errors(target, answer, registry, weights).weighted == pytest.approx(0.25 * 3 / 4)


def test_routes_are_compared_as_a_set(registry):
    target = made(registry, {}, ("lfo_1", "osc_1_level", 0.5), ("env_2", "osc_1_pan", 0.25), ("note", "volume", 0.1))
    answer = made(
        registry,
        {},
        ("env_2", "osc_1_pan", 0.5),
        ("lfo_1", "osc_1_level", 0.4),
        ("lfo_1", "osc_1_level", 0.2),  # adds to the one before
        ("mod_wheel", "osc_1_tune", 0.5),
    )
    precision, recall, amounts = route_errors(routes_of(target, registry), routes_of(answer, registry))
    assert (precision, recall) == pytest.approx((2 / 3, 2 / 3))
    assert amounts == pytest.approx((0.25 + 0.1) / 2)


def test_without_routes_there_is_nothing_to_measure(registry):
    none: Routes = {}
    one: Routes = {("lfo_1", "volume"): 0.5}
    assert [math.isnan(figure) for figure in route_errors(none, none)] == [True, True, True]
    assert route_errors(one, none)[1] == 0
    assert math.isnan(route_errors(one, none).precision)
    assert route_errors(none, one)[0] == 0


def test_swapped_filters_are_right_up_to_equivalences(registry):
    target = made(registry, {"filter_1_on": 1, "filter_1_cutoff": 0.75}, ("lfo_1", "filter_1_cutoff", 0.5))
    answer = made(
        registry,
        {"filter_2_on": 1, "filter_2_cutoff": 0.75, "osc_1_destination": 1},
        ("lfo_1", "filter_2_cutoff", 0.5),
    )
    given, nearest = both(target, answer, registry)
    values, _ = heard(target, registry)
    cutoff = Patch.init(registry).continuous[registry.continuous.index(registry.by_name["filter_1_cutoff"])]
    assert given.continuous == pytest.approx((0.75 - cutoff) / values)
    assert given.categorical < 1
    assert (given.precision, given.recall) == (0, 0)
    assert (nearest.continuous, nearest.categorical, nearest.precision, nearest.recall) == (0, 1, 1, 1)


def test_modulators_are_assigned(registry):
    target = made(
        registry,
        {"lfo_1_phase": 0.5, "lfo_2_phase": 0.125},
        ("lfo_1", "osc_1_level", 0.5),
        ("lfo_2", "osc_1_pan", 0.5),
        ("env_3", "modulation_1_amount", 0.25),
    )
    answer = made(
        registry,
        {"lfo_5_phase": 0.5, "lfo_7_phase": 0.25},
        ("env_6", "modulation_3_amount", 0.25),
        ("lfo_7", "osc_1_pan", 0.25),
        ("lfo_5", "osc_1_level", 0.5),
    )
    given, nearest = both(target, answer, registry)
    values, _ = heard(target, registry)
    assert (given.precision, given.recall) == (0, 0)
    assert given.continuous == pytest.approx((0.5 + 0.125) / values)
    assert nearest.continuous == pytest.approx(0.125 / values)
    assert (nearest.precision, nearest.recall) == (1, 1)
    assert nearest.amounts == pytest.approx(0.25 / 3)


def test_shapes_of_its_own_bind_lfos_to_their_numbers(registry):
    target = made(registry, {}, ("lfo_1", "osc_1_level", 0.5))
    answer = made(registry, {}, ("lfo_2", "osc_1_level", 0.5))
    assert label_errors_up_to_equivalences(target, answer, registry).recall == 1
    shaped = replace(target, extras=target.extras._replace(lfos="0" * 64))
    assert label_errors_up_to_equivalences(shaped, answer, registry).recall == 0


def test_no_figure_is_worse_up_to_equivalences(registry, tier_3):
    with Dataset(tier_3.path) as dataset:
        patches = list(dataset.patches(0, 4))
    for target, answer in itertools.pairwise(patches):
        given, nearest = (np.array(astuple(found)) for found in both(target, answer, registry))
        assert (nearest[:2] <= given[:2] + 1e-12)[~np.isnan(given[:2])].all()
        assert nearest[2] >= given[2]


def test_assigned_modules_take_their_weights_along():
    names = ["lfo_1_phase", "lfo_2_phase", "volume"]
    target, answer, weights = np.array([0.1, 0.9, 0.5]), np.array([0.9, 0.2, 0.0]), np.array([1.0, 3.0, 1.0])
    assert mean_error(names, target, answer, weights) == pytest.approx((0.8 + 3 * 0.7 + 0.5) / 5)
    assert mean_error(names, target, answer, weights, [("lfo_1", "lfo_2")]) == pytest.approx((0.1 + 0.5) / 5)
