"""Priors are fitted to what presets do: shares, quantiles, what goes together, and routes, counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from synthcore.base.errors import SpecError
from synthcore.sources.collection import Collection, Preset
from synthcore.sources.fitting import fit_priors, to_toml
from synthcore.sources.priors import parse_priors
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch, SlotField
from tests.patches import with_connections, with_controls

REGISTRY = installed()
PRESETS = 20
OTHER_TABLE = "f" * 64
LEVELS_MOVED = [0.1 + 0.05 * number for number in range(10)]  # of every second preset


def made(number: int) -> Patch:
    """One of the presets; what it does depends on its number."""
    init = Patch.init(REGISTRY)
    values: dict[str, float] = {"osc_2_on": number < 8}
    if number % 2:
        values |= {"osc_1_level": LEVELS_MOVED[number // 2], "osc_1_pan": -0.5, "osc_1_phase": 0.25}
    if number < 5:
        values |= {"osc_1_transpose": -12 if number < 3 else 7, "osc_1_stack_style": 3}
    patch = with_controls(init, REGISTRY, **values)
    if number < 8:
        patch = with_connections(patch, REGISTRY, ("lfo_2", "osc_1_level", 0.1 * number))
        patch.modulation_slots[0, SlotField.BIPOLAR] = number < 2
    return dataclasses.replace(patch, wavetables=(OTHER_TABLE, *init.wavetables[1:])) if number < 5 else patch


def collected(count: int) -> Collection:
    presets = (
        Preset(made(n), f"{n}", "community", f"{n}.vital", "", "", "CC0-1.0", "", ("",) * 4) for n in range(count)
    )
    return Collection(tuple(presets), {}, {})


@pytest.fixture(scope="module")
def fitted():
    return fit_priors(collected(PRESETS), REGISTRY)


@pytest.fixture(scope="module")
def habits(fitted):
    return {row["control"]: row for row in fitted["habit"]}


def test_a_habit_says_how_often_a_control_is_left_alone_and_what_it_is_moved_to(habits):
    assert habits["osc_1_transpose"] == {
        "control": "osc_1_transpose", "default_share": 0.75, "values": {"-12": 3, "7": 2}, "measured": "20 presets"
    }  # fmt: skip
    style = REGISTRY.by_name["osc_1_stack_style"].options
    assert habits["osc_1_stack_style"]["options"] == {style[0]: 15, style[3]: 5}
    pan = habits["osc_1_pan"]
    assert (pan["default_share"], pan["quantiles"]) == (0.5, [-0.5] * 7)


def test_what_is_off_is_not_counted_nor_what_modulation_moves(habits):
    assert habits["osc_2_level"] == {"control": "osc_2_level", "default_share": 1.0, "measured": "8 presets"}
    level = habits["osc_1_level"]  # modulated in the first eight
    assert (level["measured"], level["default_share"]) == ("12 presets", 0.5)
    assert level["quantiles"] == pytest.approx(np.quantile(LEVELS_MOVED[4:], [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]), 1e-5)


def test_what_is_moved_together_has_the_same_loadings_and_keeps_something_of_its_own(fitted):
    together = ("osc_1_level", "osc_1_pan", "osc_1_phase")

    def correlation(one: str, other: str) -> float:
        return float(sum(row["loadings"].get(one, 0) * row["loadings"].get(other, 0) for row in fitted["factor"]))

    assert [correlation(name, together[0]) for name in together[1:]] == pytest.approx([0.7] * 2, abs=0.1)
    assert abs(correlation("osc_1_level", "osc_1_transpose")) < 0.25
    assert [correlation(name, name) for name in together] == pytest.approx([0.9] * 3, abs=0.04)


def test_routes_are_counted_by_kind_with_their_amounts_and_what_their_ends_are_left_at(fitted):
    (route,) = fitted["connection"]
    assert (route["source"], route["destination"], route["weight"]) == ("lfo_N", "osc_N_level", 8)
    assert route["amount"] == pytest.approx(
        np.quantile(0.1 * np.arange(8), [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]), abs=1e-5
    )
    default = REGISTRY.by_name["osc_1_level"].default
    left_at = [LEVELS_MOVED[n // 2] if n % 2 else default for n in range(8)]
    assert route["base"] == pytest.approx(np.quantile(left_at, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]), abs=1e-5)
    modulation = fitted["modulation"]
    assert (modulation["bipolar"], modulation["stereo"], modulation["measured"]) == (0.25, 0, "8 connections")
    assert modulation["connections"] == [0, 0, 0, 0, 1, 1, 1]
    assert modulation["numbers"]["lfo_N"][:3] == [1, 9, 1]


def test_wavetables_are_counted_of_oscillators_that_sound(fitted):
    assert fitted["wavetables"] == {"init": round(23 / 28, 3), "measured": "28 oscillators"}


def test_the_file_is_read_as_priors_and_too_few_presets_are_refused(fitted):
    read = parse_priors(to_toml(fitted).encode(), "mine.toml")
    assert len(read.habit) == len(fitted["habit"])
    assert (read.full_share, read.licence) == (0.14, "Fitted from presets under: CC0-1.0")
    with pytest.raises(SpecError, match="4 presets, too few to tell what people do; it takes 5"):
        fit_priors(collected(4), REGISTRY)
