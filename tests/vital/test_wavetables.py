"""Wavetables: one form for equal tables, built-in ones that are heard, catalogs that add up, a search that survives."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from synthcore.base.errors import DatasetError, PresetError, SpecError
from synthcore.base.hashing import canonical_json, content_hash
from synthcore.engine.chunk import inflate
from synthcore.engine.client import Renderer
from synthcore.engine.play import migrate
from synthcore.engine.rendering import Performance, RenderFormat
from synthcore.flows.cli import main
from synthcore.ingest import wavetables as discovery
from synthcore.ingest.files import Refused, find
from synthcore.ingest.wav import read_wavetable
from synthcore.ingest.wavetables import CatalogRef, contents_fingerprint, places_to_search
from synthcore.vital.builtin import LAST_FRAME, LEVEL, PEAK, STEP
from synthcore.vital.catalog import Catalog, CatalogEntry, Sighting, builtin, catalog_of
from synthcore.vital.controls import VITAL_VERSION, Registry
from synthcore.vital.folders import vital_folders
from synthcore.vital.patch import NO_SAMPLE, OSCILLATORS, Patch, init_assets
from synthcore.vital.wavetable import canonical_wavetable, playable
from tests.conftest import REAL_PRESETS, needs_presets

FORMAT = RenderFormat(
    sample_rate=44100,
    places=1,
    render_seconds=0.2,
    min_rms_dbfs=-1000.0,
    max_peak=10.0,
    cpu_seconds=20,
)
#: Changes only on purpose, with the rows of every synthetic dataset.
BUILTIN_DIGEST = "494a8d07b536980d9dc047714be5846db44ec9d142436140697ea7d043474af2"


def document_of(*wavetables: dict[str, Any]) -> bytes:
    """A preset with these wavetables and nothing else of its own."""
    settings = {"sample": json.loads(NO_SAMPLE), "wavetables": wavetables}
    return json.dumps({"synth_version": VITAL_VERSION, "settings": settings}).encode()


def migrated(*wavetables: dict[str, Any]) -> list[dict[str, Any]]:
    """Wavetables as the synth writes them, after it has read them."""
    document = migrate(document_of(*wavetables))
    assert document is not None
    written: list[dict[str, Any]] = json.loads(document)["settings"]["wavetables"]
    return written[: len(wavetables)]


def table(name: str = "mine", seed: int = 0, **fields: Any) -> dict[str, Any]:
    """A wavetable as someone might have saved it: one frame of noise."""
    noise = np.random.default_rng(seed).uniform(-1, 1, 2048).astype("<f4")
    keyframe = {"position": 0, "wave_data": base64.b64encode(noise.tobytes()).decode()}
    source = {"type": "Wave Source", "interpolation": 1, "interpolation_style": 1, "keyframes": [keyframe]}
    flags = {"full_normalize": True, "remove_all_dc": True}
    labels = {"name": name, "author": "somebody", "version": "1.0.7"}
    return {**flags, **labels, "groups": [{"components": [source]}], **fields}


def recording(seed: int, phase_style: int) -> dict[str, Any]:
    """A wavetable made of a recording; with phase style 2 the seed draws its phases."""
    audio = (3000 * np.sin(np.arange(8192) / 20)).astype("<i2")
    source = {
        "type": "Audio File Source",
        "interpolation_style": 1,
        "keyframes": [{"position": 0, "start_position": 0.0, "window_fade": 1.0, "window_size": 2048.0}],
        "audio_file": base64.b64encode(audio.tobytes()).decode(),
        "audio_sample_rate": 44100,
        "fade_style": 0,
        "normalize_gain": False,
        "normalize_mult": True,
        "phase_style": phase_style,
        "random_seed": seed,
        "window_size": 2048.0,
    }
    return table(groups=[{"components": [source]}])


Play = Callable[[str, float], NDArray[np.float32]]


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    made = Renderer(FORMAT, 60.0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def play(renderer: Renderer, registry: Registry) -> Play:
    """Play a wavetable, given as it is written in a preset, on the init preset's first oscillator."""
    init = json.loads(Patch.init(registry).to_json(registry, init_assets(registry)))

    def rendered(wavetable: str, frame: float = 0.0) -> NDArray[np.float32]:
        wavetables = [json.loads(wavetable), *init["settings"]["wavetables"][1:]]
        changed = {"wavetables": wavetables, "osc_1_wave_frame": frame, "osc_1_random_phase": 0.0}
        document = json.dumps({**init, "settings": {**init["settings"], **changed}}).encode()
        outcome = renderer.render(document, (Performance(48, 100, 0.2),))
        assert outcome.fault is None
        return inflate(outcome.rows[0].chunk, (2, FORMAT.samples))

    return rendered


# --- The canonical form ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_wavetable_is_its_content_whoever_saved_it_under_whatever_name():
    one, other, third = migrated(table("a"), table("b", author="", version="1.5.5"), table("a", seed=1))
    assert canonical_wavetable(one) == canonical_wavetable(other) != canonical_wavetable(third)


@pytest.mark.slow
def test_what_is_played_is_canonical_json_with_the_labels_that_vital_asks_for():
    (wavetable,) = migrated(table())
    text = playable(canonical_wavetable(wavetable).decode())
    played = json.loads(text)
    assert text == canonical_json(played)
    assert played == {**wavetable, "author": "", "name": "", "version": VITAL_VERSION}


@pytest.mark.slow
def test_the_canonical_form_sounds_the_same_to_the_last_bit(play):
    for wavetable in migrated(table(), recording(7, phase_style=2), table(full_normalize=False)):
        as_written = play(json.dumps(wavetable), 0.0)
        assert (play(playable(canonical_wavetable(wavetable).decode()), 0.0) == as_written).all()


@pytest.mark.slow
def test_a_seed_counts_where_phases_are_drawn_by_it(play):
    drawn = [canonical_wavetable(w) for w in migrated(recording(7, 2), recording(8, 2))]
    idle = [canonical_wavetable(w) for w in migrated(recording(7, 0), recording(8, 0))]
    assert drawn[0] != drawn[1]
    assert idle[0] == idle[1]
    assert (play(playable(drawn[0].decode()), 0.0) != play(playable(drawn[1].decode()), 0.0)).any()


def require_fixed(canonical: list[bytes]) -> None:
    """The synth reads what is played, and writes it again: the canonical form is the same."""
    for start in range(0, len(canonical), OSCILLATORS):
        part = canonical[start : start + OSCILLATORS]
        again = migrated(*(json.loads(playable(content.decode())) for content in part))
        assert [canonical_wavetable(w) for w in again] == part


@pytest.mark.slow
def test_the_canonical_form_of_every_built_in_table_stays():
    require_fixed(list(builtin().assets.values()))


@pytest.mark.slow
@needs_presets
def test_the_canonical_form_of_real_tables_stays(registry):
    for file in sorted(REAL_PRESETS.rglob("*.vital"))[::3]:
        first = migrated(*json.loads(file.read_bytes())["settings"]["wavetables"])
        require_fixed([canonical_wavetable(w) for w in first])


# --- The built-in tables --------------------------------------------------------------------------------------------


def keyframes_of(content: bytes) -> NDArray[np.float64]:
    (source,) = json.loads(content)["groups"][0]["components"]
    waves = [np.frombuffer(base64.b64decode(k["wave_data"]), "<f4") for k in source["keyframes"]]
    return np.array(waves, dtype=np.float64)


def test_the_built_in_catalog_is_the_one_it_always_was():
    assert builtin().digest == BUILTIN_DIGEST
    assert len(builtin()) >= 25
    assert len({entry.name for entry in builtin().entries}) == len(set(builtin().assets)) == len(builtin())


@pytest.mark.slow
def test_another_processor_makes_the_same_built_in_catalog(fresh):
    code = """
import os
from numpy._core._multiarray_umath import __cpu_dispatch__
print(" ".join(__cpu_dispatch__))
"""
    features = fresh(code).stdout.strip()
    code = f"""
import os, warnings
warnings.simplefilter("ignore")  # NumPy warns of those that this processor lacks anyway
os.environ["NPY_DISABLE_CPU_FEATURES"] = {features!r}
from synthcore.vital.catalog import builtin
print(builtin().digest)
"""
    assert fresh(code, without=("vita", "prefect")).stdout.strip() == BUILTIN_DIGEST


@pytest.mark.parametrize("entry", builtin().entries, ids=lambda entry: entry.name)
def test_a_built_in_table_is_level_and_made_of_few_keyframes(entry: CatalogEntry):
    waves = keyframes_of(builtin().assets[entry.digest])
    rms = np.sqrt(np.mean(waves**2, axis=1))
    assert 2 <= len(waves) <= 8
    assert entry.frames == LAST_FRAME + 1
    assert (rms <= LEVEL + STEP).all()
    assert 20 * np.log10(rms.min() / LEVEL) > -6
    assert np.abs(waves).max() <= PEAK
    assert np.abs(waves.mean(axis=1)).max() < STEP
    assert (waves / STEP == np.round(waves / STEP)).all()


def spectrum(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """The normalised magnitudes of half a second in the middle."""
    magnitudes = np.abs(np.fft.rfft(audio[0, 2048:6144] * np.hanning(4096)))
    return np.asarray(magnitudes / np.linalg.norm(magnitudes), dtype=np.float64)


def decibels_between(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Root mean square difference of two spectra, where one of them is within 60 dB of its loudest."""
    levels = [np.maximum(20 * np.log10(s / s.max() + 1e-12), -60) for s in (one, other)]
    is_heard = np.maximum(*levels) > -60
    return float(np.sqrt(np.mean((levels[0] - levels[1])[is_heard] ** 2)))


@pytest.mark.long
def test_every_built_in_table_is_heard_and_changes_over_its_frames(play):
    init = 20 * np.log10(np.sqrt(np.mean(play(json.dumps(table()), 0.0) ** 2)))
    sounds = {}
    for entry in builtin().entries:
        text = playable(builtin().assets[entry.digest].decode())
        frames = [play(text, frame) for frame in (0, LAST_FRAME / 2, LAST_FRAME)]
        levels = [20 * np.log10(np.sqrt(np.mean(audio**2))) for audio in frames]
        spectra = [spectrum(audio) for audio in frames]
        assert max(levels) < init + 6, entry.name
        assert max(levels) - min(levels) < 6, entry.name
        assert min(decibels_between(*pair) for pair in pairwise(spectra)) > 3, entry.name
        sounds[entry.name] = spectra
    for one, other in combinations(sounds, 2):
        assert max(map(decibels_between, sounds[one], sounds[other])) > 3, (one, other)


# --- The catalog ----------------------------------------------------------------------------------------------------


def sightings() -> list[Sighting]:
    one, other = (canonical_wavetable(table(seed=seed)) for seed in (1, 2))
    return [
        Sighting(one, "Growl", "b/x.vital"),
        Sighting(one, "Init", "a/y.vital"),
        Sighting(one, "Growl", "c.vitalbank!z.vital"),
        Sighting(other, "Ünïcode 🎹", "a/y.vital"),
    ]


def test_a_catalog_keeps_every_name_how_often_and_where():
    catalog = catalog_of(sightings())
    entry = catalog.entries[catalog.index(sightings()[0].digest) or 0]
    assert (entry.name, entry.names, entry.count) == ("Growl", {"Growl": 2, "Init": 1}, 3)
    assert entry.places == ("a/y.vital", "b/x.vital", "c.vitalbank!z.vital")
    assert entry.frames == 1


def test_the_order_of_what_was_seen_leaves_no_trace():
    assert catalog_of(sightings()).to_json() == catalog_of(reversed(sightings())).to_json()


def test_found_tables_follow_the_built_in_ones_which_keep_their_place_and_name():
    mine = builtin().entries[3]
    seen = [*sightings(), Sighting(builtin().assets[mine.digest], "stolen", "d.vital")]
    merged = builtin().merged(catalog_of(seen))
    assert [e.digest for e in merged.entries[: len(builtin())]] == [e.digest for e in builtin().entries]
    found = [e.digest for e in merged.entries[len(builtin()) :]]
    assert found == sorted(found)
    assert len(found) == 2
    kept = merged.entries[3]
    assert (kept.name, kept.names, kept.count) == (mine.name, {"stolen": 1}, 1)
    assert merged == catalog_of(seen).merged(builtin())
    assert catalog_of(seen).entries[0].digest == mine.digest  # also where it is the only one
    assert all(merged.index(e.digest) == place for place, e in enumerate(merged.entries))
    assert merged.index("0" * 64) is None


def test_the_digest_is_of_the_tables_and_their_order_not_of_names():
    renamed = [replace(s, name="x") for s in sightings()]
    assert catalog_of(renamed).digest == catalog_of(sightings()).digest
    assert catalog_of(sightings()[:1]).digest != catalog_of(sightings()).digest


def test_a_catalog_comes_back_from_its_file(tmp_path):
    made = builtin().merged(catalog_of(sightings()))
    made.save(tmp_path / "made" / "catalog.json")
    back = Catalog.load(tmp_path / "made" / "catalog.json")
    assert (back, back.digest, back.assets) == (made, made.digest, made.assets)
    assert back.to_json() == made.to_json()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["catalog.json"]


def swap_a_wavetable(data: dict[str, Any]) -> None:
    data["entries"][0]["wavetable"] = data["entries"][1]["wavetable"]


def write_another_form(data: dict[str, Any]) -> None:
    """Change the text of a wavetable and everything derived from it."""
    text = data["entries"][0]["wavetable"].replace('"remove_all_dc":true', '"remove_all_dc": true')
    data["entries"][0] |= {"wavetable": text, "digest": hashlib.sha256(text.encode()).hexdigest()}
    digests = [entry["digest"] for entry in data["entries"]]
    data["digest"] = content_hash(digests)


def write_a_killer(data: dict[str, Any]) -> None:
    text = '{"full_normalize":true,"groups":[{"components":[{"type":"Bomb"}]}],"remove_all_dc":true}'
    data["entries"][0]["wavetable"] = text
    write_another_form(data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.update(format="synthcore wavetables 9"), "its format is 'synthcore wavetables 9'"),
        (lambda data: data.pop("entries"), "isn.t a wavetable catalog"),
        (lambda data: data.update(entries=[3]), "isn.t a wavetable catalog"),
        (lambda data: data["entries"][0].update(count="many"), "entries are missing or malformed"),
        (lambda data: data["entries"].pop(), "its contents aren.t those that were written"),
        (swap_a_wavetable, "its contents aren.t those that were written"),
        (write_another_form, "a wavetable isn.t in its canonical form"),
        (write_a_killer, "a type that the synth doesn't know"),
    ],
)
def test_a_file_that_is_no_catalog_is_refused_with_one_line(tmp_path, change, says):
    data = json.loads(catalog_of(sightings()).to_json())
    change(data)
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(data))
    with pytest.raises(DatasetError, match=says) as refused:
        Catalog.load(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1,2]", b"{}", b"[" * 100_000, b"null"])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.json"):
        Catalog.load(tmp_path / "x.json")
    with pytest.raises(DatasetError, match="can't read the catalog"):
        Catalog.load(tmp_path / "absent.json")


# --- Searching ------------------------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder such as people have: presets, a table, a bank, and other files."""
    folder = tmp_path / "library"
    (folder / "User" / "Presets").mkdir(parents=True)
    (folder / "User" / "Presets" / "one.vital").write_bytes(document_of(table("Growl", 1), table("Soft", 2)))
    (folder / "two.vital").write_bytes(document_of(table("Growl", 1, version="1.5.5"), table("Hard", 3)))
    (folder / "single.vitaltable").write_text(json.dumps(table("Single", 4)))
    with zipfile.ZipFile(folder / "bank.vitalbank", "w") as bank:
        bank.writestr("Ann/Presets/three.vital", document_of(table("Other", 1), table("Banked", 5)))
    (folder / "README.md").write_text("read me")
    return folder


def search(*places: Path, output: Path) -> tuple[CatalogRef, Catalog]:
    made = discovery.catalog_wavetables(places_to_search((), places), output, workers=2)
    return made, Catalog.load(output)


@pytest.mark.slow
def test_wavetables_are_found_in_presets_banks_and_files_of_their_own(library, tmp_path):
    made, catalog = search(library, output=tmp_path / "catalog.json")
    assert (made.files, made.seen, made.found, made.wavetables) == (4, 7, 5, len(builtin()) + 5)
    assert (made.digest, made.refused) == (catalog.digest, ())
    growl = next(entry for entry in catalog.entries if entry.name == "Growl")
    assert growl.names == {"Growl": 2, "Other": 1}
    assert growl.places == ("User/Presets/one.vital", "bank.vitalbank!Ann/Presets/three.vital", "two.vital")
    assert {e.name for e in catalog.entries[len(builtin()) :]} == {"Growl", "Soft", "Hard", "Single", "Banked"}


@pytest.mark.slow
def test_the_same_files_give_the_same_catalog_in_whatever_order_and_wherever(library, tmp_path):
    made, _ = search(library, output=tmp_path / "one.json")
    parts = tmp_path / "parts"
    shutil.copytree(library, parts / "z")
    (parts / "a").mkdir()
    shutil.move(parts / "z" / "two.vital", parts / "a")
    for order in ((parts / "a", parts / "z"), (parts / "z", parts / "a", parts / "a" / "two.vital")):
        other, _ = search(*order, output=tmp_path / "other.json")
        assert (tmp_path / "other.json").read_bytes() == (tmp_path / "one.json").read_bytes()
        assert other.digest == made.digest


def test_a_catalog_is_made_again_only_when_contents_change(library, tmp_path):
    digest = contents_fingerprint([library])
    copied = tmp_path / "elsewhere"
    shutil.copytree(library, copied)
    (copied / "README.md").touch()
    assert contents_fingerprint([copied]) == digest
    (copied / "two.vital").write_bytes(document_of(table("Growl", 9)))
    assert contents_fingerprint([copied]) != digest


@pytest.mark.slow
def test_bad_files_are_reported_and_cost_nothing_else(library, tmp_path):
    (library / "broken.vital").write_text('{"settings": {')
    (library / "killer.vital").write_bytes(document_of(table(groups=[{"components": [{"type": "Bomb"}]}])))
    (library / "many.vital").write_bytes(document_of(*(table(seed=n) for n in range(4))))
    (library / "odd.vital").write_text(json.dumps({"settings": {"wavetables": {"0": 1}}}))
    (library / "ancient.vitaltable").write_text(json.dumps({"groups": [{"components": [{"type": 3}]}]}))
    (library / "no tables.vital").write_text(json.dumps({"settings": {}}))
    made, catalog = search(library, output=tmp_path / "catalog.json")
    refused = {refusal.file: refusal.reason for refusal in made.refused}
    assert refused.keys() == {"broken.vital", "killer.vital", "many.vital", "odd.vital", "ancient.vitaltable"}
    assert all(reason and "\n" not in reason for reason in refused.values())
    assert len(catalog) == len(builtin()) + 5
    assert "left out 5 files:" in made.to_text()


def test_names_of_any_kind_become_one_printable_line(tmp_path):
    names = ["x" * 10_000, "line\nbreak\x1b[31m", "名前 🎹", ""]
    for number, name in enumerate(names):
        (tmp_path / f"{number}.vitaltable").write_text(json.dumps(table(name, seed=number)))
    made, catalog = search(tmp_path, output=tmp_path / "catalog.json")
    kept = {name for entry in catalog.entries for name in entry.names}
    assert len(kept) == 4
    assert all(name.isprintable() and len(name) <= 200 for name in kept)
    assert {"名前 🎹", ""} <= kept
    made.to_text().encode()


def test_finding_nothing_gives_the_built_in_catalog(tmp_path):
    made, catalog = search(output=tmp_path / "catalog.json")
    assert catalog == builtin()
    assert (made.digest, made.found, made.files) == (builtin().digest, 0, 0)
    assert f"{len(builtin())} of them built in, 0 found" in made.to_text()


def test_places_are_searched_once_in_one_order(tmp_path):
    for name in ("b", "a", "b/inside"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    given = [tmp_path / name for name in ("b/inside", "b", "link", "a")]
    assert places_to_search([tmp_path / "b"], given) == [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(SpecError, match="there is no .*nowhere"):
        places_to_search((), [tmp_path / "nowhere"])


def test_vital_keeps_its_things_in_a_place_for_each_system(tmp_path, monkeypatch):
    home, windows = tmp_path / "home", tmp_path / "Users"
    places = [home / ".local/share/vital", home / "Music/Vital", windows / "Ann/Documents/Vital"]
    places.append(windows / "Bob/OneDrive/Documents/Vital")
    assert vital_folders(home, windows) == []
    for place in places:
        place.mkdir(parents=True)
    assert vital_folders(home, windows) == places
    (tmp_path / "data" / "vital").mkdir(parents=True)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(home))
    assert vital_folders(windows_users=windows) == [places[0], tmp_path / "data" / "vital", *places[1:]]


def test_a_folder_that_is_not_there_costs_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["discover-wt", "--extra-dir", "nowhere", "--data-dir", "data"]) == 2
    said = capsys.readouterr()
    assert said.err == f"synthcore: there is no {tmp_path}/nowhere to search; name a folder or file that exists\n"
    assert list(tmp_path.iterdir()) == []


# --- The command ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_command_makes_a_catalog_and_finds_it_there_again(cli, library):
    surroundings = {"HOME": str(cli.folder), "XDG_DATA_HOME": ""}

    def discover(*flags: object) -> dict[str, Any]:
        found: dict[str, Any] = cli.json("discover-wt", "--data-dir", "data", *flags, env=surroundings)
        return found

    single, rest = cli.folder / "single.vitaltable", ("--extra-dir", library, "--extra-dir", library / "User")
    shutil.move(library / "single.vitaltable", single)
    first = discover(*rest, "--extra-file", single)
    path = cli.folder / "data" / "catalog.json"
    assert (first["path"], first["found"], first["files"]) == (str(path), 5, 4)
    written = path.stat().st_mtime_ns
    assert discover("--extra-file", single, *rest) == first
    assert path.stat().st_mtime_ns == written  # cached

    path.unlink()
    assert discover(*rest, "--extra-file", single) == first
    assert Catalog.load(path).digest == first["digest"]

    path.write_text(path.read_text().replace("Growl", "Howl"))
    assert discover(*rest, "--extra-file", single) == first
    assert Catalog.load(path).entries[-1].name != "Howl"

    (library / "two.vital").unlink()
    assert discover(*rest, "--extra-file", single, "-o", "other.json")["found"] == 4

    said = cli.run("discover-wt", "--data-dir", "data", env=surroundings)
    assert f"{len(builtin())} of them built in, 0 found" in said.stdout
    assert f"next: synthcore generate --catalog {path}" in said.stdout


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.update(frames=2),
        lambda entry: entry.update(frames=10**30),
        lambda entry: entry.update(name="\ud800"),
        lambda entry: entry.update(name="x\x00y"),
        lambda entry: entry.update(names={"n" * 10_000: 1}),
    ],
)
def test_a_catalog_that_a_hand_has_changed_is_refused(change):
    data = json.loads(builtin().to_json())
    change(data["entries"][0])
    with pytest.raises(DatasetError, match="isn.t a wavetable catalog"):
        Catalog.from_json(json.dumps(data))


def test_a_catalog_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DatasetError, match="isn.t a file"):
        Catalog.load(tmp_path / "pipe.json")


# --- WAV files ------------------------------------------------------------------------------------------------------


def waves(frames: int, size: int = 2048, seed: int = 0) -> NDArray[np.float32]:
    """Frames of the first eight harmonics, each in amounts of its own."""
    random, phase = np.random.default_rng(seed), np.arange(size) / size
    amounts = random.uniform(0.02, 0.1, (frames, 8))
    return np.stack([sum(a * np.sin(2 * np.pi * n * phase) for n, a in enumerate(f, 1)) for f in amounts]).astype("f4")


def wav(frames: NDArray[np.float32], subtype: str = "FLOAT", clm: bytes = b"", channels: int = 1) -> bytes:
    """A WAV file of frames, in a first channel; the others hold something else."""
    audio = np.stack([frames.ravel(), *(-frames.ravel() for _ in range(channels - 1))], axis=1)
    file = io.BytesIO()
    soundfile.write(file, audio, 44100, format="WAV", subtype=subtype)
    content = file.getvalue()
    if not clm:
        return content
    chunk = b"clm " + struct.pack("<I", len(clm)) + clm + bytes(len(clm) % 2)
    content = content[:12] + chunk + content[12:]
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def stored(catalog: Catalog) -> NDArray[np.float32]:
    """The keyframes of the one wavetable that a catalog has besides those built in, as the synth wrote them."""
    (entry,) = catalog.entries[len(builtin()) :]
    content = json.loads(catalog.assets[entry.digest])
    keyframes = content["groups"][0]["components"][0]["keyframes"]
    assert [keyframe["position"] for keyframe in keyframes] == list(range(len(keyframes)))
    assert entry.frames == len(keyframes)
    return np.stack([np.frombuffer(base64.b64decode(k["wave_data"]), "<f4") for k in keyframes])


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_16", 2.0**-15), ("PCM_24", 2.0**-23), ("PCM_32", 2.0**-24), ("FLOAT", 0.0)]
)
def test_a_wav_is_a_wavetable_of_its_frames(tmp_path, subtype, step):
    frames = waves(5)
    (tmp_path / "Growl Bass.wav").write_bytes(wav(frames, subtype))
    made, catalog = search(tmp_path / "Growl Bass.wav", output=tmp_path / "catalog.json")
    assert (made.files, made.found, made.refused) == (1, 1, ())
    assert catalog.entries[-1].name == "Growl Bass"
    assert abs(stored(catalog) - frames).max() <= step


@pytest.mark.slow
def test_the_synth_plays_the_frames_of_a_wav(tmp_path, play):
    """`wave_frame` k plays frame k: its first eight harmonics in the amounts that the file has."""
    frames = waves(3)
    (tmp_path / "x.wav").write_bytes(wav(frames))
    _, catalog = search(tmp_path, output=tmp_path / "catalog.json")
    text = playable(catalog.assets[catalog.entries[-1].digest].decode())
    pitch = 440 * 2 ** ((48 - 69) / 12)
    for place, frame in enumerate(frames):
        sound = play(text, float(place))[0][2205:7717].astype("f8")  # held, in its middle
        times = np.arange(len(sound)) / 44100
        window = np.hanning(len(sound))
        tones = [np.exp(-2j * np.pi * n * pitch * times) for n in range(1, 9)]
        heard = np.array([abs(np.sum(sound * window * tone)) for tone in tones])
        asked = abs(np.fft.rfft(frame))[1:9]
        np.testing.assert_allclose(heard / heard.sum(), asked / asked.sum(), rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 256, 600, 2048])
def test_the_clm_chunk_says_how_long_frames_are(tmp_path, size):
    frames = waves(4, size)
    (tmp_path / "x.wav").write_bytes(wav(frames, clm=b"<!>%d 10000000 wavetable (www.xferrecords.com)" % size))
    _, catalog = search(tmp_path, output=tmp_path / "catalog.json")
    if size > 16:  # of which the eighth harmonic is half missing: a sine of it is 0 at all 16 samples
        np.testing.assert_allclose(stored(catalog), waves(4), atol=1e-6)
    assert len(stored(catalog)) == 4


def test_of_a_stereo_wav_the_left_channel_is_taken(tmp_path):
    (tmp_path / "x.wav").write_bytes(wav(waves(2), channels=2))
    _, catalog = search(tmp_path, output=tmp_path / "catalog.json")
    np.testing.assert_array_equal(stored(catalog), waves(2))


@pytest.mark.slow
def test_a_wavetable_has_up_to_257_frames(tmp_path):
    (tmp_path / "x.wav").write_bytes(wav(waves(257), "PCM_16"))
    made, catalog = search(tmp_path, output=tmp_path / "catalog.json")
    assert (made.refused, catalog.entries[-1].frames) == ((), 257)


NOT_A_TABLE = {
    "a recording": (wav(waves(1)[:, :2000]), "a recording, not a wavetable: 2,000 samples, not a whole number of"),
    "too many": (wav(waves(258), "PCM_16"), "258 frames of 2,048 samples; a wavetable has at most 257"),
    "8 bit": (wav(waves(1), "PCM_U8"), "not a WAV file of 16 bit, 24 bit, 32 bit, 32 bit float"),
    "double": (wav(waves(1), "DOUBLE"), "not a WAV file of 16 bit, 24 bit, 32 bit, 32 bit float"),
    "no audio": (wav(waves(1)[:, :0]), "a recording, not a wavetable: 0 samples"),
    "silent": (wav(waves(1) * 0), "it is silent"),
    "not finite": (wav(waves(1) * np.nan), "it holds a sample that isn't finite"),
    "too large": (wav(np.full((4, 256), 3e38), clm=b"<!>256 "), "its samples are too large to be resampled"),
    "cut": (wav(waves(1))[:30], "not a WAV file that can be read: "),
    "text": (b"hello", "not a WAV file that can be read: "),
    "long frames": (wav(waves(2), clm=b"<!>4096 0"), "its clm chunk names no frame size from 16 to 2,048 samples"),
    "odd chunk": (wav(waves(2), clm=b"<!>many"), "its clm chunk names no frame size"),
    "digits": (wav(waves(2), clm=b"<!>" + b"9" * 5000), "its clm chunk names no frame size"),
    "part of a frame": (
        wav(waves(2)[:, :1000], clm=b"<!>300 "),
        "a recording, not a wavetable: 2,000 samples, not a whole number of frames of 300",
    ),
}


@pytest.mark.parametrize(("content", "said"), NOT_A_TABLE.values(), ids=NOT_A_TABLE)
def test_a_wav_that_is_not_a_wavetable_is_refused_with_its_reason(tmp_path, content, said):
    (tmp_path / "x.wav").write_bytes(content)
    made, _ = search(tmp_path, output=tmp_path / "catalog.json")
    (refused,) = made.refused
    assert (refused.file, refused.reason[: len(said)]) == ("x.wav", said)
    assert "\n" not in refused.reason


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 9000))
@settings(max_examples=200, deadline=None)
def test_a_damaged_wav_is_read_or_refused_and_nothing_else(damage, length):
    content = bytearray(wav(waves(1), "PCM_16", clm=b"<!>2048 "))
    for place, value in damage:
        content[place] = value
    with contextlib.suppress(PresetError):
        read_wavetable(bytes(content[:length]), "x")


@pytest.mark.slow
def test_wavs_are_found_in_folders_and_archives_but_not_among_samples(tmp_path):
    folder = tmp_path / "library"
    for place in ("Wavetables", "Samples", "User/Samples/Drums"):
        (folder / place).mkdir(parents=True)
        (folder / place / f"{len(place)}.WAV").write_bytes(wav(waves(2, seed=len(place))))
    with zipfile.ZipFile(folder / "bank.vitalbank", "w") as bank:
        bank.writestr("Ann/Wavetables/Banked.wav", wav(waves(2, seed=99)))
        bank.writestr("Ann/Samples/kick.wav", wav(waves(2, seed=98)))
    made, catalog = search(folder, output=tmp_path / "catalog.json")
    assert {entry.name for entry in catalog.entries[len(builtin()) :]} == {"10", "Banked"}
    assert (made.files, made.refused) == (2, ())


def test_who_looks_for_presets_passes_wavs_over(tmp_path):
    (tmp_path / "kick.wav").write_bytes(wav(waves(1)))
    assert list(find(tmp_path)) == []
    (refused,) = find(tmp_path / "kick.wav")
    assert isinstance(refused, Refused)
    assert refused.reason.startswith("not a preset: a WAV file")
