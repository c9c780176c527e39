"""The registry: what a label's columns mean, with the synth and without it."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
import vita

from synthcore.base.errors import EngineMismatch, SpecError
from synthcore.engine.lending import borrow_renderer
from synthcore.sources.modulation import route_indices
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.vital.controls import Control, Registry
from synthcore.vital.patch import Patch, init_assets

#: Controls that can't be modulated: connecting one would kill the process when it renders.
NO_DESTINATIONS = (
    "bypass",
    "chorus_on",
    "delay_style",
    "distortion_type",
    "effect_chain_order",
    "env_1_attack_power",
    "eq_low_mode",
    "filter_1_model",
    "filter_2_on",
    "filter_fx_style",
    "legato",
    "lfo_1_sync_type",
    "mpe_enabled",
    "osc_1_on",
    "osc_1_transpose_quantize",
    "osc_2_distortion_type",
    "osc_3_destination",
    "oversampling",
    "pitch_wheel",
    "random_1_style",
    "sample_loop",
    "voice_priority",
)


def test_there_are_448_controls_of_which_322_are_continuous_and_126_categorical(registry):
    assert len(registry.controls) == 448
    assert len(registry.continuous) == 322
    assert len(registry.categorical) == 126


def test_29_continuous_controls_take_whole_numbers_only(registry):
    assert sum(c.is_whole for c in registry.continuous) == 29


def test_tier_1_is_two_oscillators_filter_1_envelope_1_and_the_volume(registry):
    names = [c.name for c in registry.of_tier(1)]
    assert len(names) == 82
    assert all(n == "volume" or n.startswith(("osc_1_", "osc_2_", "filter_1_", "env_1_")) for n in names)


def test_tiers_2_and_3_are_all_controls(registry):
    assert registry.of_tier(2) == registry.of_tier(3) == registry.controls


def test_no_modulation_slot_and_nothing_that_only_draws_is_a_control(registry):
    assert not [c.name for c in registry.controls if re.match(r"modulation_\d|view_|osc_\d_view", c.name)]


def test_columns_are_sorted_by_name(registry):
    names = [c.name for c in registry.controls]
    assert names == sorted(names)


def test_the_ten_numbers_of_a_filters_style_are_six_options(registry):
    style = registry.by_name["filter_1_style"]
    details = vita.Synth().get_control_details("filter_1_style")
    assert (details.max, len(details.options)) == (9, 5)
    assert style.options == (*details.options, "Band Spread Flange-")
    assert (style.low, style.high) == (0, 5)


def test_no_other_control_takes_numbers_without_a_name(registry):
    synth = vita.Synth()
    ranges = {c.name: synth.get_control_details(c.name).max for c in registry.categorical}
    assert {name for name, high in ranges.items() if high > registry.by_name[name].high} == {
        "filter_1_style",
        "filter_2_style",
        "filter_fx_style",
    }


@pytest.mark.slow
def test_what_a_filters_style_makes_sound_has_a_name_and_the_rest_sounds_like_it(registry):
    """Each number from 0 to 9 with each model: only the comb filter has a sixth style with a sound of its own."""
    settings = {"osc_1_on": 1.0, "osc_1_random_phase": 0.0, "filter_1_on": 1.0, "filter_1_resonance": 0.6}
    settings |= {"filter_1_cutoff": 70.0, "filter_1_blend": 0.6, "filter_1_blend_transpose": 30.0}
    audio = AudioSpec(notes=(48,), note_seconds=0.1, render_seconds=0.1)
    fmt = DatasetSpec(audio=audio).render_format
    document = json.loads(Patch.init(registry).to_json(registry, init_assets(registry)))
    with borrow_renderer(fmt.refusing_nothing(), 60) as synth:

        def played(model, style):
            document["settings"] |= settings | {"filter_1_model": float(model), "filter_1_style": float(style)}
            return synth.render(json.dumps(document).encode(), audio.performances).rows[0].audio_sha256

        for model, name in enumerate(registry.by_name["filter_1_model"].options):
            sounds = [played(model, style) for style in range(10)]
            assert set(sounds[6:]) <= set(sounds[:6]), name
            if name == "Comb":
                assert len(set(sounds[:6])) == 6


def test_every_range_is_one_and_holds_its_default(registry):
    wrong = [c for c in registry.controls if not (c.low < c.high and c.low <= c.default <= c.high)]
    assert wrong == []


def test_every_categorical_control_has_as_many_options_as_its_range_has_whole_numbers(registry):
    assert [c.name for c in registry.categorical if len(c.options) != c.high - c.low + 1] == []


def test_modulation_has_32_sources_and_428_destinations(registry):
    assert len(set(registry.sources)) == 32
    assert len(set(registry.destinations)) == 428


@pytest.mark.parametrize("name", NO_DESTINATIONS)
def test_what_is_no_destination_is_refused_before_the_synth_sees_it(registry, name):
    assert name in registry.by_name
    assert name not in registry.destinations
    with pytest.raises(SpecError, match=f"'{name}' is not a modulation destination"):
        route_indices(registry, "lfo_1", name)


def test_22_names_that_are_no_destinations_are_tried():
    assert len(set(NO_DESTINATIONS)) == 22


def test_an_unknown_source_is_refused(registry):
    with pytest.raises(SpecError, match="'lfo_9' is not a modulation source.*did you mean lfo_"):
        route_indices(registry, "lfo_9", "volume")


def test_a_route_is_looked_up_by_its_names(registry):
    source, destination = route_indices(registry, "lfo_1", "filter_1_cutoff")
    assert (registry.sources[source], registry.destinations[destination]) == ("lfo_1", "filter_1_cutoff")


def test_the_registry_comes_back_from_its_json(registry):
    again = Registry.from_config(registry.to_config())
    assert again == registry
    assert again.fingerprint == registry.fingerprint
    assert again.to_config() == registry.to_config()


@pytest.mark.slow
def test_the_synth_gives_the_same_registry_in_another_process(registry, fresh):
    code = "from synthcore.vital.controls import Registry; print(Registry.from_synth().fingerprint)"
    assert fresh(code).stdout.strip() == registry.fingerprint


@pytest.mark.slow
def test_synths_made_before_change_nothing_in_the_registry(registry, fresh):
    code = """
import vita
kept = [vita.Synth() for _ in range(2)]
from synthcore.vital.controls import installed
print(installed().fingerprint)
"""
    assert fresh(code).stdout.strip() == registry.fingerprint


@pytest.mark.slow
def test_the_registry_needs_no_synth_to_come_back(registry, fresh):
    code = """
from synthcore.vital.controls import Registry
registry = Registry.from_config(sys.stdin.read())
print(registry.fingerprint, len(registry.continuous), len(registry.categorical))
try:
    import vita
except ImportError:
    print("no vita")
"""
    said = fresh(code, without=("vita",), stdin=registry.to_config()).stdout.splitlines()
    assert said == [f"{registry.fingerprint} 322 126", "no vita"]


def test_a_registry_is_the_same_as_itself(registry):
    registry.require_same(Registry.from_config(registry.to_config()), "a file")


def _without_volume(registry):
    return dataclasses.replace(registry, controls=tuple(c for c in registry.controls if c.name != "volume"))


def _with_a_knob(registry):
    knob = Control("zz_knob", 0.0, 1.0, 0.5, False, (), 2)
    return dataclasses.replace(registry, controls=(*registry.controls, knob))


def _with_a_wider_volume(registry):
    wider = [dataclasses.replace(c, high=9999.0) if c.name == "volume" else c for c in registry.controls]
    return dataclasses.replace(registry, controls=tuple(wider))


def _with_another_source(registry):
    return dataclasses.replace(registry, sources=(*registry.sources, "lfo_9"))


def _without_a_destination(registry):
    return dataclasses.replace(registry, destinations=registry.destinations[1:])


def _with_another_init(registry):
    return dataclasses.replace(registry, init={**registry.init, "lfos": []})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without_volume, r"adds 1 control \(volume\)"),
        (_with_a_knob, r"lacks 1 control \(zz_knob\)"),
        (_with_a_wider_volume, r"another range, default or options: 1 control \(volume\)"),
        (_with_another_source, r"lacks 1 modulation source \(lfo_9\)"),
        (_without_a_destination, "adds 1 modulation destination"),
        (_with_another_init, "the init preset or the order of names changed"),
    ],
)
def test_another_synth_is_refused_by_naming_what_differs(registry, change, said):
    with pytest.raises(EngineMismatch, match=rf"old\.h5 was made with another synth: .*{said}"):
        registry.require_same(change(registry), "old.h5")


def test_the_delays_tempos_are_named_by_when_echoes_come(registry):
    """At 120 beats per minute the default's echo comes after a quarter of a second, an eighth note."""
    for name in ("delay_tempo", "delay_aux_tempo"):
        control = registry.by_name[name]
        assert control.options[round(control.default - control.low)] == "1/8"
        assert control.options[-1] == "1/64"
