"""Inspecting: the numbers agree with the file, the words with the label."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from synthcore.analysis.audio import centroid_hz
from synthcore.analysis.inspection import Inspection, inspect
from synthcore.analysis.overview import look
from synthcore.sources.synthetic import SyntheticSource
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
    drawn = {m.control.name: m for m in SyntheticSource(each_tier.spec, registry).marginals}
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


@pytest.mark.slow
def test_its_text_tells_what_a_person_asks_for(dataset, each_tier):
    found = inspect(dataset)
    text = found.to_text()
    said = (
        f"15 rows of tier {found.tier}, 8 patches",
        f"{found.acceptance:.1%} of {found.candidates}",
        "48, 60 at velocity 100; 0.25 s held of 0.4 s, at 22050 Hz",
        "centroid",
        "vita",
        *found.faults,
    )
    assert [part for part in said if part not in text] == []
    commands = text.partition("next:\n")[2].partition("\n\n")[0]
    assert max(map(len, text.replace(commands, "").splitlines())) <= 80
    assert [line.split()[1:] for line in commands.splitlines()][-1] == ["verify", found.file]


def test_it_begins_with_what_matters_and_ends_with_the_columns(dataset):
    text = inspect(dataset).to_text()
    parts = ("rows of tier", "loudness", "refused:", "next:", "how the rows sound", "coverage of the priors", "columns")
    assert list(map(text.index, parts)) == sorted(map(text.index, parts))


def test_what_needs_no_audio_is_the_same_in_both(dataset):
    overview, found = look(dataset), inspect(dataset)
    assert overview.model_dump() == found.model_dump(include=set(type(overview).model_fields))
    assert overview.loudness_dbfs == found.distributions["rms (dBFS)"][1:4]
    assert overview.highest_peak == pytest.approx(found.distributions["peak"][-1])


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
