"""The file: what is in it, that it opens without us, and that it appears whole or not at all."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError, EngineMismatch, SpecError, SynthcoreError
from synthcore.engine.faults import REASONS
from synthcore.engine.lending import borrow_renderer
from synthcore.engine.machine import Engine, engine
from synthcore.pipeline.continuing import grown, require_continuable
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.dense import to_dense
from synthcore.vital.catalog import builtin
from synthcore.vital.controls import Registry, installed
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS, Patch

#: Every column with a row per render: its type and the shape of one row.
COLUMNS = {
    "audio/waveforms": ("<f4", (2, 8820)),
    "params/continuous": ("<f4", (322,)),
    "params/categorical": ("<i4", (126,)),
    "params/modulation_slots": ("<f4", (64, 7)),
    "params/wavetables": ("<i4", (3,)),
    "params/extras": ("<i4", (3,)),
    "params/exact_values": ("<f4", (322,)),
    "metadata/audio_sha256": ("|S64", ()),
    "metadata/midi_note": ("<i4", ()),
    "metadata/velocity": ("<i4", ()),
    "metadata/note_seconds": ("<f8", ()),
    "metadata/bpm": ("<f8", ()),
    "metadata/source": ("|S10", ()),
    "metadata/tier": ("<i4", ()),
    "metadata/preset_hash": ("|S64", ()),
    "metadata/preset_name": ("|S80", ()),
    "metadata/parents": ("|S64", (2,)),
    "metadata/patch_index": ("<i8", ()),
    "metadata/attempt": ("<i4", ()),
    "metadata/rms_dbfs": ("<f4", ()),
    "metadata/peak": ("<f4", ()),
}
#: Only of a merged file.
DERIVED = {
    "params/active": ("|b1", (448,)),
    "metadata/family": ("|S64", ()),
    "metadata/split": ("|S5", ()),
    "metadata/clips": ("|b1", ()),
}
DENSE = {"params/modulation_t3": ("<f4", (4, 32, 428))}


@pytest.fixture
def opened(each_tier):
    with h5py.File(each_tier.path) as file:
        yield file


def per_row(file):
    """The datasets of the groups that hold a row per render, by name."""
    return {f"{group}/{name}": d for group in ("audio", "params", "metadata") for name, d in file[group].items()}


# --------------------------------------------------------------------------------------------------------- the content


def test_a_dataset_has_these_columns_and_no_others(opened, each_tier):
    expected = COLUMNS | DERIVED | (DENSE if each_tier.spec.tier == 3 else {})
    found = {name: (d.dtype.str, d.shape[1:]) for name, d in per_row(opened).items()}
    assert found == expected


def test_every_column_has_a_row_for_each_sample_asked_for(opened, each_tier):
    assert {len(d) for d in per_row(opened).values()} == {each_tier.spec.n_samples}


def test_a_shard_has_the_same_columns_but_the_derived_ones(each_tier):
    with h5py.File(each_tier.path) as merged, h5py.File(each_tier.data_dir / each_tier.shards[0].name) as shard:
        assert {n: (d.dtype, d.shape[1:]) for n, d in per_row(shard).items()} == {
            n: (d.dtype, d.shape[1:]) for n, d in per_row(merged).items() if n not in DERIVED
        }
        rules = {"active_names", "active_rules", "active_rules_digest", "split_rules", "split_shares"}
        assert set(merged["schema"].attrs) == {*shard["schema"].attrs} | rules


def test_the_audio_is_one_row_to_a_chunk(opened):
    assert opened["audio/waveforms"].chunks == (1, 2, 8820)
    assert opened["audio/waveforms"].compression == "gzip"
    assert opened["audio/waveforms"].shuffle


def test_decoded_audio_is_what_its_sha256_says(opened):
    audio, said = opened["audio/waveforms"], opened["metadata/audio_sha256"].asstr()[:]
    assert [hashlib.sha256(row.tobytes()).hexdigest() for row in audio] == list(said)


def test_measurements_are_of_the_stored_audio(opened):
    for row, peak, rms_dbfs in zip(
        opened["audio/waveforms"], opened["metadata/peak"], opened["metadata/rms_dbfs"], strict=True
    ):
        assert peak == abs(row).max()
        assert rms_dbfs == pytest.approx(10 * np.log10((row.astype("f8") ** 2).mean()), abs=1e-4)


def test_accepted_rows_are_neither_silent_nor_clipping(opened, each_tier):
    limits = each_tier.spec.acceptance
    assert opened["metadata/rms_dbfs"][:].min() >= limits.min_rms_dbfs
    assert opened["metadata/peak"][:].max() <= limits.max_peak


def test_rows_are_patch_after_patch_and_note_after_note(opened, each_tier):
    rows = np.arange(each_tier.spec.n_samples)
    np.testing.assert_array_equal(opened["metadata/patch_index"], rows // 2)
    np.testing.assert_array_equal(opened["metadata/midi_note"], np.array([48, 60])[rows % 2])
    assert set(opened["metadata/velocity"]) == {100}
    assert set(opened["metadata/tier"]) == {each_tier.spec.tier}
    assert set(opened["metadata/source"]) == {b"synthetic"}


@pytest.mark.slow
def test_labels_are_those_of_the_candidate_that_was_kept(opened, each_tier):
    sampler = SyntheticSource(each_tier.spec, installed())
    for row, (slot, attempt) in enumerate(zip(opened["metadata/patch_index"], opened["metadata/attempt"], strict=True)):
        patch = sampler.draw(int(slot), int(attempt))
        np.testing.assert_array_equal(opened["params/continuous"][row], patch.continuous)
        np.testing.assert_array_equal(opened["params/categorical"][row], patch.categorical)
        np.testing.assert_array_equal(opened["params/modulation_slots"][row], patch.modulation_slots)
        classes = opened["schema/classes/wavetables"][:]
        assert tuple(classes[i].decode() for i in opened["params/wavetables"][row]) == patch.wavetables
        assert np.isnan(opened["params/exact_values"][row]).all()
        assert opened["metadata/preset_hash"][row].decode() == patch.hash


def test_the_header_explains_the_columns(opened, each_tier, registry):
    said = opened["schema"].attrs
    assert said["version"] == "4.1.0"
    assert (said["sample_rate"], said["render_duration"], said["note_duration"]) == (22050, 0.4, 0.25)
    assert said["tier"] == each_tier.spec.tier
    assert list(said["continuous_names"]) == [c.name for c in registry.continuous]
    assert list(said["categorical_names"]) == [c.name for c in registry.categorical]
    assert [tuple(json.loads(o)) for o in said["categorical_options"]] == [c.options for c in registry.categorical]
    np.testing.assert_array_equal(said["continuous_ranges"], [(c.low, c.high) for c in registry.continuous])
    assert sum(said["continuous_tiers"] == 1) + sum(said["categorical_tiers"] == 1) == 82
    assert tuple(said["mod_source_names"]) == registry.sources
    assert tuple(said["mod_dest_names"]) == registry.destinations
    assert list(said["modulation_slot_names"]) == [
        "source",
        "destination",
        "amount",
        "bipolar",
        "power",
        "stereo",
        "bypass",
    ]
    assert said["vita_version"] == "0.1.0"
    assert DatasetSpec.model_validate_json(said["spec"]) == each_tier.spec
    assert Registry.from_config(opened["schema/registry"][:].tobytes().decode()) == registry


def test_assets_are_named_by_their_sha256(opened):
    order = list(opened["schema/assets"].asstr()[:])
    assert sorted(order) == sorted(opened["assets"])
    assert order
    assert [hashlib.sha256(opened["assets"][name][:].tobytes()).hexdigest() for name in order] == order


def test_a_file_states_its_classes_the_catalogs_first(opened, registry):
    classes = opened["schema/classes"]
    init = Patch.init(registry).wavetables[0]
    assert classes["wavetables"].asstr()[:].tolist() == [*(entry.digest for entry in builtin().entries), init]
    assert classes["wavetable_names"].asstr()[:].tolist() == [*(entry.name for entry in builtin().entries), "Init"]
    assert classes.attrs["catalog_size"] == len(builtin()) == 43
    for name in ("lfos", "sample", "curves"):
        assert classes[name][:].tolist() == [b""]  # the init preset's
    assert set(opened["params/extras"][:].ravel()) == {0}
    assert len(np.unique(opened["params/wavetables"])) > 4


def test_the_wavetable_of_an_oscillator_that_is_off_is_the_init_presets(opened, registry):
    column = [c.name for c in registry.categorical]
    is_on = np.stack([opened["params/categorical"][:, column.index(f"osc_{n}_on")] for n in (1, 2, 3)], axis=1)
    is_init = opened["params/wavetables"][:] == len(builtin())
    assert is_init[is_on == 0].all()
    assert not is_init[is_on == 1].all()


def test_importance_weights_are_reserved_and_marked_absent(opened):
    group = opened["importance_weights"]
    assert group["status"][()] == b"absent"
    for name, count in (("weights", 322), ("categorical", 126)):
        for part in (group[name], group[f"{name}_error"]):
            assert (part.shape, part.dtype.str) == ((count,), "<f4")
            assert part.chunks is None  # contiguous: can be filled in place
            assert part.id.get_offset() is not None
            assert np.isnan(part[:]).all()


# ------------------------------------------------------------------------------------------------------ the rejections


def test_rejections_say_what_was_refused_and_why(each_tier):
    with h5py.File(each_tier.path) as file:
        found = {name: d[:] for name, d in file["rejections"].items()}
        kept = dict(zip(file["metadata/patch_index"][:].tolist(), file["metadata/attempt"][:].tolist(), strict=True))
    asked = {"source", "patch_index", "attempt", "midi_note", "reason", "rms_dbfs", "peak", "seed", "parents"}
    assert {*found} == asked
    assert {*found["source"]} == {b"synthetic"}
    assert len(found["reason"])
    assert {r.decode() for r in found["reason"]} <= {*REASONS}
    assert {*found["midi_note"]} <= {*each_tier.spec.audio.notes}
    assert {*found["seed"]} == {each_tier.spec.seed}
    # Every attempt before the one that was kept was refused, and no other.
    refused = list(zip(found["patch_index"].tolist(), found["attempt"].tolist(), strict=True))
    assert refused == [(slot, attempt) for slot in sorted(kept) for attempt in range(kept[slot])]


@pytest.mark.slow
def test_a_rejection_can_be_replayed(tier_1, registry):
    with h5py.File(tier_1.path) as file:
        refused = {name: d[0] for name, d in file["rejections"].items()}
    sampler = SyntheticSource(tier_1.spec, registry)
    candidate = sampler.draw(int(refused["patch_index"]), int(refused["attempt"]))
    with borrow_renderer(tier_1.spec.render_format, 60) as synth:
        fault = synth.render(candidate.to_json(registry, sampler.assets).encode(), tier_1.spec.audio.performances).fault
    assert fault
    assert (fault.reason, fault.note) == (refused["reason"].decode(), refused["midi_note"])
    assert np.float32(fault.peak) == refused["peak"]
    assert np.float32(fault.rms_dbfs) == refused["rms_dbfs"]


# ------------------------------------------------------------------------------------------------- it opens everywhere


@pytest.mark.slow
def test_it_opens_with_h5py_alone(each_tier, fresh):
    code = """
import hashlib, h5py
with h5py.File(sys.argv[1]) as file:
    rows = len(file["audio/waveforms"])
    for row in range(rows):
        said = file["metadata/audio_sha256"][row].decode()
        assert hashlib.sha256(file["audio/waveforms"][row].tobytes()).hexdigest() == said
    names = list(file["schema"].attrs["continuous_names"])
    low, high = file["schema"].attrs["continuous_ranges"][names.index("volume")]
    print(rows, low + file["params/continuous"][0, names.index("volume")] * (high - low))
"""
    rows, volume = fresh(code, each_tier.path, without=("synthcore", "vita", "isal")).stdout.split()
    assert int(rows) == each_tier.spec.n_samples
    assert 0 < float(volume) < 7399.5


@pytest.mark.skipif(not shutil.which("h5dump"), reason="h5dump is not installed")
def test_it_opens_with_the_systems_own_hdf5(tier_3):
    """Another build of the library inflates our streams: they are standard zlib."""

    def dumped(dataset, start, count):
        where = ["-d", dataset, "-s", ",".join(map(str, start)), "-c", ",".join(map(str, count))]
        form = ["-y", "-w", "0", "-m", "%.9g"]
        text = subprocess.run(
            ["h5dump", *where, *form, str(tier_3.path)], capture_output=True, text=True, check=True
        ).stdout
        data = text[text.index("DATA {") :]
        return np.array([float(n) for n in re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", data)], dtype=np.float32)

    with h5py.File(tier_3.path) as file:
        last = len(file["audio/waveforms"]) - 1
        np.testing.assert_array_equal(
            dumped("/audio/waveforms", (last, 1, 4000), (1, 1, 50)), file["audio/waveforms"][last, 1, 4000:4050]
        )
        np.testing.assert_array_equal(
            dumped("/params/modulation_t3", (0, 0, 0, 0), (1, 1, 2, 428)),
            file["params/modulation_t3"][0, 0, :2].ravel(),
        )


# ------------------------------------------------------------------------------------------------ the dense modulation

connections = st.lists(
    st.tuples(
        st.integers(0, 31),
        st.integers(0, 427),
        st.floats(-1, 1, width=32),
        st.integers(0, 1),
        st.floats(-10, 10, width=32),
        st.integers(0, 1),
        st.integers(0, 1),
    ),
    max_size=MAX_SLOTS,
)


def as_slots(*connected):
    slots = np.tile(EMPTY_SLOT, (MAX_SLOTS, 1))
    for place, connection in enumerate(connected):
        slots[place] = connection
    return slots


def test_the_dense_view_of_tier_3_is_of_its_slots(tier_3, registry):
    with h5py.File(tier_3.path) as file:
        dense, slots = file["params/modulation_t3"][:], file["params/modulation_slots"][:]
        assert list(file["schema"].attrs["modulation_t3_names"]) == ["amount", "bipolar", "power", "stereo"]
    assert (slots[:, :, 0] >= 0).any()
    for row in range(len(dense)):
        np.testing.assert_array_equal(dense[row], to_dense(slots[row], registry))
        places = {(int(s), int(d)) for s, d in slots[row, :, :2] if s >= 0}
        assert {*zip(*np.nonzero(dense[row, 0]), strict=True)} == places


def test_a_connection_lies_at_its_source_and_destination(registry):
    dense = to_dense(as_slots((3, 400, -0.5, 1, 2.5, 1, 0)), registry)
    np.testing.assert_array_equal(dense[:, 3, 400], np.array([-0.5, 1, 2.5, 1], np.float32))
    assert np.count_nonzero(dense) == 4


def test_a_bypassed_slot_is_left_out(registry):
    assert not to_dense(as_slots((3, 400, 0.5, 1, 2.5, 1, 1)), registry).any()


def test_amounts_of_a_pair_connected_twice_are_summed(registry):
    dense = to_dense(as_slots((3, 400, 0.5, 0, 1.0, 0, 0), (3, 400, -0.125, 1, 2.0, 0, 0)), registry)
    np.testing.assert_array_equal(dense[:, 3, 400], np.array([0.375, 1, 2, 0], np.float32))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(connections)
def test_the_dense_view_holds_each_live_amount_once(connected):
    dense = to_dense(as_slots(*connected), installed())
    expected = np.zeros((32, 428))
    for source, destination, amount, *_, bypass in connected:
        expected[source, destination] += 0 if bypass else amount
    np.testing.assert_allclose(dense[0], expected, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(arrays(np.float32, (MAX_SLOTS, 5), elements=st.floats(-1, 1, width=32)))
def test_empty_slots_are_not_in_the_dense_view(numbers):
    slots = as_slots()
    slots[:, 2:] = numbers
    assert not to_dense(slots, installed()).any()


# ---------------------------------------------------------------------------------------- whole under its name, or not


def test_a_file_appears_under_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "a" / "b" / "x.bin"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent == path.parent  # so that renaming is atomic
    assert path.read_bytes() == b"half"
    assert list(path.parent.iterdir()) == [path]


def write_half(path, error):
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_fails_half_way_leaves_nothing_and_keeps_what_was_there(tmp_path, error):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_half(path, error())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_of_the_disk_is_said_in_one_line(tmp_path):
    path = tmp_path / "x.bin"
    with pytest.raises(SynthcoreError, match=r"can't write .*x\.bin: No space left") as failed:
        write_half(path, OSError(errno.ENOSPC, "No space left on device"))
    assert "\n" not in str(failed.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SynthcoreError, match="can't write .*x.bin: "), atomic_path(tmp_path / "file" / "x.bin"):
        pass


def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "x.h5"
    os.mkfifo(pipe)
    with pytest.raises(SpecError, match="is a device or a pipe"):
        require_continuable(pipe, DatasetSpec(), overwrite=True)
    with pytest.raises(SynthcoreError, match="it is there, and isn't a file"), atomic_path(pipe):
        pass
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


FULL = """
import json, os, resource, signal
from pathlib import Path
from synthcore.base.errors import SynthcoreError
from synthcore.pipeline import library
from synthcore.pipeline.shard import ShardPlan, ShardRef, render_shard
from synthcore.storage.merge import merge_shards

what, limit, data_dir, output, plan, shards = sys.argv[1:]
plan, data_dir = ShardPlan.model_validate_json(plan), Path(data_dir)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a file that would grow too large is an error, as a full disk is
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    if what == "render":
        render_shard(plan, Path(output).parent, 60)
    else:
        refs = [ShardRef.model_validate(ref) for ref in json.loads(shards)]
        merge_shards(refs, Path(output), library.merge_context(plan.spec, data_dir), mode=what)
    print("made")
except SynthcoreError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("render", 20_000),  # in the header
        ("render", 400_000),  # in the audio
        ("copy", 600_000),
        ("virtual", 200_000),
    ],
)
def test_a_full_disk_ends_in_our_error_and_leaves_nothing(tier_1, tmp_path, fresh, what, limit):
    output = tmp_path / "out" / "x.h5"
    shards = json.dumps([s.model_dump() for s in tier_1.shards])
    plan = tier_1.plans[0].model_dump_json()
    done = fresh(FULL, what, limit, tier_1.data_dir, output, plan, shards, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"can't write \S+\.h5: .*(?i:file too large)", done.stdout), done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert [p for p in output.parent.rglob("*") if p.is_file()] == []


# ---------------------------------------------------------------------------------------------------------- continuing


def test_a_new_output_may_be_made_its_folder_with_it(tmp_path):
    require_continuable(tmp_path / "new" / "x.h5", DatasetSpec(), overwrite=False)
    assert list((tmp_path / "new").iterdir()) == []


def test_the_same_dataset_may_be_made_again_or_grow(tier_1):
    require_continuable(tier_1.path, tier_1.spec, overwrite=False)
    require_continuable(tier_1.path, tier_1.spec.model_copy(update={"n_samples": 1000}), overwrite=False)


def test_a_dataset_grows_from_what_it_has_and_begins_with_what_the_spec_says(tier_1, tmp_path):
    spec = tier_1.spec.model_copy(update={"n_samples": 100})
    assert grown(spec, tier_1.path, 30).n_samples == tier_1.spec.n_samples + 30
    assert grown(spec, tier_1.path, 0) == grown(spec, tmp_path / "none.h5", 30) == spec


def test_a_longer_dataset_is_not_cut(tier_1):
    fewer = tier_1.spec.model_copy(update={"n_samples": 7})
    with pytest.raises(SpecError, match="has 15 synthetic rows, more than the 7 asked for; .*--overwrite"):
        require_continuable(tier_1.path, fewer, overwrite=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 5}, "seed 0 there, 5 here"),
        ({"tier": 2}, "tier 1 there, 2 here"),
        ({"audio": {"notes": (60,), "note_seconds": 0.25, "render_seconds": 0.4, "sample_rate": 22050}}, "notes"),
        ({"acceptance": {"max_peak": 0.75}}, "max_peak 0.5 there, 0.75 here"),
    ],
)
def test_another_dataset_is_not_replaced_by_mistake(tier_1, change, said):
    other = DatasetSpec(**{**tier_1.spec.model_dump(), **change})
    with pytest.raises(SpecError, match=rf"made from another spec \({said}.*--overwrite"):
        require_continuable(tier_1.path, other, overwrite=False)
    require_continuable(tier_1.path, other, overwrite=True)


def test_a_file_that_is_no_dataset_is_not_replaced_by_mistake(tmp_path):
    path = tmp_path / "thesis.h5"
    path.write_text("the only copy")
    with pytest.raises(SpecError, match="exists and can't be continued .*--overwrite"):
        require_continuable(path, DatasetSpec(), overwrite=False)
    assert path.read_text() == "the only copy"


def test_a_dataset_of_another_synth_is_not_continued(tier_1, forge, forgeries):
    path = forge(tier_1)
    forgeries.registry(path, lambda config: config["controls"].pop(0))
    with pytest.raises(EngineMismatch, match=r"adds 1 control \("):
        require_continuable(path, tier_1.spec, overwrite=False)


def test_a_dataset_of_another_type_of_machine_is_not_continued(tier_1, forge, forgeries):
    path = forge(tier_1)
    forgeries.engine(path)
    with pytest.raises(SpecError, match=r"rendered by another engine \(cpu_features\)"):
        require_continuable(path, tier_1.spec, overwrite=False)


def test_a_dataset_drawn_from_other_priors_is_not_continued(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["schema"].attrs["priors_digest"] = "0" * 64
    with pytest.raises(SpecError, match="drawn from other priors"):
        require_continuable(path, tier_1.spec, overwrite=False)
    require_continuable(path, tier_1.spec, overwrite=True)


def test_rows_that_a_file_cannot_hold_are_not_believed(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        names = [f"{group}/{name}" for group in ("audio", "params", "metadata") for name in file[group]]
        for name in names:
            shape, dtype = (10**9, *file[name].shape[1:]), file[name].dtype
            del file[name]
            file.create_dataset(name, shape, dtype, chunks=(1, *shape[1:]), compression="gzip")
    with pytest.raises(DatasetError, match=r"claims 1,000,000,000 rows, more than its [\d,]+ bytes can hold"):
        Dataset(path)
    with h5py.File(path, "r+") as file:
        del file["metadata/midi_note"]
        file["metadata/midi_note"] = [48, 60]
    with pytest.raises(DatasetError, match="its columns are not of one length"):
        Dataset(path)


def test_a_folder_is_no_output(tmp_path):
    with pytest.raises(SpecError, match="is a folder; name a file in it"):
        require_continuable(tmp_path, DatasetSpec(), overwrite=True)


def test_an_output_under_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match="can't write in .*name another file or folder"):
        require_continuable(tmp_path / "file" / "x.h5", DatasetSpec(), overwrite=False)


# ----------------------------------------------------------------------------------------------- shards and references


def test_a_reference_knows_whether_its_shard_is_intact(tier_1, tmp_path):
    ref = tier_1.shards[0]
    there = tmp_path / ref.name
    there.parent.mkdir(parents=True)
    assert ref.is_intact(tier_1.data_dir)
    assert not ref.is_intact(tmp_path)
    shutil.copy(tier_1.data_dir / ref.name, there)
    assert ref.is_intact(tmp_path)
    assert not ref.model_copy(update={"digest": "0" * 64}).is_intact(tmp_path)
    there.write_bytes(there.read_bytes()[:-1])
    assert not ref.is_intact(tmp_path)


def test_a_shards_reference_adds_up(each_tier):
    for plan, ref in zip(each_tier.plans, each_tier.shards, strict=True):
        path = each_tier.data_dir / ref.name
        with h5py.File(path) as file:
            assert ref.rows == plan.rows == len(file["audio/waveforms"])
            assert ref.candidates == plan.patches + len(file["rejections/reason"])
            assert sum(ref.faults.values()) == len(file["rejections/reason"])
            assert ref.digest == file["schema"].attrs["content_digest"]
        assert ref.size == path.stat().st_size
        assert ref.is_intact(each_tier.data_dir)


def test_a_shards_key_knows_its_spec_slots_and_origin_but_not_the_size_of_the_dataset(tier_1):
    first, second = tier_1.plans
    assert first.key != second.key
    grown = first.model_copy(update={"spec": tier_1.spec.model_copy(update={"n_samples": 10_000}), "index": 9})
    assert grown.key == first.key
    for change in ({"origin": "x"}, {"patches": 4}, {"spec": tier_1.spec.model_copy(update={"seed": 1})}):
        assert first.model_copy(update=change).key != first.key


def test_engines_differ_by_every_part():
    here = engine()
    parts = dataclasses.asdict(here)
    changed = [Engine(**{**parts, name: 2 if name == "version" else "other"}) for name in parts]
    assert len({e.fingerprint for e in (here, *changed)}) == len(parts) + 1
