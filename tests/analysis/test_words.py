"""A row in words: what is said agrees with the label, with Vital's units, and with what can be heard."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np
import pytest

from synthcore.analysis.words import describe
from synthcore.base.errors import DatasetError
from synthcore.base.hashing import canonical_json
from synthcore.storage.dataset import Dataset
from synthcore.storage.schema import CLASSES
from synthcore.vital.classes import EXTRAS
from synthcore.vital.normalize import to_units
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS, Patch, SlotField


@pytest.fixture
def dataset(each_tier):
    with Dataset(each_tier.path) as opened:
        yield opened


@pytest.fixture
def almost_init(tier_1, forge, registry):
    """A dataset whose row 3 is the init preset, but for two controls and two connections."""
    patch = Patch.init(registry)
    column = {c.name: i for i, c in enumerate(registry.continuous)}["osc_1_level"]
    level = registry.continuous[column]
    continuous, categorical = patch.continuous.copy(), patch.categorical.copy()
    continuous[column] = to_units([level], np.array([0.25]))[0]
    place = [c.name for c in registry.categorical].index("filter_1_model")
    categorical[place] = 2
    slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
    slots[4] = (registry.source_index["lfo_1"], registry.destination_index["filter_1_cutoff"], -0.5, 1, 2.5, 0, 0)
    path = forge(tier_1)
    with Dataset(path) as opened:
        tables = [opened.classes.wavetable_names.index("Init")] * 3
    with h5py.File(path, "r+") as file:
        file["params/wavetables"][3] = tables
        file["params/continuous"][3] = continuous
        file["params/categorical"][3] = categorical
        file["params/modulation_slots"][3] = slots
    with Dataset(path) as opened:
        yield opened


def test_a_row_is_told_by_the_controls_that_differ_from_the_init_preset(almost_init, registry):
    told = describe(almost_init, 3)
    assert told.controls == {"osc_1_level": "0.25", "filter_1_model": registry.by_name["filter_1_model"].options[2]}


def test_a_rows_modulation_is_told_by_names(almost_init):
    assert describe(almost_init, 3).modulation == [
        "slot 5: lfo_1 -> filter_1_cutoff, amount -0.500, power +2.50, bipolar"
    ]


def test_a_rows_origin_is_told(dataset, each_tier):
    told = describe(dataset, 3).metadata
    assert (told["midi_note"], told["patch_index"], told["source"]) == (60, 1, "synthetic")
    assert told["tier"] == each_tier.spec.tier
    assert told["preset_hash"] == dataset.patch(3).hash


def test_every_control_that_is_not_at_its_default_is_told(dataset, registry):
    told = describe(dataset, 0).controls
    played = dataset.patch(0).values(registry)
    off_default = {c.name for c in registry.controls if abs(played[c.name] - c.default) > 1e-3 * (c.high - c.low)}
    assert off_default
    assert off_default <= {*told}
    assert {*told} <= {c.name for c in registry.of_tier(dataset.spec.tier)}


def test_what_cannot_be_heard_is_left_out_unless_asked_for(almost_init):
    """The filter is off: its model can't be heard, and neither can what modulates it."""
    told = describe(almost_init, 3)
    assert [(m.title, [(k.label, k.value) for k in m.knobs]) for m in told.modules] == [
        ("Oscillator 1", [("wavetable", "Init"), ("level", "0.0625 (0 to 1)")])
    ]
    assert told.connections == ()
    everything = describe(almost_init, 3, everything=True)
    assert {k.control: k.is_heard for m in everything.modules for k in m.knobs} == {
        "": True,
        "osc_1_level": True,
        "filter_1_model": False,
    }
    assert [(c.slot, c.is_heard) for c in everything.connections] == [(5, False)]
    text = everything.to_text()
    assert "model               Ladder (not heard)" in text
    assert " 5. LFO 1 moves filter 1's cutoff by -50 %, bipolar, power +2.5 (not heard)" in text


CONTROLS = {
    "osc_1_level": 0.5,
    "osc_1_pan": -0.25,
    "osc_1_transpose": -12.0,
    "osc_1_unison_voices": 7.0,
    "osc_1_unison_detune": 5.0,
    "osc_1_wave_frame": 100.0,
    "osc_1_destination": 0.0,
    "osc_3_transpose": 7.0,
    "filter_1_on": 1.0,
    "filter_1_cutoff": 69.0,
    "filter_1_drive": 6.0,
    "env_1_attack": 0.5,
    "env_1_release": 1.0,
    "lfo_1_frequency": 2.0,
    "lfo_1_sync": 0.0,
    "lfo_2_tempo": 9.0,
    "lfo_3_tempo": 10.0,
    "delay_on": 1.0,
    "delay_tempo": 8.0,
    "delay_feedback": -0.5,
    "reverb_on": 1.0,
    "reverb_decay_time": 1.0,
    "effect_chain_order": 362_879.0,
    "volume": 4900.0,
}
#: Source, destination, amount, bipolar, power, stereo, bypass.
CONNECTIONS = {
    1: ("lfo_1", "filter_1_cutoff", 0.35, 0, 0.0, 0, 0),
    2: ("lfo_2", "osc_1_level", -0.125, 1, 2.5, 1, 0),
    3: ("velocity", "modulation_1_amount", 0.5, 0, 0.0, 0, 0),
    7: ("lfo_3", "osc_3_level", 0.5, 0, 0.0, 0, 0),
    8: ("env_2", "volume", 1.0, 0, 0.0, 0, 1),
}
SAID = """\
Begin with Vital's init preset, and set:

Oscillator 1
  wavetable           {wavetable} level               0.25 (0 to 1)
  pan                 -25 %               frame               100 (0 to 256)
  transpose           -12 semitones       unison voices       7 voices
  unison detune       25 %

Filter 1
  on                  On
  cutoff              440 Hz (+9 semitones)
  drive               6 dB

Envelope 1
  attack              62.5 ms             release             1 s

LFO 1
  sync                Seconds             frequency           250 ms (4 Hz)

LFO 2
  tempo               1/8

Reverb
  on                  On                  decay               2 s

Delay
  on                  On                  feedback            -50 %
  tempo               1/4

Master
  effects             Reverb, Delay       volume              -10 dB

Modulation, by slot
   1. LFO 1 moves filter 1's cutoff by +35 %, unipolar
   2. LFO 2 moves oscillator 1's level by -12.5 %, bipolar, power +2.5, stereo
   3. The velocity moves the amount of connection 1 by +50 %, unipolar
"""


def test_a_row_reads_so_that_one_can_follow_at_the_synth(tier_3, forge, registry):
    patch = Patch.init(registry)
    continuous, categorical = patch.continuous.copy(), patch.categorical.copy()
    for name, value in CONTROLS.items():
        control = registry.by_name[name]
        if control.is_categorical:
            categorical[registry.categorical.index(control)] = round(value - control.low)
        else:
            continuous[registry.continuous.index(control)] = to_units([control], np.array([value]))[0]
    slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
    for slot, (source, destination, *rest) in CONNECTIONS.items():
        slots[slot - 1] = (registry.source_index[source], registry.destination_index[destination], *rest)
    path = forge(tier_3)
    with Dataset(path) as dataset:
        names = dataset.classes.wavetable_names
        tables = next(
            t for t in dataset.column("wavetables").tolist() if names[t[0]] != "Init" and len(names[t[0]]) < 18
        )
    with h5py.File(path, "r+") as file:
        file["params/wavetables"][3] = tables
        file["params/continuous"][3] = continuous
        file["params/categorical"][3] = categorical
        file["params/modulation_slots"][3] = slots
    with Dataset(path) as dataset:
        text = describe(dataset, 3).to_text()
    head, _, body = text.partition("\n\n")
    assert head.splitlines()[:2] == ["row 3 of forged.h5", "  played    note 60 at velocity 100"]
    assert body == SAID.format(wavetable=f"{names[tables[0]]:<19}")


def test_a_drawn_curve_is_said_of_the_connection_that_has_it(tier_3, forge, registry):
    line = {"num_points": 2, "points": [0.0, 1.0, 1.0, 0.0], "powers": [1.0, 0.0], "smooth": False}
    content = canonical_json({"0": line}).encode()
    asset = hashlib.sha256(content).hexdigest()
    slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
    slots[:2] = [
        (registry.source_index[source], registry.destination_index["volume"], 0.5, 0, 0, 0, 0)
        for source in ("lfo_1", "lfo_2")
    ]
    path = forge(tier_3)
    with h5py.File(path, "r+") as file:
        del file[f"{CLASSES}/curves"]
        file[f"{CLASSES}/curves"] = np.array(["", asset], dtype="S64")
        names = file["schema/assets"][:]
        del file["schema/assets"]
        file["schema/assets"] = np.append(names, np.bytes_(asset))
        file[f"assets/{asset}"] = np.frombuffer(content, dtype=np.uint8)
        file["params/extras"][3] = [place == "curves" for place in EXTRAS]
        file["params/modulation_slots"][3] = slots
    with Dataset(path) as dataset:
        said = {c.slot: c.sentence for c in describe(dataset, 3, everything=True).connections}
    assert {slot: "through a drawn curve" in sentence for slot, sentence in said.items()} == {1: True, 2: False}


@pytest.mark.slow
def test_what_is_said_fits_a_terminal(dataset):
    for row in range(len(dataset)):
        text = describe(dataset, row, everything=True).to_text()
        assert max(map(len, text.splitlines())) <= 80


@pytest.mark.slow
def test_every_connection_is_told(tier_3, registry):
    with Dataset(tier_3.path) as dataset:
        slots = dataset.column("modulation_slots")
        for row in range(len(dataset)):
            routes = slots[row][slots[row, :, SlotField.SOURCE] >= 0]
            told = describe(dataset, row).modulation
            assert len(told) == len(routes)
            for line, (source, destination, *_) in zip(told, routes, strict=True):
                assert f"{registry.sources[int(source)]} -> {registry.destinations[int(destination)]}," in line


@pytest.mark.parametrize("row", [15, -16, 1000])
def test_a_row_that_is_not_there_cannot_be_told(tier_1, row):
    with Dataset(tier_1.path) as dataset, pytest.raises(DatasetError, match=rf"row {row} is out of range"):
        describe(dataset, row)


def test_a_row_is_told_from_the_end_too(tier_1):
    with Dataset(tier_1.path) as dataset:
        assert describe(dataset, -1).controls == describe(dataset, 14).controls
