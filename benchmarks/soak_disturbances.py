"""What the soak does to a run: low limits, locks held by another program, and damage to its shards."""

from __future__ import annotations

import contextlib
import random
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

#: Low limits: what is limited, and from where to where. Below them Python can't even import what it needs to report.
LOW = {
    "files": (resource.RLIMIT_NOFILE, 64, 256),
    "memory": (resource.RLIMIT_DATA, 200 << 20, 4 << 30),
    "disk": (resource.RLIMIT_FSIZE, 20 << 10, 400 << 10),
}
HINDRANCES = (*LOW, "locked output", "locked shard")

#: Another program: it locks a file as one that writes into it would, and changes nothing.
HOLDER = """
import fcntl, sys
with open(sys.argv[1], "rb") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


class BrokenLaw(Exception):
    """What must never happen happened."""


@contextlib.contextmanager
def hindered(hindrance: str, seed: int, place: Path) -> Iterator[Callable[[], None] | None]:
    """Put something in the way of a run; yields what its process must call first."""
    if hindrance in LOW:
        what, least, most = LOW[hindrance]
        size = random.Random(seed).randrange(least, most)
        yield lambda: resource.setrlimit(what, (size, size))
        return
    calm = place / "calm.h5"
    if hindrance == "locked shard":
        calm = next((place / "calm" / "shards").rglob("[0-9a-f]*.h5"))
    file = place / ("out.h5" if hindrance == "locked output" else Path("data") / calm.relative_to(place / "calm"))
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(calm, file)
    with held(file):
        yield None
        changed = hindrance == "locked output" and file.read_bytes() != calm.read_bytes()
        require(not changed, "a locked output was changed")


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Have another program hold the lock of a file."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            require(holder.stdout is not None and holder.stdout.readline() == "held\n", "a file can't be locked")
            yield
        finally:
            holder.communicate()


def damage(place: Path, chance: random.Random, done: Counter[str]) -> None:
    """Now and then, do to one shard what a disk might, while no run is under way."""
    shards = sorted((place / "data" / "shards").rglob("[0-9a-f]*.h5"))
    if not shards or chance.random() < 0.5:
        return
    victim, how = chance.choice(shards), chance.choice(["flipped", "cut", "gone", "record"])
    content = bytearray(victim.read_bytes())
    if how == "flipped":
        content[chance.randrange(len(content))] ^= 1
        victim.write_bytes(content)
    elif how == "cut":
        victim.write_bytes(content[: chance.randrange(len(content))])
    elif how == "gone":
        victim.unlink()
    else:
        for record in (place / "data" / "results").glob("shard-*"):
            record.write_bytes(record.read_bytes()[:20])
    done[how] += 1


def require(holds: bool, otherwise: str) -> None:
    """Raise `BrokenLaw` unless something holds."""
    if not holds:
        raise BrokenLaw(otherwise)
