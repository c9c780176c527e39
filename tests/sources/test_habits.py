"""Patches that follow habits: shares are kept, what belongs together is moved together, and the rest is covered."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from synthcore.base.errors import SpecError
from synthcore.sources.habits import follows_habits
from synthcore.sources.priors import Priors, load_priors, parse_priors, shipped_priors
from synthcore.sources.synthetic import BLOCK, SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch, SlotField

REGISTRY = installed()
SPEC = DatasetSpec(tier=3, priors="musical", seed=7)
FOLLOWS = follows_habits(np.arange(BLOCK), 0.25)
HABITS = b"""
full_share = 0.25
habit = [
  { control = "osc_1_transpose", default_share = 0.5, values = { -12 = 3, 7 = 1 } },
  { control = "osc_1_level", default_share = 0.25, quantiles = [0.2, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8] },
  { control = "osc_1_pan", default_share = 0.25, quantiles = [-1, -0.5, -0.2, 0, 0.2, 0.5, 1] },
  { control = "osc_1_stack_style", options = { Unison = 3, Octave = 1 } },
]
factor = [{ loadings = { osc_1_level = 0.9, osc_1_pan = 0.9 } }]
"""


def values_of(source: SyntheticSource, name: str) -> np.ndarray:
    """The value of a control in all patches of a block, its option's place for a categorical one."""
    control = REGISTRY.by_name[name]
    patches = [source.draw(index, 0) for index in range(BLOCK)]
    if control.is_categorical:
        return np.array([patch.categorical[REGISTRY.categorical.index(control)] for patch in patches])
    return np.array([patch.values(REGISTRY)[name] for patch in patches])


@pytest.fixture(scope="module")
def source() -> SyntheticSource:
    return SyntheticSource(DatasetSpec(tier=1), REGISTRY, parse_priors(HABITS, "mine.toml"))


@pytest.mark.slow
def test_whole_numbers_are_drawn_by_weight_and_left_alone_as_often_as_people_do(source):
    drawn = values_of(source, "osc_1_transpose")[FOLLOWS]
    shares = {int(value): float((drawn == value).mean()) for value in np.unique(drawn)}
    assert shares == pytest.approx({0: 0.5, -12: 0.375, 7: 0.125}, abs=0.02)


def test_options_are_drawn_by_weight(source):
    drawn = values_of(source, "osc_1_stack_style")[FOLLOWS]
    octave = REGISTRY.by_name["osc_1_stack_style"].options.index("Octave")
    assert set(drawn.tolist()) == {0, octave}
    assert (drawn == octave).mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.slow
def test_what_a_factor_holds_together_leaves_its_default_together(source):
    level, pan = (values_of(source, f"osc_1_{name}")[FOLLOWS] for name in ("level", "pan"))
    moved = [values != REGISTRY.by_name[f"osc_1_{name}"].default for name, values in (("level", level), ("pan", pan))]
    assert [float(m.mean()) for m in moved] == pytest.approx([0.75, 0.75], abs=0.03)
    assert np.corrcoef(*moved)[0, 1] > 0.4
    assert level.max() <= 0.8  # the last quantile


@pytest.mark.slow
def test_the_other_patches_reach_all_of_every_full_prior(source):
    for name, low, high in (("osc_1_level", 0.2, 1.0), ("osc_1_transpose", -48, 48), ("osc_1_pan", -1, 1)):
        drawn = values_of(source, name)[~FOLLOWS]
        assert (drawn.max() - drawn.min()) / (high - low) > 0.97


def test_a_share_of_the_patches_and_no_less_than_a_tenth_knows_no_habit():
    assert (~follows_habits(np.arange(1000), 0.12)).sum() == 120
    with pytest.raises(SpecError, match=r"mine\.toml: full_share: must be at least 0\.1, not 0\.05"):
        parse_priors(b"full_share = 0.05", "mine.toml")


@pytest.mark.slow
def test_musical_modulation_ends_where_something_sounds_and_idle_sources_keep_their_defaults():
    source, init = SyntheticSource(SPEC, REGISTRY), Patch.init(REGISTRY)
    places = {c.name: i for i, c in enumerate(REGISTRY.categorical)}
    lfos = [i for i, c in enumerate(REGISTRY.continuous) if c.name.startswith("lfo_8_")]
    follows, connections = follows_habits(np.arange(200), shipped_priors("musical").full_share), 0
    for patch in (source.draw(index, 0) for index in np.flatnonzero(follows).tolist()):
        slots = patch.modulation_slots[patch.modulation_slots[:, SlotField.SOURCE] >= 0]
        connections += len(slots)
        for destination in slots[:, SlotField.DESTINATION].astype(int).tolist():
            module = REGISTRY.destinations[destination].rpartition("_")[0]
            assert patch.categorical[places[f"{module}_on"]] if f"{module}_on" in places else True
        if REGISTRY.source_index["lfo_8"] not in slots[:, SlotField.SOURCE]:
            np.testing.assert_array_equal(patch.continuous[lfos], init.continuous[lfos])
    assert connections > 200


@pytest.mark.slow
def test_oscillators_keep_the_init_presets_wavetable_as_often_as_people_leave_it():
    source, priors, init = SyntheticSource(SPEC, REGISTRY), shipped_priors("musical"), Patch.init(REGISTRY)
    follows = np.flatnonzero(follows_habits(np.arange(300), priors.full_share)).tolist()
    is_on = [[c.name for c in REGISTRY.categorical].index(f"osc_{n}_on") for n in (1, 2, 3)]
    kept = [
        own == there
        for patch in (source.draw(index, 0) for index in follows)
        for own, there, on in zip(patch.wavetables, init.wavetables, patch.categorical[is_on], strict=True)
        if on
    ]
    assert len(kept) > 300
    assert np.mean(kept) == pytest.approx(priors.wavetables.init, abs=0.07)


@pytest.mark.slow
def test_the_other_patches_are_modulated_as_nobody_does():
    source, priors = SyntheticSource(SPEC, REGISTRY), shipped_priors("musical")
    known = {(row.source, row.destination) for row in priors.connection}
    shares = []
    for follows in (True, False):
        places = np.flatnonzero(follows_habits(np.arange(100), priors.full_share) == follows).tolist()
        slots = np.concatenate([source.draw(index, 0).modulation_slots for index in places])
        routes = slots[slots[:, SlotField.SOURCE] >= 0][:, [SlotField.SOURCE, SlotField.DESTINATION]].astype(int)
        kinds = [(REGISTRY.sources[one], REGISTRY.destinations[other]) for one, other in routes.tolist()]
        shares.append(np.mean([tuple(re.sub(r"\d+", "N", end) for end in kind) in known for kind in kinds]))
    assert shares[0] == 1
    assert shares[1] < 0.3


@pytest.mark.slow
def test_what_modulation_moves_is_left_where_people_leave_it():
    text = b"""
    full_share = 0.25
    habit = [
      { control = "osc_1_level", quantiles = [0.6, 0.6, 0.6, 0.6, 0.7, 0.7, 0.7] },
      { control = "osc_1_distortion_type", options = { None = 1, "RM <- Osc" = 1 } },
    ]
    modulation.connections = [2, 2, 2, 2, 2, 2, 2]
    modulation.amount = [0, 0, 0, 0, 1, 1, 1]
    modulation.bipolar = 0
    modulation.stereo = 0
    modulation.numbers = {}
    connection = [
      { source = "lfo_N", destination = "osc_N_level", weight = 1, base = [0.1, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2] },
      { source = "env_N", destination = "osc_1_distortion_amount", weight = 1, base = [0, 0, 0.9, 0.9, 0.9, 1, 1] },
    ]
    """
    source = SyntheticSource(SPEC, REGISTRY, parse_priors(text, "mine.toml"))
    is_cut = []
    for patch in (source.draw(index, 0) for index in np.flatnonzero(FOLLOWS)[:200].tolist()):
        values = patch.values(REGISTRY)
        moved = {REGISTRY.destinations[int(slot[SlotField.DESTINATION])] for slot in patch.modulation_slots[:2]}
        low, high = (0.1, 0.2) if "osc_1_level" in moved else (0.6, 0.7)
        assert low - 1e-6 <= values["osc_1_level"] <= high + 1e-6
        kind = REGISTRY.by_name["osc_1_distortion_type"].options[int(values["osc_1_distortion_type"])]
        if values["osc_1_on"] and kind == "RM <- Osc":  # a constraint narrows it to 0.8
            assert values["osc_1_distortion_amount"] <= 0.8 + 1e-6
            is_cut.append("osc_1_distortion_amount" in moved)
    assert any(is_cut)


def test_a_patch_that_is_tried_again_keeps_what_is_hardly_why_it_was_refused_and_every_constraint():
    text = b"""
    full_share = 0.5
    habit = [{ control = "osc_1_pan", default_share = 1 }]
    constraint = [{ when = { chorus_on = ["On"] }, squeeze = { volume = [5000, 5100] }, reason = "mine" }]
    """
    source = SyntheticSource(DatasetSpec(tier=2), REGISTRY, parse_priors(text, "mine.toml"))
    places = {c.name: i for i, c in enumerate(REGISTRY.continuous)}
    volumes = []
    for index in range(1, 61, 2):  # every second one is drawn from the full priors
        first, again = (source.draw(index, attempt) for attempt in (0, 1))
        same = first.continuous == again.continuous
        assert same[places["lfo_3_frequency"]]
        assert same[places["chorus_feedback"]]
        assert not same[places["osc_1_phase"]]
        values = again.values(REGISTRY)
        volumes += [values["volume"]] if values["chorus_on"] else []
    assert len(volumes) > 5
    assert 5000 - 1e-3 <= min(volumes) <= max(volumes) <= 5100 + 1e-3


@pytest.mark.slow
def test_a_candidate_depends_on_nothing_but_its_slot():
    one, other = SyntheticSource(SPEC, REGISTRY), SyntheticSource(SPEC, REGISTRY)
    late = other.draw(900, 1).hash
    assert [one.draw(i, 0).hash for i in range(5)] == [other.draw(i, 0).hash for i in reversed(range(5))][::-1]
    assert one.draw(900, 1).hash == late


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            'habit = [{ control = "osc_1_levle", default_share = 1 }]',
            "no control 'osc_1_levle'; did you mean osc_1_level?",
        ),
        ('habit = [{ control = "filter_1_model", options = { Moog = 1 } }]', "filter_1_model has no option 'Moog'"),
        ('habit = [{ control = "filter_1_model", options = { Analog = -1 } }]', "must be at least 0, not -1"),
        ('habit = [{ control = "filter_1_model", options = { Analog = 0 } }]', "all zero"),
        (
            'habit = [{ control = "osc_1_level", default_share = 1.5 }]',
            "mine.toml: habit 1: default_share: must be at most 1, not 1.5",
        ),
        ('habit = [{ control = "osc_1_level", default_share = 0.5 }]', "needs quantiles, values or options"),
        ('habit = [{ control = "osc_1_level", quantiles = [0, 0, 0, 0, 0, 1, 9] }]', "beyond its range"),
        ('habit = [{ control = "osc_1_level", options = { On = 1 } }]', "needs quantiles or values"),
        ("factor = [{ loadings = { volum = 0.5 } }]", "a factor loads on 'volum'; did you mean volume?"),
        (
            "modulation = { connections = [1, 1, 1, 1, 1, 1, 1], amount = [0, 0, 0, 0, 0, 1, 1], bipolar = 0, "
            'stereo = 0, numbers = {} }\nhabit = [{ control = "osc_1_pan", default_share = 1 }]\nconnection = [{ '
            'source = "lfo_N", destination = "osc_N_level", weight = 1, base = [0, 0, 0, 0, 0, 0, 2] }]',
            "a connection leaves osc_1_level at 0..2, where it can't be",
        ),
        ("habits = []", "habits: is not a setting"),
        ("habit = [", "isn't a priors file"),
    ],
)
def test_a_file_that_the_synth_cannot_follow_is_refused_in_a_line(tmp_path: Path, text: str, complaint: str):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SpecError) as refused:
        SyntheticSource(DatasetSpec(), REGISTRY, load_priors(tmp_path / "mine.toml"))
    assert complaint in str(refused.value)
    assert "mine.toml" in str(refused.value)


def test_comments_do_not_count_and_numbers_do():
    assert parse_priors(HABITS + b"# mine", "a").digest == parse_priors(HABITS, "b").digest
    assert parse_priors(HABITS.replace(b"7 = 1", b"7 = 2"), "a").digest != parse_priors(HABITS, "a").digest


def test_priors_come_back_from_their_json():
    for priors in (shipped_priors("musical"), parse_priors(HABITS, "mine.toml")):
        assert Priors.model_validate_json(priors.model_dump_json()) == priors
