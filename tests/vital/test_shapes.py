"""Built-in shapes and samples: equal everywhere, kept by the synth as they are, and heard."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthcore.base.hashing import canonical_json, content_hash
from synthcore.engine.chunk import inflate
from synthcore.engine.client import Renderer
from synthcore.engine.play import migrate
from synthcore.engine.rendering import Performance, RenderFormat
from synthcore.vital.controls import Registry
from synthcore.vital.noises import PEAK, builtin_sample_name, builtin_samples
from synthcore.vital.patch import Patch, init_assets
from synthcore.vital.reading import read_preset
from synthcore.vital.shapes import KINDS, LFOS, builtin_digest, builtin_name, builtin_shapes, canonical_line
from synthcore.vital.validation import require_loadable

FORMAT = RenderFormat(
    sample_rate=22050,
    places=1,
    render_seconds=0.25,
    min_rms_dbfs=-1000.0,
    max_peak=10.0,
    cpu_seconds=20,
)
#: These change only on purpose, with the rows of every dataset that draws shapes.
SHAPES_DIGEST = "04ffd76774b5ec30e0d01976901aa616f26951499605394706984b9250f57465"
SAMPLES_DIGEST = "6e3f7bbc76a9c93cc2ddc29f79baf47bc82254fe53d426e7d4d0147b0d1ecda9"
SHAPES = builtin_shapes()

Document = dict[str, Any]


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    made = Renderer(FORMAT, 60.0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def init(registry: Registry) -> Document:
    """The init preset, whose first LFO opens the level once in the time of a note."""
    document: Document = json.loads(Patch.init(registry).to_json(registry, init_assets(registry)))
    settings = document["settings"]
    settings["modulations"][0] = {"source": "lfo_1", "destination": "osc_1_level"}
    settings |= {"modulation_1_amount": 1.0, "osc_1_level": 0.0, "osc_1_random_phase": 0.0}
    settings |= {"lfo_1_sync": 0.0, "lfo_1_frequency": 2.0}  # 4 Hz: the frequency is an exponent of 2
    return document


def with_settings(document: Document, **settings: Any) -> bytes:
    return json.dumps({**document, "settings": {**document["settings"], **settings}}).encode()


def played(renderer: Renderer, preset: bytes) -> NDArray[np.float32]:
    outcome = renderer.render(preset, (Performance(note=60, velocity=100, note_seconds=0.25),))
    assert outcome.fault is None
    return inflate(outcome.rows[0].chunk, (2, FORMAT.samples))


def heights(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """How loud each sixteenth of a sound is."""
    parts = np.array_split(audio.astype(float), 16, axis=1)
    return np.array([np.sqrt((part**2).mean()) for part in parts])


def test_the_library_is_the_same_on_every_machine():
    assert builtin_digest() == SHAPES_DIGEST
    assert content_hash([digest for _, digest, _ in builtin_samples()]) == SAMPLES_DIGEST


def test_shapes_are_named_once_and_none_is_another_or_the_init_presets(registry):
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
    assert {shape.kind for shape in SHAPES} == set(KINDS)
    lines = {canonical_json(shape.line) for shape in SHAPES}
    assert len(lines) == len(SHAPES)
    assert canonical_json(canonical_line(registry.init["lfos"][0])) not in lines


def test_a_shape_is_known_by_its_points_whatever_it_is_called(registry):
    for shape in SHAPES:
        assert builtin_name({**shape.line, "name": "mine"}) == shape.name
        assert builtin_name({**shape.line, "powers": [0.5] * shape.line["num_points"]}) is None
    assert builtin_name(registry.init["lfos"][0]) is None


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(SHAPES), LFOS))
def test_the_synth_takes_every_shape_and_writes_it_again_bit_for_bit(first, init, registry):
    lines = [shape.line for shape in SHAPES[first : first + LFOS]]
    lines += [SHAPES[0].line] * (LFOS - len(lines))
    preset = with_settings(init, lfos=lines)
    require_loadable(json.loads(preset), registry)
    document = migrate(preset)
    assert document is not None
    assert [canonical_line(lfo) for lfo in json.loads(document)["settings"]["lfos"]] == lines


@pytest.mark.slow
def test_a_preset_with_a_built_in_shape_is_read_as_that_shape(init, registry):
    lines = [SHAPES[0].line, *registry.init["lfos"][1:]]
    read = read_preset(with_settings(init, lfos=lines), registry)
    assert read.patch.extras.lfos is not None
    assert [builtin_name(lfo) for lfo in json.loads(read.assets[read.patch.extras.lfos])] == ["Ramp Up"] + [None] * 7


@pytest.mark.slow
def test_every_shape_is_heard_when_it_opens_the_level(init, renderer):
    """Each in its own way, and none as the init preset's triangle."""
    usual = played(renderer, with_settings(init))
    sounds = {"Triangle": usual}
    for shape in SHAPES:
        sounds[shape.name] = played(renderer, with_settings(init, lfos=[shape.line, *init["settings"]["lfos"][1:]]))
    for one, other in combinations(sounds, 2):
        assert np.abs(sounds[one] - sounds[other]).max() > 1e-3, (one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "is_rising"), [("Ramp Up", True), ("Steps Up 4", True), ("Ramp Down", False), ("Smooth Fall", False)]
)
def test_a_shape_goes_where_its_name_says(name, is_rising, init, renderer):
    line = next(shape.line for shape in SHAPES if shape.name == name)
    loud = heights(played(renderer, with_settings(init, lfos=[line, *init["settings"]["lfos"][1:]])))
    early, late = loud[1:5].mean(), loud[10:14].mean()
    assert (late > 2 * early) if is_rising else (early > 2 * late)


@pytest.mark.slow
def test_a_straight_curve_changes_nothing_and_any_other_does(init, renderer):
    def through(line: Document) -> NDArray[np.float32]:
        route = {**init["settings"]["modulations"][0], "line_mapping": line}
        return played(renderer, with_settings(init, modulations=[route, *init["settings"]["modulations"][1:]]))

    usual = played(renderer, with_settings(init))
    for shape in SHAPES[::8]:  # the first of them is the straight one
        is_same = bool((through(shape.line) == usual).all())
        assert is_same == shape.is_straight, shape.name
    assert [shape.name for shape in SHAPES if shape.is_straight] == [SHAPES[0].name]


def test_samples_are_noises_of_full_height_around_zero(init, registry):
    assert len({name for name, _, _ in builtin_samples()}) == len(builtin_samples())
    for name, digest, content in builtin_samples():
        assert digest == hashlib.sha256(content).hexdigest()
        assert builtin_sample_name(digest) == name
        sample = json.loads(content)
        require_loadable(json.loads(with_settings(init, sample=sample)), registry)
        wave = np.frombuffer(base64.b64decode(sample["samples"]), "<i2").astype(int)
        assert len(wave) == sample["length"]
        assert abs(wave).max() == PEAK
        assert abs(wave.mean()) < 50


@pytest.mark.slow
def test_every_sample_is_heard_and_none_as_another(init, renderer):
    alone = {"osc_1_on": 0.0, "sample_on": 1.0, "sample_random_phase": 0.0}
    sounds = {"White Noise": played(renderer, with_settings(init, **alone))}
    for name, _, content in builtin_samples():
        sounds[name] = played(renderer, with_settings(init, **alone, sample=json.loads(content)))
        assert np.sqrt((sounds[name] ** 2).mean()) > 1e-3, name
    for one, other in combinations(sounds, 2):
        assert np.abs(sounds[one] - sounds[other]).max() > 1e-3, (one, other)


def test_noises_differ_in_colour(init):
    """Brown falls faster than pink, pink than white; blue rises."""

    def tilt(name: str) -> float:
        content = next(content for known, _, content in builtin_samples() if known == name)
        wave = np.frombuffer(base64.b64decode(json.loads(content)["samples"]), "<i2").astype(float)
        power = np.abs(np.fft.rfft(wave)) ** 2
        return 10 * np.log10(power[1000:4000].mean() / power[200:800].mean())  # dB from 1 kHz to 5 kHz

    assert tilt("Brown Noise") < tilt("Pink Noise") - 4 < -6
    assert tilt("Blue Noise") > 6
