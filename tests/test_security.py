"""What strangers may try: each attack is made for real, and costs nothing but itself."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import descendants
from synthcore.base.errors import Accident, SpecError
from synthcore.base.masking import masked
from synthcore.engine import faults
from synthcore.engine.client import Renderer
from synthcore.engine.rendering import Performance, RenderFormat
from synthcore.settings.commands import parse
from synthcore.settings.ingestion import DownloadPresets
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.tasks.records import read_records
from synthcore.vital.controls import Registry
from synthcore.vital.patch import Patch, init_assets
from tests.api import ask
from tests.conftest import TIMEOUT_SECONDS, wait_until
from tests.flows.test_flow import SHORT
from tests.ingest.test_download import Handler, Remote, Site, remote, serve_git, site  # noqa: F401

# ------------------------------------------------------------------------------------------ a stranger's data directory


def pickled(marker: Path) -> bytes:
    """A pickle that runs a command when it is read."""
    return f"cos\nsystem\n(Vtouch {marker}\ntR.".encode()


def record(result: str, **serializer: Any) -> bytes:
    """A record of a result, as Prefect would read it."""
    return json.dumps({"metadata": {"serializer": serializer}, "result": result}).encode()


def planted(marker: Path) -> list[bytes]:
    """Records that run something when Prefect reads them."""
    pickle = base64.encodebytes(pickled(marker)).decode()
    call = json.dumps({"__class__": "subprocess.getoutput", "data": {"cmd": f"touch {marker}"}})
    json_said = '"metadata": {"serializer": {"type": "json"}}, "result": "{}"'
    twice = f'{{{json_said}, "metadata": {{"serializer": {{"type": "pickle"}}}}, "result": {json.dumps(pickle)}}}'
    return [
        record(pickle, type="pickle"),
        record(call, type="json"),
        json.dumps({"result": pickle}).encode(),  # without a word on how to read it, Prefect unpickles
        record(json.dumps({"x": [json.loads(call)]}), type="json"),
        twice.encode(),
        json.dumps({"data": pickle, **json.loads(record("{}", type="json"))}).encode(),  # as older Prefects wrote
    ]


@pytest.mark.long
def test_a_planted_record_is_not_read_but_replaced(cli: Any) -> None:
    made = ("generate", "-n", 60, "--data-dir", "data", "-o", "out.h5", *SHORT)
    honest = cli.json(*made)
    marker, elsewhere, results = cli.folder / "ran", cli.folder / "elsewhere", cli.folder / "data" / "results"
    link, *others = sorted(results.iterdir())
    attacks = planted(marker)
    assert len(others) == len(attacks)  # five shards, the merged file and its picture
    link.unlink()
    link.symlink_to(elsewhere)
    for path, attack in zip(others, attacks, strict=True):
        path.write_bytes(attack)
    known = read_records(cli.folder / "data", results)
    assert (len(known.unreadable), known.shards, known.datasets) == (7, {}, {})
    again = cli.json(*made)
    assert (again["digest"], again["shards_cached"]) == (honest["digest"], 0)
    assert not marker.exists()
    assert not elsewhere.exists()
    assert len(read_records(cli.folder / "data", results).shards) == 5


# -------------------------------------------------------------------------------------------------- a hostile candidate

SPOILT = """
import os, signal, sys
from synthcore.engine import zygote

honest_load, honest_put = zygote.load, zygote.Answers.put
victim = False

def load(synth, preset):
    global victim
    victim = '"hostile"' in preset
    return honest_load(synth, preset)

def put(self, place, head, body=b""):
    if victim:
        {what}
    honest_put(self, place, head, body)

zygote.load, zygote.Answers.put = load, put
zygote.main()
"""
FORMAT = RenderFormat(22050, 2, 0.4, -1000.0, 10.0, 3)
PERFORMANCES = (Performance(48, 100, 0.25), Performance(60, 100, 0.25))
EAT = "hoard = []\n        while True: hoard.append(bytes(1 << 26))"  # none of it touched: asking is enough
SPIN = "while True: pass"
CRASH_HALF_WAY = "self.memory[8 : 8 + len(body) // 2] = body[: len(body) // 2]; os.kill(os.getpid(), signal.SIGSEGV)"
FILL_THE_DISK = """
        try:
            while True: os.write(2, b"x" * (1 << 20))
        except OSError:
            os.kill(os.getpid(), signal.SIGSEGV if os.fstat(2).st_size == 1 << 16 else signal.SIGKILL)"""


@pytest.fixture
def spoil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let zygotes be started in which a child does something else when the preset is called hostile."""

    def change(what: str) -> None:
        program, python = tmp_path / "zygote.py", tmp_path / "python"
        program.write_text(SPOILT.format(what=what))
        python.write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} -I {program} "$@"\n')  # for -I -m its name
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

    return change


@pytest.fixture(scope="module")
def presets(registry: Registry) -> list[bytes]:
    sampler = SyntheticSource(DatasetSpec(tier=3, seed=5), registry)
    return [sampler.draw(slot, 0).to_json(registry, sampler.assets).encode() for slot in range(2)]


@pytest.fixture
def hostile(registry: Registry) -> bytes:
    return Patch.init(registry).to_json(registry, init_assets(registry), "hostile").encode()


@contextlib.contextmanager
def a_renderer(fmt: RenderFormat = FORMAT) -> Iterator[Renderer]:
    renderer = Renderer(fmt, TIMEOUT_SECONDS)
    try:
        yield renderer
    finally:
        renderer.close()


def sounds(renderer: Renderer, presets: list[bytes]) -> list[list[str]]:
    return [[row.audio_sha256 for row in renderer.render(preset, PERFORMANCES).rows] for preset in presets]


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "reason"),
    [(EAT, faults.CRASH), (SPIN, faults.CPU_LIMIT), (CRASH_HALF_WAY, faults.CRASH), (FILL_THE_DISK, faults.CRASH)],
    ids=["eats memory", "hangs", "writes half its answer", "fills the disk"],
)
def test_a_hostile_candidate_costs_one_render(
    spoil: Callable[[str], None], presets: list[bytes], hostile: bytes, what: str, reason: str
) -> None:
    with a_renderer() as renderer:
        undisturbed = sounds(renderer, presets)
    spoil(what)
    with a_renderer() as renderer:
        assert sounds(renderer, presets) == undisturbed
        outcome = renderer.render(hostile, PERFORMANCES)
        assert outcome.fault is not None
        assert (outcome.fault.note, outcome.fault.reason) == (48, reason)
        assert sounds(renderer, presets) == undisturbed


@pytest.mark.slow
def test_a_render_opens_no_file(spoil: Callable[[str], None], hostile: bytes) -> None:
    spoil("open(os.devnull)")
    with a_renderer() as renderer, pytest.raises(Accident, match="Too many open files"):
        renderer.render(hostile, PERFORMANCES)


@pytest.mark.slow
def test_what_a_zygote_says_is_cut(spoil: Callable[[str], None], hostile: bytes) -> None:
    spoil("raise ValueError('x' * 10_000)")
    with a_renderer() as renderer, pytest.raises(Accident, match="ValueError") as raised:
        renderer.render(hostile, PERFORMANCES)
    assert len(str(raised.value)) < 2000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS enforces no limit of memory")
def test_a_preset_that_asks_the_synth_for_too_much_memory_costs_one_render(
    registry: Registry, presets: list[bytes]
) -> None:
    greedy = json.loads(Patch.init(registry).to_json(registry, init_assets(registry)))
    greedy["settings"]["sample"]["length"] = 2_000_000_000
    with a_renderer() as renderer:
        undisturbed = sounds(renderer, presets)
        outcome = renderer.render(json.dumps(greedy).encode(), PERFORMANCES)
        assert outcome.fault is not None
        assert outcome.fault.reason in (faults.CRASH, faults.NOT_LOADED)
        assert sounds(renderer, presets) == undisturbed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_render_child_holds_nothing_of_ours(hostile: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    long = replace(FORMAT, render_seconds=30.0, cpu_seconds=60)
    with (tmp_path / "ours").open("w") as ours, a_renderer(long) as renderer:
        os.set_inheritable(ours.fileno(), True)
        renderer.send(hostile, PERFORMANCES)
        zygote = renderer._expect_zygote().process.pid
        wait_until(lambda: len(descendants(zygote)) == 2, TIMEOUT_SECONDS)  # the candidate's child, and a note's
        for child in descendants(zygote):
            process = Path("/proc", str(child))
            wait_until(partial(has_no_files, process), TIMEOUT_SECONDS)
            names = {line.partition("=")[0] for line in process.joinpath("environ").read_text().split("\0") if line}
            assert names == {"PATH", "OPENBLAS_NUM_THREADS", "GLIBC_TUNABLES"}
            held = [str(entry.readlink()) for entry in process.joinpath("fd").iterdir()]
            stderr = str(process.joinpath("fd/2").readlink())
            assert held.count(stderr) == 3
            assert [name.partition(":")[0] for name in held if name != stderr] == ["pipe"]  # says when it has ended
            assert soft_limit(process, "Max core file size") == 0
            assert 1 << 30 < soft_limit(process, "Max data size") < 1 << 32


def has_no_files(process: Path) -> bool:
    return soft_limit(process, "Max open files") == 0


def soft_limit(process: Path, name: str) -> int:
    line = next(line for line in process.joinpath("limits").read_text().splitlines() if line.startswith(name))
    said = line.removeprefix(name).split()[0]
    return sys.maxsize if said == "unlimited" else int(said)


# -------------------------------------------------------------------------------------------------------------- secrets

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"https://me:{SECRET}@example.org/a", "https://***@example.org/a"),
        (f"https://{SECRET}@example.org/a", "https://***@example.org/a"),
        ("ssh://git@example.org/a", "ssh://git@example.org/a"),
        (f"ssh://git:{SECRET}@example.org/a", "ssh://***@example.org/a"),
        (
            f"https://example.org/a.zip?id=7&Access_Token={SECRET}#x",
            "https://example.org/a.zip?id=7&Access_Token=***#x",
        ),
        (f"https://example.org/a.zip?x={SECRET * 3}", "https://example.org/a.zip?x=***"),
        ("https://example.org/a@b/c.zip?id=7", "https://example.org/a@b/c.zip?id=7"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert masked(address) == shown
    assert masked(f"fatal: '{address}' is gone") == f"fatal: '{shown}' is gone"


@pytest.mark.parametrize("address", [f"https://me:{SECRET}@example.org/a", f"https://{SECRET}@example.org/a"])
def test_an_address_with_a_password_is_refused_without_repeating_it(address: str) -> None:
    for said in (address, json.dumps([{"url": address}])):
        with pytest.raises(SpecError, match="can't hold a user or password") as raised:
            parse(DownloadPresets, ["--sources", said])
        assert SECRET not in str(raised.value)


@pytest.mark.long
def test_a_token_in_an_address_is_used_and_written_nowhere(
    cli: Any,
    remote: Remote,  # noqa: F811
    site: Site,  # noqa: F811
    preset_documents: dict[str, dict[str, Any]],
) -> None:
    """A real clone and a real failure: no file, nothing said, and nothing that the server keeps holds the token."""
    remote.commit({name: json.dumps(document).encode() for name, document in preset_documents.items()})
    served = serve_git(remote.path.parent)

    def serve(handler: Handler) -> None:
        # git puts what it asks for behind the whole address.
        handler.path = handler.path.replace(f"?token={SECRET}", "").replace("&service", "?service")
        served(handler)

    site.behave = serve
    good = f"{site.url}/{remote.path.name}?token={SECRET}"
    bad = f"{site.url}/nothing.git?token={SECRET}"
    done = cli.run("download-presets", "-o", "presets", "--data-dir", "data", "--sources", good, "--sources", bad)
    assert all(SECRET in path for path, *_ in site.asked)
    assert "downloaded" in done.stdout
    assert "token=***" in done.stdout
    ingested = cli.run("ingest", "presets", "--data-dir", "data")
    assert ingested.returncode == 0, ingested.stderr
    kept = [path for path in cli.folder.rglob("*") if path.is_file()]
    assert any(b"token=***" in path.read_bytes() for path in kept)
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in done.stdout + done.stderr + ingested.stdout + ingested.stderr
    for what in ("flow_runs", "task_runs", "logs", "artifacts"):
        assert SECRET not in json.dumps(ask(f"{cli.api}/{what}/filter", {"limit": 200}))
