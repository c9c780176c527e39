"""Verifying: rows are the bytes their labels render to; and what was changed behind our back is found."""

from __future__ import annotations

import hashlib
import math

import h5py
import numpy as np
import pytest

from synthcore.base.errors import EngineMismatch
from synthcore.storage.dataset import Dataset
from synthcore.verification.rerendering import Verdict, verify


def verdict_on(path, rows=None, tolerance_db=-60.0):
    with Dataset(path) as dataset:
        return verify(dataset, rows, tolerance_db=tolerance_db, workers=2)


@pytest.mark.slow
def test_every_row_is_what_its_label_renders_to(each_tier):
    verdict = verdict_on(each_tier.path)
    assert verdict.holds
    assert verdict.same_machine_type
    assert (verdict.checked, verdict.exact, verdict.differing) == (15, 15, 0)
    assert (verdict.differing_rows, verdict.damage, verdict.worst_db) == ([], [], None)
    assert verdict.to_text().endswith("verified\n")
    assert "NOT" not in verdict.to_text()


@pytest.mark.slow
def test_a_shard_is_verified_like_a_dataset(tier_1):
    verdict = verdict_on(tier_1.data_dir / tier_1.shards[1].name)
    assert verdict.holds
    assert verdict.exact == 10


@pytest.mark.slow
def test_a_virtual_dataset_is_verified_like_any(tier_1, tmp_path):
    assert verdict_on(tier_1.merge(tmp_path / "x.h5", mode="virtual").path).exact == 15


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "checked"), [(1, 1), (4, 4), (15, 15), (999, 15)])
def test_so_many_rows_are_rendered_as_asked_for(tier_1, rows, checked):
    verdict = verdict_on(tier_1.path, rows=rows)
    assert (verdict.checked, verdict.exact) == (checked, checked)


@pytest.mark.slow
def test_a_verdict_comes_back_from_its_json(tier_1):
    verdict = verdict_on(tier_1.path, rows=1)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


# -------------------------------------------------------------------------------------------------------------- damage


def change_label(file, name, row):
    if name == "continuous":
        file["params/continuous"][row, 7] += np.float32(0.25) if file["params/continuous"][row, 7] < 0.5 else -0.25
    elif name == "categorical":
        file["params/categorical"][row, 7] = 1 - min(1, file["params/categorical"][row, 7])
    else:
        file["params/modulation_slots"][row, 63] = (0, 0, 0.5, 0, 0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["continuous", "categorical", "modulation_slots"])
def test_a_changed_label_is_found_and_its_row_named(tier_1, forge, name):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        change_label(file, name, 3)
    verdict = verdict_on(path)
    assert not verdict.holds
    assert verdict.damage == ["row 3: the label is not what its preset_hash says"]


@pytest.mark.slow
def test_a_changed_label_is_found_in_a_row_that_is_not_rendered(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        for row in range(15):
            change_label(file, "continuous", row)
    verdict = verdict_on(path, rows=1)
    assert len(verdict.damage) == 15


@pytest.mark.slow
def test_a_label_signed_anew_is_found_by_its_sound(tier_1, forge, forgeries, registry):
    """Hash and digest agree with the changed label: only rendering can tell."""
    path = forge(tier_1)
    volume = [c.name for c in registry.continuous].index("volume")
    with h5py.File(path, "r+") as file:
        file["params/continuous"][2:4, volume] *= np.float32(0.9)
    with Dataset(path) as dataset:
        anew = dataset.patch(2).hash.encode()
    with h5py.File(path, "r+") as file:
        file["metadata/preset_hash"][2:4] = anew
    forgeries.sign(path, tier_1.spec)
    verdict = verdict_on(path)
    assert verdict.damage == []
    assert (verdict.differing_rows, verdict.exact) == ([2, 3], 13)
    assert not verdict.holds
    assert "differing rows: 2, 3" in verdict.to_text()
    assert verdict.to_text().endswith("NOT verified\n")


@pytest.mark.slow
@pytest.mark.parametrize("sample", [0, 4000, 8819])
def test_one_changed_bit_of_audio_is_found_and_its_row_named(tier_1, forge, sample):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        row = file["audio/waveforms"][3]
        row.view(np.uint32)[1, sample] ^= 1
        file["audio/waveforms"][3] = row
    verdict = verdict_on(path)
    assert not verdict.holds
    assert verdict.differing_rows == [3]
    assert verdict.damage == ["row 3: the audio is not what its audio_sha256 says"]
    assert verdict.worst_db is not None
    assert verdict.worst_db < -60


@pytest.mark.slow
def test_a_changed_checksum_of_audio_is_found(tier_1, forge):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file["metadata/audio_sha256"][3] = b"0" * 64
    verdict = verdict_on(path)
    assert not verdict.holds
    assert "row 3: the audio is not what its audio_sha256 says" in verdict.damage
    assert "the content digest is not what the rows add up to" in verdict.damage


@pytest.mark.slow
@pytest.mark.parametrize("bit", [0x01, 0x80], ids=["lowest", "highest"])
def test_a_changed_asset_is_found_and_named(tier_1, forge, bit):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        name = next(iter(file["assets"]))
        content = file["assets"][name][:]
        content[len(content) // 2] ^= bit
        file["assets"][name][:] = content
    verdict = verdict_on(path)
    assert not verdict.holds
    assert f"asset {name} is not what its name says" in verdict.damage


@pytest.mark.slow
@pytest.mark.parametrize("column", ["midi_note", "velocity", "source", "tier"])
def test_a_changed_column_that_the_digest_is_over_is_found(tier_1, forge, column):
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        file[f"metadata/{column}"][3] = b"factory" if column == "source" else 61
    verdict = verdict_on(path)
    assert not verdict.holds
    assert "the content digest is not what the rows add up to" in verdict.damage


@pytest.mark.slow
def test_rows_in_another_order_are_found(tier_1, forge):
    """Each row is still right, but it is another dataset."""
    path = forge(tier_1)
    with h5py.File(path, "r+") as file:
        for name in [f"{g}/{n}" for g in ("audio", "params", "metadata") for n in file[g]]:
            file[name][0:2] = file[name][0:2][::-1]
    verdict = verdict_on(path)
    assert verdict.exact == 15
    assert verdict.damage == ["the content digest is not what the rows add up to"]
    assert not verdict.holds


def test_a_dataset_of_another_synth_cannot_be_verified(tier_1, forge, forgeries):
    path = forge(tier_1)

    def widen(config):
        next(c for c in config["controls"] if c["name"] == "volume")["high"] = 9999.0

    forgeries.registry(path, widen)
    with pytest.raises(EngineMismatch, match=r"another range, default or options: 1 control \(volume\)"):
        verdict_on(path)


# ---------------------------------------------------------------------------------------------- other types of machine


def rewrite(path, spec, forgeries, noise_db, same_machine=False):
    """Add noise to every row, so loud in relation to it, and sign the file anew, as another machine would."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "r+") as file:
        for row, audio in enumerate(file["audio/waveforms"][:]):
            noise = rng.standard_normal(audio.shape)
            noise *= 10 ** (noise_db / 20) * math.sqrt((audio.astype("f8") ** 2).mean() / (noise**2).mean())
            other = (audio + noise).astype(np.float32)
            file["audio/waveforms"][row] = other
            file["metadata/audio_sha256"][row] = hashlib.sha256(other.tobytes()).hexdigest().encode()
    forgeries.sign(path, spec)
    if not same_machine:
        forgeries.engine(path)


@pytest.mark.slow
def test_another_type_of_machine_may_differ_within_the_tolerance(tier_1, forge, forgeries):
    path = forge(tier_1)
    rewrite(path, tier_1.spec, forgeries, noise_db=-90)
    verdict = verdict_on(path)
    assert not verdict.same_machine_type
    assert (verdict.exact, verdict.differing, verdict.damage) == (0, 0, [])
    assert verdict.worst_db == pytest.approx(-90, abs=0.5)
    assert verdict.holds
    assert "another type of machine" in verdict.to_text()


@pytest.mark.slow
def test_another_type_of_machine_may_not_differ_by_more(tier_1, forge, forgeries):
    path = forge(tier_1)
    rewrite(path, tier_1.spec, forgeries, noise_db=-40)
    verdict = verdict_on(path)
    assert verdict.differing_rows == list(range(15))
    assert verdict.worst_db == pytest.approx(-40, abs=0.5)
    assert not verdict.holds
    assert verdict_on(path, tolerance_db=-30.0).holds


@pytest.mark.slow
def test_on_the_same_type_of_machine_there_is_no_tolerance(tier_1, forge, forgeries):
    path = forge(tier_1)
    rewrite(path, tier_1.spec, forgeries, noise_db=-90, same_machine=True)
    verdict = verdict_on(path)
    assert verdict.same_machine_type
    assert verdict.differing == 15
    assert not verdict.holds


@pytest.mark.slow
@pytest.mark.parametrize("same_machine", [True, False])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf], ids=["silence", "NaN", "infinity"])
def test_audio_that_is_none_never_holds(tier_1, forge, forgeries, value, same_machine):
    path = forge(tier_1)
    other = np.full((2, 8820), value, np.float32)
    with h5py.File(path, "r+") as file:
        file["audio/waveforms"][3] = other
        file["metadata/audio_sha256"][3] = hashlib.sha256(other.tobytes()).hexdigest().encode()
    forgeries.sign(path, tier_1.spec)
    if not same_machine:
        forgeries.engine(path)
    verdict = verdict_on(path)
    assert verdict.differing_rows == [3]
    assert not verdict.holds
