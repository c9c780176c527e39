"""Rendering: the same bytes in any process, order and company; faults are faults, accidents leave no trace."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from synthcore.base.errors import Accident, Interrupted
from synthcore.engine import client, faults, lending, stopping
from synthcore.engine.client import Renderer
from synthcore.engine.machine import features_in
from synthcore.engine.play import migrate
from synthcore.engine.rendering import Performance, RenderFormat
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.vital.controls import Registry
from synthcore.vital.patch import Patch, init_assets

TIMEOUT_SECONDS = 60.0
FORMAT = RenderFormat(
    sample_rate=22050,
    places=2,
    render_seconds=0.4,
    min_rms_dbfs=-1000.0,
    max_peak=10.0,
    cpu_seconds=20,
)
LOW, HIGH = PERFORMANCES = (Performance(48, 100, 0.25), Performance(60, 100, 0.25))

Render = Callable[..., list[str]]


@pytest.fixture(scope="module")
def presets(registry: Registry) -> list[bytes]:
    """Patches of tier 3, with random phases, noise, effects and modulation."""
    sampler = SyntheticSource(DatasetSpec(tier=3, seed=5), registry)
    return [sampler.draw(slot, 0).to_json(registry, sampler.assets).encode() for slot in range(6)]


@pytest.fixture
def init_preset(registry: Registry) -> dict:
    return json.loads(Patch.init(registry).to_json(registry, init_assets(registry)))


@contextlib.contextmanager
def a_renderer(**changes: Any) -> Iterator[Renderer]:
    renderer = Renderer(replace(FORMAT, **changes), TIMEOUT_SECONDS)
    try:
        yield renderer
    finally:
        renderer.close()


def bytes_of(renderer: Renderer, preset: bytes, performances: tuple[Performance, ...] = PERFORMANCES) -> list[str]:
    return [row.audio_sha256 for row in renderer.render(preset, performances).rows]


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def zygote_of(renderer: Renderer) -> int:
    return renderer._expect_zygote().process.pid


@contextlib.contextmanager
def befalling(what: Callable[[], bool]) -> Iterator[None]:
    """Do `what` again and again while the block runs, until it says that it has done enough."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set() and not what():
            time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_audio_is_the_same_in_any_order_and_process(presets: list[bytes]) -> None:
    with a_renderer() as one, a_renderer() as other:
        forwards = [bytes_of(one, p) for p in presets]
        backwards = [bytes_of(other, p) for p in reversed(presets)][::-1]
    assert forwards == backwards
    assert len({sha for row in forwards for sha in row}) > len(presets)


@pytest.mark.slow
def test_a_note_sounds_the_same_alone_and_among_others(presets: list[bytes]) -> None:
    with a_renderer() as renderer:
        for preset in presets:
            both = bytes_of(renderer, preset)
            assert [bytes_of(renderer, preset, (LOW,)), bytes_of(renderer, preset, (HIGH,))] == [[both[0]], [both[1]]]


@pytest.mark.slow
def test_setting_controls_in_a_fork_plays_what_a_document_with_them_plays(registry: Registry) -> None:
    """So a moved control is the only difference between two sounds, and one that can't be heard makes none."""
    sampler = SyntheticSource(DatasetSpec(tier=3, seed=5), registry)
    rng = np.random.default_rng(0)
    with a_renderer(places=8, render_seconds=0.3) as renderer:
        for slot in range(2):
            patch = sampler.draw(slot, 0)
            base = patch.to_json(registry, sampler.assets).encode()
            units = np.tile(patch.continuous, (8, 1))
            for row, column in zip(units, rng.choice(len(registry.continuous), (8, 40)), strict=True):
                row[column] = rng.random(40)
            others = [Patch.from_vectors(row, patch.categorical, patch.modulation_slots) for row in units]
            others = [replace(other, wavetables=patch.wavetables, extras=patch.extras) for other in others]
            documents = [other.to_json(registry, sampler.assets).encode() for other in others]
            loaded = [bytes_of(renderer, document, (HIGH,))[0] for document in documents]
            names = [control.name for control in registry.continuous if control.name != "oversampling"]
            changes = [{name: other.values(registry)[name] for name in names} for other in others]
            assert [row.audio_sha256 for row in renderer.render(base, (HIGH,) * 8, changes).rows] == loaded
            unchanged = renderer.render(base, (HIGH,), [{}]).rows[0].audio_sha256
            assert [unchanged] == bytes_of(renderer, base, (HIGH,))
            assert unchanged not in loaded


@pytest.mark.slow
def test_a_row_is_what_its_compressed_chunk_holds(init_preset: dict) -> None:
    import hashlib
    import zlib

    with a_renderer() as renderer:
        row = renderer.render(json.dumps(init_preset).encode(), PERFORMANCES).rows[0]
    planes = np.frombuffer(zlib.decompress(row.chunk), np.uint8).reshape(4, -1)
    audio = np.ascontiguousarray(planes.T).view("<f4").reshape(2, FORMAT.samples)
    assert hashlib.sha256(audio.tobytes()).hexdigest() == row.audio_sha256
    assert faults.measure(audio) == (row.rms_dbfs, row.peak)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "reason"), [({"min_rms_dbfs": -1.0}, faults.SILENT), ({"max_peak": 0.01}, faults.CLIPPING)]
)
def test_a_refused_render_is_a_fault_with_its_measurements(init_preset: dict, limits: dict, reason: str) -> None:
    with a_renderer(**limits) as renderer:
        outcome = renderer.render(json.dumps(init_preset).encode(), PERFORMANCES)
    assert outcome.rows == ()
    assert outcome.fault is not None
    assert (outcome.fault.note, outcome.fault.reason) == (48, reason)
    assert outcome.fault.rms_dbfs is not None
    assert -60 < outcome.fault.rms_dbfs < 0


def test_judging_non_finite_audio() -> None:
    audio = np.zeros((2, 100), dtype=np.float32)
    audio[1, 7] = np.nan
    rms_dbfs, peak = faults.measure(audio)
    assert math.isnan(rms_dbfs)
    assert faults.judge(rms_dbfs, peak, -50.0, 0.99) == faults.NON_FINITE
    assert faults.measure(np.zeros((2, 100), dtype=np.float32)) == (faults.SILENCE_DBFS, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        lambda preset: preset["settings"]["sample"].update(length=-5),
        lambda preset: preset["settings"].update(osc_1_level="loud"),
        lambda preset: preset.update(settings=7),
    ],
    ids=["negative length", "text for a number", "no settings"],
)
def test_a_preset_the_synth_refuses_is_a_fault(init_preset: dict, spoil: Callable[[dict], object]) -> None:
    spoil(init_preset)
    with a_renderer() as renderer:
        outcome = renderer.render(json.dumps(init_preset).encode(), PERFORMANCES)
        assert outcome.fault is not None
        assert outcome.fault.reason in (faults.NOT_LOADED, faults.CRASH)


@pytest.mark.slow
def test_a_crash_twice_is_a_fault_and_the_renderer_lives_on(init_preset: dict, presets: list[bytes]) -> None:
    killer = json.loads(json.dumps(init_preset))
    killer["settings"]["osc_1_stack_style"] = 1e6  # past the end of a table
    with a_renderer() as renderer:
        before = bytes_of(renderer, presets[0])
        outcome = renderer.render(json.dumps(killer).encode(), PERFORMANCES)
        assert outcome.fault is not None
        assert outcome.fault.reason == faults.CRASH
        assert bytes_of(renderer, presets[0]) == before


@pytest.mark.slow
def test_two_crashes_are_a_fault_whichever_signals_end_them(presets: list[bytes]) -> None:
    crashes: dict[int, signal.Signals] = {}  # by zygote

    def crash() -> bool:
        if zygote := renderer._zygote:  # None between one and the next
            # Of one wild write: it depends on where memory happened to lie.
            which = crashes.setdefault(zygote.process.pid, signal.SIGSEGV if len(crashes) % 2 else signal.SIGBUS)
            for child in children_of(zygote.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, which)
        return False

    with a_renderer(render_seconds=3.0) as renderer:
        renderer.send(presets[0], PERFORMANCES)
        with befalling(crash):
            outcome = renderer.receive()
    assert [*crashes.values()] == [signal.SIGBUS, signal.SIGSEGV]
    assert outcome.fault is not None
    assert outcome.fault.reason == faults.CRASH


@pytest.mark.slow
def test_too_much_cpu_time_is_a_fault(init_preset: dict) -> None:
    settings = init_preset["settings"]
    settings.update(osc_1_unison_voices=16, osc_2_on=1, osc_2_unison_voices=16, oversampling=3, reverb_on=1)
    with a_renderer(cpu_seconds=1, render_seconds=60.0) as renderer:
        outcome = renderer.render(json.dumps(init_preset).encode(), (Performance(48, 100, 60.0),))
    assert outcome.fault is not None
    assert (outcome.fault.reason, outcome.fault.rms_dbfs) == (faults.CPU_LIMIT, None)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["zygote", "child"])
def test_a_kill_changes_no_byte(presets: list[bytes], victim: str) -> None:
    with a_renderer(render_seconds=3.0) as renderer:
        undisturbed = bytes_of(renderer, presets[1])
        killed: list[int] = []

        def kill() -> bool:
            zygote = zygote_of(renderer)
            target = [zygote] if victim == "zygote" else children_of(zygote)
            for pid in target:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
            return bool(target)

        renderer.send(presets[1], PERFORMANCES)
        with befalling(kill):
            outcome = renderer.receive()
    assert killed
    assert [row.audio_sha256 for row in outcome.rows] == undisturbed


@pytest.mark.slow
def test_a_child_that_hangs_is_given_up_and_tried_again(presets: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LOAD_SECONDS", 1)
    with a_renderer(render_seconds=3.0) as renderer:
        undisturbed = bytes_of(renderer, presets[1])
        renderer.timeout_seconds = 0.5
        stopped: list[int] = []

        def stop() -> bool:
            for pid in children_of(zygote_of(renderer)):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
            return bool(stopped)

        renderer.send(presets[1], PERFORMANCES)
        with befalling(stop):
            outcome = renderer.receive()
    assert stopped
    assert [row.audio_sha256 for row in outcome.rows] == undisturbed


def test_accident_after_accident_gives_up_and_says_what_happened(presets: list[bytes]) -> None:
    with a_renderer(render_seconds=3.0) as renderer:
        renderer.send(presets[0], PERFORMANCES)

        def kill() -> bool:
            zygote = renderer._zygote
            if zygote is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(zygote.process.pid, signal.SIGKILL)
            return False

        with befalling(kill), pytest.raises(Accident, match=r"gave up on a candidate: zygote .* died"):
            renderer.receive()


@pytest.mark.slow
def test_stopping_ends_a_render_and_its_processes(presets: list[bytes]) -> None:
    with a_renderer(render_seconds=30.0) as renderer:
        with pytest.raises(Interrupted), stopping.interruptible():  # noqa: PT012
            renderer.send(presets[0], PERFORMANCES)
            zygote = zygote_of(renderer)
            timer = threading.Timer(0.5, stopping.stop)
            timer.start()
            renderer.receive()
        assert not children_of(zygote)
        with stopping.interruptible():  # the next run starts afresh
            assert bytes_of(renderer, presets[0], (LOW,))


@pytest.mark.slow
def test_a_zygote_ends_when_its_parent_is_killed(fresh: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    code = """
import os, signal
from synthcore.vital.controls import installed
from synthcore.engine.client import Renderer
from synthcore.engine.play import migrate
from synthcore.engine.rendering import Performance, RenderFormat
from synthcore.vital.patch import Patch, init_assets
registry = installed()
renderer = Renderer(RenderFormat(22050, 1, 60.0, -1000.0, 10.0, 100), 100.0)
renderer.send(Patch.init(registry).to_json(registry, init_assets(registry)).encode(), (Performance(60, 100, 59.0),))
print(renderer._zygote.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = fresh(code, check=False)
    assert done.returncode == -signal.SIGKILL
    zygote = int(done.stdout)
    deadline = time.monotonic() + 30
    while is_running(zygote) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(zygote)


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="of glibc")
def test_what_rows_took_goes_back_to_the_system(fresh: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    code = """
import random, threading, psutil
from synthcore.engine.client import Zygote
from synthcore.engine.lending import end_zygotes
from synthcore.engine.rendering import RenderFormat
zygote = Zygote(RenderFormat(22050, 1, 0.2, -1000.0, 10.0, 100))
kept = []
def shard():
    rows = []
    for _ in range(100):
        rows.append(b"x" * random.randrange(100_000, 700_000))
        kept.append(bytes(2000))
begun = psutil.Process().memory_info().rss
for _ in range(8):
    threads = [threading.Thread(target=shard) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print((psutil.Process().memory_info().rss - begun) // 2**20)
"""
    assert int(fresh(code).stdout) < 32


def test_no_more_renderers_than_allowed_are_borrowed_at_a_time() -> None:
    borrowed, most = 0, 0
    lock = threading.Lock()

    def borrow() -> None:
        nonlocal borrowed, most
        with lending.borrow_renderer(FORMAT, TIMEOUT_SECONDS):
            with lock:
                borrowed += 1
                most = max(most, borrowed)
            time.sleep(0.02)
            with lock:
                borrowed -= 1

    with lending.at_most(2):
        threads = [threading.Thread(target=borrow) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 2


@pytest.mark.slow
def test_who_waits_longest_is_lent_the_next_renderer() -> None:
    lent = []

    def borrow(name: str) -> None:
        with lending.borrow_renderer(FORMAT, TIMEOUT_SECONDS):
            lent.append(name)

    with lending.at_most(1):
        with lending.borrow_renderer(FORMAT, TIMEOUT_SECONDS):
            threads = [threading.Thread(target=borrow, args=(name,)) for name in "abcdefgh"]
            for thread in threads:
                thread.start()
                time.sleep(0.05)
        borrow("the one that had it")
        for thread in threads:
            thread.join()
    assert lent == [*"abcdefgh", "the one that had it"]


def test_who_stops_waiting_is_lent_nothing_and_keeps_nobody_waiting() -> None:
    lent = []

    def wait_in_vain() -> None:
        with contextlib.suppress(Interrupted), lending.borrow_renderer(FORMAT, TIMEOUT_SECONDS):
            lent.append("stopped")

    with lending.at_most(1):
        with stopping.interruptible(), lending.borrow_renderer(FORMAT, TIMEOUT_SECONDS):
            threads = [threading.Thread(target=wait_in_vain) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(0.05)
            stopping.stop()
            for thread in threads:
                thread.join()
        with stopping.interruptible(), lending.borrow_renderer(FORMAT, TIMEOUT_SECONDS):
            lent.append("the next run")
    assert lent == ["the next run"]


@pytest.mark.slow
def test_the_zygote_takes_nothing_from_our_environment(presets: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with a_renderer() as renderer:
        before = bytes_of(renderer, presets[2])
    for name, value in {"PYTHONPATH": "/nowhere", "OMP_NUM_THREADS": "7", "HOME": "/nowhere", "LANG": "tr_TR"}.items():
        monkeypatch.setenv(name, value)
    with a_renderer() as renderer:
        assert bytes_of(renderer, presets[2]) == before


@pytest.mark.parametrize(
    ("other", "is_the_same_type"),
    [
        ({"vendor_id": "GenuineIntel"}, False),  # another table behind the same instruction
        ({"cpu family": "23"}, False),
        ({"flags": "fpu sse"}, False),
        ({"flags": "svm sse avx2 fpu"}, True),  # what only virtual machines use, and the order
        ({"cpu MHz": "1200.0"}, True),
    ],
)
def test_cpus_that_may_round_otherwise_are_of_another_type(other: dict[str, str], is_the_same_type: bool) -> None:
    def of(**lines: str) -> str:
        return features_in("".join(f"{name}\t: {value}\n" for name, value in lines.items()) + "\nprocessor\t: 1\n")

    one = {
        "processor": "0",
        "vendor_id": "AuthenticAMD",
        "cpu family": "25",
        "cpu MHz": "2600.1",
        "flags": "fpu avx2 sse",
    }
    assert (of(**one) == of(**{**one, **other})) is is_the_same_type


# ----------------------------------------------------------------------------------------------------------- migration


@pytest.mark.slow
def test_an_old_document_is_written_again_as_this_synth_understands_it(init_preset: dict) -> None:
    old = {**init_preset, "synth_version": "1.0.3"}
    old["settings"] = {**init_preset["settings"], "volume": 3000.0}
    del old["settings"]["osc_1_level"], old["settings"]["lfos"]
    migrated = json.loads(migrate(json.dumps(old).encode()) or b"")
    assert migrated["settings"]["volume"] == 3000.0
    assert "osc_1_level" in migrated["settings"]
    assert len(migrated["settings"]["lfos"]) == 8


@pytest.mark.slow
def test_a_document_that_the_synth_refuses_or_dies_of_is_none(init_preset: dict) -> None:
    deadly = json.loads(json.dumps(init_preset))
    deadly["settings"]["wavetables"] *= 2
    assert migrate(b"{}") is None
    assert migrate(json.dumps(deadly).encode()) is None
    assert migrate(json.dumps(init_preset).encode()) is not None


HELD_TO_LESS = """
import resource
from pathlib import Path
from synthcore.base.errors import SynthcoreError
from synthcore.pipeline.shard import plan_shards, render_shard
from synthcore.spec import DatasetSpec
what, size = sys.argv[1:]
resource.setrlimit(getattr(resource, what), (int(size), int(size)))
try:
    render_shard(plan_shards(DatasetSpec(n_samples=3), 3)[0], Path("data"), 60)
except SynthcoreError as error:
    print(type(error).__name__, error)
print("scipy.stats" in sys.modules, Path("data").exists())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "size", "says"),
    [
        ("RLIMIT_DATA", 1 << 30, "1,024 MB of memory (ulimit -d), and a render up to 2,053: raise that limit"),
        ("RLIMIT_AS", 2 << 30, "2,048 MB of memory (ulimit -v), and a render up to 2,053: raise that limit"),
        ("RLIMIT_CPU", 19, "19 s of CPU time (ulimit -t), and a render up to 20: raise that limit"),
    ],
)
def test_a_process_held_to_less_than_a_render_may_take_renders_nothing(fresh, what, size, says):
    """Other candidates would be refused than elsewhere, and the same spec make other rows."""
    said, rest = fresh(HELD_TO_LESS, what, size).stdout.splitlines()
    assert said.startswith(f"SynthcoreError this process may take {says}")
    assert rest == "False False"
