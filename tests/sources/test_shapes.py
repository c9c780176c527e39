"""Shapes of synthetic patches: drawn as often as the priors say, for what is used, and stored as they are played."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from synthcore.analysis.words import describe
from synthcore.pipeline import library
from synthcore.pipeline.shard import plan_shards, render_shard
from synthcore.playback import render
from synthcore.publishing.export import export_rows
from synthcore.publishing.recipe import render_recipe, write_recipe
from synthcore.sources.priors import shipped_priors
from synthcore.sources.shapes import ShapePriors
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import AudioSpec, DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.merge import merge_shards
from synthcore.training.batches import Examples
from synthcore.verification.rerendering import verify
from synthcore.vital.controls import installed
from synthcore.vital.noises import builtin_sample_name
from synthcore.vital.patch import Patch, SlotField, is_connected
from synthcore.vital.reading import read_document
from synthcore.vital.shapes import KINDS, builtin_name, builtin_shapes, canonical_line, lfo_asset, lfo_numbers
from tests.conftest import ROOT, TIMEOUT_SECONDS

REGISTRY = installed()
OFTEN = ShapePriors(lfo=0.6, curve=0.2, sample=0.4)
SPEC = DatasetSpec(
    tier=3,
    priors="uniform",
    seed=17,
    n_samples=8,
    audio=AudioSpec(sample_rate=22050, notes=(60,), note_seconds=0.1, render_seconds=0.2),
)
INIT = [canonical_line(lfo) for lfo in REGISTRY.init["lfos"]]


def code(page: str, language: str) -> list[str]:
    """The blocks of code on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def source(shapes: ShapePriors, **spec):
    priors = shipped_priors("uniform").model_copy(update={"shapes": shapes})
    return SyntheticSource(SPEC.model_copy(update=spec), REGISTRY, priors)


def shapes_of(candidate):
    """What a candidate plays besides numbers and wavetables, from its assets: LFO shapes and curves."""
    extras = candidate.patch.extras
    lfos = INIT if extras.lfos is None else json.loads(candidate.assets[extras.lfos])
    curves = {} if extras.curves is None else json.loads(candidate.assets[extras.curves])
    return lfos, {int(slot): curve for slot, curve in curves.items()}


def modulating(patch):
    """Numbers of the LFOs, from 0, that modulate something."""
    used = patch.modulation_slots[is_connected(patch.modulation_slots)]
    names = [REGISTRY.sources[int(place)] for place in used[:, SlotField.SOURCE]]
    return {int(name[4:]) - 1 for name in names if name.startswith("lfo_")}


def is_sample_on(patch):
    return patch.categorical[[c.name for c in REGISTRY.categorical].index("sample_on")] > 0


@pytest.fixture(scope="module")
def drawn():
    supply = source(OFTEN)
    return [supply.candidate(index, 0) for index in range(600)]


def test_priors_without_shapes_draw_the_init_presets():
    supply = SyntheticSource(SPEC, REGISTRY)
    for index in range(50):
        candidate = supply.candidate(index, 0)
        assert candidate.patch.extras == (None, None, None)
        assert candidate.assets == {}
        assert candidate.patch == supply.draw(index, 0)


@pytest.mark.parametrize("tier", [1, 2])
def test_lower_tiers_have_no_shapes(tier):
    supply = source(OFTEN, tier=tier)
    assert all(supply.candidate(index, 0).patch.extras == (None, None, None) for index in range(50))


@pytest.mark.slow
def test_all_else_stays_as_it_is_drawn_without_shapes(drawn):
    plain = SyntheticSource(SPEC, REGISTRY)
    for candidate in drawn[:50]:
        patch = plain.draw(candidate.index, 0)
        assert (candidate.patch.continuous == patch.continuous).all()
        assert (candidate.patch.categorical == patch.categorical).all()
        assert (candidate.patch.modulation_slots == patch.modulation_slots).all()
        assert candidate.patch.wavetables == patch.wavetables


@pytest.mark.slow
def test_a_candidate_is_a_function_of_its_slot_and_attempt(drawn):
    again = source(OFTEN)
    for candidate in reversed(drawn[:30]):
        assert again.candidate(candidate.index, 0) == candidate
    assert again.candidate(3, 1).patch != again.candidate(3, 0).patch


@pytest.mark.slow
def test_only_what_is_used_has_a_shape(drawn):
    for candidate in drawn:
        lfos, curves = shapes_of(candidate)
        assert {place for place, lfo in enumerate(lfos) if lfo != INIT[place]} <= modulating(candidate.patch)
        assert set(curves) <= set(np.flatnonzero(is_connected(candidate.patch.modulation_slots)).tolist())
        assert candidate.patch.extras.sample is None or is_sample_on(candidate.patch)


@pytest.mark.slow
def test_shapes_come_as_often_as_the_priors_say(drawn):
    """Within three standard deviations."""
    found: Counter[str] = Counter()
    for candidate in drawn:
        lfos, curves = shapes_of(candidate)
        used = modulating(candidate.patch)
        found.update(lfos=len(used), lfo=sum(lfos[place] != INIT[place] for place in used))
        connections = int(is_connected(candidate.patch.modulation_slots).sum())
        found.update(curves=connections, curve=len(curves))
        found.update(samples=is_sample_on(candidate.patch), sample=candidate.patch.extras.sample is not None)
    for part in ("lfo", "curve", "sample"):
        share, count = getattr(OFTEN, part), found[f"{part}s"]
        assert count > 100
        assert abs(found[part] / count - share) < 3 * np.sqrt(share * (1 - share) / count), part


@pytest.mark.slow
def test_every_shape_occurs_and_curves_are_never_straight(drawn):
    lfos = {builtin_name(lfo) for candidate in drawn for lfo in shapes_of(candidate)[0] if lfo not in INIT}
    curves = {builtin_name(curve) for candidate in drawn for curve in shapes_of(candidate)[1].values()}
    names = {shape.name for shape in builtin_shapes()}
    assert lfos == names
    assert curves == names - {"Ramp Up"}


def test_a_kind_without_a_weight_is_never_drawn():
    supply = source(ShapePriors(lfo=1.0, lfo_kinds={"pulse": 3, "steps": 1, "ramp": 0}))
    kinds = {shape.name: shape.kind for shape in builtin_shapes()}
    candidates = [supply.candidate(index, 0) for index in range(200)]
    found = Counter(kinds[builtin_name(lfo) or ""] for c in candidates for lfo in shapes_of(c)[0] if lfo not in INIT)
    assert set(found) == {"pulse", "steps"}
    assert 2 < found["pulse"] / found["steps"] < 4.5


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lfo": 1.5}, "lfo"),
        ({"curve": -0.1}, "curve"),
        ({"sample": float("nan")}, "sample"),
        ({"lfo_kinds": {"saw": 1.0}}, f"no kind of shape 'saw'; there are {', '.join(KINDS)}"),
        ({"curve_kinds": {"ramp": -1.0}}, "0 or more"),
        ({"lfo_kinds": {"ramp": 0.0}}, "one above 0"),
        ({"lfos": 0.5}, "lfos"),
    ],
)
def test_priors_that_make_no_sense_are_refused(fields, named):
    with pytest.raises(ValidationError, match=named):
        ShapePriors(**fields)


def test_the_table_that_contributors_are_shown_is_one():
    (table,) = (tomllib.loads(text)["shapes"] for text in code("CONTRIBUTING.md", "toml") if "[shapes]" in text)
    priors = ShapePriors(**table)
    assert (priors.lfo, priors.curve, priors.sample) == (0.59, 0.08, 0.4)
    assert set(priors.lfo_kinds) == set(KINDS)


# --- In a file -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of tier 3 with shapes in most of its patches, in two shards."""
    folder = tmp_path_factory.mktemp("shapes")
    (folder / "often.toml").write_text("full_share = 1.0\nshapes = { lfo = 1.0, curve = 0.5, sample = 0.7 }\n")
    spec = SPEC.model_copy(update={"priors": library.given_priors(str(folder / "often.toml"), folder)})
    shards = [render_shard(plan, folder, TIMEOUT_SECONDS) for plan in plan_shards(spec, 4)]
    ref = merge_shards(shards, folder / "made.h5", library.merge_context(spec, folder))
    with Dataset(ref.path) as dataset:
        yield dataset


@pytest.fixture(scope="module")
def supply():
    return source(ShapePriors(lfo=1.0, curve=0.5, sample=0.7))


@pytest.mark.slow
def test_the_shapes_drawn_are_those_in_the_file(made, supply):
    rows = list(zip(made.column("patch_index").tolist(), made.column("attempt").tolist(), strict=True))
    assert any(extras is not None for row in range(len(made)) for extras in made.patch(row).extras)
    for row, (index, attempt) in enumerate(rows):
        candidate = supply.candidate(index, attempt)
        assert made.patch(row) == candidate.patch
        assert candidate.assets.items() <= made.assets.items()


@pytest.mark.slow
def test_assets_are_stored_once_and_only_if_rows_play_them(made):
    played = {name for patch in made.patches(0, len(made)) for name in (*patch.wavetables, *patch.extras) if name}
    with h5py.File(made.path) as file:
        assert set(file["assets"]) == played
    assert all(len(set(classes)) == len(classes) for classes in made.classes.extras)


@pytest.mark.slow
def test_rows_with_shapes_are_verified_bit_for_bit(made):
    verdict = verify(made, None, tolerance_db=-120.0, workers=2)
    assert verdict.holds
    assert verdict.exact == len(made)


@pytest.mark.slow
def test_an_exported_preset_has_the_rows_shapes(made, tmp_path):
    row = next(row for row in range(len(made)) if made.patch(row).extras.lfos and made.patch(row).extras.curves)
    exported = export_rows(made, [row], tmp_path).rows[0]
    read = read_document(json.loads(Path(exported.preset).read_text()), REGISTRY)
    assert read.patch.extras._replace(sample=None) == made.patch(row).extras._replace(sample=None)


@pytest.mark.slow
def test_a_batch_with_classes_gives_the_patch_and_its_sound(made):
    row = next(row for row in range(len(made)) if made.patch(row).extras.lfos)
    label = {name: made[row][name] for name in made.varied_labels}
    assert "extras" in label
    patch = Patch.from_vectors(**label, classes=made.classes)
    assert patch == made.patch(row)
    sound = render(patch, 60, audio=SPEC.audio, assets=made.assets)
    assert (sound == made[row]["audio"]).all()


@pytest.mark.slow
def test_a_batch_numbers_the_shape_of_each_lfo_alike_in_every_file(made):
    """The numbers are those of the library, whatever classes a file has; and they lead back to the sound."""
    examples = Examples(made.path)
    batch = examples.read(examples.rows)
    names = [None, *(shape.name for shape in builtin_shapes())]
    for row, numbers in enumerate(batch["lfo_shapes"].tolist()):
        extras = made.patch(row).extras
        lfos = json.loads(made.assets[extras.lfos]) if extras.lfos else INIT
        assert [names[number] for number in numbers] == [builtin_name(lfo) for lfo in lfos]
        if extras.lfos:
            assert lfo_asset(numbers, REGISTRY) == (extras.lfos, made.assets[extras.lfos])
    assert batch["lfo_shapes"].any()
    assert batch["lfo_shapes"].shape == (len(made), 8)


def test_a_shape_of_someone_elses_has_no_number():
    content = json.dumps(
        [{**builtin_shapes()[0].line, "powers": [0.5, 0.0]}, builtin_shapes()[1].line, *INIT[2:]]
    ).encode()
    numbers = lfo_numbers(content, REGISTRY)
    assert numbers == [-1, 2, *[0] * 6]
    assert lfo_numbers(b"", REGISTRY) == [-1] * 8  # a recipe leaves it out
    with pytest.raises(IndexError, match="-1 stands for one that isn't built in"):
        lfo_asset(numbers, REGISTRY)


@pytest.mark.slow
def test_the_training_page_turns_learned_shapes_into_sound(made, tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    shutil.copy(made.path, tmp_path / "data" / "train.h5")
    monkeypatch.chdir(tmp_path)
    (block,) = (text for text in code("docs/training.md", "python") if "lfo_asset" in text)
    names: dict[str, Any] = {}
    exec(compile(block, "training.md", "exec"), names)
    assert capsys.readouterr().out == "Ramp Up\n"
    assert names["sound"].shape == (2, 88200)


@pytest.mark.slow
def test_a_recipe_keeps_what_is_made_of_built_in_shapes(made, tmp_path):
    written = write_recipe(made, tmp_path / "recipe.h5")
    assert written.assets_left_out == 0
    with Dataset(tmp_path / "recipe.h5") as recipe:
        again = render_recipe(recipe, [], tmp_path / "again.h5", workers=2)
    assert again.exact == again.rows == len(made)


@pytest.mark.slow
def test_a_row_in_words_names_its_shapes(made):
    names = {shape.name for shape in builtin_shapes()}
    said = set()
    for row in range(len(made)):
        patch, words = made.patch(row), describe(made, row, everything=True)
        knobs = {(module.title, knob.label): knob.value for module in words.modules for knob in module.knobs}
        lfos = json.loads(made.assets[patch.extras.lfos]) if patch.extras.lfos else INIT
        for number, lfo in enumerate(lfos, start=1):
            assert knobs.get((f"LFO {number}", "shape")) == builtin_name(lfo)
            said.add("lfo" * (lfo not in INIT))
        if patch.extras.sample:
            assert builtin_sample_name(patch.extras.sample) in knobs.values()
            said.add("sample")
        curves = json.loads(made.assets[patch.extras.curves]) if patch.extras.curves else {}
        for connection in words.connections:
            named = connection.sentence.partition("through the curve ")[2]
            assert named == (
                builtin_name(curves[str(connection.slot - 1)]) if str(connection.slot - 1) in curves else ""
            )
            said.add("curve" * (named in names))
    assert said >= {"lfo", "sample", "curve"}
