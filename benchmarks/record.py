"""One large run for the record: stopped with Ctrl-C at a share of its rows, continued, and written down.

Run as `python -m benchmarks.record NAME --folder FOLDER`. The folder keeps the data: the command again, after it was
itself stopped, continues. Writes `results/runs.json` and docs/scale.md; with `--rows` or `--rows-per-shard` it is a
trial, which is only printed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import scale_page
from benchmarks.costs import WORKERS
from benchmarks.measure import read_result, where, write_result
from synthcore.settings.generate import RunSettings
from synthcore.spec import DatasetSpec

RUNS: dict[str, tuple[object, ...]] = {
    "20k-tier-1": ("-n", 20_000, "--tier", 1),
    "100k-virtual": (
        *("-n", 100_000, "--tier", 1, "--merge", "virtual"),
        *("--sample-rate", 22_050, "--note-seconds", 0.75, "--render-seconds", 1),
    ),
}
STOP_SHARE = 0.4
ROWS_PER_SHARD = RunSettings().rows_per_shard
POLL_SECONDS = 0.5
INTERRUPTED = 130  #: how a run ends that was stopped with Ctrl-C


@dataclass(slots=True)
class Part:
    """One start of the command, to its end."""

    report: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    peak_rss_flow: int = 0
    peak_rss_tree: int = 0

    def run(self, command: list[str], folder: Path, stop_at_shards: int | None) -> None:
        """Run the command to its end, or press Ctrl-C when so many shards are there."""
        started, is_stopped = time.monotonic(), False
        # Its stdout in a file: nobody reads a pipe meanwhile. In a session of its own, as a terminal gives it.
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(command, stdout=said, start_new_session=True)
            try:
                while process.poll() is None:
                    self._watch(process.pid)
                    if not is_stopped and stop_at_shards is not None and len(shard_files(folder)) >= stop_at_shards:
                        os.killpg(process.pid, signal.SIGINT)
                        is_stopped = True
                    time.sleep(POLL_SECONDS)
            finally:
                if process.poll() is None:  # this program is being stopped
                    os.killpg(process.pid, signal.SIGINT)
                    process.wait()
                self.seconds = time.monotonic() - started
            if process.returncode not in ((0, INTERRUPTED) if is_stopped else (0,)):
                raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}")
            said.seek(0)
            self.report = json.loads(said.read()) if process.returncode == 0 else {}

    def _watch(self, pid: int) -> None:
        """Take the memory of the process and of all that it has started."""
        try:
            process = psutil.Process(pid)
            flow = process.memory_info().rss
            tree = flow + sum(map(_rss, process.children(recursive=True)))
        except psutil.NoSuchProcess:
            return
        self.peak_rss_flow, self.peak_rss_tree = max(self.peak_rss_flow, flow), max(self.peak_rss_tree, tree)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:  # a render child ends any moment
        return 0


def main() -> int:
    """Make the run, and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record", description=__doc__)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument(
        "--folder", type=Path, required=True, help="for the run's own folder, with its shards and the file"
    )
    parser.add_argument("--stop-at", type=float, default=STOP_SHARE, help="share of the rows; 0 for no stop")
    parser.add_argument("--rows", type=int, help="fewer rows, for a trial")
    parser.add_argument("--rows-per-shard", type=int, help="smaller shards, for a trial")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background, and what it starts, ignores it
    flags = [*RUNS[given.name], *(("-n", given.rows) if given.rows else ())]
    flags += ("--rows-per-shard", given.rows_per_shard) if given.rows_per_shard else ()
    recorded = record(
        given.name, given.folder / given.name, flags, given.stop_at, given.rows_per_shard or ROWS_PER_SHARD
    )
    print(json.dumps(recorded, indent=1))
    if not (given.rows or given.rows_per_shard):
        kept = {run["name"]: run for run in read_result("runs") or ()}
        write_result("runs", list((kept | {given.name: recorded}).values()))
        scale_page.write()
    return 0


def record(name: str, folder: Path, flags: list[object], stop_at: float, rows_per_shard: int) -> dict[str, Any]:
    """Run the command until it ends, stopping it once."""
    where_to = ("--data-dir", folder / "data", "-o", folder / f"{name}.h5", "--workers", WORKERS)
    command = [sys.executable, "-m", "synthcore.flows.cli", "generate", *map(str, (*flags, *where_to)), "--json"]
    rows = int(str(flags[len(flags) - 1 - flags[::-1].index("-n") + 1]))
    progress = folder / "parts.json"  # so that this program can itself be stopped
    parts = [Part(**part) for part in json.loads(progress.read_text())] if progress.is_file() else []
    if parts and parts[-1].report:
        raise SystemExit(f"{folder} holds a run that is finished; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    stops = [max(1, round(stop_at * rows / rows_per_shard)), None] if stop_at and not parts else [None]
    for stop in stops:
        parts.append(Part())
        try:
            parts[-1].run(command, folder, stop)
        finally:
            progress.write_text(json.dumps([asdict(part) for part in parts]))
    report = parts[-1].report
    spec = DatasetSpec.model_validate(report["spec"])
    return {
        "name": name,
        "rows": report["rows"],
        "tier": spec.tier,
        "sample_rate": spec.audio.sample_rate,
        "render_seconds": spec.audio.render_seconds,
        "workers": WORKERS,
        "seconds": round(sum(part.seconds for part in parts), 1),
        "stops": len(parts) - 1,
        "rows_at_stop": rows - report["rows_rendered"] if len(parts) > 1 else 0,
        "rejection_rate": round(sum(report["faults"].values()) / report["candidates"], 4),
        "faults": report["faults"],
        "bytes": report["bytes"],
        "shard_bytes": sum(path.stat().st_size for path in shard_files(folder)),
        "peak_rss_flow": max(part.peak_rss_flow for part in parts),
        "peak_rss_tree": max(part.peak_rss_tree for part in parts),
        "digest": report["digest"],
        **where(),
    }


def shard_files(folder: Path) -> list[Path]:
    """The shards that are finished: what has the name is whole."""
    return sorted((folder / "data" / "shards").glob("*/*.h5"))


if __name__ == "__main__":
    raise SystemExit(main())
