"""Datasets with rows from presets and variations: the same laws, and every row knows where it is from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

import synthcore
from synthcore.analysis.inspection import inspect
from synthcore.analysis.words import describe
from synthcore.base.errors import DatasetError, SpecError
from synthcore.flows.cli import main
from synthcore.ingest.collecting import ingest, make_collection
from synthcore.pipeline import library
from synthcore.pipeline.continuing import require_continuable
from synthcore.pipeline.shard import plan_shards
from synthcore.pipeline.summary import RunStats, Summary
from synthcore.publishing.recipe import render_recipe, write_recipe
from synthcore.sources.collection import Collection
from synthcore.sources.presets import PresetSource, Projection
from synthcore.sources.splits import SHARES, family_of, split_of
from synthcore.sources.variations import VariationSource
from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec
from synthcore.storage.collection import read_collection, write_collection
from synthcore.storage.dataset import Dataset
from synthcore.training.batches import Examples
from synthcore.verification.rerendering import verify
from synthcore.vital.catalog import builtin
from synthcore.vital.classes import builtin_classes
from synthcore.vital.controls import installed
from synthcore.vital.patch import EMPTY_SLOT, LABELS, Patch
from synthcore.vital.tempo import bpm_of
from tests.conftest import REAL_PRESETS, make_dataset, needs_presets
from tests.patches import with_controls

REGISTRY = installed()
SYNTHETIC, VARIATIONS = 8, 5


@pytest.fixture(scope="module")
def collection(preset_folder: Path) -> Collection:
    return ingest([preset_folder], REGISTRY, check=False, workers=2)[0]


def spec_of(collection: Collection, short: AudioSpec, **changes: object) -> DatasetSpec:
    wishes = {"tier": 3, "n_samples": SYNTHETIC, "audio": short, "variations": VARIATIONS}
    return DatasetSpec(**{**wishes, "presets_digest": collection.digest, **changes})


def kept(collection: Collection, folder: Path) -> Path:
    """A data directory that has the collection."""
    write_collection(folder / "presets.h5", collection)
    library.given_collection(folder / "presets.h5", folder)
    return folder


@pytest.fixture(scope="module")
def mixed(collection: Collection, short: AudioSpec, tmp_path_factory: pytest.TempPathFactory):
    data_dir = kept(collection, tmp_path_factory.mktemp("mixed"))
    return make_dataset(spec_of(collection, short), data_dir, collection)


@pytest.fixture
def dataset(mixed):
    with Dataset(mixed.path) as opened:
        yield opened


# ------------------------------------------------------------------------------------------------------------ the laws


@pytest.mark.slow
def test_every_row_verifies_bit_for_bit(dataset):
    verdict = verify(dataset, None, tolerance_db=-60, workers=2)
    assert (verdict.exact, verdict.differing, verdict.damage) == (len(dataset), 0, [])


@pytest.mark.slow
def test_presets_come_first_then_variations_then_exactly_the_synthetic_rows_asked_for(dataset, collection):
    sources = [source.decode() for source in dataset.column("source").tolist()]
    assert [source for source, _ in groupby(sources)] == ["community", "variation", "synthetic"]
    counts = Counter(sources)
    assert counts["synthetic"] == SYNTHETIC
    assert counts["variation"] == 2 * VARIATIONS
    silent = [p for p in collection.presets if p.name == "still"]
    assert len(silent) == 1
    refused = len({int(i) for i in dataset.rejections()["patch_index"][dataset.rejections()["source"] == b"community"]})
    assert counts["community"] == 2 * (len(collection.presets) - refused)


@pytest.mark.slow
def test_patches_are_counted_within_their_source(dataset):
    for source in (b"variation", b"synthetic"):
        mine = dataset.column("source") == source
        assert sorted(set(dataset.column("patch_index")[mine].tolist())) == list(range(mine.sum() // 2))


@pytest.mark.long
@pytest.mark.parametrize("rows_per_shard", [2, 40])
def test_the_size_of_shards_changes_no_byte(collection, short, mixed, tmp_path, rows_per_shard):
    again = make_dataset(spec_of(collection, short), kept(collection, tmp_path), collection, rows_per_shard)
    assert again.ref.digest == mixed.ref.digest
    with Dataset(again.path) as one, Dataset(mixed.path) as other:
        for name in one.column_names:
            np.testing.assert_array_equal(one.column(name), other.column(name), err_msg=name)
        assert one.sources() == other.sources()
        for name, values in one.rejections().items():
            np.testing.assert_array_equal(values, other.rejections()[name], err_msg=name)


@pytest.mark.long
def test_a_preset_keeps_the_tempo_it_was_saved_with_unless_another_is_asked_for(collection, mixed, tmp_path):
    with Dataset(mixed.path) as kept_own:
        is_given = kept_own.column("source") == b"community"
        places = kept_own.column("patch_index")[is_given]
        own = [bpm_of(collection.presets[place].patch, REGISTRY) for place in places]
        assert kept_own.column("bpm")[is_given].tolist() == own
        assert len({*own}) > 1
    ranges = {"notes": "36..84", "notes_per_patch": 1, "velocity": "40..127", "note_seconds": "0.05..0.1"}
    audio = AudioSpec.model_validate({"sample_rate": 8000, "render_seconds": 0.1, "bpm": "80..160", **ranges})
    loose = AcceptanceSpec(min_rms_dbfs=-200, max_peak=10)
    spec = spec_of(collection, audio, n_samples=1, variations=2, acceptance=loose)
    drawn = make_dataset(spec, kept(collection, tmp_path), collection)
    with Dataset(drawn.path) as dataset:
        assert ((dataset.column("bpm") >= 80) & (dataset.column("bpm") <= 160)).all()
        assert len({*dataset.column("bpm").tolist()}) == len(dataset)
        assert verify(dataset, None, tolerance_db=-60, workers=2).holds
    # What presets play doesn't depend on the seed, as little as which presets there are.
    specs = (spec, spec.model_copy(update={"seed": 1}))
    first, other = (plan_shards(one, 10, collection)[0].key for one in specs)
    assert first == other


@pytest.mark.slow
def test_a_shard_whose_presets_are_all_refused_has_no_row(collection, short, tmp_path):
    still = dataclasses.replace(collection, presets=tuple(p for p in collection.presets if p.name == "still"))
    spec = spec_of(still, short, variations=0, n_samples=2)
    made = make_dataset(spec, kept(still, tmp_path), still)
    assert [shard.rows for shard in made.shards] == [0, 10]
    assert made.ref.rows == 2
    with Dataset(tmp_path / made.shards[0].name) as shard:
        found = inspect(shard)
    assert (found.rows, len(found.refused_presets)) == (0, 1)
    assert "refused presets" in found.to_text()


@pytest.mark.slow
def test_refused_presets_of_all_shards_lead_to_their_files(collection, short, tmp_path):
    still = next(preset for preset in collection.presets if preset.name == "still")
    presets = []
    for place, pan in enumerate((-0.6, 0.4)):
        patch = with_controls(still.patch, REGISTRY, osc_1_pan=pan)
        presets.append(dataclasses.replace(still, patch=patch, file=f"{place}.vital", author=f"author {place}"))
    both = dataclasses.replace(collection, presets=tuple(sorted(presets, key=lambda preset: preset.patch.hash)))
    spec = spec_of(both, short, variations=0, n_samples=2)
    made = make_dataset(spec, kept(both, tmp_path), both, rows_per_shard=2)
    assert [shard.rows for shard in made.shards] == [0, 0, 2]
    with Dataset(made.path) as dataset:
        files = {preset.file.split()[-1] for preset in inspect(dataset).refused_presets}
    assert files == {"0.vital", "1.vital"}


@pytest.mark.slow
def test_more_synthetic_rows_keep_all_rows_before(collection, short, mixed, dataset, tmp_path):
    shutil.copytree(mixed.data_dir, tmp_path / "data")
    spec = spec_of(collection, short, n_samples=SYNTHETIC + 6)
    longer = make_dataset(spec, tmp_path / "data", collection)
    assert {plan.name for plan in mixed.plans} <= {plan.name for plan in longer.plans}
    with Dataset(longer.path) as other:
        assert len(other) == len(dataset) + 6
        for name in dataset.column_names:
            np.testing.assert_array_equal(
                other.column(name, slice(0, len(dataset))), dataset.column(name), err_msg=name
            )


@pytest.mark.slow
def test_synthetic_shards_know_nothing_of_presets(collection, short):
    def names(spec, presets=None):
        return {plan.name for plan in plan_shards(spec, 10, presets) if plan.source == "synthetic"}

    spec = spec_of(collection, short)
    assert names(spec, collection) == names(spec.model_copy(update={"presets_digest": "", "variations": 0}))


@pytest.mark.slow
def test_another_preset_leaves_the_shards_of_the_others_alone(collection, short):
    fewer = dataclasses.replace(collection, presets=collection.presets[:-1])
    assert fewer.digest != collection.digest

    def names(presets):
        plans = plan_shards(spec_of(presets, short, variations=0), 4, presets)
        return {plan.name for plan in plans if plan.source == "community"}

    assert len(names(collection) - names(fewer)) == 1


# ------------------------------------------------------------------------------------------------------------- sources


@pytest.mark.slow
def test_each_row_leads_to_its_presets(dataset, collection):
    sources = {source.preset_hash: source for source in dataset.sources()}
    assert {*sources} <= {preset.patch.hash for preset in collection.presets}
    for row, source in enumerate(dataset.column("source").tolist()):
        parents = [parent.decode() for parent in dataset.column("parents", [row])[0].tolist() if parent]
        assert len(parents) in {b"community": (1,), b"variation": (1, 2), b"synthetic": (0,)}[source]
        for parent in parents:
            assert sources[parent].repository == "https://example.org/sounds"
            assert (sources[parent].commit, sources[parent].licence) == ("c0ffee", "CC-BY-4.0")
        if source == b"community":
            assert dataset.column("preset_name", [row])[0].decode() == sources[parents[0]].name
            assert dataset.patch(row).hash == parents[0]  # at tier 3 it is played whole


@pytest.mark.slow
def test_a_refused_preset_is_named_with_its_file(dataset):
    found = inspect(dataset)
    assert ("https://example.org/sounds still.vital", "silent") in [(p.file, p.reason) for p in found.refused_presets]
    assert "still.vital" in found.to_text()
    (of_presets,) = found.presets
    assert (of_presets.licence, of_presets.repository) == ("CC-BY-4.0", "https://example.org/sounds")
    assert "Zoë" in of_presets.authors
    assert "CC-BY-4.0" in found.to_text()


@pytest.fixture
def loud(preset_documents, tmp_path) -> Collection:
    """A preset that clips."""
    folder = tmp_path / "loud"
    folder.mkdir()
    document = preset_documents["still.vital"]
    document["settings"] |= {"volume": 7399.0, "osc_1_level": 1.0}
    (folder / "loud.vital").write_text(json.dumps(document))
    return ingest([folder], REGISTRY, check=False, workers=1)[0]


@pytest.mark.slow
def test_a_preset_or_a_variation_that_clips_is_kept_and_marked(loud, short, tmp_path):
    made = make_dataset(spec_of(loud, short, n_samples=6, variations=1), kept(loud, tmp_path), loud)
    with Dataset(made.path) as dataset:
        peaks, clips, sources = (dataset.column(name) for name in ("peak", "clips", "source"))
        assert peaks[sources == b"community"].min() > 0.99
        assert (sources == b"variation").sum() == 2
        assert peaks[sources == b"synthetic"].max() <= 0.99
        np.testing.assert_array_equal(clips, peaks > 0.99)
        assert b"clipping" not in dataset.rejections()["reason"][dataset.rejections()["source"] != b"synthetic"]
        assert verify(dataset, None, tolerance_db=-60, workers=2).exact == len(dataset)
        found = inspect(dataset)
        assert "which clips" in describe(dataset, 0).to_text()
    says = f"{clips.sum()} of 10 rows with a peak above 0.99 (column clips)"
    assert says in found.to_text()
    assert "max_peak 0.99 where drawn, any of presets" in " ".join(found.to_text().split())
    stats = RunStats(cached=0, rows_rendered=10, seconds=1.0, data_dir=made.data_dir)
    summary = Summary.of(made.spec, made.ref, made.shards, [], stats)
    assert says in summary.to_text()
    assert says in summary.to_markdown()


@pytest.mark.slow
def test_a_limit_of_the_peak_that_is_given_holds_for_presets(loud, short, tmp_path):
    spec = spec_of(loud, short, n_samples=2, variations=0, acceptance=AcceptanceSpec(max_peak=0.99))
    made = make_dataset(spec, kept(loud, tmp_path), loud)
    with Dataset(made.path) as dataset:
        assert not dataset.column("clips").any()
        assert [preset.reason for preset in inspect(dataset).refused_presets] == ["clipping"]


@pytest.mark.slow
def test_a_file_with_presets_of_another_limit_is_not_continued(loud, short, tmp_path):
    limited = AcceptanceSpec(max_peak=0.99)
    made = make_dataset(spec_of(loud, short, n_samples=2, variations=0, acceptance=limited), kept(loud, tmp_path), loud)
    with pytest.raises(SpecError, match=r"another spec \(max_peak 0.99 there, not given here\)"):
        require_continuable(made.path, spec_of(loud, short, n_samples=2, variations=0), overwrite=False)


@pytest.mark.slow
def test_wavetables_of_the_catalog_have_its_numbers_and_others_come_behind(preset_documents, short, tmp_path):
    """The presets play built-in wavetables; one that nobody knows is a preset's own."""
    path = tmp_path / "presets" / "own.vital"
    path.parent.mkdir()
    document = preset_documents["still.vital"]
    keyframe = document["settings"]["wavetables"][0]["groups"][0]["components"][0]["keyframes"][0]
    keyframe["wave_data"] = keyframe["wave_data"][:40] + "AAAA" + keyframe["wave_data"][44:]
    document["settings"]["volume"] = 5473.0
    path.write_text(json.dumps(document))
    presets, _ = ingest([path.parent], REGISTRY, check=False, workers=1)
    spec = spec_of(presets, short, variations=0, n_samples=2, acceptance=AcceptanceSpec(max_peak=10))
    made = make_dataset(spec, kept(presets, tmp_path), presets)
    own = presets.presets[0].patch.wavetables[0]
    with Dataset(made.path) as dataset:
        classes, first = dataset.classes, builtin_classes()
        assert classes.wavetables == (*first.wavetables, own)
        assert classes.wavetable_names == (*first.wavetable_names, "")  # it says no name
        assert classes.catalog_size == len(builtin())
        assert dataset.column("wavetables")[0, 0] == len(first.wavetables)


@pytest.mark.long
@pytest.mark.parametrize("tier", [1, 2, 3])
def test_every_row_comes_back_from_what_a_batch_holds_bit_for_bit(tier, collection, mixed, short, tmp_path):
    """Presets, variations and drawn rows."""
    made = mixed
    if tier < 3:
        loose = AcceptanceSpec(min_rms_dbfs=-200, max_peak=10)
        spec = spec_of(collection, short, tier=tier, n_samples=2, acceptance=loose)
        made = make_dataset(spec, kept(collection, tmp_path), collection)
    examples = Examples(made.path)
    dataset, batch = examples.dataset, examples.read(examples.rows)
    assert {name for name in LABELS if name in batch} == {
        *("continuous", "categorical", "wavetables", "exact_values"),
        *(["extras"] if tier > 1 else []),
        *(["modulation_slots"] if tier > 2 else []),
    }
    assert batch["continuous"].shape[1] == (62 if tier == 1 else 322)
    labels = ({name: batch[name][row] for name in LABELS if name in batch} for row in range(len(examples)))
    patches = [Patch.from_vectors(**label, classes=examples.classes) for label in labels]
    assert patches == list(dataset.patches(0, len(dataset)))
    assert any(patch.exact_values is not None for patch in patches)
    played = dataset.performances(batch["row"])
    sounds = synthcore.render_many(patches, played, audio=dataset.spec.audio, assets=dataset.assets)
    for row, sound in enumerate(sounds):
        assert isinstance(sound, np.ndarray)
        np.testing.assert_array_equal(sound, batch["audio"][row])


# ---------------------------------------------------------------------------------------------------------- projection


@pytest.mark.slow
@pytest.mark.parametrize("tier", [1, 2])
def test_a_preset_is_played_as_far_as_the_tier_goes(collection, tier):
    init = Patch.init(REGISTRY)
    given = PresetSource(DatasetSpec(tier=tier), REGISTRY, collection, "community")
    for index, preset in enumerate(collection.presets):
        patch = given.candidate(index, 0).patch
        for controls, ours, theirs, default in (
            (REGISTRY.continuous, patch.continuous, preset.patch.continuous, init.continuous),
            (REGISTRY.categorical, patch.categorical, preset.patch.categorical, init.categorical),
        ):
            of_tier = np.array([c.tier <= tier for c in controls])
            np.testing.assert_array_equal(ours, np.where(of_tier, theirs, default))
        assert (patch.modulation_slots == EMPTY_SLOT).all()
        assert patch.wavetables == preset.patch.wavetables[: tier + 1] + init.wavetables[tier + 1 :]
        assert patch.extras == ((None,) * 3 if tier == 1 else (*preset.patch.extras[:2], None))


@pytest.mark.slow
def test_at_tier_3_a_preset_is_whole(collection):
    project = Projection(DatasetSpec(tier=3), REGISTRY)
    assert [project(p.patch) for p in collection.presets] == [p.patch for p in collection.presets]


@pytest.mark.slow
def test_neighbours_that_become_the_same_patch_verify_and_render_apart(collection, short, preset_folder, tmp_path):
    """Two presets that differ in modulation alone are one at tier 1; their hashes put them side by side somewhere."""
    twins = [dataclasses.replace(collection.presets[0].patch, modulation_slots=slots) for slots in _slots()]
    presets = tuple(dataclasses.replace(collection.presets[0], patch=patch) for patch in twins)
    both = dataclasses.replace(collection, presets=presets)
    loose = AcceptanceSpec(min_rms_dbfs=-200, max_peak=10)
    spec = spec_of(both, short, tier=1, variations=0, n_samples=2, acceptance=loose)
    made = make_dataset(spec, kept(both, tmp_path), both)
    with Dataset(made.path) as dataset:
        assert len(set(dataset.column("preset_hash")[:4].tolist())) == 1
        assert dataset.column("patch_index").tolist() == [0, 0, 1, 1, 0, 0]
        assert verify(dataset, None, tolerance_db=-60, workers=2).exact == 6
        write_recipe(dataset, tmp_path / "recipe.h5")
    with Dataset(tmp_path / "recipe.h5") as recipe:
        assert render_recipe(recipe, [preset_folder], tmp_path / "again.h5", workers=2).exact == 6


def _slots():
    first, second = np.tile(EMPTY_SLOT, (2, 64, 1))
    second[0] = (0, 0, 0.5, 0, 0, 0, 0)
    return first, second


@pytest.mark.slow
def test_where_wavetables_begin_at_tier_2_a_preset_of_tier_1_has_the_init_presets(collection):
    project = Projection(DatasetSpec(tier=1, wavetables_from_tier=2), REGISTRY)
    assert {project(p.patch).wavetables for p in collection.presets} == {Patch.init(REGISTRY).wavetables}


# ---------------------------------------------------------------------------------------------------------- variations


@pytest.fixture(scope="module")
def variations(collection, short):
    return VariationSource(spec_of(collection, short), REGISTRY, collection)


@pytest.mark.slow
def test_a_variation_depends_on_its_index_and_attempt_alone(collection, short, variations):
    other = VariationSource(spec_of(collection, short), REGISTRY, collection)
    there = [other.candidate(index, 0).patch.hash for index in reversed(range(40))]
    here = [variations.candidate(index, 0).patch.hash for index in range(40)]
    assert here == there[::-1]
    assert len({*here}) == 40
    assert variations.candidate(0, 1).patch != variations.candidate(0, 0).patch


@pytest.mark.slow
def test_variations_can_be_loaded_and_name_their_parents(variations, collection):
    ways: Counter[int] = Counter()
    originals = {p.patch.hash: p.name for p in collection.presets}
    for index in range(60):
        candidate = variations.candidate(index, 0)
        ways[len(candidate.parents)] += 1
        assert candidate.name == " x ".join(originals[p] for p in candidate.parents)
        assert candidate.patch.hash not in originals
        document = json.loads(candidate.patch.to_json(REGISTRY, {**variations.assets, **candidate.assets}))
        assert len(document["settings"]["modulations"]) == 64
        assert (candidate.patch.continuous >= 0).all()
        assert (candidate.patch.continuous <= 1).all()
        counts = np.array([len(c.options) for c in REGISTRY.categorical])
        assert ((candidate.patch.categorical >= 0) & (candidate.patch.categorical < counts)).all()
    assert ways[1] > 5
    assert ways[2] > 5


@pytest.mark.slow
def test_a_jitter_moves_half_of_what_its_preset_has_moved_a_little_and_hardly_an_option(variations, collection):
    originals = {preset.patch.hash: preset.patch for preset in collection.presets}
    init = Patch.init(REGISTRY).continuous
    found = [variations.candidate(index, 0) for index in range(120)]
    jittered = [(c.patch, originals[c.parents[0]]) for c in found if len(c.parents) == 1]
    is_whole = np.array([control.is_whole for control in REGISTRY.continuous])
    # Away from the ends of their ranges, where what would go beyond is cut.
    may_move = [~is_whole & (of.continuous != init) & (abs(of.continuous - 0.5) < 0.3) for _, of in jittered]
    by = np.concatenate(
        [(one.continuous - of.continuous)[these] for (one, of), these in zip(jittered, may_move, strict=True)]
    )
    moved = by[by != 0]
    assert 0.3 < len(moved) / len(by) < 0.6  # some controls have no prior: nobody would hear them move
    assert 0.04 < moved.std() < 0.06
    assert abs(moved.mean()) < 0.01
    lows, highs = _unit_bounds(variations)
    for one, of in jittered:  # none goes beyond its prior, or farther beyond than its preset
        assert (one.continuous >= np.minimum(lows, of.continuous) - 1e-6).all()
        assert (one.continuous <= np.maximum(highs, of.continuous) + 1e-6).all()
    changed = [(one.categorical != of.categorical).mean() for one, of in jittered]
    assert 0.001 < np.mean(changed) < 0.01  # an option may be drawn that it had


def test_a_jitter_may_go_down_to_where_the_prior_begins(collection, short):
    place = [control.name for control in REGISTRY.continuous].index("filter_1_cutoff")
    patch = with_controls(collection.presets[0].patch, REGISTRY, filter_1_cutoff=40)  # its prior begins at 33
    preset = dataclasses.replace(collection.presets[0], patch=patch)
    supply = VariationSource(spec_of(collection, short), REGISTRY, dataclasses.replace(collection, presets=(preset,)))
    found = [supply.candidate(index, 0).patch.continuous[place] for index in range(40)]
    assert min(found) == pytest.approx((33 - 8) / 128, abs=0.02)
    assert max(found) > 0.28


def _unit_bounds(supply):
    """From where to where the priors of a supply reach, in shares of a control's range; all of it without a prior."""
    of = {marginal.control.name: marginal for marginal in supply.marginals}
    spans = [(c, of.get(c.name, c)) for c in REGISTRY.continuous]
    bounds = [((prior.low - c.low) / (c.high - c.low), (prior.high - c.low) / (c.high - c.low)) for c, prior in spans]
    return np.array(bounds).T


@pytest.mark.slow
def test_octaves_of_a_variation_are_those_of_a_parent(variations, collection):
    originals = {preset.patch.hash: preset.patch for preset in collection.presets}
    whole = [i for i, control in enumerate(REGISTRY.continuous) if control.is_whole]
    for candidate in (variations.candidate(index, 0) for index in range(30)):
        theirs = np.array([originals[parent].continuous[whole] for parent in candidate.parents])
        assert (candidate.patch.continuous[whole] == theirs).any(axis=0).all()


@pytest.mark.slow
def test_the_parents_of_a_variation_are_of_one_split(collection, short):
    """Sixty presets, so that all splits have some."""
    patches = [dataclasses.replace(collection.presets[0].patch, continuous=units) for units in _many_units()]
    many = dataclasses.replace(
        collection, presets=tuple(dataclasses.replace(collection.presets[0], patch=patch) for patch in patches)
    )
    split = {patch.hash: split_of(family_of(patch)) for patch in patches}
    assert {*split.values()} == {*SHARES}
    supply = VariationSource(spec_of(many, short), REGISTRY, many)
    found = [{split[parent] for parent in supply.candidate(index, 0).parents} for index in range(200)]
    assert max(map(len, found)) == 1
    assert len({next(iter(of)) for of in found}) == 3


def _many_units():
    rng = np.random.default_rng(4)
    return [rng.random(len(REGISTRY.continuous), dtype=np.float32) for _ in range(60)]


@pytest.mark.slow
def test_copies_that_play_other_wavetables_are_of_one_family(collection):
    patch = collection.presets[0].patch
    copy = dataclasses.replace(patch, wavetables=Patch.init(REGISTRY).wavetables)
    assert copy != patch
    assert family_of(copy) == family_of(patch)
    assert family_of(collection.presets[1].patch) != family_of(patch)


def test_splits_get_their_shares():
    import hashlib

    counts = Counter(split_of(hashlib.sha256(bytes([i % 256, i // 256])).hexdigest()) for i in range(10_000))
    for split, share in SHARES.items():
        assert counts[split] / 10_000 == pytest.approx(share, abs=0.02)


@pytest.mark.slow
def test_a_crossing_takes_modules_whole_with_their_routes(variations, collection):
    originals = {p.patch.hash: p.patch for p in collection.presets}
    column = {c.name: i for i, c in enumerate(REGISTRY.continuous)}
    of_filter = [column[c.name] for c in REGISTRY.continuous if c.name.startswith("filter_1_")]
    crossed = 0
    for index in range(120):
        candidate = variations.candidate(index, 0)
        patch, parents = candidate.patch, [originals[p] for p in candidate.parents]
        from_parent = [(patch.continuous[of_filter] == p.continuous[of_filter]).all() for p in parents]
        same = [[(patch.continuous == p.continuous).mean()] for p in parents]
        if len(parents) == 2 and any(from_parent) and max(same)[0] < 1 and _is_mosaic(patch, parents):
            crossed += 1
            for row in patch.modulation_slots[patch.modulation_slots[:, 0] >= 0]:
                assert any(_has_route(parent, row) for parent in parents)
    assert crossed > 10


def _is_mosaic(patch, parents):
    one, other = parents
    return ((patch.continuous == one.continuous) | (patch.continuous == other.continuous)).all()


def _has_route(parent, row):
    """A parent has the route; what modulates a modulation may point elsewhere now."""
    name = REGISTRY.destinations[int(row[1])]
    its = parent.modulation_slots
    ends = slice(0, 1) if name.startswith("modulation_") else slice(0, 2)
    return any((r[ends] == row[ends]).all() and (r[2:] == row[2:]).all() for r in its)


@pytest.mark.slow
def test_what_modulates_a_modulation_goes_along_with_it(variations, collection):
    originals = {p.patch.hash: p.patch for p in collection.presets}
    carrier = next(p.patch for p in collection.presets if p.name == "sound 2")
    followed = 0
    for index in range(300):
        candidate = variations.candidate(index, 0)
        parents = [originals[parent] for parent in candidate.parents]
        if carrier not in parents or len(parents) < 2 or not _is_mosaic(candidate.patch, parents):
            continue
        for row in candidate.patch.modulation_slots:
            name = REGISTRY.destinations[int(row[1])] if row[0] >= 0 else ""
            if name.startswith("modulation_"):
                target = candidate.patch.modulation_slots[int(name.split("_")[1]) - 1]
                assert target[0] >= 0
                followed += REGISTRY.sources[int(row[0])] == "env_2"
    assert followed > 3


# ------------------------------------------------------------------------------------------------------------- recipes


@pytest.mark.slow
def test_a_recipe_holds_neither_audio_nor_other_peoples_assets(dataset, tmp_path):
    written = write_recipe(dataset, tmp_path / "recipe.h5")
    with Dataset(tmp_path / "recipe.h5") as recipe:
        assert recipe.is_recipe
        assert "audio" not in recipe.column_names
        assert recipe.missing_assets
        assert len(recipe.missing_assets) == written.assets_left_out
        assert recipe.digest == dataset.digest
        assert recipe.sources() == dataset.sources()
        np.testing.assert_array_equal(recipe.column("continuous"), dataset.column("continuous"))
        assert inspect(recipe).is_recipe
    assert (tmp_path / "recipe.h5").stat().st_size < dataset.path.stat().st_size


@pytest.mark.slow
def test_the_way_back_from_a_recipe_asks_for_presets_only_if_it_needs_any(dataset, tier_1, tmp_path):
    (tmp_path / "my recipes").mkdir()
    with Dataset(tier_1.path) as drawn:
        said = write_recipe(drawn, tmp_path / "my recipes" / "drawn.h5").to_text()
    assert f"render '{tmp_path}/my recipes/drawn.h5' -o again.h5" in said
    assert "--assets FOLDER_OF_PRESETS -o again.h5" in write_recipe(dataset, tmp_path / "recipe.h5").to_text()


@pytest.mark.slow
def test_a_recipe_finds_what_belongs_to_presets_that_vital_plays_otherwise(preset_documents, short, tmp_path):
    path = tmp_path / "presets" / "later.vital"
    path.parent.mkdir()
    document = preset_documents["still.vital"] | {"synth_version": "1.5.5"}
    document["settings"] |= {"volume": 5473.0, "osc_1_unison_voices": 4.0, "osc_1_stack_style": 4.0}
    document["settings"]["lfos"][0]["points"] = [0.0, 1.0, 0.5, 0.25, 1.0, 1.0]
    path.write_text(json.dumps(document))
    presets, report = ingest([path.parent], REGISTRY, check=False, workers=1, approximate=True)
    assert report.files[0].otherwise
    spec = spec_of(presets, short, variations=0, n_samples=2, acceptance=AcceptanceSpec(max_peak=10))
    made = make_dataset(spec, kept(presets, tmp_path), presets)
    with Dataset(made.path) as dataset:
        write_recipe(dataset, tmp_path / "recipe.h5")
    with Dataset(tmp_path / "recipe.h5") as recipe:
        assert recipe.missing_assets
        assert render_recipe(recipe, [path.parent], tmp_path / "again.h5", workers=1).exact == len(recipe)


@pytest.mark.slow
def test_a_recipe_makes_the_same_dataset_again(dataset, preset_folder, tmp_path):
    write_recipe(dataset, tmp_path / "recipe.h5")
    with Dataset(tmp_path / "recipe.h5") as recipe:
        made = render_recipe(recipe, [preset_folder], tmp_path / "again.h5", workers=2)
    assert (made.exact, made.differing_rows) == (len(dataset), [])
    with Dataset(tmp_path / "again.h5") as again:
        assert again.assets == dataset.assets
        for name in dataset.column_names:
            np.testing.assert_array_equal(again.column(name), dataset.column(name), err_msg=name)
        assert verify(again, 10, tolerance_db=-60, workers=2).holds


@pytest.mark.slow
def test_what_a_recipe_lacks_is_named_with_the_presets_that_need_it(dataset, tmp_path):
    write_recipe(dataset, tmp_path / "recipe.h5")
    (tmp_path / "empty").mkdir()
    with (
        Dataset(tmp_path / "recipe.h5") as recipe,
        pytest.raises(SpecError, match=r"leaves out 1 asset, and 1 can.t be found .*sound \d\.vital.*--assets"),
    ):
        render_recipe(recipe, [tmp_path / "empty"], tmp_path / "again.h5", workers=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "recipe.h5"]


@pytest.mark.slow
def test_a_recipe_can_not_be_verified_and_a_dataset_not_be_rendered(dataset, tmp_path, capsys):
    write_recipe(dataset, tmp_path / "recipe.h5")
    assert main(["verify", str(tmp_path / "recipe.h5")]) == 2
    assert "synthcore render" in capsys.readouterr().err
    with pytest.raises(DatasetError, match="is not a recipe"):
        render_recipe(dataset, [], tmp_path / "again.h5", workers=1)


@pytest.mark.slow
def test_the_commands_of_recipes(mixed, preset_folder, tmp_path, capsys):
    assert main(["recipe", str(mixed.path), "-o", str(tmp_path / "r.h5"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == mixed.ref.digest
    assert (
        main(["render", str(tmp_path / "r.h5"), "--assets", str(preset_folder), "-o", str(tmp_path / "a.h5"), "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["exact"] == mixed.ref.rows


@pytest.mark.slow
def test_audio_that_differs_is_told_and_what_the_file_says_of_itself_stays_true(
    dataset, preset_folder, tmp_path, forgeries
):
    """As on another type of machine: here the recipe is made to say something else than is rendered."""
    import h5py

    write_recipe(dataset, tmp_path / "recipe.h5")
    forgeries.engine(tmp_path / "recipe.h5")
    with h5py.File(tmp_path / "recipe.h5", "r+") as file:
        file["metadata/audio_sha256"][3] = b"0" * 64
    forgeries.sign(tmp_path / "recipe.h5", dataset.spec)
    with Dataset(tmp_path / "recipe.h5") as recipe:
        made = render_recipe(recipe, [preset_folder], tmp_path / "again.h5", workers=2)
    assert (made.differing_rows, made.same_machine_type) == ([3], False)
    with Dataset(tmp_path / "again.h5") as again:
        assert verify(again, None, tolerance_db=-60, workers=2).holds


# ------------------------------------------------------------------------------------------------------------ the spec


@pytest.mark.slow
def test_variations_need_presets():
    with pytest.raises(ValueError, match="variations are made from presets"):
        DatasetSpec(variations=3)
    assert main(["generate", "--variations", "3"]) == 2


@pytest.mark.slow
def test_no_recipe_replaces_a_file(mixed, capsys):
    before = mixed.path.read_bytes()
    assert main(["recipe", str(mixed.path), "-o", str(mixed.path)]) == 2
    assert "exists" in capsys.readouterr().err
    assert mixed.path.read_bytes() == before


@pytest.mark.slow
def test_a_collection_that_is_gone_is_named(collection, short, tmp_path):
    plan = plan_shards(spec_of(collection, short), 10, collection)[0]
    with pytest.raises(SpecError, match=f"{collection.digest}.*is gone"):
        library.collection(plan.collection, tmp_path)


@pytest.mark.long
@needs_presets
def test_presets_that_people_made_verify_at_tier_3(tmp_path):
    audio = AudioSpec(sample_rate=22050, notes=(60,), note_seconds=0.25, render_seconds=0.4)
    made = make_collection([REAL_PRESETS], tmp_path / "presets.h5", REGISTRY, check=False, workers=2)
    presets = library.given_collection(Path(made.collection), tmp_path)
    spec = DatasetSpec(tier=3, n_samples=4, audio=audio, variations=12, presets_digest=presets.digest)
    of_people = make_dataset(spec, tmp_path, presets, rows_per_shard=24)
    with Dataset(of_people.path) as dataset:
        assert Counter(dataset.column("source").tolist())[b"community"] >= 70
        verdict = verify(dataset, None, tolerance_db=-60, workers=2)
    assert (verdict.differing, verdict.damage) == (0, [])


# -------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.slow
def test_a_damaged_file_of_the_library_is_made_again(collection, tmp_path):
    first = library.given_collection(_written(collection, tmp_path), tmp_path)
    kept_at = tmp_path / "presets" / f"{first.digest}.h5"
    for damage in (lambda data: data[:1000], lambda data: data[:-4000] + bytes(4000)):
        kept_at.write_bytes(damage(kept_at.read_bytes()))
        assert library.given_collection(_written(collection, tmp_path), tmp_path).digest == first.digest
        assert read_collection(kept_at).digest == first.digest
    kept_at.write_bytes(b"half")
    library.forget_damaged(kept_at)
    assert not kept_at.exists()


def _written(collection, folder):
    write_collection(folder / "given.h5", collection)
    return folder / "given.h5"


@pytest.mark.slow
def test_a_forged_recipe_is_refused_before_it_is_rendered(dataset, preset_folder, tmp_path):
    import h5py

    write_recipe(dataset, tmp_path / "recipe.h5")
    with h5py.File(tmp_path / "recipe.h5", "r+") as file:
        file["metadata/preset_hash"][0] = b"f" * 64
    with Dataset(tmp_path / "recipe.h5") as recipe, pytest.raises(DatasetError, match="row 0: the label is not"):
        render_recipe(recipe, [preset_folder], tmp_path / "again.h5", workers=1)
    assert not (tmp_path / "again.h5").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_dataset_with_flipped_bytes_costs_one_line(mixed, tmp_path, capsys, command):
    whole, rng, codes = mixed.path.read_bytes(), np.random.default_rng(3), set()
    for number in range(12):
        path = tmp_path / f"{number}.h5"
        data = bytearray(whole)
        for place in rng.integers(len(data) // 8, size=40):
            data[place] ^= 0xFF
        path.write_bytes(bytes(data))
        code = main([command, str(path)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert code in (0, 1, 2)
        assert code != 2 or said.err.count("\n") == 1
        codes.add(code)
    assert 2 in codes
