"""Activity: what the rules say of a patch, and that the synth agrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest

from synthcore.base.errors import SpecError
from synthcore.engine.play import play
from synthcore.flows.cli import main
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.verification.trials import LEAST_MOVE, ActivityVerdict, move
from synthcore.vital.activity import Activity, Labels, Rule, Table, active, activity, activity_rules, follows_note
from synthcore.vital.controls import Registry
from synthcore.vital.normalize import to_units
from synthcore.vital.patch import Patch, SlotField, init_assets

Route = tuple[str, str, float]


@pytest.fixture
def heard(registry: Registry):
    """The controls that can be heard in the init preset, changed: values or options by name, and routes."""

    def of(controls: Mapping[str, float | str] | None = None, routes: Sequence[Route] = (), **other: Any) -> set[str]:
        patch = patch_with(registry, controls or {}, routes)
        is_active = active(replace(patch, **other), registry)
        assert is_active.shape == (448,)
        assert is_active.dtype == np.bool_
        return {name for name, can in zip(activity(registry).names, is_active, strict=True) if can}

    return of


def patch_with(registry: Registry, controls: Mapping[str, float | str], routes: Sequence[Route] = ()) -> Patch:
    init = Patch.init(registry)
    continuous, categorical, slots = init.continuous.copy(), init.categorical.copy(), init.modulation_slots.copy()
    for name, value in controls.items():
        control = registry.by_name[name]
        if control.is_categorical:
            wanted = int(value[1:]) if isinstance(value, str) and value[0] == "#" else control.options.index(str(value))
            categorical[registry.categorical.index(control)] = wanted
        else:
            continuous[registry.continuous.index(control)] = to_units([control], np.array([float(value)]))[0]
    for place, (source, destination, amount) in enumerate(routes):
        ends = registry.source_index[source], registry.destination_index[destination]
        slots[place] = (*ends, amount, 0, 0, 0, 0)
    return replace(init, continuous=continuous, categorical=categorical, modulation_slots=slots)


def of_module(heard: set[str], module: str) -> set[str]:
    return {name.removeprefix(f"{module}_") for name in heard if name.startswith(f"{module}_")}


# ---------------------------------------------------------------------------------------------------------- the modules


def test_of_what_is_off_only_the_switch_is_active(heard):
    found = heard()
    for module in ("osc_2", "osc_3", "sample", "chorus", "delay", "reverb", "filter_fx"):
        assert of_module(found, module) == {"on"}
    assert {"volume", "osc_1_level", "osc_1_transpose", "env_1_attack", "filter_1_on"} <= found


def test_an_equaliser_is_heard_unless_all_its_shelves_are_flat(heard):
    assert "eq_on" not in heard()
    assert "eq_on" in heard({"eq_low_gain": 1.0})
    assert "eq_on" in heard({"eq_on": "On", "eq_high_mode": "Low Pass"})
    assert {"eq_low_gain", "eq_low_mode"} <= heard({"eq_on": "On"})
    assert not {"eq_low_cutoff", "eq_on"} & heard({"eq_on": "On"})


def test_a_filter_that_nothing_leads_to_is_not_even_heard_to_be_on(heard):
    assert of_module(heard(), "filter_1") == {"on"}  # the first oscillator leads there
    assert of_module(heard(), "filter_2") == set()
    assert of_module(heard({"osc_1_destination": "EFFECTS"}), "filter_1") == set()
    found = of_module(heard({"filter_1_on": "On"}), "filter_1")
    assert {"cutoff", "resonance", "mix", "model", "style"} <= found
    assert not any(name.startswith("formant") for name in found)


def test_a_filter_hears_the_other_when_it_takes_it(heard):
    both = {"filter_1_on": "On", "filter_2_on": "On"}
    assert "filter_2_cutoff" not in heard(both)
    assert "filter_2_cutoff" in heard({**both, "filter_2_filter_input": "On"})
    assert "filter_2_cutoff" not in heard({"filter_2_on": "On", "filter_2_filter_input": "On"})


def test_a_silent_oscillator_is_heard_through_the_one_it_modulates(heard):
    silent = {"osc_2_on": "On", "osc_2_destination": "REVERB"}
    assert of_module(heard(silent), "osc_2") == {"destination"}
    found = of_module(heard({**silent, "osc_1_distortion_type": "#7"}), "osc_2")
    assert {"destination", "on", "transpose"} <= found
    assert not {"level", "pan"} & found
    assert "osc_2_transpose" not in heard({**silent, "osc_3_distortion_type": "#8"})  # oscillator 3 is off


def test_two_oscillators_that_wait_for_each_other_are_not_played(heard):
    found = heard({"osc_2_on": "On", "osc_1_distortion_type": "#7", "osc_2_distortion_type": "#10"})
    assert of_module(found, "osc_1") == of_module(found, "osc_2") == {"destination", "distortion_type"}


def test_a_destination_that_leads_nowhere_is_all_that_is_heard(heard):
    assert of_module(heard({"osc_1_destination": "REVERB"}), "osc_1") == {"destination"}


def test_past_the_effects_they_hear_nothing(heard):
    on = {"reverb_on": "On", "delay_on": "On"}
    assert {"reverb_dry_wet", "effect_chain_order"} <= heard(on)
    found = heard({**on, "osc_1_destination": "DIRECT OUT"})
    assert not any(name.startswith(("reverb", "delay", "effect")) for name in found)


def test_one_voice_has_no_unison(heard):
    unison = {"detune", "blend", "voices"}
    of = lambda voices: {n for n in unison if f"osc_1_unison_{n}" in heard({"osc_1_unison_voices": voices})}  # noqa: E731
    assert (of(1.0), of(2.0), of(3.0)) == ({"voices"}, {"detune", "voices"}, unison)


def test_a_table_of_one_frame_has_no_place_in_it(heard, registry):
    assert "osc_1_wave_frame" not in heard()
    other = ("0" * 64, *Patch.init(registry).wavetables[1:])
    assert "osc_1_wave_frame" in heard(wavetables=other)


@pytest.mark.parametrize(
    ("sync", "rate"),
    [("Seconds", {"frequency"}), ("Tempo", {"tempo"}), ("Keytrack", {"keytrack_transpose", "keytrack_tune"})],
)
def test_a_rate_has_one_way_to_be_set(sync, rate, heard):
    found = of_module(heard({"lfo_1_sync": sync}, [("lfo_1", "osc_1_level", 0.5)]), "lfo_1")
    assert found & {"frequency", "tempo", "keytrack_transpose", "keytrack_tune"} == rate


def test_the_tempo_is_heard_when_something_follows_it(heard):
    route = [("lfo_1", "osc_1_level", 0.5)]
    assert "beats_per_minute" in heard({"lfo_1_sync": "Tempo"}, route)
    assert "beats_per_minute" not in heard({"lfo_1_sync": "Seconds"}, route)
    assert "beats_per_minute" not in heard({"lfo_1_sync": "Tempo"})


# ------------------------------------------------------------------------------------------------------- the modulation


@pytest.mark.parametrize(
    ("controls", "routes", "can"),
    [
        ({}, [], False),
        ({}, [("lfo_1", "osc_1_level", 0.5)], True),
        ({}, [("lfo_1", "osc_1_level", 0.0)], False),
        ({}, [("lfo_1", "osc_1_level", 0.0), ("env_2", "modulation_1_amount", 0.5)], True),
        ({}, [("lfo_1", "osc_2_level", 0.5)], False),
        ({"osc_2_on": "On"}, [("lfo_1", "osc_2_level", 0.5)], True),
        ({}, [("lfo_1", "osc_2_level", 0.5), ("lfo_1", "volume", 0.5)], True),
        ({}, [("lfo_1", "lfo_2_frequency", 0.5)], False),
        ({"lfo_2_sync": "Seconds"}, [("lfo_1", "lfo_2_frequency", 0.5), ("lfo_2", "volume", 0.5)], True),
        ({"lfo_2_sync": "Tempo"}, [("lfo_1", "lfo_2_frequency", 0.5), ("lfo_2", "volume", 0.5)], False),
        ({}, [("lfo_1", "modulation_2_power", 0.5), ("env_2", "volume", 0.5)], True),
        ({}, [("lfo_1", "modulation_2_power", 0.5), ("env_2", "osc_2_pan", 0.5)], False),
    ],
)
def test_a_source_is_heard_only_through_what_it_moves(controls, routes, can, heard):
    assert ("lfo_1_phase" in heard(controls, routes)) == can


def test_a_bypassed_slot_moves_nothing(heard, registry):
    patch = patch_with(registry, {}, [("lfo_1", "osc_1_level", 0.5)])
    slots = patch.modulation_slots.copy()
    assert "lfo_1_phase" in heard(modulation_slots=slots)
    slots[0, SlotField.BYPASS] = 1
    assert "lfo_1_phase" not in heard(modulation_slots=slots)


def test_a_value_that_is_modulated_says_nothing(heard):
    off = {"filter_1_on": "On", "filter_1_mix": 0.0}
    assert "filter_1_cutoff" not in heard(off)
    assert "filter_1_cutoff" in heard(off, [("env_2", "filter_1_mix", 0.5)])


def test_a_level_of_zero_is_not_quite_silence(heard):
    """It glides there, and what is left can be all that goes through a filter."""
    assert {"osc_1_pan", "osc_1_destination"} <= heard({"osc_1_level": 0.0})


def test_a_macro_and_the_wheel_are_heard_when_they_move_something(heard):
    assert not {"macro_control_1", "mod_wheel"} & heard()
    routes = [("macro_control_1", "volume", 0.5), ("mod_wheel", "volume", 0.5)]
    assert {"macro_control_1", "mod_wheel"} <= heard({}, routes)


# ------------------------------------------------------------------------------------------------------------ the table


@pytest.mark.slow
def test_many_patches_are_judged_as_one_by_one(registry):
    sampler = SyntheticSource(DatasetSpec(tier=3, priors="uniform", seed=5), registry)
    patches = [sampler.draw(i, 0) for i in range(20)]
    together = activity(registry).of(Labels.of(patches, registry))
    np.testing.assert_array_equal(together, [active(patch, registry) for patch in patches])


def test_every_rule_says_why_and_of_what_and_its_names_are_its_own(registry):
    rules = activity_rules().rule
    assert all(rule.reason and rule.controls for rule in rules)
    written = {(rule.id, rule.reason) for rule in rules}
    assert len(written) == len({rule.id for rule in rules})
    assert len(activity_rules().digest) == 64


def test_the_rules_that_silence_a_control_are_named(registry):
    labels = Labels.of([Patch.init(registry)], registry)
    rules = activity(registry)
    assert rules.rules_of(labels, "osc_2_pan") == ("off",)
    assert rules.rules_of(labels, "lfo_3_phase") == ("modulator unused",)
    assert rules.rules_of(labels, "volume") == ()


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"controls": ("osc_9_*",)}, "'osc_9_\\*'"),
        ({"controls": ("volume",), "when": {"osc_1_on": ("Maybe",)}}, "osc_1_on"),
        ({"controls": ("volume",), "when": {"osc_1_level": ("On",)}}, "osc_1_level"),
        ({"controls": ("volume",), "at": {"osc_1_level": (7.0,)}}, "osc_1_level"),
        ({"controls": ("volume",), "unused": ("lfo_9",)}, "'lfo_9'"),
    ],
)
def test_a_rule_about_what_the_synth_does_not_have_is_named(wish, says, registry):
    table = Table(version=1, rule=(Rule(id="odd", reason="a test", **wish),), digest="")
    with pytest.raises(SpecError, match=f"odd.*{says}"):
        Activity(registry, table)


# ------------------------------------------------------------------------------------------------------------- the file


def test_a_merged_file_says_what_the_rules_say(each_tier, registry):
    with Dataset(each_tier.path) as dataset:
        found = dataset.column("active")
        assert found.shape == (15, 448)
        assert found.dtype == np.bool_
        for row in (0, 7, 14):
            np.testing.assert_array_equal(found[row], active(dataset.patch(row), registry))
        assert dataset[3]["active"].shape == (448,)
    with h5py.File(each_tier.path) as file:
        said = file["schema"].attrs
        assert tuple(said["active_names"]) == activity(registry).names
        assert (said["active_rules"], said["active_rules_digest"]) == (
            activity_rules().version,
            activity_rules().digest,
        )


# ------------------------------------------------------------------------------------------------------------ the synth


def test_a_moved_control_has_another_value_and_all_others_their_own(registry):
    patch, rng = Patch.init(registry), np.random.default_rng(0)
    for place in range(448):
        moved = move(patch, place, registry, rng)
        before, after = (np.concatenate([p.continuous, p.categorical]) for p in (patch, moved))
        assert np.flatnonzero(before != after).tolist() == [place]
        if place < 322 and not registry.continuous[place].is_whole:
            assert abs(after[place] - before[place]) >= LEAST_MOVE - 1e-6
        assert 0 <= after[place] <= (1 if place < 322 else len(registry.categorical[place - 322].options) - 1)


#: Nothing follows the note but what a case adds.
STILL: Mapping[str, float | str] = {"osc_1_midi_track": "Off", "osc_1_destination": "FILTER 1"}
FILTERED: Mapping[str, float | str] = {**STILL, "filter_1_on": "On", "filter_1_model": "Dirty"}
KEYTRACKED: Mapping[str, float | str] = {**STILL, "lfo_1_sync": "Keytrack"}
SAMPLED: Mapping[str, float | str] = {**STILL, "sample_on": "On", "sample_destination": "EFFECTS"}
#: An oscillator that is off waits for one that doesn't wait.
WAITING: Mapping[str, float | str] = {**STILL, "osc_2_destination": "FILTER 2", "osc_2_distortion_type": "#10"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("controls", "routes", "follows"),
    [
        ({}, [], True),
        (STILL, [], False),
        ({**STILL, "osc_2_on": "On"}, [], True),
        ({**STILL, "osc_2_on": "On", "osc_2_destination": "REVERB"}, [], False),
        ({**STILL, "osc_2_on": "On", "osc_2_destination": "REVERB", "osc_1_distortion_type": "#7"}, [], True),
        (SAMPLED, [], False),
        ({**SAMPLED, "sample_keytrack": "On"}, [], True),
        (FILTERED, [], False),
        ({**FILTERED, "filter_1_keytrack": 0.5}, [], True),
        (FILTERED, [("lfo_1", "filter_1_keytrack", 0.5)], True),
        ({**FILTERED, "filter_1_keytrack": 0.5, "filter_1_model": "Formant"}, [], False),
        ({**FILTERED, "filter_1_keytrack": 0.5, "filter_1_mix": 0.0}, [], False),
        ({**FILTERED, "filter_1_keytrack": 0.5, "osc_1_destination": "EFFECTS"}, [], False),
        ({**STILL, "filter_fx_on": "On", "filter_fx_keytrack": 0.5}, [], True),
        ({**STILL, "filter_fx_on": "On", "filter_fx_keytrack": 0.5, "osc_1_destination": "DIRECT OUT"}, [], False),
        (STILL, [("note", "osc_1_level", 0.5)], True),
        (STILL, [("note_in_octave", "osc_1_tune", 0.5)], True),
        (STILL, [("note", "osc_2_level", 0.5)], False),
        (STILL, [("note", "lfo_1_frequency", 0.5)], False),
        (KEYTRACKED, [], False),
        (KEYTRACKED, [("lfo_1", "osc_1_tune", 0.5)], True),
        ({**STILL, "portamento_force": "On", "portamento_time": 0.0}, [], False),
        ({"osc_2_on": "On", "osc_1_distortion_type": "#7", "osc_2_distortion_type": "#10"}, [], False),
        ({**WAITING, "filter_2_on": "On", "filter_2_model": "Dirty", "filter_2_keytrack": 0.5}, [], False),
    ],
)
def test_a_patch_in_which_nothing_follows_the_note_sounds_the_same_at_every_note(controls, routes, follows, registry):
    patch = patch_with(registry, controls, routes)
    assert follows_note(patch, registry) == follows
    assert (len(sounds_of(patch, registry, init_assets(registry))) > 1) == follows


@pytest.mark.slow
@pytest.mark.parametrize("tier", [1, 2, 3])
def test_drawn_patches_that_the_rules_call_the_same_at_every_note_are(tier, registry):
    sampler = SyntheticSource(DatasetSpec(tier=tier, priors="uniform", seed=3), registry)
    drawn = (sampler.draw(slot, 0) for slot in range(60))
    still = [patch for patch in drawn if not follows_note(patch, registry)][:4]
    assert still
    assert [len(sounds_of(patch, registry, sampler.assets)) for patch in still] == [1] * len(still)


def sounds_of(patch: Patch, registry: Registry, assets: Mapping[str, bytes]) -> set[str]:
    """The different sounds that a patch makes of some notes, by hash."""
    audio = AudioSpec(sample_rate=22_050, notes=(36, 61, 84), note_seconds=0.1, render_seconds=0.15)
    fmt = DatasetSpec(audio=audio).render_format.refusing_nothing()
    outcome = play(patch.to_json(registry, assets).encode(), fmt, audio.performances)
    assert outcome.fault is None
    return {row.audio_sha256 for row in outcome.rows}


@pytest.mark.long
@pytest.mark.parametrize("made", ["tier_1", "tier_3"])
def test_what_the_rules_call_inactive_changes_no_bit(made, request, cli_verdict):
    verdict = cli_verdict(request.getfixturevalue(made).path, "--rows", 3, "--controls", 15)
    assert (verdict.rows, verdict.inactive_moved, verdict.active_moved) == (3, 45, 45)
    assert verdict.wrong == []
    assert verdict.active_unchanged == sum(verdict.idle_controls.values()) < 23


@pytest.mark.slow
def test_a_wrong_mark_is_named_with_its_row(tier_1, forge, capsys, registry):
    path = forge(tier_1)
    volume = activity(registry).names.index("volume")
    with h5py.File(path, "r+") as file:
        file["params/active"][:] = True
        file["params/active"][:, volume] = False
    assert main(["verify", str(path), "--activity", "--rows", "1", "--controls", "1"]) == 1
    said = capsys.readouterr().out
    assert ": volume is inactive, but changes the sound; rule: none" in said
    assert said.endswith("NOT verified\n")


def test_a_file_without_the_column_costs_one_line(tier_1, capsys):
    shard = tier_1.data_dir / tier_1.shards[0].name
    assert main(["verify", str(shard), "--activity"]) == 2
    assert "doesn't say what is active" in capsys.readouterr().err


@pytest.fixture
def cli_verdict(capsys):
    def verdict(path, *flags: object) -> ActivityVerdict:
        assert main(["verify", str(path), "--activity", "--json", *map(str, flags)]) == 0
        return ActivityVerdict.model_validate_json(capsys.readouterr().out)

    return verdict
