"""The flow as its users run it: cached, continued, extended, damaged, killed, interrupted; against a real server."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from benchmarks.processes import descendants, is_alive
from synthcore.pipeline.shard import plan_shards, render_shard
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.vital.catalog import builtin
from tests.api import ask
from tests.conftest import ROOT, wait_until

pytestmark = pytest.mark.slow

ROWS = 60
#: Renders of a tenth of the usual length, in shards of four patches.
SHORT: tuple[object, ...] = ("--notes", 48, "--notes", 60, "--notes", 72, "--sample-rate", 22050)
SHORT += ("--note-seconds", 0.25, "--render-seconds", 0.4, "--rows-per-shard", 12)
SHARDS = 5


def generate(cli: Any, *flags: object, data: str = "data", output: str = "out.h5", rows: int = ROWS) -> dict[str, Any]:
    return cli.json("generate", "-n", rows, "--data-dir", data, "-o", output, *SHORT, *flags)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cli_in: Callable[[Path], Any]) -> tuple[Path, dict[str, Any]]:
    """A run that nothing happened to: its folder, and what it reported."""
    cli = cli_in(tmp_path_factory.mktemp("undisturbed"))
    return cli.folder, generate(cli, "--workers", 2)


@pytest.fixture
def copied(undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """The undisturbed run's data directory, moved to another place."""
    shutil.copytree(undisturbed[0] / "data", tmp_path / "data")
    return undisturbed[1]


def task_states(api: str, since: float) -> Counter[tuple[str, str]]:
    """Count the tasks since a moment, all of runs that went well, by the first word of the name and the state."""

    def moment(seconds: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f"{seconds % 1:.6f}"[1:]

    def began() -> list[dict[str, Any]]:
        runs = ask(f"{api}/task_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 200})
        # Not what is to begin later: a run that was killed may have left a task that waits to be tried again.
        return [run for run in runs if moment(since) <= run["expected_start_time"] <= moment(time.time())]

    runs: list[dict[str, Any]] = []

    def are_written_down() -> bool:  # the server does that a moment after a run has ended, one after the other
        nonlocal runs
        before, runs = runs, began()
        return len(runs) == len(before) and all((run["state"] or {}).get("type") == "COMPLETED" for run in runs)

    wait_until(are_written_down, seconds=60)
    return Counter((run["name"].split()[0], run["state"]["name"]) for run in runs)


def shard_files(folder: Path) -> list[Path]:
    return sorted((folder / "data" / "shards").rglob("*.h5"))


def test_a_run_makes_the_rows_and_says_so(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    folder, report = undisturbed
    assert (report["rows"], report["shards"], report["shards_cached"]) == (ROWS, SHARDS, 0)
    with Dataset(folder / "out.h5") as dataset:
        assert (len(dataset), dataset.digest) == (ROWS, report["digest"])


@pytest.mark.long
def test_the_same_command_again_renders_nothing(cli: Any, copied: dict[str, Any]) -> None:
    generate(cli)  # the output has another path here: merged once more
    since = time.time()
    again = cli.run("generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT)
    assert f"nothing rendered: all {SHARDS} shards were cached" in again.stdout
    states = task_states(cli.api, since)
    assert states["shard", "Cached"] == SHARDS
    assert states["merge", "Cached"] == 1


def test_cached_shards_serve_another_directory_and_later_versions(cli: Any, copied: dict[str, Any]) -> None:
    now, then = "synthcore.storage.refs.ShardRef", "synthcore.storage.merge.ShardRef"
    records = list((cli.folder / "data" / "results").glob("shard-*"))
    for record in records:
        text = record.read_text()
        assert now in text
        record.write_text(text.replace(now, then))
    report = generate(cli)
    assert all(now in record.read_text() for record in records)
    assert (report["shards_cached"], report["digest"]) == (SHARDS, copied["digest"])


@pytest.mark.long
def test_the_number_of_workers_and_the_directory_change_no_byte(warm: Any, undisturbed: tuple[Path, Any]) -> None:
    report = generate(warm, "--workers", 1)
    assert (report["shards_cached"], report["digest"]) == (0, undisturbed[1]["digest"])


def test_a_shard_rendered_alone_is_the_one_of_a_run(undisturbed: tuple[Path, Any], tmp_path: Path) -> None:
    spec = DatasetSpec.model_validate(undisturbed[1]["spec"])
    alone = plan_shards(spec, 12)[3]
    ref = render_shard(alone, tmp_path, timeout_seconds=60)
    with Dataset(undisturbed[0] / "data" / alone.name) as within_a_run:
        assert ref.digest == within_a_run.digest


@pytest.mark.long
@pytest.mark.parametrize("rows_per_shard", [48, 96, 192])
def test_the_size_of_shards_changes_no_byte(warm: Any, undisturbed: tuple[Path, Any], rows_per_shard: int) -> None:
    report = generate(warm, "--rows-per-shard", rows_per_shard)
    assert report["digest"] == undisturbed[1]["digest"]


@pytest.mark.long
def test_more_rows_extend_the_output_and_render_only_new_shards(cli: Any, copied: dict[str, Any]) -> None:
    generate(cli)
    since = time.time()
    report = generate(cli, rows=ROWS + 24)
    assert (report["rows"], report["shards"], report["shards_cached"]) == (ROWS + 24, SHARDS + 2, SHARDS)
    assert task_states(cli.api, since)["shard", "Cached"] == SHARDS
    with Dataset(cli.folder / "out.h5") as dataset:
        assert len(dataset) == ROWS + 24


@pytest.mark.long
def test_fewer_rows_or_another_spec_leave_an_output_alone(cli: Any, copied: dict[str, Any]) -> None:
    generate(cli)
    before = (cli.folder / "out.h5").read_bytes()
    for flags, why in (
        (("-n", ROWS - 1), f"has {ROWS} synthetic rows"),
        (("-n", ROWS, "--seed", 1), "another spec (seed 0 there, 1 here)"),
    ):
        done = cli.run("generate", *flags, "--data-dir", "data", "-o", "out.h5", *SHORT)
        assert done.returncode == 2
        assert why in done.stderr
        assert "--overwrite" in done.stderr
    assert (cli.folder / "out.h5").read_bytes() == before
    assert generate(cli, "--overwrite", rows=ROWS - 1)["rows"] == ROWS - 1


def test_a_shard_that_is_gone_is_rendered_again_alone(cli: Any, copied: dict[str, Any]) -> None:
    shard_files(cli.folder)[0].unlink()
    report = generate(cli)
    assert (report["shards_cached"], report["digest"]) == (SHARDS - 1, copied["digest"])


@pytest.mark.long
def test_a_flipped_bit_is_found_while_merging_and_that_shard_rendered_again(cli: Any, copied: dict[str, Any]) -> None:
    victim = shard_files(cli.folder)[1]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    report = generate(cli)
    assert (report["shards_cached"], report["digest"]) == (SHARDS - 1, copied["digest"])
    assert cli.json("verify", "out.h5", "--all")["exact"] == ROWS


@pytest.mark.long
def test_an_output_that_is_gone_is_merged_again(cli: Any, copied: dict[str, Any]) -> None:
    generate(cli)
    (cli.folder / "out.h5").unlink()
    report = generate(cli)
    assert (report["shards_cached"], report["digest"]) == (SHARDS, copied["digest"])


@pytest.mark.long
def test_a_virtual_merge_refers_to_the_shards(cli: Any, copied: dict[str, Any]) -> None:
    report = generate(cli, "--merge", "virtual", output="virtual.h5")
    assert report["digest"] == copied["digest"]
    assert report["bytes"] < copied["bytes"] / 3  # the wavetables are in both
    assert cli.json("verify", "virtual.h5", "--all")["exact"] == ROWS


@pytest.mark.long
def test_random_kills_change_no_byte(cli: Any, undisturbed: tuple[Path, Any]) -> None:
    process = cli.start("generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT, "--workers", 2, "--json")
    assert under_fire(process)["digest"] == undisturbed[1]["digest"]


#: Fewer kills than make a shard give up, even if all of them hit the same one, as on a busy machine.
KILLS = 8


def under_fire(process: subprocess.Popen[str], every: float = 0.3) -> dict[str, Any]:
    """Kill a zygote or a child of one every so many seconds while a run goes on to its good end; return its report."""
    chance, over = random.Random(7), threading.Event()
    killed: list[int] = []

    def kill_now_and_then() -> None:
        while len(killed) < KILLS and not over.wait(every):
            family = descendants(process.pid)
            zygotes = [pid for pid, command in family.items() if "synthcore.engine.zygote" in command]
            if zygotes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(zygotes), signal.SIGKILL)
                    killed.append(1)

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    out, err = process.communicate()
    over.set()
    killer.join()
    assert process.returncode == 0, err
    assert killed
    report: dict[str, Any] = json.loads(out)
    return report


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_a_run_that_is_ended_leaves_no_process_and_is_continued(
    cli: Any, undisturbed: tuple[Path, Any], name: str
) -> None:
    process = cli.start("generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT, "--workers", 1)
    cli.wait_until(lambda: len(shard_files(cli.folder)) >= 2, seconds=120)
    family = descendants(process.pid)
    process.send_signal(getattr(signal, name))
    process.communicate()
    if name != "SIGKILL":
        assert process.returncode == 130
        assert not list(cli.folder.rglob("*.tmp"))
        kept = cli.json("cache", "list", "--data-dir", "data")["entries"]
        assert {e["state"] for e in kept if e["kind"] == "record"} <= {"unreachable"}  # of tasks that were stopped
    assert not (cli.folder / "out.h5").exists()
    cli.wait_until(lambda: not any(is_alive(pid) for pid in family), seconds=60)
    report = generate(cli)
    assert report["shards_cached"] >= 1
    assert report["digest"] == undisturbed[1]["digest"]


@pytest.mark.long
def test_a_full_disk_costs_one_line_and_nothing_is_half_written(cli: Any, copied: dict[str, Any]) -> None:
    size = max(path.stat().st_size for path in shard_files(cli.folder))

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size * 2, size * 2))  # room for a shard, not for the output

    flags = ("generate", "-n", ROWS, "--data-dir", "data", "-o", "out.h5", *SHORT)
    done = cli.run(*flags, preexec_fn=limit_files)
    assert done.returncode == 2
    assert "can't write" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (cli.folder / "out.h5").exists()
    assert not list(cli.folder.rglob("*.tmp"))
    assert generate(cli)["digest"] == copied["digest"]


@pytest.mark.long
def test_a_spec_that_accepts_nearly_nothing_stops_with_its_faults(cli: Any) -> None:
    done = cli.run("generate", "-n", 60, "--data-dir", "data", "-o", "out.h5", *SHORT, "--min-rms-dbfs", -0.1)
    assert done.returncode == 1
    assert re.search(r"accepted 0 of 10[01] candidates", done.stderr)  # two renderers may both have found out
    assert "silent" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_the_flow_is_called_from_python_with_flat_and_nested_parameters(cli: Any) -> None:
    code = """
from synthcore import AudioSpec, RunSettings, generate
audio = AudioSpec(sample_rate=22050, notes=(60,), note_seconds=0.25, render_seconds=0.4)
summary = generate(tier=2, n_samples=4, output="here/out.h5", seed=3, workers=1, data_dir="data", audio=audio,
                   run=RunSettings(rows_per_shard=2))
print(summary.rows, summary.shards, summary.spec.tier)
"""
    environment = {**os.environ, "PREFECT_API_URL": cli.api}
    done = subprocess.run([sys.executable, "-c", code], cwd=cli.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4", "2", "2"]
    with h5py.File(cli.folder / "here" / "out.h5") as file:
        assert file["audio/waveforms"].shape == (4, 2, 8820)


@pytest.mark.long
def test_the_script_and_the_environment_do_what_the_command_does(cli: Any, copied: dict[str, Any]) -> None:
    script = ROOT / "flows" / "generate.py"
    environment = {**os.environ, "PREFECT_API_URL": cli.api, "SYNTHCORE_N_SAMPLES": str(ROWS)}
    command = [sys.executable, str(script), "--data-dir", "data", "-o", "out.h5", "--json", *map(str, SHORT)]
    done = subprocess.run(command, cwd=cli.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == copied["digest"]
    assert str(cli.folder / "data") in done.stderr


def test_a_run_leaves_its_progress_and_a_summary_in_the_ui(cli: Any, undisturbed: tuple[Path, Any]) -> None:
    artifacts = ask(f"{cli.api}/artifacts/filter", {"limit": 200})
    by_key: dict[str, list[Any]] = {}
    for artifact in artifacts:
        by_key.setdefault(artifact["key"], []).append(artifact["data"])
    assert any(float(done) == 100.0 for done in by_key["progress"])
    assert any(undisturbed[1]["digest"] in page for page in by_key["summary"])


@pytest.mark.long
def test_without_a_server_a_run_brings_its_own(cli: Any, undisturbed: tuple[Path, Any]) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    command = [
        sys.executable,
        "-m",
        "synthcore.flows.cli",
        "generate",
        "-n",
        "12",
        "--data-dir",
        "data",
        "-o",
        "out.h5",
        "--json",
    ]
    done = subprocess.run([*command, *map(str, SHORT)], cwd=cli.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 12


@pytest.mark.long
@pytest.mark.parametrize("flags", [(), ("--tier", 2), ("--tier", 2, "--fixed-modulation"), ("--tier", 3)])
def test_growing_keeps_the_beginning_and_every_row_verifies(warm: Any, flags: tuple[object, ...]) -> None:
    short = generate(warm, *flags, data="a", output="short.h5", rows=24)
    long = generate(warm, *flags, "--rows-per-shard", 48, data="b", output="long.h5", rows=48)
    assert short["digest"] != long["digest"]
    with Dataset(warm.folder / "short.h5") as one, Dataset(warm.folder / "long.h5") as other:
        for column in ("audio_sha256", "preset_hash", "continuous", "categorical", "modulation_slots", "audio"):
            assert (one.column(column) == other.column(column, slice(0, 24))).all(), column
    verdict = warm.json("verify", "long.h5", "--all")
    assert (verdict["checked"], verdict["exact"], verdict["differing"]) == (48, 48, 0)


# ------------------------------------------------------------------------------------------------ presets and catalogs


def mixed(folder: Path, *flags: object) -> tuple[object, ...]:
    """A run of presets, variations and few synthetic rows, at tier 3."""
    wishes = ("generate", "--tier", 3, "-n", 12, "--community-dir", folder, "--variations", 6, *flags)
    return (*wishes, "--data-dir", "data", "-o", "out.h5", *SHORT)


@pytest.mark.long
def test_presets_and_variations_obey_the_same_laws(
    cli_in: Any, warm_in: Any, preset_folder: Path, tmp_path: Path
) -> None:
    calm, stormy = warm_in(tmp_path / "calm"), cli_in(tmp_path / "stormy")
    for one in (calm, stormy):
        one.folder.mkdir()
    first = calm.json(*mixed(preset_folder, "--workers", 2))
    flags = ("--workers", 1, "--json", "--rows-per-shard", 24)
    disturbed = under_fire(stormy.start(*mixed(preset_folder, *flags)), every=2)  # one zygote takes all that comes
    assert disturbed["digest"] == first["digest"]
    assert calm.json("verify", "out.h5", "--all")["exact"] == first["rows"]

    again = calm.json(*mixed(preset_folder))
    assert (again["shards_cached"], again["digest"]) == (again["shards"], first["digest"])

    other = tmp_path / "more"
    shutil.copytree(preset_folder, other)
    loud = json.loads((other / "still.vital").read_text())
    loud["settings"]["volume"] = 5000.0
    (other / "another.vital").write_text(json.dumps(loud))
    refused = cli_in(calm.folder).run(*mixed(other))
    assert refused.returncode == 2
    assert "another spec" in refused.stderr
    more = calm.json(*mixed(other, "--overwrite"))
    assert more["rows"] > first["rows"]
    assert more["shards_cached"] >= 1  # the synthetic ones


@pytest.mark.long
def test_one_command_clones_ingests_and_renders(cli: Any, preset_folder: Path) -> None:
    repository = cli.folder / "remote"
    shutil.copytree(preset_folder, repository)
    (repository / "synthcore-source.json").unlink()
    later = json.loads((repository / "sound 1.vital").read_text())  # with a stack style that vita lacks
    later["settings"] |= {"osc_1_on": 1.0, "osc_1_unison_voices": 4.0, "osc_1_stack_style": 4.0}
    (repository / "later.vital").write_text(json.dumps({**later, "synth_version": "1.5.5"}))
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(repository))
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "sounds")):
        subprocess.run([*git, *command], check=True, capture_output=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (cli.folder / "synthcore.toml").write_text(
        f'[[download-presets.sources]]\nurl = "{repository.as_uri()}"\nlicence = "CC0-1.0"\n'
    )
    report = cli.json("generate", "--repos", "--tier", 1, "-n", 6, "--data-dir", "data", "-o", "out.h5", *SHORT)
    assert (report["presets"]["accepted"], report["presets"]["approximate"]) == (7, 1)
    with Dataset(cli.folder / "out.h5") as dataset:
        assert len(dataset) == report["rows"] > 6
        assert {(s.commit, s.licence, s.repository) for s in dataset.sources()} == {
            (commit, "CC0-1.0", repository.as_uri())
        }


@pytest.mark.long
def test_wavetables_are_drawn_from_the_catalog_that_is_named(
    cli: Any, preset_documents: dict[str, dict[str, Any]]
) -> None:
    (cli.folder / "mine").mkdir()
    document = preset_documents["sound 0.vital"]
    keyframe = document["settings"]["wavetables"][0]["groups"][0]["components"][0]["keyframes"][0]
    keyframe["wave_data"] = f"{keyframe['wave_data'][:40]}AAAA{keyframe['wave_data'][44:]}"
    (cli.folder / "mine" / "own.vital").write_text(json.dumps(document))
    found = cli.json("discover-wt", "--extra-dir", "mine", "-o", "catalog.json", "--data-dir", "data")
    assert found["wavetables"] > len(builtin())
    report = generate(cli, "--catalog", "catalog.json", rows=24)
    assert report["spec"]["catalog_digest"] == found["digest"]
    assert cli.json("verify", "out.h5", "--all")["exact"] == 24

    refused = cli.run("generate", "-n", 24, "--data-dir", "data", "-o", "out.h5", *SHORT)
    assert refused.returncode == 2
    assert "another spec (catalog_digest" in refused.stderr
    missing = cli.run("generate", "-n", 24, "--data-dir", "data", "--catalog", "no.json", *SHORT)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "no.json" in missing.stderr
