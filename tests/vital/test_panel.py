"""The panel: every control is shown as vita shows it, or as its raw value."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import vita

import synthcore
from synthcore.spec import AudioSpec
from synthcore.vital.controls import Control, Registry
from synthcore.vital.normalize import to_units
from synthcore.vital.panel import EFFECTS, effects_in_order, panel, panel_table, plain, signed
from synthcore.vital.patch import Patch

#: vita multiplies its number by 60, though it is a switch.
SWITCHES = {"bypass"}
UNITS = {"secs": "s", "v": "voices"}


@pytest.fixture(scope="module")
def synth():
    return vita.Synth()


def values_of(control: Control) -> list[float]:
    """Values over a control's whole range, both ends included; whole numbers where it takes only these."""
    values = np.linspace(control.low, control.high, 9)
    return list(dict.fromkeys((np.round(values) if control.is_whole else values).tolist()))


def test_every_control_lies_in_one_module(registry):
    knobs = [knob.control.name for module in panel(registry).modules for knob in module.knobs]
    assert sorted(knobs) == sorted(registry.by_name)
    assert "Others" not in {module.title for module in panel(registry).modules}


def test_modules_come_in_the_order_of_a_signals_way(registry):
    titles = list(dict.fromkeys(re.sub(r" \d", "", module.title) for module in panel(registry).modules))
    assert titles[:6] == ["Oscillator", "Sample", "Filter", "Envelope", "LFO", "Random LFO"]
    assert titles[-2:] == ["Voice", "Master"]


def test_labels_are_unique_within_a_module(registry):
    for module in panel(registry).modules:
        labels = [knob.label for knob in module.knobs]
        assert len(labels) == len({*labels}), module.title


def test_every_value_has_a_unit_or_its_range(registry):
    for name, knob in panel(registry).knobs.items():
        control = knob.control
        for value in values_of(control):
            text = knob.text(value)
            if control.is_categorical:
                assert text.startswith(knob.options[round(value - control.low)]), name
                assert len(knob.options) == len(control.options)
            elif name != "effect_chain_order":
                assert re.fullmatch(
                    r"[-+]?[\d.]+ ?(s|ms|Hz|kHz|dB|%|semitones?|cents?|voices?|bpm|°|\(.*\))( \(.*\))?", text
                )


def test_what_is_shown_rises_with_the_value_or_falls(registry):
    for name, knob in panel(registry).knobs.items():
        amounts = [knob.amount(value) for value in values_of(knob.control)]
        rising = [b > a for a, b in itertools.pairwise(amounts)]
        assert all(rising) or not any(rising), name


def test_numbers_are_those_that_vita_shows(registry, synth):
    controls = synth.get_controls()
    for control in registry.continuous:
        knob = panel(registry).knobs[control.name]
        for value in values_of(control):
            controls[control.name].set(value)
            shown = float(re.sub(r"[^-+.\d].*", "", synth.get_control_text(control.name)))
            if control.name not in SWITCHES:
                assert knob.amount(value) == pytest.approx(shown, rel=1e-4, abs=1e-5), (control.name, value)


def test_units_are_vitas_or_say_where_they_are_from(registry, synth):
    for control in registry.continuous:
        shown = panel(registry).knobs[control.name].shown
        theirs = synth.get_control_details(control.name).display_units.strip()
        if shown.source:
            assert theirs == "", control.name
        else:
            assert shown.unit == UNITS.get(theirs, theirs), control.name


def test_scales_are_vitas(registry, synth):
    for control in registry.continuous:
        shown, theirs = panel(registry).knobs[control.name].shown, synth.get_control_details(control.name)
        if control.name not in SWITCHES:
            scale = {"note": "linear"}.get(shown.scale, shown.scale).replace(" ", "")
            assert theirs.scale.name.lower() in (scale, "indexed"), control.name
            assert (shown.offset, shown.multiply) == (theirs.post_offset, theirs.display_multiply), control.name


def test_every_row_of_the_table_is_of_some_control(registry):
    used = {id(knob.shown) for knob in panel(registry).knobs.values()}
    assert [shown.controls for shown in panel_table().shown if id(shown) not in used] == []


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("env_1_attack", 1.0, "1 s"),
        ("env_1_attack", 0.3, "8.1 ms"),
        ("volume", 5473.0404, "-6.02 dB"),
        ("filter_1_cutoff", 69.0, "440 Hz (+9 semitones)"),
        ("filter_1_cutoff", 136.0, "21.1 kHz (+76 semitones)"),
        ("eq_low_cutoff", 40.0, "82.4 Hz (+40 semitones)"),
        ("lfo_1_frequency", 1.0, "500 ms (2 Hz)"),
        ("lfo_1_tempo", 9.0, "1/8"),
        ("delay_tempo", 9.0, "1/8"),
        ("osc_1_tune", -0.07, "-7 cents"),
        ("osc_1_transpose", 12.0, "+12 semitones"),
        ("osc_1_level", 0.5, "0.25 (0 to 1)"),
        ("osc_1_transpose", -1.0, "-1 semitone"),
        ("osc_1_unison_voices", 7.0, "7 voices"),
        ("osc_1_unison_voices", 1.0, "1 voice"),
        ("beats_per_minute", 2.0, "120 bpm"),
        ("osc_2_distortion_type", 7.0, "FM <- Osc 1"),
        ("osc_2_distortion_type", 11.0, "RM <- Osc 3"),
        ("osc_2_distortion_type", 9.0, "FM <- Sample"),
    ],
)
def test_a_value_is_said_as_vital_shows_it(registry, name, value, text):
    assert panel(registry).knobs[name].text(value) == text


def test_a_control_that_the_table_does_not_know_is_shown_raw(registry):
    new = Control("wobble", -2.0, 3.0, 0.0, is_whole=False, options=(), tier=2)
    other = Registry((*registry.controls, new), registry.sources, registry.destinations, registry.init)
    knob = panel(other).knobs["wobble"]
    assert (panel(other).modules[-1].title, knob.label, knob.text(1.5)) == ("Others", "wobble", "+1.5 (-2 to 3)")


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (-0.00001, "0"), (0.0312, "0.0312"), (99.96, "100"), (1234.6, "1235"), (-7.5, "-7.5")],
)
def test_a_number_has_three_digits_that_count_and_no_exponent(number, said):
    assert plain(number) == said
    assert signed(number) == ("+" + said if number > 0 else said)


def test_every_code_is_another_order_of_all_effects():
    assert effects_in_order(0) == EFFECTS
    assert effects_in_order(1) == (*EFFECTS[:7], "reverb", "phaser")
    assert effects_in_order(362_879) == EFFECTS[::-1]
    orders = {effects_in_order(code) for code in range(0, 362_880, 997)}
    assert len(orders) == len(range(0, 362_880, 997))
    assert all(sorted(order) == sorted(EFFECTS) for order in orders)


# ------------------------------------------------------------------------------------------------------ what is heard


def played(registry: Registry, seconds: float, **values: float) -> np.ndarray:
    """Render the init preset at 120 bpm with some controls at other values."""
    patch = Patch.init(registry)
    continuous, categorical = patch.continuous.copy(), patch.categorical.copy()
    for name, value in values.items():
        control = registry.by_name[name]
        if control.is_categorical:
            categorical[registry.categorical.index(control)] = round(value - control.low)
        else:
            continuous[registry.continuous.index(control)] = to_units([control], np.array([value]))[0]
    audio = AudioSpec(notes=(60,), note_seconds=0.05, render_seconds=seconds)
    sound = synthcore.render(patch.moved(continuous=continuous, categorical=categorical), 60, 100, audio=audio)
    assert isinstance(sound, np.ndarray)
    return sound


@pytest.mark.slow
def test_a_delay_of_an_eighth_echoes_after_an_eighth(registry):
    """vita's own name for this option is 2/1."""
    envelope = {"env_1_attack": 0.0, "env_1_decay": 0.3, "env_1_sustain": 0.0, "env_1_release": 0.1}
    delay = {"delay_on": 1, "delay_dry_wet": 0.5, "delay_feedback": 0.0, "delay_style": 0, "delay_tempo": 9}
    assert panel(registry).knobs["delay_tempo"].text(9) == "1/8"
    sound = np.abs(played(registry, 0.4, **envelope, **delay)).max(axis=0)
    echo = np.flatnonzero(sound[8820:] > 0.05 * sound.max())[0] + 8820  # the note itself is over after 0.1 s
    assert echo / 44_100 == pytest.approx(0.25, abs=0.02)


@pytest.mark.slow
def test_effects_play_in_the_order_that_their_code_says(registry):
    """The sound changes only if the distortion and the filter change places."""
    effects = {"distortion_on": 1, "distortion_drive": 20.0, "filter_fx_on": 1, "filter_fx_cutoff": 50.0}
    first = played(registry, 0.1, **effects)
    for code in (1, 4, 5_000, 250_000, 362_879):
        order = effects_in_order(code)
        is_same = bool(np.array_equal(first, played(registry, 0.1, effect_chain_order=code, **effects)))
        assert is_same == (order.index("distortion") < order.index("filter_fx")), order
