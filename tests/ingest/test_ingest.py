"""Presets that people wrote become patches that sound the same, each once, and no file is lost without a reason."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import random
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcore.base import progress
from synthcore.base.errors import DatasetError, PresetError, SpecError
from synthcore.engine.lending import borrow_renderer
from synthcore.engine.play import migrate
from synthcore.ingest import fidelity
from synthcore.ingest.collecting import ingest, make_collection, survey
from synthcore.ingest.fidelity import NEAR, VERDICTS, measure
from synthcore.sources.collection import Collection
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.collection import read_collection, write_collection
from synthcore.vital.classes import EXTRAS
from synthcore.vital.controls import installed
from synthcore.vital.folders import factory_folders, is_factory
from synthcore.vital.patch import EMPTY_SLOT, MAX_SLOTS, Patch, SlotField, init_assets
from synthcore.vital.reading import MAX_NAME, UNKNOWN_ROUTE, read_preset
from tests.conftest import REAL_PRESETS, needs_presets

REGISTRY = installed()
INIT = Patch.init(REGISTRY)
SAW = {"name": "mine", "num_points": 2, "points": [0.0, 1.0, 1.0, 0.0], "powers": [0.0, 0.0], "smooth": False}
CURVE = {**SAW, "points": [0.0, 0.8, 1.0, 0.1], "powers": [2.0, 0.0]}


def document(**changes):
    """The init preset with other settings; `head__name` changes what is beside the settings."""
    made = json.loads(INIT.to_json(REGISTRY, init_assets(REGISTRY), "init"))
    for name, value in changes.items():
        if name.startswith("head__"):
            made[name.removeprefix("head__")] = value
        else:
            made["settings"][name] = value
    return made


def routes(**by_slot):
    """Modulation slots, counted from 1 as Vital does: `_3=("lfo_1", "volume")`."""
    slots = [{"source": "", "destination": ""} for _ in range(MAX_SLOTS)]
    for slot, (source, destination, *curve) in by_slot.items():
        mapping = {"line_mapping": curve[0]} if curve else {}
        slots[int(slot[1:]) - 1] = {"source": source, "destination": destination, **mapping}
    return slots


def content(made):
    return json.dumps(made).encode()


def read(**changes):
    return read_preset(content(document(**changes)), REGISTRY)


def control(patch, name):
    return patch.values(REGISTRY)[name]


def noise(seed, length=2000):
    samples = np.random.default_rng(seed).integers(-20_000, 20_000, length).astype("<i2")
    text = base64.b64encode(samples.tobytes()).decode()
    return {"length": length, "name": "mine", "sample_rate": 44100, "samples": text}


def wavetable(seed, **component):
    """A wavetable of one drawn wave; another component type gets what `component` says."""
    wave = np.random.default_rng(seed).uniform(-1, 1, 2048).astype("<f4")
    keyframe = {"position": 0, "wave_data": base64.b64encode(wave.tobytes()).decode()}
    source = {"type": "Wave Source", "interpolation": 1, "interpolation_style": 1, "keyframes": [keyframe]}
    made = {"author": "", "full_normalize": True, "name": f"wave {seed}", "remove_all_dc": True, "version": "1.5.5"}
    return {**made, "groups": [{"components": [component or source]}]}


def recording(random_seed):
    """A wavetable made of a recording, with phases that are drawn at random."""
    audio = np.random.default_rng(0).integers(-9000, 9000, 20_000).astype("<i2")
    place = {"window_fade": 1.0, "window_size": 2048.0}
    return wavetable(
        0,
        type="Audio File Source",
        interpolation_style=1,
        keyframes=[
            {"position": 0, "start_position": 0.0, **place},
            {"position": 256, "start_position": 9000.0, **place},
        ],
        normalize_gain=False,
        normalize_mult=False,
        window_size=400.0,
        fade_style=0,
        phase_style=2,
        random_seed=random_seed,
        audio_sample_rate=44100,
        audio_file=base64.b64encode(audio.tobytes()).decode(),
    )


RICH = {
    "osc_1_random_phase": 0.0,
    "filter_1_on": 1.0,
    "filter_1_cutoff": 71.3,
    "lfo_1_frequency": 3.3,
    "reverb_on": 1.0,
    "sample_on": 1.0,
    "sample": noise(1),
    "wavetables": [wavetable(1), recording(5), wavetable(2)],
    "osc_2_on": 1.0,
    "lfos": [SAW] + [REGISTRY.init["lfos"][0]] * 7,
    "modulations": routes(
        _2=("lfo_1", "filter_1_cutoff", CURVE), _7=("env_2", "osc_1_level"), _9=("lfo_2", "modulation_2_amount")
    ),
    "modulation_2_amount": 0.41,
    "modulation_7_amount": -0.3,
    "modulation_9_amount": 0.2,
    "modulation_9_power": 2.5,
}


@pytest.fixture(scope="module")
def rich():
    return read(**RICH)


# -------------------------------------------------------------------------------------------------- reading the label


@pytest.mark.slow
def test_every_control_is_read():
    rng = np.random.default_rng(0)
    asked = {c.name: float(rng.uniform(c.low, c.high)) for c in REGISTRY.continuous if not c.is_whole}
    asked |= {
        c.name: float(rng.integers(int(c.low), int(c.high) + 1)) for c in REGISTRY.controls if c.is_whole or c.options
    }
    got = read(**asked)
    played = got.patch.values(REGISTRY)
    spans = {c.name: c.high - c.low for c in REGISTRY.controls}
    wrong = {n: (v, played[n]) for n, v in asked.items() if abs(played[n] - v) > 2e-7 * spans[n]}
    assert (wrong, dict(got.changes)) == ({}, {})


@pytest.mark.slow
def test_the_init_preset_is_the_init_patch():
    got = read()
    assert got.patch == INIT
    assert got.assets.keys() == set(INIT.wavetables)


@pytest.mark.slow
def test_what_is_missing_is_the_default():
    made = document()
    for name in ("mpe_enabled", "volume", "filter_2_style"):
        del made["settings"][name]
    got = read_preset(content(made), REGISTRY)
    assert (got.patch, dict(got.changes)) == (INIT, {"missing": 3})


def test_values_are_brought_into_range_and_options_made_whole():
    got = read(flanger_dry_wet=0.7071, filter_1_style=1.6, osc_1_transpose=2.4)
    assert [control(got.patch, n) for n in ("flanger_dry_wet", "filter_1_style", "osc_1_transpose")] == [0.5, 2, 2]
    assert dict(got.changes) == {"clamped": 1, "rounded": 2}


def test_modulations_keep_their_slots(rich):
    used = {
        slot + 1: (REGISTRY.sources[int(row[0])], REGISTRY.destinations[int(row[1])], *row[2:].tolist())
        for slot, row in enumerate(rich.patch.modulation_slots)
        if row[0] >= 0
    }
    f = lambda number: float(np.float32(number))  # noqa: E731
    assert used == {
        2: ("lfo_1", "filter_1_cutoff", f(0.41), 0, 0, 0, 0),
        7: ("env_2", "osc_1_level", f(-0.3), 0, 0, 0, 0),
        9: ("lfo_2", "modulation_2_amount", f(0.2), 0, 2.5, 0, 0),
    }


def test_a_bypassed_modulation_stays_and_says_so():
    got = read(modulations=routes(_1=("lfo_1", "volume")), modulation_1_amount=0.5, modulation_1_bypass=1.0)
    assert got.patch.modulation_slots[0, SlotField.AMOUNT :].tolist() == [0.5, 0, 0, 0, 1]


def test_what_an_empty_slot_holds_is_dropped():
    assert read(modulation_5_amount=0.7, modulation_5_bipolar=1.0).patch == INIT


def test_a_modulation_that_the_synth_lacks_is_dropped_and_counted():
    got = read(modulations=routes(_1=("lfo_1", "osc_9_level"), _2=("moon", "volume"), _3=("lfo_1", "volume")))
    assert got.patch.modulation_slots[:, SlotField.SOURCE].tolist().count(-1) == MAX_SLOTS - 1
    assert np.array_equal(got.patch.modulation_slots[0], EMPTY_SLOT)
    assert got.changes[UNKNOWN_ROUTE] == 2


def test_a_drawn_curve_belongs_to_its_slot(rich):
    curves = json.loads(rich.assets[rich.patch.extras.curves])
    assert list(curves) == ["1"]
    assert curves["1"]["points"] == pytest.approx(CURVE["points"])
    assert "name" not in curves["1"]


def test_lfo_shapes_are_kept_without_their_names(rich):
    lfos = json.loads(rich.assets[rich.patch.extras.lfos])
    assert len(lfos) == 8
    assert lfos[0] == {key: value for key, value in SAW.items() if key != "name"}


def test_lfos_named_otherwise_are_the_init_presets():
    assert read(lfos=[{**lfo, "name": "another"} for lfo in REGISTRY.init["lfos"]]).patch == INIT


def test_a_sample_that_is_on_is_kept_as_it_was_written(rich):
    kept = json.loads(rich.assets[rich.patch.extras.sample])
    assert kept == {key: value for key, value in noise(1).items() if key != "name"}


def test_a_sample_that_is_off_is_no_part_of_the_patch():
    assert read(sample=noise(1)).patch == INIT


def test_the_init_presets_own_noise_needs_no_asset():
    assert read(sample_on=1.0, sample=REGISTRY.init["sample"]).patch.extras == INIT.extras


def test_wavetables_are_named_by_content_whatever_people_call_them():
    one, renamed = read(wavetables=[wavetable(1)] * 3), read(wavetables=[{**wavetable(1), "name": "other"}] * 3)
    assert one.patch == renamed.patch != INIT
    (digest,) = set(one.patch.wavetables)
    assert (one.wavetable_names[digest], renamed.wavetable_names[digest]) == ("wave 1", "other")


def test_names_are_fit_for_a_line_whatever_strangers_wrote():
    got = read(head__preset_name="a\nb\t🎹\x00 " + "x" * 10_000, head__author="Ümläut", head__macro2="")
    assert got.name.startswith("a b 🎹 xxx")
    assert len(got.name) == MAX_NAME
    assert (got.author, got.macros) == ("Ümläut", ("MACRO 1", "MACRO 2", "MACRO 3", "MACRO 4"))


def test_macros_keep_their_names():
    assert read(head__macro1="Wobble").macros[0] == "Wobble"


def test_a_preset_that_the_synth_takes_for_one_of_the_future_is_refused():
    with pytest.raises(PresetError, match="the synth refuses it"):
        read(head__synth_version="100000.0.0")


# ------------------------------------------------------------------------------------------------------------ fidelity


@pytest.mark.slow
def test_a_patch_sounds_like_its_preset_bit_for_bit(rich, short):
    measured = measure(content(document(**RICH)), rich, REGISTRY, short)
    assert (measured.difference, measured.cause) == (0, "")


def test_a_value_between_two_unit_values_is_played_as_it_is():
    """13.5 of -30..30 would become 13.50000143, which has crossed a threshold of the distortion."""
    patch = read(distortion_drive=13.5).patch
    assert control(patch, "distortion_drive") == 13.5
    assert patch != read(distortion_drive=float(np.float32(13.50000143))).patch


def test_a_recording_is_kept_as_it_was_written():
    """The synth's copy is rounded again, and ends where no keyframe reaches."""
    table = recording(5)
    got = read(wavetables=[table, wavetable(1), wavetable(1)])
    kept = json.loads(got.assets[got.patch.wavetables[0]])
    written, read_again = (base64.b64decode(of["groups"][0]["components"][0]["audio_file"]) for of in (table, kept))
    assert written.startswith(read_again)
    assert len(read_again) > 9000 * 2


@pytest.mark.slow
def test_of_a_route_given_twice_the_synth_decides(short):
    twice = routes(_1=("lfo_1", "osc_1_level"), _4=("lfo_1", "osc_1_level"), _6=("env_2", "osc_1_pan"))
    made = document(modulations=twice, modulation_1_amount=0.5, modulation_4_amount=-0.2, modulation_6_amount=0.3)
    got = read_preset(content(made), REGISTRY)
    assert measure(content(made), got, REGISTRY, short).verdict in VERDICTS[:2]


@pytest.mark.slow
def test_the_seed_of_drawn_phases_is_part_of_the_sound(short):
    made = {"wavetables": [recording(5), wavetable(1), wavetable(1)]}
    other = read(wavetables=[recording(6), wavetable(1), wavetable(1)])
    assert measure(content(document(**made)), other, REGISTRY, short).verdict == "worse"


@pytest.mark.slow
@pytest.mark.parametrize("name", EXTRAS)
def test_nobody_hears_the_names_that_are_left_out(rich, short, name):
    asset = getattr(rich.patch.extras, name)
    kept = json.loads(rich.assets[asset])
    plain = kept if name == "lfos" else kept.values() if name == "curves" else [kept]
    for named in plain:
        named["name"] = "spoken"
    with borrow_renderer(DatasetSpec(audio=short).render_format, 60) as renderer:
        ours = rich.patch.to_json(REGISTRY, rich.assets)
        theirs = rich.patch.to_json(REGISTRY, {**rich.assets, asset: json.dumps(kept).encode()})
        assert theirs != ours
        heard = [
            [row.audio_sha256 for row in renderer.render(text.encode(), short.performances).rows]
            for text in (ours, theirs)
        ]
    assert heard[0] == heard[1] != []


@pytest.mark.slow
def test_what_changes_the_sound_most_is_named(rich, short):
    loud = document(**RICH, volume=9000.0)
    measured = measure(content(loud), read_preset(content(loud), REGISTRY), REGISTRY, short)
    assert (measured.verdict, measured.cause) == ("worse", fidelity.MENDING)


@pytest.mark.slow
def test_an_original_that_has_no_audio_is_said_not_to_be_compared(rich, short):
    measured = measure(content(document(head__synth_version="100000.0.0")), rich, REGISTRY, short)
    assert measured.verdict == "not compared"
    assert "the original can't be rendered" in measured.cause


# ------------------------------------------------------------------------------------------------- folders of presets


@pytest.fixture
def folder(tmp_path):
    """Five files: two of one sound, one in a bank, and two that can't be used."""
    root = tmp_path / "presets"
    (root / "deep").mkdir(parents=True)
    (root / "a.vital").write_bytes(content(document(volume=4000.0, head__preset_name="")))
    (root / "deep" / "b.vital").write_bytes(content(document(volume=4000.0, head__preset_name="b")))
    with zipfile.ZipFile(root / "bank.vitalbank", "w", zipfile.ZIP_DEFLATED) as bank:
        bank.writestr("Me/Presets/c.vital", content(document(volume=5000.0, wavetables=[wavetable(1)] * 3)))
    (root / "broken.vital").write_text("{")
    (root / "killer.vital").write_bytes(content(document(lfos=[SAW] * 9)))
    (root / "README.md").write_text("no preset")
    return root


def ingested(*folders, check=False, workers=2, **how):
    return ingest(folders, REGISTRY, check=check, workers=workers, **how)


def totals(**counts):
    """What a report counts: these and nothing else."""
    return dict.fromkeys(("accepted", "duplicate", "approximate", "refused", "changed", "unknown"), 0) | counts


@pytest.mark.slow
def test_every_file_is_accepted_a_duplicate_or_refused_with_its_reason(folder):
    collection, report = ingested(folder)
    told = {f.file: (f.verdict, f.duplicate_of, bool(f.reason)) for f in report.files}
    assert told == {
        "a.vital": ("accepted", "", False),
        "bank.vitalbank!Me/Presets/c.vital": ("accepted", "", False),
        "broken.vital": ("refused", "", True),
        "deep/b.vital": ("duplicate", "a.vital", False),
        "killer.vital": ("refused", "", True),
    }
    assert [p.patch.hash for p in collection.presets] == sorted({f.patch for f in report.files if f.patch})
    assert report.totals == totals(accepted=2, duplicate=1, refused=2)
    assert "killer.vital: 9 lfos" in report.to_text()


@pytest.mark.slow
def test_a_preset_without_a_name_is_called_as_its_file(folder):
    names = {p.file: p.name for p in ingested(folder)[0].presets}
    assert names == {"a.vital": "a", "bank.vitalbank!Me/Presets/c.vital": "init"}


@pytest.mark.parametrize("name", ["Hello!", "a.zip", "Grüße 🎹"])
def test_any_file_name_will_do(tmp_path, name):
    (tmp_path / "x!y").mkdir()
    state(tmp_path / "x!y", licence="CC0")
    (tmp_path / "x!y" / f"{name}.vital").write_bytes(content(document(head__preset_name="")))
    (preset,) = ingested(tmp_path)[0].presets
    assert (preset.name, preset.file, preset.licence) == (name, f"x!y/{name}.vital", "CC0")


@pytest.mark.slow
def test_order_workers_and_place_change_no_byte_of_the_digest(folder, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    (second / "d.vital").write_bytes(content(document(volume=5000.0, wavetables=[wavetable(1)] * 3)))
    (second / "e.vital").write_bytes(content(document(volume=6000.0)))
    digests = {
        ingested(*order, workers=workers)[0].digest
        for order in ((folder, second), (second, folder))
        for workers in (1, 3)
    }
    moved = second.rename(tmp_path / "moved")
    assert digests == {ingested(folder, moved)[0].digest}
    assert digests != {ingested(folder)[0].digest}


@pytest.mark.slow
def test_a_folder_named_twice_counts_once(folder):
    assert len(ingested(folder, folder / ".")[1].files) == 5


def test_a_single_file_will_do(folder):
    collection, _ = ingested(folder / "a.vital")
    assert [p.file for p in collection.presets] == ["a.vital"]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SpecError, match="there is no .*nowhere"):
        ingested(tmp_path / "nowhere")


def test_nothing_found_is_an_empty_collection(tmp_path):
    collection, report = ingested(tmp_path)
    assert (collection.presets, report.files) == ((), ())
    assert report.to_text().startswith("0 presets")


def test_each_file_is_told_to_who_listens(folder):
    heard: list[progress.Progress] = []
    with progress.listening(heard.append):
        ingested(folder)
    assert sorted(event.rows for event in heard) == [0, 0, 1, 1, 1]


@pytest.mark.slow
def test_fidelity_is_in_the_report_where_it_was_measured(folder, short):
    report = ingested(folder, check=True, audio=short)[1]
    assert report.notes == short.notes
    assert sum(report.fidelity.values()) == 3
    assert {f.fidelity is None for f in report.files if f.verdict == "refused"} == {True}
    assert "notes 48, 60" in report.to_text()


def written(folder, **documents):
    """A folder of presets, by file name."""
    folder.mkdir(exist_ok=True)
    for name, made in documents.items():
        (folder / f"{name}.vital").write_bytes(content(made))
    return folder


@pytest.mark.slow
def test_what_is_changed_is_counted_over_all_files_whatever_became_of_them(tmp_path, short):
    loud = {"flanger_on": 1.0, "flanger_dry_wet": 0.7071}
    root = written(
        tmp_path / "presets",
        a=document(**loud, head__preset_name="a"),
        b=document(**loud | {"flanger_dry_wet": 0.6}, head__preset_name="b", shimmer=1.0, mood=2.0),
        c=document(head__mood="blue"),
    )
    (root / "d.vital").write_bytes((root / "a.vital").read_bytes())
    report = ingested(root, check=True, audio=short)[1]
    assert report.totals == totals(accepted=2, duplicate=2, changed=3, unknown=2)
    assert report.unknown == {"mood": 2, "shimmer": 1}
    assert (sum(report.fidelity.values()), report.fidelity["worse"]) == (4, 3)
    told = {f.file: (f.verdict, f.duplicate_of, f.only_after_changes) for f in report.files}
    assert told == {
        "a.vital": ("accepted", "", False),
        "b.vital": ("duplicate", "a.vital", True),
        "c.vital": ("accepted", "", False),
        "d.vital": ("duplicate", "a.vital", False),  # the same bytes
    }
    text = report.to_text()
    assert "3 presets were changed to what the synth can play (clamped in 3)" in text
    assert "2 presets have settings that the synth doesn't know (mood in 2, shimmer in 1)" in text
    assert "duplicates only after changes:\n  b.vital: the same patch as a.vital" in text


def test_of_two_files_the_one_that_is_the_patch_stands_for_it(tmp_path):
    root = written(tmp_path / "presets", a=document(flanger_dry_wet=0.7071), b=document(flanger_dry_wet=0.5))
    files = ingested(root)[1].files
    assert {f.file: f.duplicate_of for f in files} == {"a.vital": "b.vital", "b.vital": ""}
    assert {f.file for f in files if f.only_after_changes} == {"a.vital"}


OCTAVE_7 = {"head__synth_version": "1.5.5", "osc_1_unison_voices": 4.0, "osc_1_stack_style": 4.0}


def test_what_vital_plays_otherwise_is_left_out_and_named(tmp_path):
    root = written(tmp_path / "presets", a=document(**OCTAVE_7), b=document(), c=document(head__synth_version="1"))
    (root / "c.vital").write_bytes(b"{}")
    collection, report = ingested(root)
    assert [preset.file for preset in collection.presets] == ["b.vital"]
    assert report.totals == totals(accepted=1, approximate=1, refused=1)
    assert report.by_version == {
        version: dict.fromkeys(("accepted", "duplicate", "approximate", "refused"), 0) | counts
        for version, counts in {"": {"refused": 1}, "1.0.7": {"accepted": 1}, "1.5.5": {"approximate": 1}}.items()
    }
    text = report.to_text()
    assert "1 preset is played differently by Vital (left out; --approximate takes them)" in text
    assert "Vital plays differently:\n  a.vital: osc_1_stack_style = 4 (Octave + 7)" in text
    assert "made with    no version: 1 refused; 1.0.7: 1 accepted; 1.5.5: 1 approximate" in text


def test_it_is_taken_if_that_is_asked_but_stands_for_no_other(tmp_path):
    root = written(
        tmp_path / "presets",
        a=document(**OCTAVE_7),
        b=document(osc_1_unison_voices=4.0, osc_1_stack_style=3.0),  # what is played instead
        c=document(**OCTAVE_7, volume=4000.0),
    )
    collection, report = ingested(root, approximate=True)
    assert [preset.file for preset in collection.presets if preset.file != "b.vital"] == ["c.vital"]
    told = {f.file: (f.verdict, f.duplicate_of, f.only_after_changes, bool(f.otherwise)) for f in report.files}
    assert told == {
        "a.vital": ("duplicate", "b.vital", True, True),
        "b.vital": ("accepted", "", False, False),
        "c.vital": ("accepted", "", False, True),
    }
    assert "2 presets are played differently by Vital (taken, as --approximate asks)" in report.to_text()


def places(value, path=()):
    """Every place in a document, as the keys that lead to it."""
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*path, key))


WEIRD: tuple[object, ...] = (None, True, -1, 0, 3, 1e9, -1e30, "", "x", "AAAA", [], {}, [[]], [{}], "\ud800", 2**70)
PLACES = sorted(filter(None, places(document(**RICH))), key=str)
#: Most places are controls' numbers, so half of the attempts go elsewhere.
ELSEWHERE = [path for path in PLACES if len(path) > 2]


@pytest.mark.long
@settings(max_examples=80, deadline=None)
@given(st.sampled_from(PLACES) | st.sampled_from(ELSEWHERE), st.sampled_from(WEIRD), st.booleans())
def test_a_damaged_preset_is_refused_or_read(path, value, is_removed):
    made = copy.deepcopy(document(**RICH))
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    if is_removed:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    try:
        got = read_preset(content(made), REGISTRY)
    except PresetError:
        return
    assert migrate(got.patch.to_json(REGISTRY, got.assets).encode()) is not None


# ------------------------------------------------------------------------------------------------------------- origins


def state(folder, **said):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "synthcore-source.json").write_text(json.dumps(said))


def test_the_nearest_statement_of_origin_holds(folder):
    state(folder, repository="https://example.org/all", commit="1", licence="MIT", fetched="2026")
    state(folder / "deep", repository="https://example.org/deep", licence="CC0")
    (folder / "deep" / "b.vital").write_bytes(content(document(volume=7000.0)))
    told = {p.file: (p.repository, p.commit, p.licence) for p in ingested(folder)[0].presets}
    assert told == {
        "a.vital": ("https://example.org/all", "1", "MIT"),
        "bank.vitalbank!Me/Presets/c.vital": ("https://example.org/all", "1", "MIT"),
        "deep/b.vital": ("https://example.org/deep", "", "CC0"),
    }


def test_above_the_folder_nothing_is_looked_for(folder):
    state(folder, repository="https://example.org/all", licence="MIT")
    (preset,) = ingested(folder / "deep")[0].presets
    assert (preset.repository, preset.commit, preset.licence, preset.source) == ("", "", "unknown", "community")


@pytest.mark.parametrize("said", ["{", "[]", '{"licence": 5}', "[" * 100_000, '{"licence": "' + "x" * 100_000 + '"}'])
def test_a_statement_that_makes_no_sense_says_nothing(folder, said):
    (folder / "synthcore-source.json").write_text(said)
    assert {p.licence for p in ingested(folder / "a.vital")[0].presets} == {"unknown"}


def test_of_two_files_of_one_sound_the_one_of_known_origin_is_kept(folder):
    state(folder / "deep", repository="https://example.org/deep", licence="CC0")
    kept = {p.file for p in ingested(folder)[0].presets}
    assert kept == {"deep/b.vital", "bank.vitalbank!Me/Presets/c.vital"}


def test_factory_presets_are_told_from_the_users_own(folder, tmp_path, monkeypatch):
    vital = tmp_path / "home" / "vital"
    vital.mkdir(parents=True)
    folder.rename(vital / "Factory")
    (vital / "User").mkdir()
    (vital / "User" / "u.vital").write_bytes(content(document(volume=4000.0)))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    (factory,) = factory_folders()
    assert is_factory(vital / "Factory" / "a.vital", [factory])
    sources = {p.file: p.source for p in ingested(vital)[0].presets}
    assert sources == {"Factory/a.vital": "factory", "Factory/bank.vitalbank!Me/Presets/c.vital": "factory"}


def test_a_machine_without_vital_has_no_factory_presets():
    assert factory_folders([]) == []


# ------------------------------------------------------------------------------------------------------ the collection


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    root = tmp_path_factory.mktemp("collected")
    (root / "rich.vital").write_bytes(content(document(**RICH, head__preset_name="Grüße 🎹", head__author="me")))
    (root / "plain.vital").write_bytes(content(document()))
    return ingest([root], REGISTRY, check=False, workers=2)[0]


def test_a_collection_comes_back_from_its_file(collection, tmp_path):
    write_collection(tmp_path / "presets.h5", collection)
    again = read_collection(tmp_path / "presets.h5")
    assert again == collection
    assert again.digest == collection.digest
    played = [[p.patch.to_json(REGISTRY, each.assets) for p in each.presets] for each in (collection, again)]
    assert played[0] == played[1]


def test_an_empty_collection_comes_back_as_well(tmp_path):
    write_collection(tmp_path / "none.h5", Collection((), {}, {}))
    assert read_collection(tmp_path / "none.h5") == Collection((), {}, {})


def test_the_digest_knows_patches_and_where_they_come_from(collection):
    first, *rest = collection.presets
    for change in ({"name": "x"}, {"licence": "x"}, {"file": "x"}, {"macros": ("x",) * 4}, {"patch": rest[0].patch}):
        other = dataclasses.replace(collection, presets=(dataclasses.replace(first, **change), *rest))
        assert other.digest != collection.digest


def test_a_changed_file_is_found_out(collection, tmp_path):
    path = tmp_path / "presets.h5"
    for change in ("params/continuous", "sources/licence", "assets"):
        write_collection(path, collection)
        with h5py.File(path, "r+") as file:
            if change == "assets":
                asset = next(iter(file["assets"].values()))
                asset[0] = asset[0] + 1
            else:
                file[change][0] = 0.123 if change.startswith("params") else "free for all"
        with pytest.raises(DatasetError, match="damaged"):
            read_collection(path)


@pytest.mark.parametrize("what", ["nothing", "text", "cut", "a dataset", "another version", "another synth"])
def test_what_is_no_collection_is_said_in_a_line(collection, tmp_path, tier_1, what):
    path = tmp_path / "presets.h5"
    write_collection(path, collection)
    if what == "nothing":
        path.unlink()
    elif what == "text":
        path.write_text("presets")
    elif what == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif what == "a dataset":
        path.write_bytes(tier_1.path.read_bytes())
    else:
        with h5py.File(path, "r+") as file:
            file["schema"].attrs["version" if "version" in what else "registry"] = "0"
    with pytest.raises(DatasetError, match=str(path)) as error:
        read_collection(path)
    assert "\n" not in str(error.value)


def test_making_a_collection_leaves_file_and_report(folder, tmp_path):
    output = tmp_path / "made" / "presets.h5"
    made = make_collection([folder], output, REGISTRY, check=False, workers=2)
    assert read_collection(output).digest == made.digest
    assert json.loads(Path(made.report_file).read_text())["totals"]["accepted"] == 2
    assert type(made).model_validate_json(made.model_dump_json()) == made
    assert made.is_intact()
    output.unlink()
    assert not made.is_intact()


def test_another_file_is_never_replaced(folder, tmp_path):
    (tmp_path / "thesis.h5").write_text("ten years")
    with pytest.raises(SpecError, match="isn.t a collection of presets"):
        make_collection([folder], tmp_path / "thesis.h5", REGISTRY, check=False, workers=1)
    assert (tmp_path / "thesis.h5").read_text() == "ten years"


def test_the_fingerprint_of_a_survey_is_of_content_and_origin(folder):
    first = survey([folder])
    assert first.files == 5
    (folder / "a.vital").touch()
    (folder / "README.md").write_text("other")
    assert survey([folder]) == first
    state(folder, licence="MIT")
    licensed = survey([folder])
    (folder / "a.vital").write_bytes(content(document(volume=1.0)))
    assert len({first, licensed, survey([folder])}) == 3


# -------------------------------------------------------------------------------------------- presets that people wrote


@pytest.mark.slow
@needs_presets
def test_some_real_presets_sound_as_their_originals(tmp_path):
    some = random.Random(0).sample(sorted(REAL_PRESETS.rglob("*.vital")), 12)
    audio = AudioSpec(notes=(60,), note_seconds=0.3, render_seconds=0.4)
    _, report = ingested(*some, check=True, audio=audio)
    assert report.totals["accepted"] == len(some)
    assert [f.file for f in report.files if f.fidelity.difference > NEAR] == []


@needs_presets
@pytest.mark.long
def test_real_presets_sound_as_their_originals():
    """One note as long as a dataset's; only what a label's 24 bits can't hold is lost."""
    collection, report = ingested(REAL_PRESETS, check=True, audio=AudioSpec(notes=(60,)))
    assert report.totals["refused"] == 0
    differences = [f.fidelity.difference for f in report.files if f.verdict == "accepted"]
    assert len(differences) == len(collection.presets)
    assert np.mean([d <= NEAR for d in differences]) >= 0.95


@pytest.mark.long
def test_the_command_makes_a_collection_once(cli, folder):
    def run():
        return cli.json("ingest", folder, "--data-dir", "data", "-o", "presets.h5")

    first = run()
    path = Path(first["collection"])
    made = path.stat().st_mtime_ns
    assert run() == first
    assert path.stat().st_mtime_ns == made
    path.unlink()
    assert run() == first
    assert read_collection(path).digest == first["digest"]
    (folder / "a.vital").unlink()
    assert run()["report"]["totals"] == totals(accepted=2, refused=2)
    missing = cli.run("ingest", "nowhere")
    assert (missing.returncode, missing.stderr.count("nowhere")) == (2, 1)
    assert "Prefect" not in missing.stderr
    written(cli.folder / "approximate", a=document(**OCTAVE_7))
    left = cli.run("ingest", "approximate", "--data-dir", "data", "-o", "approximate.h5")
    assert left.returncode == 1
    assert left.stderr.endswith("could be accepted; --approximate takes 1, which Vital plays differently\n")
    taken = cli.json("ingest", "approximate", "--approximate", "--data-dir", "data", "-o", "approximate.h5")
    assert taken["report"]["totals"] == totals(accepted=1)
    (cli.folder / "none").mkdir()
    none = cli.run("ingest", "none", "--data-dir", "data", "-o", "none.h5")
    assert (none.returncode, none.stderr.splitlines()[-1]) == (
        1,
        "synthcore: none of the presets could be accepted",
    )
