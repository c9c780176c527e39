"""The spec: every choice that changes a byte, and nothing that doesn't."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from synthcore.base.quantities import Span
from synthcore.spec import AcceptanceSpec, AudioSpec, DatasetSpec

#: Another value for each field of a spec, beside the default.
OTHERS = {
    "tier": 2,
    "seed": 1,
    "fixed_modulation": True,
    "wavetables_from_tier": 2,
    "catalog_digest": "0" * 64,
    "priors": "uniform",
    "presets_digest": "1" * 64,
    "variations": 3,
    "audio.sample_rate": 48_000,
    "audio.notes": (48, 60),
    "audio.notes_per_patch": 2,
    "audio.velocity": 101,
    "audio.note_seconds": 1.0,
    "audio.bpm": 100.0,
    "audio.render_seconds": 2.5,
    "acceptance.min_rms_dbfs": -40.0,
    "acceptance.max_peak": 0.9,
    "acceptance.cpu_seconds": 10,
}
TIER_2 = DatasetSpec(tier=2, presets_digest="2" * 64)  # it takes nearly every field's other value
OF_A_RANGE = DatasetSpec(tier=2, presets_digest="2" * 64, audio=AudioSpec(notes="36..84"))
BASES = {"tier": DatasetSpec(), "audio.notes_per_patch": OF_A_RANGE}


def fields(model: type[BaseModel], prefix: str = "") -> list[str]:
    nested: dict[str, type[BaseModel]] = {"audio": AudioSpec, "acceptance": AcceptanceSpec}
    return [
        name
        for field in model.model_fields
        for name in (fields(nested[field], f"{field}.") if field in nested else [prefix + field])
    ]


def changed(spec, name, value):
    outer, _, inner = name.partition(".")
    part = {**getattr(spec, outer).model_dump(), inner: value} if inner else value
    return DatasetSpec(**{**spec.model_dump(), outer: part})


def test_every_field_is_tried_here():
    assert {*OTHERS} == {*fields(DatasetSpec)} - {"n_samples"}


@pytest.mark.parametrize("name", OTHERS)
def test_every_field_is_in_the_fingerprint(name):
    base = BASES.get(name, TIER_2)
    assert changed(base, name, OTHERS[name]).fingerprint != base.fingerprint


def test_all_those_fingerprints_differ():
    base = [changed(BASES.get(name, TIER_2), name, OTHERS[name]) for name in OTHERS]
    assert len({s.fingerprint for s in base} | {DatasetSpec().fingerprint}) == len(OTHERS) + 1


def test_the_number_of_rows_is_not_in_the_fingerprint():
    assert DatasetSpec(n_samples=10).fingerprint == DatasetSpec(n_samples=20_000).fingerprint


def test_a_spec_comes_back_from_its_json():
    spec = changed(TIER_2, "audio.notes", (1, 2, 3))
    again = DatasetSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.fingerprint == spec.fingerprint


RANGES: dict[str, Any] = {"notes": "C2..C6", "velocity": "40..127", "note_seconds": "100ms..1.5", "bpm": "80..160"}


def test_ranges_come_back_from_their_json():
    spec = DatasetSpec(audio=AudioSpec(**RANGES, notes_per_patch=2))
    again = DatasetSpec.model_validate_json(spec.model_dump_json())
    assert (again, again.fingerprint) == (spec, spec.fingerprint)
    assert spec.audio.notes == Span(36, 84)
    assert (spec.audio.rows_per_patch, spec.patches, spec.audio.performances) == (2, 500, ())


@pytest.mark.parametrize(
    ("of_one", "number"),
    [
        ({"notes": "60..60"}, {"notes": (60,)}),
        ({"notes": "60..60", "notes_per_patch": 1}, {"notes": (60,)}),
        ({"velocity": "100..100"}, {}),
        ({"note_seconds": "1.5..1500ms"}, {}),
        ({"bpm": "90..90.001"}, {"bpm": 90}),
    ],
)
def test_a_range_of_one_value_is_that_value(of_one, number):
    one, other = (DatasetSpec(audio=AudioSpec(**audio)) for audio in (of_one, number))
    assert (one, one.fingerprint, one.model_dump_json()) == (other, other.fingerprint, other.model_dump_json())


def test_what_is_not_drawn_leaves_the_fingerprint_as_it_was_before_anything_could_be():
    assert (
        DatasetSpec(priors="uniform").fingerprint == "e2debcaec5ad9ac5cf91238d4c8c04e1b929d8076a9e1cf475b7bbc00dac4aaa"
    )


@pytest.mark.parametrize(("audio", "notes"), [({}, 3), ({"notes": "60..61"}, 2), ({"notes": "0..127"}, 3)])
def test_a_patch_plays_three_notes_of_a_range_unless_it_is_said(audio, notes):
    assert AudioSpec(**audio).rows_per_patch == notes


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        DatasetSpec().tier = 2  # type: ignore[misc]


@pytest.mark.parametrize(("rows", "patches"), [(1, 1), (2, 1), (3, 2), (15, 8), (16, 8)])
def test_rows_need_so_many_patches_of_two_notes(rows, patches):
    assert DatasetSpec(n_samples=rows, audio=AudioSpec(notes=(48, 60))).patches == patches


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ({"tier": 1}, "tier-1"),
        ({"tier": 2}, "tier-2"),
        ({"tier": 2, "fixed_modulation": True}, "tier-2-fixed"),
        ({"tier": 3}, "tier-3"),
    ],
)
def test_the_kind_follows_from_the_tier(spec, kind):
    assert DatasetSpec(**spec).kind == kind


def test_what_a_zygote_is_started_for_is_the_specs():
    fmt = DatasetSpec().render_format
    assert (fmt.sample_rate, fmt.places) == (44_100, 3)
    assert (fmt.samples, fmt.row_bytes) == (88_200, 705_600)
    assert (fmt.min_rms_dbfs, fmt.max_peak) == (-50.0, 0.99)


def test_without_presets_the_limit_of_the_peak_is_that_of_drawn_patches():
    assert DatasetSpec().acceptance.max_peak == 0.99
    given = DatasetSpec(acceptance=AcceptanceSpec(max_peak=0.99))
    assert (DatasetSpec(), DatasetSpec().fingerprint) == (given, given.fingerprint)
    assert DatasetSpec(acceptance=AcceptanceSpec(min_rms_dbfs=-40)).acceptance.max_peak == 0.99


def test_with_presets_no_limit_is_another_spec_than_any_limit():
    """So a file with presets that was made when there was always a limit means what it meant."""
    none = DatasetSpec(presets_digest="1" * 64)
    assert none.acceptance.max_peak is None
    assert DatasetSpec.model_validate_json(none.model_dump_json()) == none
    given = DatasetSpec(presets_digest="1" * 64, acceptance=AcceptanceSpec(max_peak=0.99))
    assert given.fingerprint != none.fingerprint


@pytest.mark.parametrize("tier", [1, 3])
def test_fixed_modulation_is_of_tier_2_alone(tier):
    with pytest.raises(ValidationError, match=f"fixed_modulation belongs to tier 2, not to tier {tier}"):
        DatasetSpec(tier=tier, fixed_modulation=True)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ({"notes": (-1,)}, "greater than or equal to 0"),
        ({"notes": (60, 128)}, "less than or equal to 127"),
        ({"notes": ()}, "at least 1 item"),
        ({"notes": (60, 48, 60)}, "names a note twice"),
        ({"note_seconds": 2.5, "render_seconds": 2.0}, r"note_seconds is 2\.5, longer than render_seconds \(2\)"),
        ({"note_seconds": 0}, r"greater than or equal to 0\.01"),
        ({"note_seconds": float("nan")}, "finite number"),
        ({"render_seconds": float("inf")}, "finite number|less than or equal to 60"),
        ({"velocity": 0}, "greater than or equal to 1"),
        ({"velocity": 128}, "less than or equal to 127"),
        ({"velocity": "0..100"}, "greater than or equal to 1"),
        ({"velocity": "127..40"}, "is a range that ends before it begins; write it as 40..127"),
        ({"notes": "84..36"}, "write it as 36..84"),
        ({"notes": "48,60..72"}, "is not a range, such as 36..84"),
        ({"notes": "36..200"}, "less than or equal to 127"),
        ({"notes": "36..84", "notes_per_patch": 50}, "is more than the 49 notes of 36..84"),
        ({"notes": (48, 60), "notes_per_patch": 2}, "goes with a range of notes"),
        ({"notes_per_patch": 3}, "goes with a range of notes"),
        ({"note_seconds": "1..3"}, r"note_seconds is 3, longer than render_seconds \(2\)"),
        ({"bpm": "10..100"}, "greater than or equal to 20"),
        ({"bpm": "fast"}, "is not a tempo"),
        ({"velocity": "40.."}, "is not a range, such as 40..127"),
        ({"sample_rate": 0}, "greater than or equal to"),
        ({"pitch": 3}, "Extra inputs"),
    ],
)
def test_audio_that_cannot_be_recorded_is_refused(audio, message):
    with pytest.raises(ValidationError, match=message):
        AudioSpec(**audio)


@pytest.mark.parametrize(
    "wrong",
    [{"tier": 0}, {"tier": 4}, {"tier": "two"}, {"n_samples": 0}, {"seed": -1}, {"seed": 2**63}, {"speed": 1}],
)
def test_a_spec_out_of_range_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DatasetSpec(**wrong)
