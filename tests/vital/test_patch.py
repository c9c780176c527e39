"""A patch: its label, its `.vital` document and its hash say the same."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib

import numpy as np
import pytest
import vita
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcore.base.hashing import content_hash
from synthcore.engine.lending import borrow_renderer
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.vital.classes import EXTRAS, Extras
from synthcore.vital.controls import installed
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS, SLOT_SETTINGS, Patch, init_assets
from synthcore.vital.wavetable import canonical_wavetable

REGISTRY = installed()
INIT = Patch.init(REGISTRY)
ASSETS = init_assets(REGISTRY)


def random_patch(seed):
    """A patch in which every control, and every modulation slot but the last, is drawn from its whole range."""
    rng = np.random.default_rng(seed)
    slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
    pairs = rng.choice(len(REGISTRY.sources) * len(REGISTRY.destinations), MAX_SLOTS - 1, replace=False)
    slots[:-1] = np.column_stack(
        [
            *np.divmod(pairs, len(REGISTRY.destinations)),
            rng.uniform(-1, 1, len(pairs)),
            rng.integers(0, 2, len(pairs)),
            rng.uniform(-10, 10, len(pairs)),
            *rng.integers(0, 2, (2, len(pairs))),
        ]
    )
    return Patch(
        continuous=rng.random(len(REGISTRY.continuous), dtype=np.float32),
        categorical=np.array([rng.integers(len(c.options)) for c in REGISTRY.categorical], dtype=np.int32),
        modulation_slots=slots,
        wavetables=INIT.wavetables,
    )


@pytest.fixture(scope="module")
def synth():
    return vita.Synth()


def with_sample(patch, *, on):
    categorical = patch.categorical.copy()
    categorical[[c.name for c in REGISTRY.categorical].index("sample_on")] = on
    return dataclasses.replace(patch, categorical=categorical)


def played(synth, patch):
    """What the synth reports after loading a patch's document."""
    assert synth.load_json(patch.to_json(REGISTRY, ASSETS))
    return json.loads(synth.to_json())["settings"]


@pytest.mark.parametrize("seed", range(5))
def test_the_synth_plays_every_control_as_the_label_says(synth, seed):
    patch = random_patch(seed)
    settings_now = played(synth, patch)
    asked = patch.values(REGISTRY)
    assert len(asked) == 448
    spans = {c.name: c.high - c.low for c in REGISTRY.controls}
    wrong = {n: (v, settings_now[n]) for n, v in asked.items() if abs(settings_now[n] - v) > 2e-7 * max(spans[n], v)}
    assert wrong == {}


@pytest.mark.parametrize("seed", range(5))
def test_the_synth_connects_every_modulation_slot_as_the_label_says(synth, seed):
    patch = random_patch(seed)
    settings_now = played(synth, patch)
    for place, (source, destination, *numbers) in enumerate(patch.modulation_slots.tolist()):
        route = settings_now["modulations"][place]
        ends = (REGISTRY.sources[int(source)], REGISTRY.destinations[int(destination)]) if source >= 0 else ("", "")
        assert (route["source"], route["destination"]) == ends
        said = [settings_now[f"modulation_{place + 1}_{name}"] for name in SLOT_SETTINGS]
        np.testing.assert_allclose(said, numbers, rtol=1e-6, err_msg=f"slot {place + 1}")


def test_the_synth_keeps_wavetables_and_lfos_as_they_are(synth):
    settings_now = played(synth, random_patch(0))
    assert content_hash(settings_now["lfos"]) == content_hash(REGISTRY.init["lfos"])
    assert [canonical_wavetable(w) for w in settings_now["wavetables"]] == [ASSETS[w] for w in INIT.wavetables]


def test_the_synth_keeps_the_sample_but_for_rounding(synth):
    """It has 16 bits in a document and is float32 in the synth, which writes it back one step off."""
    kept, given_sample = (
        np.frombuffer(base64.b64decode(sample["samples"]), "<i2").astype(int)
        for sample in (played(synth, with_sample(random_patch(0), on=True))["sample"], REGISTRY.init["sample"])
    )
    np.testing.assert_allclose(kept, given_sample, rtol=0, atol=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_sample_that_is_off_is_left_out_and_nobody_hears_it(seed, short):
    sampler = SyntheticSource(DatasetSpec(tier=3, seed=seed, audio=short), REGISTRY)
    document = with_sample(sampler.draw(0, 0), on=False).to_json(REGISTRY, sampler.assets)
    whole = json.loads(document)
    assert len(whole["settings"]["sample"]["samples"]) < 10
    whole["settings"]["sample"] = REGISTRY.init["sample"]
    everything = dataclasses.replace(sampler.spec.render_format, min_rms_dbfs=-1000.0, max_peak=10.0)
    with borrow_renderer(everything, 60) as renderer:
        left_out, given_sample = (
            renderer.render(d.encode(), short.performances).rows for d in (document, json.dumps(whole))
        )
    assert left_out
    assert left_out == given_sample


def test_the_document_is_canonical():
    text = random_patch(0).to_json(REGISTRY, ASSETS)
    assert text == random_patch(0).to_json(REGISTRY, dict(reversed(ASSETS.items())))
    assert len(json.loads(text)["settings"]["modulations"]) == MAX_SLOTS


def test_an_asset_that_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        INIT.to_json(REGISTRY, {})


def test_the_init_patch_holds_every_default():
    played_values = INIT.values(REGISTRY)
    for control in REGISTRY.controls:
        assert played_values[control.name] == pytest.approx(control.default, abs=1e-7 * (control.high - control.low))


@pytest.mark.slow
def test_the_init_patch_sounds_like_the_init_preset(short, fresh):
    """Equal to 24 bits: a label is float32 on [0, 1], and gives back few of the synth's defaults to the last bit."""
    init_preset = fresh("import vita; print(vita.Synth().to_json())").stdout.encode()
    with borrow_renderer(DatasetSpec(audio=short).render_format, 60) as synth:
        theirs = synth.render(init_preset, short.performances).rows
        ours = synth.render(INIT.to_json(REGISTRY, ASSETS).encode(), short.performances).rows
    assert [r.performance for r in ours] == list(short.performances)
    for row, preset_row in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(decoded(row), decoded(preset_row), rtol=0, atol=2**-23)


def decoded(row):
    """The audio of a rendered row, flat."""
    shuffled = np.frombuffer(zlib.decompress(row.chunk), np.uint8).reshape(4, -1)
    return np.ascontiguousarray(shuffled.T).view("<f4").ravel()


def test_a_presets_name_changes_no_sound(short):
    with borrow_renderer(DatasetSpec(audio=short).render_format, 60) as synth:
        documents = (INIT.to_json(REGISTRY, ASSETS, name).encode() for name in ("", "Grüße 🎹"))
        plain, named = (synth.render(document, short.performances).rows for document in documents)
    assert plain
    assert [r.audio_sha256 for r in plain] == [r.audio_sha256 for r in named]


# ------------------------------------------------------------------------------------------------------------ the hash

LABELS = ("continuous", "categorical", "modulation_slots")
places = st.sampled_from(LABELS).flatmap(
    lambda label: st.tuples(st.just(label), st.integers(0, getattr(INIT, label).size - 1))
)


def changed(patch, label, place, value):
    array = getattr(patch, label).copy()
    array.flat[place] = value
    return dataclasses.replace(patch, **{label: array})


@settings(max_examples=50, deadline=None)
@given(places)
def test_any_other_label_is_another_hash(where):
    label, place = where
    old = getattr(INIT, label).flat[place]
    new = old + 1 if label == "categorical" else np.nextafter(old, np.float32(2))
    assert changed(INIT, label, place, new).hash != INIT.hash


@settings(max_examples=50, deadline=None)
@given(places)
def test_the_same_label_is_the_same_hash(where):
    label, place = where
    assert changed(INIT, label, place, getattr(INIT, label).flat[place]).hash == INIT.hash


@pytest.mark.parametrize("label", ["continuous", "modulation_slots"])
def test_minus_zero_is_zero(label):
    assert changed(INIT, label, 2, -0.0).hash == changed(INIT, label, 2, 0.0).hash


def test_an_exact_minus_zero_is_zero():
    zero, minus_zero = (np.full_like(INIT.continuous, np.nan) for _ in range(2))
    zero[2], minus_zero[2] = 0.0, -0.0
    hashes = {dataclasses.replace(INIT, exact_values=exact).hash for exact in (zero, minus_zero)}
    assert len(hashes) == 1
    assert INIT.hash not in hashes


def test_the_position_of_a_modulation_slot_is_part_of_the_hash():
    patch = random_patch(0)
    moved = dataclasses.replace(patch, modulation_slots=np.roll(patch.modulation_slots, 1, axis=0))
    assert moved.hash != patch.hash


@pytest.mark.parametrize("oscillator", range(3))
def test_another_wavetable_is_another_hash(oscillator):
    wavetables = list(INIT.wavetables)
    wavetables[oscillator] = content_hash("another")
    assert dataclasses.replace(INIT, wavetables=tuple(wavetables)).hash != INIT.hash


def test_each_extra_is_a_hash_of_its_own():
    asset = content_hash("another")
    hashes = {dataclasses.replace(INIT, extras=Extras(**{name: asset})).hash for name in EXTRAS}
    assert len(hashes | {INIT.hash}) == len(EXTRAS) + 1


def test_the_memory_layout_of_a_label_is_no_part_of_the_hash():
    patch = random_patch(0)
    assert dataclasses.replace(patch, modulation_slots=np.asfortranarray(patch.modulation_slots)).hash == patch.hash
