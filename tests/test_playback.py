"""From knobs to sound: a row's own vectors give the row's audio, and a prediction gives the nearest patch there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import synthcore
from synthcore.base.errors import RenderError, SpecError, SynthcoreError
from synthcore.engine import lending
from synthcore.engine.rendering import Fault
from synthcore.storage.dataset import Dataset
from synthcore.training.batches import Examples
from synthcore.vital.classes import Extras, builtin_classes
from synthcore.vital.controls import installed
from synthcore.vital.normalize import to_label, to_values
from synthcore.vital.patch import EMPTY_SLOT, LABELS, Patch
from synthcore.vital.reading import read_preset

REGISTRY = installed()
INIT = Patch.init(REGISTRY)
ZEROS = np.zeros(126)


def place(name):
    return [c.name for c in REGISTRY.continuous].index(name)


def label_of(row):
    """What a row or a batch's row says of its patch, as a user hands it on."""
    return {name: row[name] for name in LABELS if name in row}


@pytest.mark.slow
def test_a_rows_own_label_gives_its_patch_and_its_audio(each_tier):
    """Without a word of the file: a built-in wavetable has the same number everywhere."""
    with Dataset(each_tier.path) as dataset:
        rows = [dataset[place] for place in range(0, len(dataset), 4)]
        patches = [Patch.from_vectors(**label_of(row)) for row in rows]
        assert patches == [dataset.patch(place) for place in range(0, len(dataset), 4)]
        notes = [int(row["midi_note"]) for row in rows]
        velocity = int(rows[0]["velocity"])
        heard = list(synthcore.render_many(patches, notes, velocity, audio=dataset.spec.audio))
        for sound, row in zip(heard, rows, strict=True):
            assert isinstance(sound, np.ndarray)
            assert sound.dtype == np.float32
            np.testing.assert_array_equal(sound, row["audio"])
        alone = synthcore.render(patches[0], notes[0], velocity, audio=dataset.spec.audio)
        np.testing.assert_array_equal(alone, rows[0]["audio"])


def test_what_a_batch_holds_gives_the_rows_patches(each_tier):
    examples = Examples(each_tier.path)
    batch = examples.read(examples.rows[:6])
    for place, row in enumerate(examples.rows[:6]):
        label = label_of({name: values[place] for name, values in batch.items()})
        assert Patch.from_vectors(**label, classes=examples.classes) == examples.dataset.patch(row)


def test_a_class_that_there_is_not_is_refused():
    """No other is near it; a preset's own wavetable has a number in its file alone."""
    patch = Patch.from_vectors(INIT.continuous, INIT.categorical, wavetables=[0, 1.4, 42], extras=[-0.2, 0.2, 0])
    assert patch.wavetables == tuple(builtin_classes().wavetables[i] for i in (0, 1, 42))
    with pytest.raises(SynthcoreError, match="wavetables names class 44, and there are 44; give .*classes=dataset"):
        Patch.from_vectors(INIT.continuous, INIT.categorical, wavetables=[0, 44, 0])
    with pytest.raises(SynthcoreError, match="extras names class -1, and there are 1;"):
        Patch.from_vectors(INIT.continuous, INIT.categorical, extras=[0, -1, 0])


def test_an_exact_value_counts_beside_its_own_unit_value_alone():
    column, value = place("osc_1_tune"), np.float32(0.1)  # of -1..1: finer near 0 than unit values near 0.5
    others = to_values(REGISTRY.continuous, INIT.continuous)
    units, exact = to_label(REGISTRY.continuous, np.where(np.arange(322) == column, value, others))
    assert np.flatnonzero(~np.isnan(exact)).tolist() == [column]
    patch = Patch.from_vectors(units, INIT.categorical, exact_values=exact)
    assert patch.values(REGISTRY)["osc_1_tune"] == value
    assert patch != Patch.from_vectors(units, INIT.categorical)
    elsewhere = np.where(np.arange(322) == column, 0.75, units)
    assert Patch.from_vectors(elsewhere, INIT.categorical, exact_values=exact).values(REGISTRY)["osc_1_tune"] == 0.5
    assert patch.moved(continuous=elsewhere.astype(np.float32)).values(REGISTRY)["osc_1_tune"] == 0.5


def test_a_prediction_becomes_a_preset_that_is_the_same_patch(tmp_path):
    wild = Patch.from_vectors(np.full(62, 0.31), np.ones(20), wavetables=[3, 4, 5])
    wild.to_vital(tmp_path / "made" / "wild.vital")
    content = (tmp_path / "made" / "wild.vital").read_bytes()
    read = read_preset(content, REGISTRY)
    assert (read.patch, read.name, read.version) == (wild, "wild", "1.0.7")
    with pytest.raises(SynthcoreError, match="which isn't built in; give it as assets="):
        replace(wild, wavetables=("0" * 64,) * 3).to_vital(tmp_path / "made" / "wild.vital")
    assert (tmp_path / "made" / "wild.vital").read_bytes() == content


@pytest.mark.slow
def test_many_patches_come_in_order_with_faults_among_them(short):
    name = "1" * 64
    patches = [INIT, replace(INIT, extras=Extras(lfos=name)), INIT]
    first, fault, last = synthcore.render_many(patches, [60, 61, 62], audio=short, assets={name: b"[1]"})
    assert fault == Fault(61, "not-loaded", None, None)
    for sound, note in ((first, 60), (last, 62)):
        assert isinstance(sound, np.ndarray)
        np.testing.assert_array_equal(sound, synthcore.render(INIT, note, audio=short))


def test_one_note_for_many_patches_may_be_a_rows(short):
    (sound,) = synthcore.render_many([INIT], np.int32(62), audio=short)
    np.testing.assert_array_equal(sound, synthcore.render(INIT, 62, audio=short))


@pytest.mark.slow
def test_of_many_patches_few_are_rendered_ahead(short):
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield INIT

    sounds = synthcore.render_many(endless(), np.array([60])[0], audio=short, workers=2)
    next(sounds)
    sounds.close()
    assert asked <= 6
    assert synthcore.render(INIT, audio=short).any()  # and the synth goes on for others


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
        ((np.zeros(66), ZEROS), r"continuous has shape \(66,\); a patch needs \(322,\), or tier 1's 62"),
        ((np.zeros((1, 322)), ZEROS), r"continuous has shape \(1, 322\); a patch needs \(322,\)"),
        ((np.zeros(322), np.zeros(127)), r"categorical has shape \(127,\); a patch needs \(126,\)"),
        ((np.zeros(322), ZEROS, np.zeros((4, 32, 428))), r"modulation_slots has shape .*; a patch needs \(64, 7\)"),
        ((np.where(np.arange(322) == 5, np.nan, 0), ZEROS), "continuous holds nan at 5"),
        ((np.zeros(322), np.where(np.arange(126) == 7, np.inf, 0)), "categorical holds inf at 7"),
        (
            (np.zeros(322), ZEROS, np.where(np.indices((64, 7)).sum(0) == 69, np.nan, 0)),
            "modulation_slots holds nan at 63,",
        ),
        ((["loud"] * 322, ZEROS), "continuous holds something that isn't a number"),
    ],
)
def test_what_is_no_prediction_is_refused_by_name(vectors, why):
    with pytest.raises(SynthcoreError, match=why):
        Patch.from_vectors(*vectors)


def test_a_patch_has_three_wavetables():
    with pytest.raises(SynthcoreError, match=r"wavetables has shape \(1,\); a patch needs \(3,\)"):
        Patch.from_vectors(INIT.continuous, INIT.categorical, wavetables=[0])


def test_tier_1s_columns_alone_leave_the_others_at_their_defaults():
    of_tier_1 = [c.tier == 1 for c in REGISTRY.continuous], [c.tier == 1 for c in REGISTRY.categorical]
    patch = Patch.from_vectors(np.ones(62), np.ones(20))
    for vector, init, is_given in zip(
        (patch.continuous, patch.categorical), (INIT.continuous, INIT.categorical), of_tier_1, strict=True
    ):
        np.testing.assert_array_equal(vector, np.where(is_given, 1, init))


@pytest.mark.parametrize("note", [128, -1, 60.5])
def test_a_note_that_is_not_there_is_refused(note):
    with pytest.raises(SpecError, match=f"there is no MIDI note {note}; there are the whole numbers 0 to 127"):
        synthcore.render(INIT, note)


def test_a_velocity_out_of_range_is_refused():
    with pytest.raises(SpecError, match="velocity"):
        synthcore.render(INIT, 60, 0)


def test_an_asset_that_is_not_given_is_named():
    with pytest.raises(SynthcoreError, match=f"plays asset {'0' * 64}, which isn't built in; give it as assets="):
        synthcore.render(replace(INIT, wavetables=("0" * 64, *INIT.wavetables[1:])))


def test_a_patch_that_the_synth_refuses_is_an_error(short):
    name = "1" * 64
    with pytest.raises(RenderError, match="can't be rendered at note 60: not-loaded"):
        synthcore.render(replace(INIT, extras=Extras(lfos=name)), audio=short, assets={name: b"[1]"})


@pytest.mark.slow
def test_recording_in_many_ways_keeps_few_synths_warm(short, monkeypatch):
    monkeypatch.setattr(lending, "IDLE_FORMATS", 1)
    for rate in (8_000, 11_025):
        synthcore.render(INIT, audio=short.model_copy(update={"sample_rate": rate}))
    assert [fmt.sample_rate for fmt in lending._idle] == [11_025]
