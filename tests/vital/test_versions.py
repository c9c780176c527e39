"""Presets are read by what numbers mean in their version of Vital; what vita can't play is named if it can be heard."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from synthcore.base.errors import SpecError
from synthcore.ingest.fidelity import measure
from synthcore.vital.controls import VITAL_VERSION, installed
from synthcore.vital.patch import MAX_SLOTS, Patch, init_assets
from synthcore.vital.reading import UNKNOWN_ROUTE, ReadPreset, read_preset
from synthcore.vital.versions import Heard, Versions, read_table, version_table, versions

REGISTRY = installed()
INIT = Patch.init(REGISTRY)
STACKS = REGISTRY.by_name["osc_1_stack_style"].options
TRIANGLE = REGISTRY.init["lfos"][0]
DRAWN = {**TRIANGLE, "points": [0.0, 1.0, 0.5, 0.25, 1.0, 1.0]}
TABLE = (files("synthcore.vital") / "versions.toml").read_text()
#: Enough voices of the init preset's oscillator to hear how they are stacked.
VOICES = {"osc_1_unison_voices": 4.0}
#: What Vital 1.6.4 writes before anything is changed.
UNTOUCHED = {
    **{f"modulation_{n}_ramp_{way}": -10.0 for n in range(1, MAX_SLOTS + 1) for way in ("up", "down")},
    **{f"osc_{n}_spectral_morph_phase": 0.5 for n in (1, 2, 3)},
    "custom_warps": [{**TRIANGLE, "name": "Custom"}] * 3,
    "random_values": [{"seed": 4}] * 3,
}
EQUAL = {"default": True, "reference_midi_note": 0.0, "scale": [*map(float, range(13))], "scale_start_midi_note": 60}


def document(version: str, around: Any = None, **settings: Any) -> dict[str, Any]:
    """The init preset, as if a version of Vital had written it with other settings."""
    made = json.loads(INIT.to_json(REGISTRY, init_assets(REGISTRY), "init"))
    return {**made, **(around or {}), "synth_version": version, "settings": {**made["settings"], **settings}}


def read(version: str, around: Any = None, **settings: Any) -> ReadPreset:
    return read_preset(json.dumps(document(version, around, **settings)).encode(), REGISTRY)


def routes(*ends: tuple[str, str]) -> list[dict[str, str]]:
    used = [{"source": source, "destination": destination} for source, destination in ends]
    return used + [{"source": "", "destination": ""}] * (MAX_SLOTS - len(used))


def option(preset: ReadPreset, name: str) -> str:
    control = REGISTRY.by_name[name]
    return control.options[round(preset.patch.values(REGISTRY)[name] - control.low)]


# ------------------------------------------------------------------------------------------- numbers that have moved

#: What the numbers of the stack styles that vita has mean from 1.5 on.
LATER = {n: name for n, name in enumerate([*STACKS[:4], "", *STACKS[4:]]) if name}


@pytest.mark.slow
@pytest.mark.parametrize("number", LATER)
def test_a_stack_style_of_a_later_vital_is_read_by_what_it_means(number):
    for version in ("1.5.0", "1.5.5", "1.6.4"):
        got = read(version, osc_1_stack_style=float(number), **VOICES)
        assert option(got, "osc_1_stack_style") == LATER[number]
        assert (got.otherwise, dict(got.changes)) == ((), {})


@pytest.mark.slow
def test_what_vital_1_0_and_vita_wrote_means_what_it_means_in_vita():
    for version in ("1.0.7", "1.0", "99999.9.9"):
        for number in (4, 5, 10):
            got = read(version, osc_1_stack_style=float(number), **VOICES)
            assert option(got, "osc_1_stack_style") == STACKS[number]
            assert (got.otherwise, got.version) == ((), version)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "number", "style"),
    [("Comb", 5, "Band Spread Flange-"), ("Comb", 6, "12dB"), ("Comb", 8, "Notch Blend"), ("Digital", 7, "24dB")],
)
def test_a_filter_style_without_a_name_is_read_as_the_one_that_sounds_like_it(model, number, style, short):
    place = float(REGISTRY.by_name["filter_1_model"].options.index(model))
    changes = {"filter_1_on": 1.0, "filter_1_model": place, "filter_1_style": float(number), "filter_1_resonance": 0.6}
    content = json.dumps(document("1.0.7", **changes)).encode()
    got = read_preset(content, REGISTRY)
    assert (option(got, "filter_1_style"), dict(got.changes), got.otherwise) == (style, {}, ())
    assert measure(content, got, REGISTRY, short).difference == 0


@pytest.mark.slow
def test_a_style_between_two_is_rounded_once():
    got = read("1.5.5", osc_1_stack_style=6.4, **VOICES)
    assert (option(got, "osc_1_stack_style"), dict(got.changes)) == ("Power Chord", {"rounded": 1})


@pytest.mark.slow
def test_a_later_presets_patch_is_compared_with_what_it_means(short):
    content = json.dumps(document("1.5.5", osc_1_stack_style=6.0, **VOICES)).encode()
    assert measure(content, read_preset(content, REGISTRY), REGISTRY, short).difference == 0


# --------------------------------------------------------------------------------------------- what vita doesn't have


def test_a_style_that_vita_lacks_is_named_where_it_sounds():
    got = read("1.5.3", osc_1_stack_style=4.0, osc_2_stack_style=4.0, **VOICES)
    assert got.otherwise == ("osc_1_stack_style = 4 (Octave + 7)",)  # oscillator 2 is off
    assert option(got, "osc_1_stack_style") == "Octave"
    assert read("1.5.3", osc_1_stack_style=12.0, **VOICES).otherwise == ("osc_1_stack_style = 12 (Sub Harmonics)",)


def test_one_voice_is_stacked_on_nothing():
    assert read("1.5.3", osc_1_stack_style=4.0).otherwise == ()
    moved = {"modulations": routes(("lfo_1", "osc_1_unison_voices")), "modulation_1_amount": 0.5}
    assert read("1.5.3", osc_1_stack_style=4.0, **moved).otherwise == ("osc_1_stack_style = 4 (Octave + 7)",)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["2x Octave", "Power Chord", "Major Chord", "Harmonics", "Odd Harmonics"])
def test_in_vita_one_voice_sounds_the_same_however_it_is_stacked(style, short):
    content = json.dumps(document("1.0.7", osc_1_stack_style=float(STACKS.index(style)))).encode()
    assert measure(content, read("1.0.7"), REGISTRY, short).difference == 0


def test_new_options_are_named_where_they_can_be_heard():
    got = read("1.5.5", osc_1_spectral_morph_type=13.0, osc_2_spectral_morph_type=14.0, lfo_1_sync_type=6.0)
    assert got.otherwise == ("osc_1_spectral_morph_type = 13",)  # oscillator 2 is off, and LFO 1 moves nothing
    assert option(got, "osc_1_spectral_morph_type") == "None"
    moving = {"modulations": routes(("lfo_1", "osc_1_level")), "modulation_1_amount": 0.5}
    assert read("1.5.5", lfo_1_sync_type=6.0, **moving).otherwise == ("lfo_1_sync_type = 6",)


def test_an_option_of_no_vital_that_is_known_is_named_as_well():
    for number, named in ((17.0, "17"), (1e300, "1000000000")):
        got = read("1.6.4", osc_1_spectral_morph_type=number)
        assert got.otherwise[0].startswith(f"osc_1_spectral_morph_type = {named}")
        assert dict(got.changes) == {"clamped": 1}


def test_the_formant_filters_missing_style_is_named():
    formant = {"filter_1_model": 5.0, "filter_1_style": 2.0}
    assert read("1.0.7", filter_1_on=1.0, **formant).otherwise == ("filter_1_style = 2 (Vocal Tract)",)
    assert read("1.0.7", **formant).otherwise == ()
    assert read("1.0.7", filter_1_on=1.0, filter_1_style=2.0).otherwise == ()


def test_what_a_later_vital_writes_untouched_is_nothing_special():
    got = read("1.6.4", {"tuning": {**EQUAL, "tuning_name": ""}}, **UNTOUCHED)
    assert (got.patch, got.otherwise, got.unknown, dict(got.changes)) == (INIT, (), (), {})


def test_a_ramp_is_named_where_its_slot_is_in_use():
    ramp = {**UNTOUCHED, "modulation_1_ramp_up": -2.5, "modulation_1_amount": 0.5}
    used = {**ramp, "modulations": routes(("lfo_1", "osc_1_level"))}
    assert read("1.6.4", **used).otherwise == ("modulation_1_ramp_up = -2.5",)
    assert read("1.6.4", **used, modulation_1_bypass=1.0).otherwise == ()
    assert read("1.6.4", **ramp).otherwise == ()


@pytest.mark.parametrize(
    "change",
    [{"reference_midi_note": 0.3}, {"scale": [0.0, 7.0, 12.0]}, {"mapping": [0, 2, 4, 5, 7, 9, 11]}],
    ids=["reference", "scale", "mapping"],
)
def test_a_tuning_is_named(change):
    (named,) = read("1.6.4", {"tuning": {**EQUAL, "default": False, **change}}).otherwise
    assert named.startswith("tuning = {")


def test_a_drawn_warp_is_named_with_its_oscillator():
    warps = [DRAWN, DRAWN, TRIANGLE]  # oscillator 2 is off
    (named,) = read("1.5.5", custom_warps=warps).otherwise
    assert named.startswith("custom_warps of osc_1 = ")
    assert read("1.5.5", custom_warps="drawn").otherwise == ('custom_warps = "drawn"',)


def test_seeds_and_phases_of_the_spectral_morph_are_named():
    assert read("1.5.5", random_values=[{"seed": 9}, {"seed": 4}]).otherwise == (
        'random_values of osc_1 = {"seed": 9}',
    )
    assert read("1.5.5", osc_1_spectral_morph_phase=0.25).otherwise == ()  # there is no morph
    morph = {"osc_1_spectral_morph_phase": 0.25, "osc_1_spectral_morph_type": 5.0}
    assert read("1.5.5", **morph).otherwise == ("osc_1_spectral_morph_phase = 0.25",)


WEIRD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e9,
    "",
    "x" * 10_000,
    [],
    {},
    [[]],
    [{}] * 9,
    [None] * 3,
    {"seed": {}},
    2**70,
)


@pytest.mark.parametrize("key", ["modulation_1_ramp_up", "osc_1_spectral_morph_phase", "custom_warps", "random_values"])
@pytest.mark.parametrize("place", ["settings", "tuning"])
def test_whatever_stands_there_is_named_in_a_line(key, place):
    heard = Heard(INIT, REGISTRY)
    for value in WEIRD:
        made = document("1.6.4", {"tuning": value}) if place == "tuning" else document("1.6.4", **{key: value})
        _, found = versions(REGISTRY).translate(made)
        assert [d for d in found if len(d.text) > 200 or not isinstance(d.can_sound(heard), bool)] == []
        # null, or a list without an item: as if it weren't there.
        assert (
            found or value is None or (value == [] and key in ("custom_warps", "random_values") and place != "tuning")
        )


def test_a_route_that_vita_lacks_is_named():
    ends = routes(("lfo_1", "osc_1_spectral_morph_phase"), ("macro_control_9", "volume"), ("lfo_1", "volume"))
    got = read("1.5.5", modulations=ends, modulation_2_bypass=1.0)
    assert got.otherwise == ("modulation 1: lfo_1 -> osc_1_spectral_morph_phase",)
    assert got.changes[UNKNOWN_ROUTE] == 1  # the other one is bypassed


def test_unknown_keys_are_named_wherever_they_stand():
    lfos = [{**lfo, "swing": 1} for lfo in REGISTRY.init["lfos"]]
    got = read("1.5.5", {"mood": "blue"}, shimmer=0.5, osc_7_spectral_morph_phase=0.1, lfos=lfos)
    assert got.unknown == ("lfos.swing", "mood", "osc_7_spectral_morph_phase", "shimmer")
    assert got.changes["unknown"] == 4
    assert (got.patch, got.otherwise) == (INIT, ())  # Vital makes nothing of them either
    assert read("0.9.9", lfos=lfos).unknown == ()  # of another time, and migrated


def test_a_vital_of_which_nothing_is_known_plays_everything_differently():
    (named,) = read("1.7.0").otherwise
    assert named.startswith("synth_version 1.7.0")
    assert read("1.6.9").otherwise == ()


# ----------------------------------------------------------------------------------------------------------- exports


@pytest.mark.parametrize("number", range(len(STACKS)))
def test_an_exported_preset_is_the_same_patch_again(number):
    place = [c.name for c in REGISTRY.categorical].index("osc_1_stack_style")
    options = np.where(np.arange(len(INIT.categorical)) == place, number, INIT.categorical).astype(np.int32)
    patch = Patch(INIT.continuous, options, INIT.modulation_slots, INIT.wavetables)
    preset = patch.to_preset(REGISTRY, init_assets(REGISTRY), "x")
    assert preset["synth_version"] == VITAL_VERSION
    assert preset["settings"]["osc_1_stack_style"] == number
    assert read_preset(json.dumps(preset).encode(), REGISTRY).patch.hash == patch.hash


def test_an_export_holds_nothing_that_its_version_lacks():
    preset = INIT.to_preset(REGISTRY, init_assets(REGISTRY), "x")
    known = versions(REGISTRY)
    assert [key for key in preset["settings"] if known.knows(key)] == []
    moved = [(c.control, n) for c in version_table().control if c.since <= VITAL_VERSION for n in c.moved]
    assert [(control, n) for control, n in moved if n <= REGISTRY.by_name[control.replace("*", "1")].high] == []


# --------------------------------------------------------------------------------------------------------- the table


def test_every_entry_says_what_it_knows_and_from_where():
    table = version_table()
    for entry in (*table.control, *table.key):
        assert all(len(text) > 5 for text in (entry.vital, entry.vita, entry.source))
    for change in table.control:
        numbers = [*change.moved, *(n for missing in change.missing for n in missing.numbers)]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('certainty = "told"', 'certainty = "sure"', "certainty"),
        ('newest = "1.6"', 'newst = "1.6"', "newest"),
        ('control = "osc_*_stack_style"', 'control = "osc_*_stack"', "'osc_*_stack', which the installed synth"),
        ('instead = "Unison"', 'instead = "Choir"', "at 'Choir'; its options are Unison"),
        ('11 = "Odd Harmonics"', '11 = "Odd"', "at 'Odd'"),
        ('= ["Formant"]', '= ["Vowel"]', "at 'Vowel'"),
        ('"osc_*_unison_voices" = 1.0', '"osc_*_voices" = 1.0', "'osc_1_voices', which the installed synth"),
        ('"osc_*_unison_voices" = 1.0', '"osc_*_on" = 1.0', "unheard is for numbers"),
        ('keys = ["custom_warps"]', 'keys = ["volume"]', "calls 'volume' missing"),
        ('heard = "osc_*_spectral_morph_amount"', 'heard = "osc_*_morph"', "'osc_*_morph', which the installed synth"),
    ],
)
def test_a_table_that_makes_no_sense_is_said_in_a_line(old, new, says):
    assert old in TABLE
    with pytest.raises(SpecError, match="versions.toml") as error:
        Versions(REGISTRY, read_table(TABLE.replace(old, new).encode()))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_text_that_is_no_table_is_said(tmp_path):
    with pytest.raises(SpecError, match="versions.toml"):
        read_table(b"[[")
    assert tomllib.loads(TABLE)


@pytest.mark.parametrize(
    ("is_on", "style", "said"), [(1, 2, ("filter_1_style = 2 (Vocal Tract)",)), (1, 1, ()), (0, 2, ())]
)
def test_of_a_patch_it_is_named_what_vital_plays_otherwise(is_on, style, said):
    """As of a preset: a formant filter of a style that only Vital has, if it can be heard."""
    names = [control.name for control in REGISTRY.categorical]
    options = INIT.categorical.copy()
    formant = REGISTRY.by_name["filter_1_model"].options.index("Formant")
    for name, option in (("filter_1_on", is_on), ("filter_1_model", formant), ("filter_1_style", style)):
        options[names.index(name)] = option
    patch = INIT.moved(categorical=options)
    assert versions(REGISTRY).otherwise(patch) == said
    assert (
        read_preset(json.dumps(patch.to_preset(REGISTRY, init_assets(REGISTRY))).encode(), REGISTRY).otherwise == said
    )
