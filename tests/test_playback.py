"""From knobs to sound: a row's own vectors give the row's audio, and a prediction gives the nearest patch there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import synthcore
from synthcore.controls import installed
from synthcore.engine import client
from synthcore.errors import RenderError, SpecError, SynthcoreError
from synthcore.patch import EMPTY_SLOT, Patch
from synthcore.storage.dataset import Dataset

REGISTRY = installed()
INIT = Patch.init(REGISTRY)
ZEROS = np.zeros(126)


def vectors_of(dataset, row):
    """What a row stores, as a user hands it on."""
    names = dataset.asset_names
    stored = dataset[row]
    return {
        "continuous": stored["continuous"],
        "categorical": stored["categorical"],
        "modulation": stored["modulation_slots"],
        "wavetables": [names[i] for i in stored["wavetables"]],
        "extras": [None if i < 0 else names[i] for i in stored["extras"]],
    }


def place(name):
    return [c.name for c in REGISTRY.continuous].index(name)


def test_a_rows_own_vectors_give_its_patch_and_its_audio(each_tier):
    with Dataset(each_tier.path) as dataset:
        for row in range(0, len(dataset), 4):
            patch = Patch.from_vectors(**vectors_of(dataset, row))
            assert patch == dataset.patch(row)
            stored = dataset[row]
            heard = synthcore.render(
                patch,
                int(stored["midi_note"]),
                int(stored["velocity"]),
                audio=dataset.spec.audio,
                assets=dataset.assets,
            )
            assert heard.dtype == np.float32
            np.testing.assert_array_equal(heard, stored["audio"])


def test_without_more_it_is_the_init_presets_sound(short):
    patch = Patch.from_vectors(INIT.continuous, INIT.categorical)
    assert patch == INIT
    assert synthcore.render(patch, audio=short).any()


def test_units_are_clipped_and_whole_numbers_rounded():
    wild = np.where(np.arange(322) % 2, 7.5, -3)
    patch = Patch.from_vectors(wild, ZEROS)
    assert set(patch.continuous.tolist()) == {0.0, 1.0}
    near = INIT.continuous.copy()
    near[place("osc_1_transpose")] += 0.004  # of 96 semitones: less than half of one
    assert Patch.from_vectors(near, INIT.categorical) == INIT
    assert Patch.from_vectors(near, INIT.categorical).values(REGISTRY)["osc_1_transpose"] == 0


def test_options_are_rounded_and_clipped():
    most = [len(c.options) - 1 for c in REGISTRY.categorical]
    assert Patch.from_vectors(INIT.continuous, np.full(126, 99.0)).categorical.tolist() == most
    assert Patch.from_vectors(INIT.continuous, np.full(126, -0.6)).categorical.tolist() == [0] * 126
    nearly = INIT.categorical + 0.4
    assert Patch.from_vectors(INIT.continuous, nearly).categorical.tolist() == INIT.categorical.tolist()


def test_slots_become_what_the_synth_can_connect():
    slots = np.tile(EMPTY_SLOT, (64, 1))
    slots[0] = (99, 999, 7, 0.6, -99, 0.2, 0.5001)
    slots[1] = (2.4, 3.6, -0.25, 0, 1.5, 1, 0)
    slots[2] = (-0.6, 5, 1, 1, 1, 1, 1)
    found = Patch.from_vectors(INIT.continuous, INIT.categorical, slots).modulation_slots
    assert found[0].tolist() == [31, 427, 1, 1, -10, 0, 1]
    assert found[1].tolist() == [2, 4, -0.25, 0, 1.5, 1, 0]
    assert found[2].tolist() == EMPTY_SLOT.tolist()


@pytest.mark.parametrize(
    ("vectors", "why"),
    [
        ((np.zeros(66), ZEROS), r"continuous has shape \(66,\); a patch needs \(322,\)"),
        ((np.zeros((1, 322)), ZEROS), r"continuous has shape \(1, 322\); a patch needs \(322,\)"),
        ((np.zeros(322), np.zeros(127)), r"categorical has shape \(127,\); a patch needs \(126,\)"),
        ((np.zeros(322), ZEROS, np.zeros((4, 32, 428))), r"modulation has shape .*; a patch needs \(64, 7\)"),
        ((np.where(np.arange(322) == 5, np.nan, 0), ZEROS), "continuous holds nan at 5"),
        ((np.zeros(322), np.where(np.arange(126) == 7, np.inf, 0)), "categorical holds inf at 7"),
        ((np.zeros(322), ZEROS, np.where(np.indices((64, 7)).sum(0) == 69, np.nan, 0)), "modulation holds nan at 63,"),
        ((["loud"] * 322, ZEROS), "continuous holds what is no number"),
    ],
)
def test_what_is_no_prediction_is_refused_by_name(vectors, why):
    with pytest.raises(SynthcoreError, match=why):
        Patch.from_vectors(*vectors)


def test_a_patch_names_three_wavetables():
    with pytest.raises(SynthcoreError, match="wavetables names 1 assets; a patch needs 3"):
        Patch.from_vectors(INIT.continuous, INIT.categorical, wavetables=INIT.wavetables[:1])


def test_notes_and_velocities_out_of_range_are_refused(short):
    with pytest.raises(SpecError, match="notes.0: input should be less than or equal to 127, not 128"):
        synthcore.render(INIT, 128)
    with pytest.raises(SpecError, match="velocity"):
        synthcore.render(INIT, 60, 0)


def test_an_asset_that_is_not_given_is_named():
    with pytest.raises(SynthcoreError, match=f"plays asset {'0' * 64}, which isn't built in; give it as assets="):
        synthcore.render(replace(INIT, wavetables=("0" * 64, *INIT.wavetables[1:])))


def test_a_patch_that_the_synth_refuses_is_an_error(short):
    name = "1" * 64
    with pytest.raises(RenderError, match="can't be rendered at note 60: not-loaded"):
        synthcore.render(replace(INIT, extras=(name, None, None)), audio=short, assets={name: b"[1]"})


def test_playing_at_many_velocities_keeps_few_synths_warm(short, monkeypatch):
    monkeypatch.setattr(client, "IDLE_FORMATS", 1)
    for velocity in (1, 2):
        synthcore.render(INIT, 60, velocity, audio=short)
    assert [fmt.velocity for fmt in client._idle] == [2]
