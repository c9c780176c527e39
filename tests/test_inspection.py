"""Inspecting: the numbers agree with the file, the words with the label."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from synthcore.errors import DatasetError
from synthcore.hearing import centroid_hz
from synthcore.inspection import Inspection, describe_row, inspect
from synthcore.normalize import to_units
from synthcore.patch import EMPTY_SLOT, MAX_SLOTS, Patch
from synthcore.sampling.hypercube import Sampler
from synthcore.storage.dataset import Dataset


@pytest.fixture
def dataset(each_tier):
    with Dataset(each_tier.path) as opened:
        yield opened


# --------------------------------------------------------------------------------------------------------- the numbers


def test_it_says_what_the_dataset_is(dataset, each_tier):
    found = inspect(dataset)
    assert found.rows == 15
    assert found.patches == 8
    assert found.tier == each_tier.spec.tier
    assert found.digest == each_tier.ref.digest
    assert found.bytes == each_tier.path.stat().st_size
    assert found.spec == each_tier.spec.model_dump(mode="json")
    assert found.sources == {"synthetic": 15}
    assert found.importance_weights == "absent"
    assert found.engine["vita"] == "0.1.0"


def test_its_shapes_are_the_files(dataset, each_tier):
    with h5py.File(each_tier.path) as file:
        shapes = {}
        for group in ("audio", "params", "metadata"):
            file[group].visititems(lambda name, d, group=group: shapes.update({f"{group}/{name}": list(d.shape)}))
    assert inspect(dataset).shapes == shapes


def test_acceptance_and_faults_are_counted_from_the_rejections(dataset, each_tier):
    found = inspect(dataset)
    with h5py.File(each_tier.path) as file:
        reasons, counts = np.unique(file["rejections/reason"].asstr()[:].astype(str), return_counts=True)
    assert found.faults == dict(zip(reasons.tolist(), counts.tolist(), strict=True))
    assert found.candidates == 8 + counts.sum() > 8
    assert found.acceptance == 8 / found.candidates


def test_distributions_are_of_the_rows(dataset, each_tier):
    found = inspect(dataset).distributions
    with h5py.File(each_tier.path) as file:
        audio, rms_dbfs, peak = (file[n][:] for n in ("audio/waveforms", "metadata/rms_dbfs", "metadata/peak"))
    centroids = [centroid_hz(row, 22050) for row in audio]
    for name, values in (("rms (dBFS)", rms_dbfs), ("peak", peak), ("centroid (Hz)", centroids)):
        np.testing.assert_allclose(found[name], np.quantile(values, [0, 0.05, 0.5, 0.95, 1]), rtol=1e-6)


def test_coverage_is_of_the_priors_the_dataset_was_drawn_from(dataset, each_tier, registry):
    found = inspect(dataset).coverage
    drawn = {m.control.name: m for m in Sampler(each_tier.spec, registry).marginals}
    assert found.continuous_varied + found.categorical_varied == len(drawn)
    played = [patch.values(registry) for patch in dataset.patches(0, len(dataset))]

    spans = {}
    for name, marginal in drawn.items():
        values = [v[name] for v in played]
        control = marginal.control
        if control.is_categorical:
            had = {control.options[round(v - control.low)] for v in values}
            allowed = {control.options[i] for i in marginal.allowed}
            # Options that share a name can't be told apart by it.
            if len({*control.options}) == len(control.options):
                assert {*found.missing_options.get(name, ())} == allowed - had, name
        else:
            spans[name] = (max(values) - min(values)) / (marginal.high - marginal.low)
    assert found.narrow == pytest.approx({name: span for name, span in spans.items() if span < 0.9})
    assert list(found.narrow.values()) == sorted(found.narrow.values())
    assert found.lowest_span == pytest.approx(min(spans.values()))


def test_a_shard_is_inspected_like_a_dataset(each_tier):
    ref = each_tier.shards[0]
    with Dataset(each_tier.data_dir / ref.name) as shard:
        found = inspect(shard)
    assert (found.rows, found.digest, found.candidates, found.faults) == (10, ref.digest, ref.candidates, ref.faults)


def test_it_comes_back_from_its_json(dataset):
    found = inspect(dataset)
    assert Inspection.model_validate_json(found.model_dump_json()) == found


def test_its_text_tells_what_a_person_asks_for(dataset, each_tier):
    found = inspect(dataset)
    text = found.to_text()
    said = (
        "15 of tier",
        "8 patches",
        f"{found.acceptance:.1%} of {found.candidates}",
        "centroid",
        "vita",
        *found.faults,
    )
    assert [part for part in said if part not in text] == []
    assert max(map(len, text.splitlines())) <= 80


# --------------------------------------------------------------------------------------------------------------- a row


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
    with h5py.File(path, "r+") as file:
        file["params/continuous"][3] = continuous
        file["params/categorical"][3] = categorical
        file["params/modulation_slots"][3] = slots
    with Dataset(path) as opened:
        yield opened


def test_a_row_is_told_by_the_controls_that_differ_from_the_init_preset(almost_init, registry):
    told = describe_row(almost_init, 3)
    assert told.controls == {"osc_1_level": "0.25", "filter_1_model": registry.by_name["filter_1_model"].options[2]}


def test_a_rows_modulation_is_told_by_names(almost_init):
    assert describe_row(almost_init, 3).modulation == [
        "slot 5: lfo_1 -> filter_1_cutoff, amount -0.500, power +2.50, bipolar"
    ]


def test_a_rows_text_holds_its_words(almost_init):
    text = describe_row(almost_init, 3).to_text()
    assert [part for part in ("osc_1_level", "0.25", "filter_1_cutoff", "midi_note") if part not in text] == []


def test_a_rows_origin_is_told(dataset, each_tier):
    told = describe_row(dataset, 3).metadata
    assert (told["midi_note"], told["patch_index"], told["source"]) == (60, 1, "synthetic")
    assert told["tier"] == each_tier.spec.tier
    assert told["preset_hash"] == dataset.patch(3).hash


def test_every_control_that_is_not_at_its_default_is_told(dataset, registry):
    told = describe_row(dataset, 0).controls
    played = dataset.patch(0).values(registry)
    off_default = {c.name for c in registry.controls if abs(played[c.name] - c.default) > 1e-3 * (c.high - c.low)}
    assert off_default
    assert off_default <= {*told}
    assert {*told} <= {c.name for c in registry.of_tier(dataset.spec.tier)}


def test_every_connection_is_told(tier_3, registry):
    with Dataset(tier_3.path) as dataset:
        slots = dataset.column("modulation_slots")
        for row in range(len(dataset)):
            routes = slots[row][slots[row, :, 0] >= 0]
            told = describe_row(dataset, row).modulation
            assert len(told) == len(routes)
            for line, (source, destination, *_) in zip(told, routes, strict=True):
                assert f"{registry.sources[int(source)]} -> {registry.destinations[int(destination)]}," in line


@pytest.mark.parametrize("row", [15, -16, 1000])
def test_a_row_that_is_not_there_cannot_be_told(tier_1, row):
    with Dataset(tier_1.path) as dataset, pytest.raises(DatasetError, match=rf"row {row} is out of range"):
        describe_row(dataset, row)


def test_a_row_is_told_from_the_end_too(tier_1):
    with Dataset(tier_1.path) as dataset:
        assert describe_row(dataset, -1).controls == describe_row(dataset, 14).controls


# -------------------------------------------------------------------------------------------------------- the centroid


@pytest.mark.parametrize("hertz", [110.0, 440.0, 3000.0, 9000.0])
def test_the_centroid_of_a_sine_is_its_frequency(hertz):
    seconds = np.arange(22050) / 22050
    sine = np.sin(2 * np.pi * hertz * seconds).astype(np.float32)
    assert centroid_hz(np.stack([sine, 0.5 * sine]), 22050) == pytest.approx(hertz, rel=0.01)


def test_the_centroid_of_two_sines_lies_between_by_their_power():
    seconds = np.arange(22050) / 22050
    low, high = (np.sin(2 * np.pi * hertz * seconds).astype(np.float32) for hertz in (1000, 4000))
    assert centroid_hz(np.stack([low + high] * 2), 22050) == pytest.approx(2500, rel=0.01)
    assert centroid_hz(np.stack([low, high]), 22050) == pytest.approx(2500, rel=0.01)


def test_silence_has_no_centroid():
    assert centroid_hz(np.zeros((2, 100), np.float32), 22050) == 0
