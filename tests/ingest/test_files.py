"""Finding and checking presets: hostile ones are refused with a reason, and what passes doesn't kill the synth."""

from __future__ import annotations

import base64
import copy
import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from synthcore.base.errors import PresetError
from synthcore.engine import faults
from synthcore.engine.lending import borrow_renderer
from synthcore.engine.rendering import Performance, RenderFormat
from synthcore.ingest import files
from synthcore.ingest.files import Found, Refused, find
from synthcore.vital import parsing, validation
from synthcore.vital.controls import Registry, installed
from synthcore.vital.fields import FLAG, Span
from synthcore.vital.parsing import load, parse
from synthcore.vital.patch import Patch, init_assets
from synthcore.vital.validation import mend, require_loadable, require_wavetable
from tests.conftest import REAL_PRESETS, needs_presets

TIMEOUT_SECONDS = 60.0
#: As short as a render can be: what kills the synth does so while loading or in the first block.
FORMAT = RenderFormat(
    sample_rate=22050,
    places=1,
    render_seconds=0.05,
    min_rms_dbfs=-1000.0,
    max_peak=1e9,
    cpu_seconds=20,
)
PRESET = b'{"settings": {}}'
WAVETABLE = b'{"groups": [], "name": "Sine", "version": "1.0.7"}'

Document = dict[str, Any]


def init_document(registry: Registry) -> Document:
    document: Document = json.loads(Patch.init(registry).to_json(registry, init_assets(registry)))
    return document


@pytest.fixture
def document(registry: Registry) -> Document:
    return init_document(registry)


# --- Finding -----------------------------------------------------------------------------------------------------


def archive(contents: dict[str, bytes], **how: Any) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", **{"compression": zipfile.ZIP_DEFLATED, **how}) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return packed.getvalue()


def what_is_found(root: Path) -> dict[str, str]:
    """For each file, what kind it is, or why it was refused."""
    return {f.file: f.kind if isinstance(f, Found) else f.reason for f in find(root)}


def test_presets_are_told_by_what_they_hold(tmp_path):
    contents = {
        "a preset.vital": PRESET,
        "bank.vitalbank": archive({"Me/Presets/x.vital": PRESET, "Me/Wavetables/y.vitaltable": WAVETABLE}),
        "called a preset.vital": WAVETABLE,
        "called a table.VITALTABLE": PRESET,
        "packed, and called a preset.vital": archive({"p.vital": PRESET}),
        "unpacked, and called a bank.vitalbank": PRESET,
        "with a mark.vital": b"\xef\xbb\xbf" + PRESET,
        "README.md": b"about",
        "noise.wav": b"RIFF",
        "settings.json": PRESET,
        "sounds.zip": archive({"noise.wav": b"RIFF"}),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = list(find(tmp_path))
    assert what_is_found(tmp_path) == {
        "a preset.vital": "preset",
        "bank.vitalbank!Me/Presets/x.vital": "preset",
        "bank.vitalbank!Me/Wavetables/y.vitaltable": "wavetable",
        "called a preset.vital": "wavetable",
        "called a table.VITALTABLE": "preset",
        "packed, and called a preset.vital!p.vital": "preset",
        "unpacked, and called a bank.vitalbank": "preset",
        "with a mark.vital": "preset",
    }
    assert [f.file for f in found] == sorted(f.file for f in found)
    assert found[0] == Found(tmp_path, "a preset.vital", "preset", PRESET)


def test_one_file_can_be_searched_too(tmp_path):
    path = tmp_path / "x.vital"
    path.write_bytes(PRESET)
    assert what_is_found(path) == {"x.vital": "preset"}
    link = tmp_path / "link.vital"
    link.symlink_to(path)
    assert what_is_found(link) == {"link.vital": "preset"}
    assert what_is_found(tmp_path / "gone.vital") == {"gone.vital": "can't be read: No such file or directory"}


STRANGE_FILES = {
    "empty": (b"", "an empty file"),
    "truncated": (b'{"settings": {"volume": 1', "not JSON"),
    "binary": (bytes(range(256)), "not UTF-8 text"),
    "medical": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "medical VitalRecorder"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
    "other-json": (b'{"patients": []}', "neither a preset nor a wavetable"),
    "list": (b"[1, 2]", "neither a preset nor a wavetable"),
    "nan": (b'{"settings": {"volume": NaN}}', "isn't finite: NaN"),
    "infinity": (b'{"settings": {"volume": -Infinity}}', "isn't finite: -Infinity"),
    "overflow": (b'{"settings": {"volume": 1e999}}', "isn't finite: 1e999"),
    "digits": (b'{"settings": {"volume": ' + b"9" * 5000 + b"}}", "a number of 5,000 digits"),
    "half-character": (b'{"settings": {}, "author": "\\ud800"}', "not UTF-8 text"),
    "brackets": (b"[" * parsing.MAX_BYTES, "far more values"),
    "quotes": (b'"' * parsing.MAX_BYTES, "far more values"),
    "deep": (b'{"settings": ' + b"[" * 1000 + b"]" * 1000 + b"}", "nested deeper than 64"),
    "too-large": (b" " * (parsing.MAX_BYTES + 1), "larger than 64 MB"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("content", "reason"), STRANGE_FILES.values(), ids=STRANGE_FILES.keys())
def test_what_only_claims_to_be_a_preset_is_refused_and_the_search_goes_on(tmp_path, content, reason):
    (tmp_path / "a.vital").write_bytes(content)
    (tmp_path / "b.vital").write_bytes(PRESET)
    refused, found = find(tmp_path)
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert "\n" not in refused.reason
    assert isinstance(found, Found)


def test_brackets_inside_a_name_are_no_depth():
    assert load(json.dumps({"settings": {}, "preset_name": '\\"[[{{' * 1000}).encode())


def test_links_are_not_followed_and_pipes_not_opened(tmp_path):
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.vital").write_bytes(PRESET)
    (root / "inner" / "own.vital").write_bytes(PRESET)
    (root / "file out.vital").symlink_to(outside / "secret.vital")
    (root / "folder out").symlink_to(outside)
    (root / "folder round").symlink_to(root)
    (root / "device.vital").symlink_to("/dev/zero")
    (root / "nowhere.vital").symlink_to(outside / "gone")
    (root / "round.vital").symlink_to(root / "round.vital")
    (root / "own again.vital").symlink_to(root / "inner" / "own.vital")
    (root / "readme out").symlink_to("/etc/hostname")
    os.mkfifo(root / "pipe.vital")
    (root / "folder.vital").mkdir()
    assert what_is_found(root) == {
        "device.vital": "a link that leads out of the folder",
        "file out.vital": "a link that leads out of the folder",
        "folder out": "a link that leads out of the folder",
        "inner/own.vital": "preset",
        "nowhere.vital": "a link that leads nowhere",
        "pipe.vital": "not a regular file",
        "round.vital": "a link that leads nowhere",
    }
    assert what_is_found(root / "pipe.vital") == {"pipe.vital": "not a regular file"}


def test_only_the_folder_is_opened_and_only_for_reading(tmp_path, fresh):
    """Python itself reports every file that is opened."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "x.vital").write_bytes(PRESET)
    (root / "out.vital").symlink_to("/etc/hostname")
    (root / "slip.zip").write_bytes(archive({"../slipped.vital": PRESET, "fine.vital": PRESET}))
    code = """
import os
from pathlib import Path
from synthcore.ingest.files import find
opened = []
def listen(event, arguments):
    if event in ("open", "os.scandir", "os.mkdir", "os.rename", "os.remove", "subprocess.Popen", "socket.connect"):
        opened.append((event, *map(str, arguments)))
root = Path(sys.argv[1])
found = list(find(root))  # Python's own modules, once
sys.addaudithook(listen)
assert list(find(root)) == found
print(len(found), len(opened))
for event, path, *how in opened:
    if event != "os.scandir" and not path.isdigit():  # a number is a file that was opened before, by its path
        assert event == "open" and not int(how[-1]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT), (event, path, how)
    assert path.isdigit() or Path(path).is_relative_to(root), (event, path)
"""
    found, opened = map(int, fresh(code, root).stdout.split())
    assert found == 4
    assert opened >= 3
    assert {p.name for p in tmp_path.rglob("*")} == {"root", "x.vital", "out.vital", "slip.zip"}


def test_names_of_every_script_and_of_no_script_are_told_in_one_line(tmp_path):
    for name in ("音色", "звук", "صوت", "🎹", "a\nb", "\x1b[31m", "e\u0301"):
        (tmp_path / f"{name}.vital").write_bytes(b"no")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.vital"))).write_bytes(PRESET)
    named = [each.file.removesuffix(".vital") for each in find(tmp_path)]
    assert sorted(named) == sorted(["音色", "звук", "صوت", "🎹", "a\ufffdb", "\ufffd[31m", "e\u0301", "\ufffd"])


def test_a_folder_of_too_many_files_is_not_read_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILES", 20)
    for number in range(30):
        (tmp_path / f"{number}.vital").write_bytes(PRESET)
    assert what_is_found(tmp_path) == {".": "holds more than 20 files; name a folder inside it"}


def test_the_files_of_git_and_macos_are_passed_over(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.vital").write_bytes(PRESET)
    (tmp_path / "._x.vital").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "x.zip").write_bytes(archive({"__MACOSX/._x.vital": b"\x00", "x.vital": PRESET}))
    assert what_is_found(tmp_path) == {"x.zip!x.vital": "preset"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused(tmp_path):
    (tmp_path / "x.vital").write_bytes(PRESET)
    (tmp_path / "x.vital").chmod(0)
    assert what_is_found(tmp_path) == {"x.vital": "can't be read: Permission denied"}


# --- Archives ----------------------------------------------------------------------------------------------------


SLIPS = ["../x.vital", "a/../../x.vital", "/etc/x.vital", "C:/x.vital", "..\\x.vital", "C:\\x.vital"]


@pytest.mark.parametrize("name", SLIPS)
def test_an_entry_that_leads_out_of_its_archive_is_refused(tmp_path, name):
    (tmp_path / "bank.vitalbank").write_bytes(archive({name: PRESET, "fine.vital": PRESET}))
    found = what_is_found(tmp_path)
    assert "its name leads out of the archive" in found.values()
    assert found["bank.vitalbank!fine.vital"] == "preset"


def test_zip_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    zeros = bytes(10_000_000)
    (tmp_path / "ratio.zip").write_bytes(archive({"x.vital": zeros}))
    (tmp_path / "size.zip").write_bytes(lie_about_the_size(archive({"x.vital": PRESET}), parsing.MAX_BYTES + 1))
    (tmp_path / "overlap.zip").write_bytes(overlapping())
    (tmp_path / "nested.zip").write_bytes(archive({"inner.zip": archive({"x.vital": PRESET})}))
    monkeypatch.setattr(files, "MAX_ENTRIES", 100)
    (tmp_path / "many.zip").write_bytes(archive({f"{n}.vital": PRESET for n in range(101)}))
    assert what_is_found(tmp_path) == {
        "many.zip": "an archive of more than 100 files",
        "nested.zip!inner.zip": "an archive in an archive",
        "overlap.zip": "a zip bomb: its files lie over each other",
        "ratio.zip!x.vital": "a zip bomb: it unpacks to more than 200 times its size",
        "size.zip!x.vital": "larger than 64 MB",
    }


def lie_about_the_size(packed: bytes, size: int) -> bytes:
    """Change the size in the central directory, which is what readers believe."""
    at = packed.index(b"PK\x01\x02") + 24
    return packed[:at] + size.to_bytes(4, "little") + packed[at + 4 :]


def overlapping() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("x.vital", PRESET)
        again = copy.copy(file.filelist[0])
        again.filename = "y.vital"
        file.filelist.append(again)
    return packed.getvalue()


def test_an_archive_unpacks_to_so_much_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 2 * len(PRESET))
    (tmp_path / "x.zip").write_bytes(archive(dict.fromkeys(("a.vital", "b.vital", "c.vital"), PRESET)))
    assert list(what_is_found(tmp_path).values()) == ["preset", "preset", "the archive unpacks to more than 0 MB"]


def set_flag(packed: bytes, at: int, value: int) -> bytes:
    """Change a byte of an entry's description, in front of its data and in the central directory."""
    changed = bytearray(packed)
    changed[packed.index(b"PK\x03\x04") + 6 + at] = value
    changed[packed.index(b"PK\x01\x02") + 8 + at] = value
    return bytes(changed)


def test_entries_that_are_locked_broken_or_odd_are_refused(tmp_path):
    packed = archive({"x.vital": PRESET}, compression=zipfile.ZIP_STORED)
    link = zipfile.ZipInfo("link.vital")
    link.external_attr = 0o120777 << 16
    linked = io.BytesIO()
    with zipfile.ZipFile(linked, "w") as file:
        file.writestr(link, "/etc/passwd")
    contents = {
        "cut.zip": packed[:-30],
        "encrypted.zip": set_flag(packed, 0, 1),
        "garbage.vitalbank": b"no archive",
        "link.zip": linked.getvalue(),
        "long.zip": archive({"n" * 10_000 + ".vital": PRESET}),
        "lzma.zip": archive({"x.vital": PRESET}, compression=zipfile.ZIP_LZMA),
        "wrong.zip": packed.replace(PRESET, PRESET.swapcase()),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = what_is_found(tmp_path)
    long_name = next(name for name in found if name.startswith("long"))
    assert len(long_name) < 1100
    assert found == {
        "cut.zip": "not an archive: File is not a zip file",
        "encrypted.zip!x.vital": "encrypted",
        "garbage.vitalbank": "not an archive: File is not a zip file",
        "link.zip!link.vital": "a link",
        long_name: "its name is longer than 1024 characters",
        "lzma.zip!x.vital": "packed in a way that Vital doesn't use",
        "wrong.zip!x.vital": "damaged: Bad CRC-32 for file 'x.vital'",
    }


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_an_archive_ends_the_search(tmp_path, data):
    packed = bytearray(archive({"a.vital": PRESET, "b/c.vitaltable": WAVETABLE, "d.zip": b"PK"}))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.zip").write_bytes(packed[: data.draw(st.integers(0, len(packed)))])
    for each in find(tmp_path):
        assert isinstance(each, Found | Refused)


# --- What would kill ---------------------------------------------------------------------------------------------


def encoded(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def component(kind: str, keyframe: Document | None = None, **fields: Any) -> Document:
    return {"type": kind, "interpolation_style": 1, **fields, "keyframes": [{"position": 0, **(keyframe or {})}]}


def a_line(count: int = 2, /, **changes: Any) -> Document:
    line = {"name": "x", "num_points": count, "points": [0.5] * (2 * count), "powers": [0.0] * count, "smooth": False}
    return {**line, **changes}


def audio(**changes: Any) -> Document:
    keyframe = {"start_position": 0.0, "window_fade": 1.0, "window_size": 2048.0}
    fields = {"normalize_gain": False, "window_size": 2048.0, "audio_file": encoded(8)}
    return component("Audio File Source", {**keyframe, **changes.pop("keyframe", {})}, **{**fields, **changes})


def put(where: str, value: Any) -> Callable[[Document], None]:
    """Change a document at a path of keys and indices."""

    def change(document: Document) -> None:
        *path, last = [int(step) if step.isdigit() else step for step in where.split("/")]
        place: Any = document
        for step in path:
            place = place[step]
        if value is ...:
            del place[last]
        else:
            place[last] = value(place[last]) if callable(value) else value

    return change


WAVE = "settings/wavetables/0/groups/0/components/0"
KILLERS: dict[str, tuple[Callable[[Document], None], str]] = {
    "4 wavetables": (put("settings/wavetables", lambda w: w + w[:1]), "4 wavetables; the synth has 3"),
    "9 LFOs": (put("settings/lfos", lambda w: w + w[:1]), "9 lfos; the synth has 8"),
    "65 modulations": (put("settings/modulations", lambda w: w + w[:1]), "65 modulations; the synth has 64"),
    "sections of no list": (put("settings/lfos", {"0": 1}), "settings.lfos is a dict, not a list"),
    "unknown component": (put(f"{WAVE}/type", "Magic"), 'a type that the synth doesn\'t know: "Magic"'),
    "component of no type": (put(f"{WAVE}/type", ...), "a type that the synth doesn't know: missing"),
    "component with a number": (put(f"{WAVE}/type", 3), "a type that the synth doesn't know: 3"),
    "empty wavetable": (put("settings/wavetables/1", {}), "wavetable 2 has no groups"),
    "line with groups": (
        put("settings/wavetables/1", {**a_line(), "groups": 5}),
        "wavetable 2 is a drawn line, and has",
    ),
    "wavetable of no version": (put("settings/wavetables/1/version", ...), "version is missing"),
    "old wavetable": (put("settings/wavetables/1/version", "0.3.8"), "0.3.9 is the oldest"),
    "component flood": (put(f"{WAVE[:-2]}", lambda c: c * 17), "17 components; 16 are allowed"),
    "group flood": (put("settings/wavetables/0/groups", lambda g: g[:1] + [{}] * 99), "100 groups; 16 are allowed"),
    "frame behind the end": (put(f"{WAVE}/keyframes/0/position", 257), "position is 257, outside 0..256"),
    "frame before the start": (put(f"{WAVE}/keyframes/0/position", -1), "position is -1, outside"),
    "half a frame": (put(f"{WAVE}/keyframes/0/wave_data", encoded(4096)), "4,096 bytes; 8,192 are needed"),
    "bad base64": (put(f"{WAVE}/keyframes/0/wave_data", "=" * 10_924), "wave_data isn't base64"),
    "base64 in Cyrillic": (put(f"{WAVE}/keyframes/0/wave_data", "Ж" * 10_924), "wave_data isn't base64"),
    "NaN in a frame": (
        put(f"{WAVE}/keyframes/0/wave_data", base64.b64encode(np.full(2048, np.nan, "<f4").tobytes()).decode()),
        "wave_data holds a number that isn't finite",
    ),
    "flag that is none": (put("settings/wavetables/0/full_normalize", 1), "neither true nor false"),
    "no window": (put(WAVE, audio(window_size=0.0)), "window_size is 0.0, outside 1..1e+06"),
    "audio before the start": (put(WAVE, audio(keyframe={"start_position": -9e5})), "starts before the audio"),
    "endless fade": (put(WAVE, audio(keyframe={"window_fade": 1e6})), "window_fade is 1000000.0, outside 0..2"),
    "no audio": (put(WAVE, audio(audio_file=None)), "audio_file is missing, not text"),
    "101 points": (put("settings/lfos/0", a_line(101)), "num_points is 101, outside 1..100"),
    "no points": (put("settings/lfos/0", a_line(0)), "num_points is 0, outside"),
    "missing points": (put("settings/lfos/0", a_line(5, points=[0.5] * 4)), "5 points, but holds 2 and 5 powers"),
    "missing powers": (put("settings/lfos/0", a_line(5, powers=[])), "5 points, but holds 5 and 0 powers"),
    "point out of sight": (put("settings/lfos/0", a_line(points=[0.0, 1e30, 1.0, 0.0])), "1e+30, outside -1..2"),
    "point of text": (put("settings/lfos/0", a_line(points=["a"] * 4)), 'points is "a", not a number'),
    "curve too long": (
        put("settings/modulations/0", {"source": "lfo_1", "destination": "volume", "line_mapping": a_line(999)}),
        "modulation 1: line_mapping: num_points is 999",
    ),
    "modulation of nothing": (put("settings/modulations/0", {"source": "lfo_1"}), "modulation 1 has no destination"),
    "modulation by a number": (put("settings/modulations/0/source", 1), "source is 1, not text"),
    "sample of no length": (put("settings/sample/length", 0), "length is 0, outside 1..3.528e+06"),
    "sample below nothing": (put("settings/sample/length", -5), "length is -5, outside"),
    "endless sample": (put("settings/sample/length", 2**40), "length is 1099511627776, outside"),
    "sample too short": (put("settings/sample/length", 99_999), "199,998 are needed"),
    "stereo too short": (
        put("settings/sample", {"length": 1, "sample_rate": 44100, "samples": "AAA=", "samples_stereo": ""}),
        "samples_stereo holds 0 bytes; 2 are needed",
    ),
    "sample of no rate": (put("settings/sample/sample_rate", 0), "sample_rate is 0, outside"),
    "scalar of text": (put("settings/volume", "loud"), 'volume is "loud", not a number'),
    "scalar of null": (put("settings/volume", None), "volume is missing, not a number"),
    "slot of text": (put("settings/modulation_3_amount", []), "modulation_3_amount is a list, not a number"),
    "author of numbers": (put("author", 5), "author is 5, not text"),
    "no version": (put("synth_version", ...), "synth_version is missing"),
    "odd version": (put("synth_version", "9" * 99), "not a version like 1.5.5"),
    "ancient version": (put("synth_version", "0.4.1"), "made with Vital 0.4.1; 0.6 is the oldest that is read"),
}


@pytest.mark.parametrize(("change", "reason"), KILLERS.values(), ids=KILLERS.keys())
def test_what_would_kill_the_synth_is_refused(registry, document, change, reason):
    require_loadable(document, registry)
    change(document)
    with pytest.raises(PresetError) as refusal:
        require_loadable(document, registry)
    assert reason in str(refusal.value)
    assert len(str(refusal.value)) < 200


def test_a_wavetable_of_its_own_is_held_to_the_same(registry):
    for wavetable in registry.init["wavetables"]:
        require_wavetable(wavetable)
    require_wavetable(a_line(3))  # a shape drawn as an LFO
    no_group = {"groups": [[]], "version": "1.5.5"}
    hostile: list[Any] = [[], None, {"groups": 1, "version": "1.5.5"}, no_group, a_line(101)]
    for broken in hostile:
        with pytest.raises(PresetError, match="^the wavetable"):
            require_wavetable(broken)


# --- Mending -----------------------------------------------------------------------------------------------------


def test_mending_brings_everything_into_range_and_counts_it(registry, document):
    settings = document["settings"]
    settings.update(
        oversampling=99, filter_1_cutoff=1e30, osc_1_stack_style=1e6, modulation_1_amount=-7, volume=-math.inf
    )
    settings.update(filter_1_style=1.4, osc_1_transpose=-11.7, sub_octave=1, custom_warps=[])
    for name in ("mpe_enabled", "lfos", "sample"):
        del settings[name]
    before = copy.deepcopy(document)
    mended, changes = mend(document, registry)
    assert document == before
    assert changes == {"clamped": 5, "rounded": 2, "missing": 3}
    values = mended["settings"]
    assert values["oversampling"] == 3
    assert values["filter_1_cutoff"] == registry.by_name["filter_1_cutoff"].high
    assert values["modulation_1_amount"] == -1
    assert (values["filter_1_style"], values["osc_1_transpose"]) == (1, -12)
    assert values["sample"] == registry.init["sample"]
    assert not {"mpe_enabled", "lfos", "sub_octave", "custom_warps"} & values.keys()
    assert mend(mended, registry)[0] == mended


def test_nothing_of_a_good_preset_is_changed(registry, document):
    assert mend(document, registry) == (document, {})


@pytest.mark.parametrize("name", ["n" * 10_000, "日本語の音色", "Ελληνικά", "🎹🎶", "\u202eabc", "\x00\x07", ""])
def test_any_name_passes(registry, document, name):
    document.update(preset_name=name, author=name, macro1=name)
    document["settings"]["wavetables"][0]["name"] = name
    read = parse(json.dumps(document).encode())
    require_loadable(read, registry)
    assert mend(read, registry)[0]["preset_name"] == name


# --- The truth ---------------------------------------------------------------------------------------------------


@needs_presets
def test_no_real_preset_is_refused(registry):
    found = list(find(REAL_PRESETS))
    assert [f for f in found if isinstance(f, Refused)] == []
    for each in found:
        assert isinstance(each, Found)
        read = parse(each.content)
        require_loadable(read, registry)
        _, changes = mend(read, registry)
        assert changes.keys() <= {"missing", "clamped", "rounded"}
    assert len(found) >= 70


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-2, 2),
    st.sampled_from(["", "AAAA", "Line Source", "1.0.7", "0.7.0", "x" * 10_000, "é\x00\u2028"]),
    st.sampled_from([[], {}, [0.0] * 300, [[]], {"num_points": 3}]).map(copy.deepcopy),
)


def within(span: Span | None) -> st.SearchStrategy[Any]:
    """What a field may hold, especially its limits."""
    if span is FLAG:
        return st.booleans()
    edges = st.sampled_from([span.low, span.high, max(span.low, min(0, span.high))])
    values = edges | st.floats(span.low, span.high)
    return values.map(lambda value: int(value)) if span.is_whole else values


def lines() -> st.SearchStrategy[Document]:
    def of(points: int) -> st.SearchStrategy[Document]:
        return st.fixed_dictionaries(
            {
                "num_points": st.just(points),
                "points": st.lists(within(validation.POINT), min_size=2 * points, max_size=2 * points),
                "powers": st.lists(within(validation.POWER), min_size=points, max_size=points),
            },
            optional={"smooth": st.booleans(), "name": st.text(max_size=5)},
        )

    return st.sampled_from([1, 2, 3, 7, validation.MAX_POINTS]).flatmap(of)


def waves() -> st.SearchStrategy[str]:
    numbers = st.sampled_from([0.0, 1.0, -1e6, 1e30, 3e38])
    return st.lists(numbers, min_size=1, max_size=4).map(
        lambda few: base64.b64encode(np.resize(np.array(few, "<f4"), 2048).tobytes()).decode()
    )


def keyframes(kind: str) -> st.SearchStrategy[Document]:
    fields = {"position": validation.POSITION, **validation.KEYFRAME_FIELDS[kind]}
    extra = {"wave_data": waves(), "line": lines(), "points": st.just([0.5] * 200), "powers": st.just([1.0] * 100)}
    return st.fixed_dictionaries({**{name: within(span) for name, span in fields.items()}, **extra})


def components() -> st.SearchStrategy[Document]:
    def of(kind: str) -> st.SearchStrategy[Document]:
        fields = {"interpolation_style": validation.STYLE, **validation.COMPONENT_FIELDS[kind]}
        return st.fixed_dictionaries(
            {
                "type": st.just(kind),
                "keyframes": st.none() | st.lists(keyframes(kind), max_size=4),
                "audio_file": st.sampled_from([0, 1, 2, 8, 100_000]).map(encoded),
                **{name: within(span) for name, span in fields.items()},
            }
        )

    return st.sampled_from(list(validation.COMPONENT_FIELDS)).flatmap(of)


def samples() -> st.SearchStrategy[Document]:
    def of(length: int) -> st.SearchStrategy[Document]:
        audio = st.just(encoded(2 * length))
        rate = within(validation.SAMPLE_RATE)
        return st.fixed_dictionaries(
            {"length": st.just(length), "sample_rate": rate, "samples": audio}, optional={"samples_stereo": audio}
        )

    return st.sampled_from([1, 2, 3, 100, 5000]).flatmap(of)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """The init preset with some parts drawn from what is allowed, and others that are anything."""
    document = copy.deepcopy(init_document(installed()))
    settings = document["settings"]
    changes: dict[str, Callable[[], Any]] = {
        "wavetables": lambda: [a_wavetable(draw) for _ in range(draw(st.integers(0, 3)))],
        "lfos": lambda: draw(st.lists(lines(), max_size=8)),
        "sample": lambda: draw(samples()),
        "modulations": lambda: [a_route(draw) for _ in range(draw(st.sampled_from([0, 3, 64])))],
    }
    for name in draw(st.sets(st.sampled_from(list(changes)))):
        settings[name] = changes[name]()
    for name in draw(st.lists(st.sampled_from(sorted(settings.keys() - changes.keys())), max_size=12)):
        settings[name] = draw(st.floats(-1e30, 1e30) | st.floats(-200, 200))
    # Everything is audible, and version 0.6 had one more control.
    settings.update(osc_1_on=1, osc_2_on=1, sample_on=1, chorus_damping=draw(st.floats(-1e30, 1e30)))
    document["synth_version"] = draw(st.sampled_from(["1.5.5", "1.0.7", "0.9.0", "0.7.5", "0.6.5", "0.6", "99999.9.9"]))
    for _ in range(draw(st.integers(0, 2))):
        spoil(draw, document)
    return document


def a_wavetable(draw: st.DrawFn) -> Document:
    groups = draw(st.lists(st.lists(components(), max_size=3), max_size=3))
    version = draw(st.sampled_from(["1.5.5", "1.0.7", "0.7.6", "0.3.9"]))
    return {"name": "x", "version": version, "groups": [{"components": group} for group in groups]}


def a_route(draw: st.DrawFn) -> Document:
    registry = installed()
    route = {"source": draw(st.sampled_from((*registry.sources, "", "nobody")))}
    route["destination"] = draw(st.sampled_from((*registry.destinations, "", "nowhere")))
    return {**route, "line_mapping": draw(lines())} if draw(st.booleans()) else route


def spoil(draw: st.DrawFn, document: Document) -> None:
    """Put anything somewhere."""
    place: Any = document
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or draw(st.integers(0, 3)) == 0:
            place[key] = draw(anything)
            return
        place = place[key]


def fault_of(document: Document, registry: Registry) -> str | None:
    """What the synth makes of a document that passed, in a process of its own."""
    mended, _ = mend(document, registry)
    with borrow_renderer(FORMAT, TIMEOUT_SECONDS) as renderer:
        fault = renderer.render(json.dumps(mended).encode(), (Performance(60, 100, 0.03),)).fault
    return fault.reason if fault else None


@pytest.mark.long
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=documents())
def test_what_passes_does_not_kill_the_synth(document):
    registry = installed()
    try:
        read = parse(json.dumps(document).encode())
        require_loadable(read, registry)
    except PresetError:
        assume(False)
    fault = fault_of(read, registry)
    event(f"fault: {fault}")
    assert fault in (None, faults.SILENT, faults.NON_FINITE, faults.NOT_LOADED)


@pytest.mark.slow
@pytest.mark.parametrize("value", [-1e30, 1e30])
def test_all_controls_out_of_range_at_once_do_not_kill_the_synth(registry, document, value):
    document["settings"].update(dict.fromkeys(registry.by_name, value))
    require_loadable(document, registry)
    assert fault_of(document, registry) in (None, faults.SILENT, faults.NON_FINITE)


def test_hidden_folders_such_as_those_of_a_download_cut_short_are_passed_over(tmp_path):
    for folder in (".half.1a2b.tmp", ".git", "..odd", "seen"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.vital").write_bytes(PRESET)
    assert [found.file for found in find(tmp_path)] == ["seen/x.vital"]
