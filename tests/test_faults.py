"""What a run survives: kills at any byte, a lost server, full disks, damage, other runs, clocks that jump, a move.

Faults that belong to one part are tested with that part; the table in docs/operations.md names every test.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import h5py
import pytest

from benchmarks.processes import descendants, is_alive
from synthcore.base.atomic import atomic_path
from synthcore.base.errors import Interrupted
from synthcore.flows.running.environment import is_healthy
from synthcore.pipeline.cache import Records, survey
from synthcore.pipeline.shard import render_shard
from synthcore.storage import claims
from synthcore.storage.claims import claimed
from synthcore.storage.refs import ShardRef
from synthcore.storage.schema import AUDIO
from tests.conftest import CAN_MOUNT, place_of, wait_until

ROOT = Path(__file__).parent.parent
#: Renders of a tenth of the usual length, in shards of four patches.
SHORT: tuple[object, ...] = ("--notes", 48, "--notes", 60, "--notes", 72, "--sample-rate", 22050)
SHORT += ("--note-seconds", 0.25, "--render-seconds", 0.4, "--rows-per-shard", 12)
ROWS, SHARDS = 60, 5
RUN = ("generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT)


# ------------------------------------------------------------------------------------------------- killed at any byte

KILLED = """
import json, resource, signal, sys
from pathlib import Path
from synthcore.pipeline import library
from synthcore.pipeline.shard import ShardPlan, render_shard
from synthcore.storage.merge import merge_shards
from synthcore.storage.refs import ShardRef

what, limit, data_dir, output, plan, shards = sys.argv[1:]
plan, data_dir = ShardPlan.model_validate_json(plan), Path(data_dir)
refs = [ShardRef.model_validate(ref) for ref in json.loads(shards)]
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # ends the process at the byte, with nothing cleared away
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
if what == "render":
    render_shard(plan, Path(output).parent, 60)
else:
    merge_shards(refs, Path(output), library.merge_context(plan.spec, data_dir), mode=what)
"""


@pytest.mark.long
@pytest.mark.parametrize("what", ["render", "copy", "virtual"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_writer_killed_at_any_byte_leaves_nothing_of_its_name(
    tier_1: Any, tmp_path: Path, fresh: Any, what: str, share: float
) -> None:
    output = tmp_path / "out" / "x.h5"
    output.parent.mkdir()
    whole = tier_1.data_dir / tier_1.shards[0].name
    if what != "render":
        whole = Path(tier_1.merge(tmp_path / "whole.h5", mode=what).path)
        output.write_bytes(b"what was there before")
    limit = int(share * (whole.stat().st_size - 1))
    shards = json.dumps([s.model_dump() for s in tier_1.shards])
    plan = tier_1.plans[0].model_dump_json()
    done = fresh(KILLED, what, limit, tier_1.data_dir, output, plan, shards, check=False)
    assert done.returncode == -signal.SIGXFSZ, done.stderr
    (left,) = output.parent.rglob(".*.tmp")
    assert left.stat().st_size <= limit
    assert [entry.kind for entry in survey(output.parent, Records({}, {})).entries if "tmp" in entry.path] == [
        "left over"
    ]
    if what == "render":
        assert not list(output.parent.rglob("*.h5"))
        assert render_shard(tier_1.plans[0], output.parent, 60).checksum == tier_1.shards[0].checksum
    else:
        assert output.read_bytes() == b"what was there before"
        assert tier_1.merge(output, mode=what).digest == tier_1.ref.digest


# -------------------------------------------------------------------------------------------------- one of two writers


def test_a_shard_that_another_run_made_is_known_from_its_file(each_tier: Any) -> None:
    for ref in each_tier.shards:
        found = ShardRef.of(each_tier.data_dir, ref.name, ref.source)
        unknown = {"seconds": 0.0, "synth_cpu_seconds": 0.0, "worker": "", "tries": 0}
        assert found == ref.model_copy(update=unknown)


def test_who_waited_is_told_that_the_file_was_made(tmp_path: Path) -> None:
    path, seen = tmp_path / "shards" / "x.h5", []
    holds, waits = threading.Event(), threading.Event()

    def wait(_: float) -> None:
        waits.set()
        holds.wait()

    def second() -> None:
        with claimed(path, wait) as is_made:
            seen.append(is_made)

    waiting = threading.Thread(target=second)
    with claimed(path) as is_made:
        assert not is_made
        waiting.start()
        waits.wait()
        path.write_bytes(b"made")
    holds.set()
    waiting.join()
    assert seen == [True]
    assert list(path.parent.iterdir()) == [path]
    with claimed(path) as is_made:  # it was there before: who asks wants it anew
        assert not is_made


@pytest.mark.slow
def test_never_two_hold_a_claim(tmp_path: Path) -> None:
    path, lock = tmp_path / "x.h5", threading.Lock()
    held = most = 0

    def hold() -> None:
        nonlocal held, most
        for _ in range(20):
            with claimed(path, lambda _: None):
                with lock:
                    held += 1
                    most = max(most, held)
                with lock:
                    held -= 1

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, list(tmp_path.iterdir())) == (1, [])


DIES = """
import os, signal, sys
from pathlib import Path
from synthcore.storage.claims import claimed
with claimed(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_claim_of_a_process_that_died_is_taken_over_at_once(tmp_path: Path, fresh: Any) -> None:
    path = tmp_path / "x.h5"
    assert fresh(DIES, path, check=False).returncode == -signal.SIGKILL
    assert [file.name for file in tmp_path.iterdir()] == [".x.h5.1.claim"]
    with claimed(path, pause=lambda _: pytest.fail("it waits")) as is_made:
        assert not is_made
        assert {file.name for file in tmp_path.iterdir()} == {".x.h5.1.claim", ".x.h5.2.claim"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_claim_of_another_machine_holds_while_it_has_new_times_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SILENT_SECONDS", 0.5)
    path, other = tmp_path / "x.h5", tmp_path / ".x.h5.1.claim"
    other.write_text("another-machine")
    os.utime(other, (4e9, 4e9))  # by a clock of its own
    beats = 0

    def live_on(_: float) -> None:
        nonlocal beats
        beats += 1
        if beats <= 100:
            os.utime(other, ns=(0, beats))

    with claimed(path, live_on):
        pass
    assert beats > 100
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_only_looks_like_a_claim_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "SILENT_SECONDS", 0.5)
    (tmp_path / ".x.h5.x.claim").write_text("")
    os.mkfifo(tmp_path / ".x.h5.1.claim")
    with claimed(tmp_path / "x.h5"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == [".x.h5.x.claim"]


def test_waiting_ends_when_it_is_told_to(tmp_path: Path) -> None:
    def stop(_: float) -> None:
        raise Interrupted("stopped")

    with claimed(tmp_path / "x.h5"):
        with pytest.raises(Interrupted), claimed(tmp_path / "x.h5", stop):
            pass
        assert [file.name for file in tmp_path.iterdir()] == [".x.h5.1.claim"]


def test_what_is_being_written_is_not_left_over_whatever_the_clock_says(tmp_path: Path, fresh: Any) -> None:
    def left_over() -> list[str]:
        return [entry.path for entry in survey(tmp_path, Records({}, {})).entries]

    with atomic_path(tmp_path / "x.h5") as temporary, claimed(tmp_path / "y.h5"):
        os.utime(temporary, (0, 0))
        os.utime(tmp_path / ".y.h5.1.claim", (0, 0))
        assert left_over() == []
    fresh(DIES, tmp_path / "z.h5", check=False)
    assert left_over() == [".z.h5.1.claim"]


# ---------------------------------------------------------------------------------------------------- as users run it


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cli_in: Callable[[Path], Any]) -> tuple[Path, str]:
    """A run that nothing happened to: its folder, and its digest."""
    cli = cli_in(tmp_path_factory.mktemp("undisturbed"))
    return cli.folder, cli.json(*RUN)["digest"]


@pytest.fixture
def rendered(undisturbed: tuple[Path, str], cli: Any) -> str:
    """All shards are there; the digest that is to come of them."""
    shutil.copytree(undisturbed[0] / "data", cli.folder / "data")
    return undisturbed[1]


def shard_files(folder: Path) -> list[Path]:
    return sorted((folder / "data" / "shards").rglob("*.h5"))


def damage_audio(shard: Path) -> None:
    """Damage every row's audio, and nothing that opening the file reads: it looks whole."""
    with h5py.File(shard) as opened:
        rows = len(opened[AUDIO])
    places = [place_of(shard, row) for row in range(rows)]
    with shard.open("r+b") as file:
        for start, size in places:
            file.seek(start + size // 2)
            file.write(bytes(100))


def left_over(folder: Path) -> list[Path]:
    return [*folder.rglob(".*.tmp"), *folder.rglob(".*.claim")]


def report_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


@pytest.mark.long
def test_of_two_runs_at_once_each_shard_is_rendered_by_one(cli: Any, undisturbed: tuple[Path, str]) -> None:
    command = ("generate", "-n", ROWS, "--data-dir", "data", *SHORT, "--workers", 1, "--json")
    both = [cli.start(*command, "-o", f"{name}.h5") for name in ("one", "two")]
    reports = [report_of(process) for process in both]
    assert [report["digest"] for report in reports] == [undisturbed[1]] * 2
    assert sum(SHARDS - report["shards_cached"] for report in reports) == SHARDS
    assert len(shard_files(cli.folder)) == SHARDS
    assert not left_over(cli.folder)


@pytest.mark.long
def test_a_run_takes_over_what_another_was_rendering_when_it_was_killed(
    cli: Any, undisturbed: tuple[Path, str]
) -> None:
    command = ("generate", "-n", ROWS, "--data-dir", "data", *SHORT, "--workers", 1, "--json")
    first = cli.start(*command, "-o", "one.h5")
    # With the third file there, the first has long been written down as a result.
    cli.wait_until(lambda: len(shard_files(cli.folder)) >= 3 and list(cli.folder.rglob(".*.claim")), seconds=120)
    first.send_signal(signal.SIGSTOP)  # it holds what it has begun, and nothing more is finished
    second = cli.start(*command, "-o", "two.h5")
    cli.wait_until(lambda: "Prefect server" in second.stderr.readline(), seconds=120)
    first.kill()
    first.communicate()
    report = report_of(second)
    assert report["digest"] == undisturbed[1]
    assert report["shards_cached"] >= 1
    assert not list(cli.folder.rglob(".*.claim"))


@contextlib.contextmanager
def a_server(home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Prefect server of its own, to be killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_API_PORT": port, "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", port]
    with (home.parent / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        api = f"http://127.0.0.1:{port}/api"
        wait_until(lambda: is_healthy(api), seconds=180)
        yield api, server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.long
def test_a_run_says_that_it_kept_a_file_whose_weights_it_could_not_read(cli: Any, rendered: str) -> None:
    (cli.folder / "out.h5").write_bytes(b"cut short")
    done = cli.run(*RUN, "--overwrite")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "before-merge" in line]
    assert len(lines) == 1
    had = "had importance weights or features"
    assert re.fullmatch(rf"whether .*out\.h5 {had} can't be read \(.*\): it is kept as .*", lines[0])
    assert (cli.folder / "out.before-merge.h5").read_bytes() == b"cut short"


@pytest.mark.long
def test_damage_in_shards_that_a_dataset_refers_to_is_named_and_mended_when_asked(cli: Any, rendered: str) -> None:
    run = (*RUN, "--merge", "virtual")
    assert cli.json(*run)["digest"] == rendered
    for shard in shard_files(cli.folder):
        damage_audio(shard)
    (picture,) = (cli.folder / "data" / "results").glob("picture-*")
    picture.unlink()
    done = cli.run(*run)
    assert done.returncode == 2, done.stderr
    assert re.search(
        r"out\.h5 refers to a damaged shard: .* \(generate takes --refresh merge\)$", done.stderr.splitlines()[-1]
    )
    assert "Traceback" not in done.stderr
    report = cli.json(*run, "--refresh", "merge")
    assert (report["digest"], report["rows_rendered"]) == (rendered, ROWS)
    assert cli.json("verify", "out.h5", "--all")["exact"] == ROWS


IMPATIENT = """
import sys
from synthcore.flows.running import environment
environment.RESTART_SECONDS = 1  # for a server to come back
from synthcore.flows.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.long
def test_a_server_that_is_killed_costs_one_line_and_the_next_run_continues(
    cli: Any, undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    with a_server(tmp_path / "home") as (api, server):
        process = cli.start(*RUN, env={"PREFECT_API_URL": api}, program=("-c", IMPATIENT))
        cli.wait_until(lambda: len(shard_files(cli.folder)) >= 1, seconds=120)
        family = descendants(process.pid)
        os.killpg(server.pid, signal.SIGKILL)
        _, err = process.communicate()
    assert process.returncode == 1
    assert f"the Prefect server at {api} no longer answers" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not any(is_alive(pid) for pid in family)
    report = cli.json(*RUN)
    assert (report["digest"], report["shards_cached"] >= 1) == (undisturbed[1], True)
    assert not left_over(cli.folder)


class HealthyOnce(BaseHTTPRequestHandler):
    """Answers whoever asks for its health, and nobody after that."""

    def do_GET(self) -> None:
        self.server.server_close()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()


@pytest.mark.long
def test_a_server_that_goes_before_a_run_begins_costs_one_line(cli: Any) -> None:
    with HTTPServer(("127.0.0.1", 0), HealthyOnce) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        api = f"http://127.0.0.1:{server.server_port}/api"
        done = cli.run(*RUN, env={"PREFECT_API_URL": api}, program=("-c", IMPATIENT))
    assert done.returncode == 1
    assert "no longer answers" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (cli.folder / "out.h5").exists()


WHILE_MERGING = """
import sys
from synthcore.storage import merge
join, victims = merge.merge_shards, []

def damaging(shards, output, context, **how):
    if not victims:
        victims.append(context.data_dir / shards[1].name)
        victims[0].unlink()
    return join(shards, output, context, **how)

merge.merge_shards = damaging
from synthcore.flows.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.long
def test_a_shard_that_goes_between_cache_hit_and_merge_is_rendered_again(cli: Any, rendered: str) -> None:
    done = cli.run(*RUN, "--json", program=("-c", WHILE_MERGING))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["digest"], report["shards_cached"]) == (rendered, SHARDS - 1)
    assert "is gone or damaged: rendering shard 1 again" in " ".join(done.stderr.split())
    assert not left_over(cli.folder)


def after_mounting(mount: str) -> tuple[str, ...]:
    """What to run a command within, for it alone to see something mounted."""
    return ("unshare", "-m", "sh", "-ec", f'{mount}\nexec "$@"', "sh")


def files_at_most(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.long
def test_a_shard_that_a_newer_synthcore_made_since_is_named_as_such_and_rendered_again(cli: Any, rendered: str) -> None:
    newer = shard_files(cli.folder)[0]
    with h5py.File(newer, "r+") as file:
        file["schema"].attrs["version"] = "99.0.0"
    done = cli.run(*RUN, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["digest"], report["shards_cached"]) == (rendered, SHARDS - 1)
    assert f"{newer.name} is by a newer synthcore: rendering shard" in " ".join(done.stderr.split())


@pytest.mark.long
def test_records_cut_short_cost_their_steps_done_again(cli: Any, rendered: str) -> None:
    results = cli.folder / "data" / "results"
    for number, record in enumerate(results.glob("shard-*")):
        record.write_bytes(record.read_bytes()[: number * 100])
    report = cli.json(*RUN)
    assert (report["digest"], report["shards_cached"]) == (rendered, 0)
    again = cli.json(*RUN)
    assert (again["digest"], again["shards_cached"]) == (rendered, SHARDS)


@pytest.mark.long
@pytest.mark.skipif(not CAN_MOUNT, reason="needs to be allowed to mount")
def test_a_disk_that_is_full_for_shards_costs_one_line_and_the_next_run_makes_them(
    cli: Any, undisturbed: tuple[Path, str]
) -> None:
    (cli.folder / "data").mkdir()
    done = cli.run(*RUN, within=after_mounting("mount -t tmpfs -o size=3m tmpfs data"))
    assert done.returncode == 2, done.stderr
    assert "No space left on device; nothing was left half-written" in done.stderr.splitlines()[-1]
    assert not (cli.folder / "out.h5").exists()
    assert cli.json(*RUN)["digest"] == undisturbed[1]


@pytest.mark.long
@pytest.mark.skipif(not CAN_MOUNT, reason="needs to be allowed to mount")
def test_a_disk_that_is_full_for_records_costs_the_steps_that_it_had_no_room_for(
    cli: Any, undisturbed: tuple[Path, str]
) -> None:
    (cli.folder / "data" / "results").mkdir(parents=True)
    done = cli.run(*RUN, "--json", within=after_mounting('mount -t tmpfs -o size=16k tmpfs data/results && "$@"'))
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert [first["digest"], second["digest"]] == [undisturbed[1]] * 2
    assert 0 < second["shards_cached"] < SHARDS


@pytest.mark.long
@pytest.mark.skipif(not CAN_MOUNT, reason="needs to be allowed to mount")
@pytest.mark.parametrize("runner", ["threads", "dask"])
def test_full_shared_memory_costs_one_line_and_only_who_needs_it(cli: Any, rendered: str, runner: str) -> None:
    fill = "mount -t tmpfs -o nr_inodes=1 tmpfs /dev/shm; ! touch /dev/shm/one 2> /dev/null"
    done = cli.run(*RUN, "--runner", runner, "--json", within=after_mounting(fill))
    assert "Traceback" not in done.stderr
    if runner == "threads":
        assert json.loads(done.stdout)["digest"] == rendered
    else:
        assert done.returncode == 1
        assert "shared memory can't be had: No space left on device; remove" in done.stderr.splitlines()[-1]


@pytest.mark.long
def test_a_disk_that_is_full_for_the_catalog_costs_one_line(cli: Any, preset_folder: Path) -> None:
    command = ("discover-wt", "--extra-dir", preset_folder, "-o", "catalog.json", "--data-dir", "data")
    done = cli.run(*command, preexec_fn=functools.partial(files_at_most, 20_000))
    assert done.returncode == 2, done.stderr
    assert "can't write" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (cli.folder / "catalog.json").exists()
    assert not left_over(cli.folder)
    assert cli.json(*command)["wavetables"] > 0


@pytest.mark.long
@pytest.mark.skipif(not CAN_MOUNT, reason="needs to be allowed to mount")
@pytest.mark.parametrize("what", ["out", "data"])
def test_a_read_only_place_costs_one_line_and_its_content_stays(cli: Any, rendered: str, what: str) -> None:
    (cli.folder / "out").mkdir()
    old = cli.folder / "out" / "old.h5"
    old.write_bytes(b"kept")
    command = ("generate", "-n", ROWS + 12, "--data-dir", "data", "-o", "out/new.h5", *SHORT)
    done = cli.run(*command, within=after_mounting(f"mount --bind {what} {what} && mount -o remount,ro,bind {what}"))
    assert done.returncode == 2, done.stderr
    assert re.search(r"(?i)can't write .*read-only file system", done.stderr.splitlines()[-1]), done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (cli.folder / "out").iterdir()] == ["old.h5"]
    assert cli.json(*RUN)["digest"] == rendered


JUMPING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static int (*real)(clockid_t, struct timespec *);
int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    struct timespec running;
    real(CLOCK_MONOTONIC, &running);
    if (clock == CLOCK_REALTIME) now->tv_sec += 86400 * (running.tv_sec % 3 - 1);
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec, now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *where) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where) *where = exact.tv_sec;
    return exact.tv_sec;
}
"""


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which each second is of yesterday, of today or of tomorrow."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "jumping.c").write_text(JUMPING)
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs a C compiler, and Linux's way to put a function before another")
    built = [compiler, "-shared", "-fPIC", "-o", "jumping.so", "jumping.c", "-ldl"]
    subprocess.run(built, cwd=folder, check=True, capture_output=True)
    return {"LD_PRELOAD": str(folder / "jumping.so")}


SEES_JUMPS = """
import time
days, until = set(), time.monotonic() + 4
while time.monotonic() < until and len(days) < 3:
    days.add(int(time.time() // 86400))
    time.sleep(0.05)
print(len(days))
"""


@pytest.mark.long
def test_a_clock_that_jumps_changes_no_byte_and_nothing_in_use_is_cleared(
    cli: Any, undisturbed: tuple[Path, str], jumping: dict[str, str]
) -> None:
    seen = subprocess.run([sys.executable, "-c", SEES_JUMPS], env=os.environ | jumping, capture_output=True, text=True)
    assert seen.stdout.strip() == "3"
    process = cli.start(*RUN, "--json", "--workers", 1, env=jumping)
    cli.wait_until(lambda: len(shard_files(cli.folder)) >= 1 and left_over(cli.folder), seconds=120)
    pruned = cli.json("cache", "prune", "--data-dir", "data", "--older-than", 0.01, env=jumping)
    assert [entry for entry in pruned["entries"] if entry["kind"] == "left over"] == []
    report = report_of(process)
    assert report["digest"] == undisturbed[1]
    assert cli.json("verify", "out.h5", "--all")["exact"] == ROWS
    assert not left_over(cli.folder)


# ---------------------------------------------------------------------------------------------------------- the table


def test_every_line_of_what_it_survives_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.split("\n## What it survives\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(lines) > 20
    for line in lines:
        named = re.findall(r"`(test_\w+)\.(test_\w+)`", line)
        assert named, line
        for file, test in named:
            named_so = (path.read_text() for path in (ROOT / "tests").rglob(f"{file}.py"))
            assert any(f"def {test}(" in text for text in named_so), f"{file}.{test}"
