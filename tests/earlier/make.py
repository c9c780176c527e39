"""Make the archive that tests open as what an earlier version left: a data directory, and a Prefect home.

    python -m tests.earlier.make NAME.tar.xz

Run by hand with the version that is to be kept, before the next one. `prefect-3.8.8.tar.xz` was made on 2026-11-27,
with schema 4.1.0 of the file and engine version 1, on Linux; the shard says on which type of machine. In it are the
shard, its records, and the database of the server that the run started. A shard takes 220 kB, whatever its audio, as it
explains itself.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

#: One row, of a fraction of a second.
FLAGS = (
    *("--tier", "1", "-n", "1", "--notes", "60", "--rows-per-shard", "1"),
    *("--note-seconds", "0.05", "--render-seconds", "0.1", "--sample-rate", "8000"),
)
#: What is kept, besides the server's database: no picture, and no dataset, as the shard is one.
KEPT = ("data/results/merge-*", "data/results/shard-*", "data/shards/*/*.h5")


def make(archive: Path) -> None:
    """Run the command in a folder of its own, and keep what it left."""
    with tempfile.TemporaryDirectory(prefix="earlier-") as name:
        folder = Path(name)
        ours = {"PREFECT_HOME": str(folder / "home"), "SYNTHCORE_DATA_DIR": str(folder / "data"), "PREFECT_API_URL": ""}
        for words in (("generate", *FLAGS, "-o", "dataset.h5"), ("down",)):
            command = [sys.executable, "-P", "-m", "synthcore.flows.cli", *words]
            subprocess.run(command, cwd=folder, env=os.environ | ours, check=True)
        database = folder / "home" / "prefect.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("VACUUM")
        with tarfile.open(archive, "w:xz", preset=9) as packed:
            for path in (database, *sorted(path for kept in KEPT for path in folder.glob(kept))):
                packed.add(path, path.relative_to(folder).as_posix(), filter=_nobodys)


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    make(Path(sys.argv[1]))
