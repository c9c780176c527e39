"""Many runs at once on one Prefect server: whether its database keeps up.

Each run is `synthcore generate` in a process of its own, with shards of one short row, so that the server is asked as
often as can be. A database that is locked shows in the server's log; a run that fails by it, by its exit code.

Run as `python -m benchmarks.database RUNS SHARDS`, on SQLite, or on the database that
PREFECT_SERVER_DATABASE_CONNECTION_URL names, which must be empty; prints a JSON report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Server
from synthcore.flows.running.server import last_line

ROWS = ("--rows-per-shard", 1, "--notes", 60, "--sample-rate", 22050, "--note-seconds", 0.05, "--render-seconds", 0.1)


def measure(folder: Path, runs: int, shards: int) -> dict[str, Any]:
    """Start a server and runs; say how they ended, and how often the database was locked."""
    os.environ["PREFECT_SERVER_LOG_RETRYABLE_ERRORS"] = "true"  # by default it hides that it was locked
    server = Server(folder / "home")
    server.start()
    os.environ |= {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.home)}
    try:
        started = time.monotonic()
        running = [_start(folder, seed, shards) for seed in range(runs)]
        codes = [process.wait() for process in running]
        seconds = time.monotonic() - started
    finally:
        server.kill()
    log = server.home.with_suffix(".log").read_text()
    return {
        "runs": runs,
        "shards": runs * shards,
        "failed": sum(map(bool, codes)),
        "seconds": round(seconds, 1),
        "locked": log.count("(sqlite3.OperationalError) database is locked"),
        "errors": log.count("Traceback (most recent call last)"),
        "complaints": sorted({last_line((folder / f"{seed}.log").read_text()) for seed in range(runs) if codes[seed]}),
    }


def _start(folder: Path, seed: int, shards: int) -> subprocess.Popen[bytes]:
    words = ("--seed", seed, "-n", shards, "--data-dir", folder / "data", "-o", folder / f"{seed}.h5", *ROWS)
    with (folder / f"{seed}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "synthcore.flows.cli", "generate", *map(str, words)], stdout=log, stderr=log
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), int(sys.argv[1]), int(sys.argv[2])), indent=2))
