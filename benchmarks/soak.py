"""Soak: random specs, random kills and resumes, the laws checked after each; and one process that runs flow after flow.

`make soak` takes an hour, `make soak MINUTES=5` five minutes. A round is a function of its seed, but for the moments at
which kills hit: `make soak SEED=17 ROUNDS=1` does the one of that seed again. Each round makes a dataset twice. Once
undisturbed, in one long-lived process whose memory, descriptors, threads and children are watched from flow to flow;
once by the command line, which is killed and continued until it ends well. In half of the rounds, the command first
runs once with something in its way: a low limit of open files, memory or the size of a file, or another program that
holds the lock of the output or of a shard. Then these must hold:

- what stood in the way cost nothing, or one line and exit code 1 or 2: no traceback, no half-written file, no change to
  what was locked;
- both have the same digest, and `verify --all` finds every row exact;
- fewer rows of the same spec are the beginning of more;
- every process of a run that ended is gone;
- of what runs left half-written `cache prune` leaves nothing, and in the folder for temporary files nothing stays but
  what is Dask's own.

A line for each round; `benchmarks/results/soak.json` holds all of them. Exits with 1, and names the seed, when a law
was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import Server, descendants, is_alive, kill_a_render, wait_until
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import installed

RESULTS = Path(__file__).parent / "results" / "soak.json"
#: What the long-lived process may have more after its last flow than after the third, when caches are full.
LIMITS = {"rss_mb": 100.0, "descriptors": 8, "threads": 8, "children": 0}
WARM = 3
RUN_PATIENCE = 900.0  #: seconds for a run: Dask alone gives a worker that falls silent five minutes
AUDIO = {"sample_rate": 22050, "note_seconds": 0.25, "render_seconds": 0.4}

#: The long-lived process: one flow for each line that it reads; it says the digest, and what it holds.
CALM = """
import gc, json, os, pathlib, subprocess, sys, threading
from synthcore.flows.running import environment
environment.prepare()
from synthcore.flows.generate import generate
for line in sys.stdin:
    digest = generate(**json.loads(line)).digest
    gc.collect()
    status = dict(row.split(":", 1) for row in pathlib.Path("/proc/self/status").read_text().splitlines())
    children = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True).stdout.split()
    held = {"rss_mb": int(status["VmRSS"].split()[0]) / 1e3, "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(), "children": len(children)}
    print("made", json.dumps({"digest": digest, "held": held}), flush=True)
"""


#: Low limits: what is limited, and from where to where. Below them Python can't import what it needs to say anything.
LOW = {
    "files": (resource.RLIMIT_NOFILE, 64, 256),
    "memory": (resource.RLIMIT_DATA, 200 << 20, 4 << 30),
    "disk": (resource.RLIMIT_FSIZE, 20 << 10, 400 << 10),
}
HINDRANCES = (*LOW, "locked output", "locked shard")

#: Another program: it holds a file as who writes into it does, and changes nothing.
HOLDER = """
import fcntl, sys
with open(sys.argv[1], "rb") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


class BrokenLaw(Exception):
    """What must never happen happened."""


@dataclass(frozen=True)
class Wish:
    """What a round makes, and how often it is disturbed."""

    seed: int
    tier: int
    rows: int
    notes: tuple[int, ...]
    rows_per_shard: int
    variations: int
    presets: bool
    merge: str
    chunk_rows: int
    runner: str
    workers: int
    weights: int
    endings: tuple[str, ...]
    hindrance: str

    @classmethod
    def of(cls, seed: int) -> Wish:
        """Draw one."""
        chance = random.Random(seed)
        presets = chance.random() < 0.3
        merge = chance.choice(["copy", "copy", "virtual"])
        return cls(
            seed=seed,
            tier=chance.choice([1, 2, 3]),
            rows=chance.randrange(12, 61),
            notes=tuple(sorted(chance.sample([36, 48, 60, 72], chance.choice([1, 2, 3])))),
            rows_per_shard=chance.choice([3, 6, 12, 24]),
            variations=chance.choice([0, 4, 8]) if presets else 0,
            presets=presets,
            merge=merge,
            chunk_rows=chance.choice([1, 1, 8]) if merge == "copy" else 1,
            runner=chance.choice(["threads", "threads", "threads", "dask"]),
            workers=chance.choice([1, 2]),
            weights=chance.choice([0] * 9 + [1]),
            endings=tuple(chance.choices(["SIGKILL", "SIGINT", "SIGTERM", "server"], k=chance.choice([0, 1, 2]))),
            hindrance=chance.choice([*HINDRANCES, *[""] * len(HINDRANCES)]),
        )

    def parameters(self, presets: Path, data: Path, output: Path) -> dict[str, Any]:
        """For the flow, called from Python."""
        how = {"rows_per_shard": self.rows_per_shard, "merge": self.merge, "chunk_rows": self.chunk_rows}
        return {
            "tier": self.tier,
            "n_samples": self.rows,
            "seed": self.seed,
            "workers": 2,
            "variations": self.variations,
            "community_dir": [str(presets)] if self.presets else [],
            "weights": self.weights,
            "audio": {**AUDIO, "notes": self.notes},
            "run": how,
            "data_dir": str(data),
            "output": str(output),
        }

    def flags(self, presets: Path) -> list[str]:
        """For the command line."""
        flags: list[object] = ["--tier", self.tier, "-n", self.rows, "--seed", self.seed, "--workers", self.workers]
        flags += [word for note in self.notes for word in ("--notes", note)]
        flags += [word for name, value in AUDIO.items() for word in (f"--{name.replace('_', '-')}", value)]
        flags += ["--rows-per-shard", self.rows_per_shard, "--merge", self.merge, "--chunk-rows", self.chunk_rows]
        flags += ["--community-dir", presets, "--variations", self.variations] if self.presets else []
        flags += ["--weights", self.weights] if self.weights else []
        return [str(flag) for flag in [*flags, "--runner", self.runner, "-o", "out.h5", "--data-dir", "data"]]


@dataclass
class Soak:
    """One soak: what all rounds share, and what came of them."""

    folder: Path
    steady: Server
    doomed: Server
    calm: subprocess.Popen[str]
    rounds: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, float]] = field(default_factory=list)

    @property
    def presets(self) -> Path:
        return self.folder / "presets"

    def undisturbed(self, parameters: dict[str, Any]) -> str:
        """Run a flow in the long-lived process; return the digest."""
        if self.calm.stdin is None or self.calm.stdout is None:
            raise RuntimeError("a process asked to have pipes has none")
        self.calm.stdin.write(json.dumps(parameters) + "\n")
        self.calm.stdin.flush()
        giving_up = threading.Timer(RUN_PATIENCE, self.calm.kill)
        giving_up.start()
        for line in self.calm.stdout:
            if line.startswith("made "):
                made = json.loads(line.removeprefix("made "))
                giving_up.cancel()
                self.held.append(made["held"])
                return str(made["digest"])
        raise BrokenLaw("the long-lived process ended")

    def round(self, seed: int) -> None:
        """Make one dataset calmly and once more under fire, and hold the laws against it."""
        wish, started = Wish.of(seed), time.monotonic()
        place = self.folder / f"round-{seed}"
        (place / "tmp").mkdir(parents=True)
        done: Counter[str] = Counter()
        expected = self.undisturbed(wish.parameters(self.presets, place / "calm", place / "calm.h5"))
        report = self._under_fire(wish, place, done)
        require(report["digest"] == expected, f"digest {report['digest']}, undisturbed {expected}")
        verdict = self._command(place, "verify", "out.h5", "--all")
        require(verdict["exact"] == report["rows"], f"of {report['rows']} rows, {verdict['exact']} are exact")
        self._require_prefix(wish, place)
        self._command(place, "cache", "prune", "--data-dir", "data", "--older-than", "0")
        left = [p.name for p in place.rglob(".*") if p.suffix in (".tmp", ".claim")]
        left += [str(p) for p in (place / "tmp").rglob("*") if p.is_file() and "dask" not in str(p)]
        require(not left, f"left behind: {', '.join(left)}")
        shutil.rmtree(place)
        self.rounds.append({**asdict(wish), "disturbed": dict(done), "seconds": round(time.monotonic() - started, 1)})
        held = self.held[-1]
        print(
            f"round {seed}: tier {wish.tier}, {report['rows']} rows, {wish.runner}, {wish.merge}; "
            f"{', '.join(f'{what} {times}' for what, times in done.items()) or 'undisturbed'}; laws hold; "
            f"{held['rss_mb']:.0f} MB, {held['descriptors']:.0f} descriptors; {time.monotonic() - started:.0f} s",
            flush=True,
        )

    def _under_fire(self, wish: Wish, place: Path, done: Counter[str]) -> dict[str, Any]:
        """Run the command until it ends well, ending it now and then; return its report."""
        chance = random.Random(wish.seed)
        if wish.hindrance:
            done[wish.hindrance] += 1
            self._hindered(replace(wish, runner="threads"), place)
        for ending in (*wish.endings, ""):
            report = self._attempt(wish, place, ending, chance, done)
            if report is None and not ending and "--refresh merge" in log_of(place):  # what it refers to was damaged
                done["refresh"] += 1
                report = self._command(place, "generate", *wish.flags(self.presets), "--refresh", "merge")
            if ending == "server":
                self.doomed.start()
            if report is not None:
                return report
            damage(place, chance, done)
        raise BrokenLaw(f"a run that nothing ended didn't end well: {log_of(place)}")

    def _hindered(self, wish: Wish, place: Path) -> None:
        """Run the command once with something in its way, and hold that it did well or said in one line why not."""
        with (
            hindered(wish, place) as limit,
            (place / "said.txt").open("w") as said,
            (place / "log.txt").open("w") as log,
        ):
            words = ("generate", *wish.flags(self.presets), "--json")
            process = self._start(place, *words, stdout=said, stderr=log, preexec_fn=limit)
            code = process.wait(RUN_PATIENCE)
        told = (place / "log.txt").read_text()
        require(code in (0, 1, 2), f"with {wish.hindrance} in its way, a run exited with {code}: {log_of(place)}")
        require(
            "Traceback" not in told, f"with {wish.hindrance} in its way, a run ended in a traceback: {told[-2000:]}"
        )
        require(not code or told.splitlines()[-1].startswith("synthcore: "), f"no line says why: {log_of(place)}")
        half = [path.name for path in place.rglob(".*") if path.suffix in (".tmp", ".claim")]
        require(not half, f"with {wish.hindrance} in its way, a run left {', '.join(half)}")

    def _attempt(
        self, wish: Wish, place: Path, ending: str, chance: random.Random, done: Counter[str]
    ) -> dict[str, Any] | None:
        """Run the command once, with kills of renders on the way; None where the run was ended before it was done."""
        with (place / "said.txt").open("w+") as said, (place / "log.txt").open("a") as log:
            process = self._start(place, "generate", *wish.flags(self.presets), "--json", stdout=said, stderr=log)
            goal, family = chance.randrange(0, 4), {process.pid}
            kills = chance.choice([0, 0, 2, 4])
            ends = {1, 130, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL}
            ends |= {2} if ending == "server" else set()  # it was gone before the run had looked for it
            ends |= {2} if wish.merge == "virtual" else set()  # a shard that it refers to was damaged
            patience = time.monotonic() + RUN_PATIENCE
            while process.poll() is None:
                family |= set(descendants(process.pid))
                if kills and kill_a_render(process.pid, chance):
                    kills -= 1
                    done["render"] += 1
                if ending and len(list((place / "data" / "shards").rglob("*.h5"))) >= goal and descendants(process.pid):
                    done[ending] += 1
                    if ending == "server":
                        self.doomed.kill()
                    else:
                        process.send_signal(getattr(signal, ending))
                    ending, kills = "", 0
                require(time.monotonic() < patience, f"a run didn't end: {log_of(place)}")
                time.sleep(0.2)
            wait_until(lambda: not any(is_alive(pid) for pid in family), "every process of a run is gone")
            said.seek(0)
            if process.returncode == 0:
                report: dict[str, Any] = json.loads(said.read())
                return report
        require(process.returncode in ends, log_of(place))
        return None

    def _require_prefix(self, wish: Wish, place: Path) -> None:
        fewer = wish.parameters(self.presets, place / "data", place / "fewer.h5") | {"weights": 0}
        self.undisturbed(fewer | {"n_samples": max(1, wish.rows // 2)})
        with Dataset(place / "fewer.h5") as some, Dataset(place / "out.h5") as every:
            for column in ("audio_sha256", "preset_hash", "continuous", "categorical"):
                begins = some.column(column) == every.column(column, slice(0, len(some)))
                require(bool(begins.all()), f"{column} of fewer rows isn't the beginning of more")

    def _command(self, place: Path, *words: str) -> dict[str, Any]:
        with (place / "said.txt").open("w+") as said, (place / "log.txt").open("a") as log:
            process = self._start(place, *words, "--json", stdout=said, stderr=log)
            require(process.wait(RUN_PATIENCE) == 0, f"{words[0]} exited with {process.returncode}: {log_of(place)}")
            said.seek(0)
            answer: dict[str, Any] = json.loads(said.read())
            return answer

    def _start(self, place: Path, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
        own = {"PREFECT_API_URL": self.doomed.api, "PREFECT_HOME": str(self.folder / "client")}
        own["TMPDIR"] = str(place / "tmp")
        command = [sys.executable, "-m", "synthcore.flows.cli", *words]
        return subprocess.Popen(command, cwd=place, env={**os.environ, **own}, start_new_session=True, **streams)


@contextlib.contextmanager
def hindered(wish: Wish, place: Path) -> Iterator[Callable[[], None] | None]:
    """Put something in the way of a run; gives what its process must call first."""
    if wish.hindrance in LOW:
        what, least, most = LOW[wish.hindrance]
        size = random.Random(wish.seed).randrange(least, most)
        yield lambda: resource.setrlimit(what, (size, size))
        return
    calm = place / "calm.h5"
    if wish.hindrance == "locked shard":
        calm = next((place / "calm" / "shards").rglob("[0-9a-f]*.h5"))
    file = place / ("out.h5" if wish.hindrance == "locked output" else Path("data") / calm.relative_to(place / "calm"))
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(calm, file)
    with held(file):
        yield None
        changed = wish.hindrance == "locked output" and file.read_bytes() != calm.read_bytes()
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


def log_of(place: Path) -> str:
    """The last that commands said."""
    return " / ".join((place / "log.txt").read_text().splitlines()[-3:])


def write_presets(folder: Path) -> None:
    """Make some presets up."""
    folder.mkdir()
    registry = installed()
    sampler = SyntheticSource(DatasetSpec(tier=3, seed=77), registry)
    for number in range(4):
        text = sampler.draw(number, 0).to_json(registry, sampler.assets, name=f"sound {number}")
        (folder / f"sound {number}.vital").write_text(text)


def require_no_leak(held: list[dict[str, float]]) -> None:
    """Hold the long-lived process against its limits."""
    for name, limit in LIMITS.items():
        if len(held) > WARM:
            more = held[-1][name] - held[WARM - 1][name]
            require(more <= limit, f"after {len(held)} flows {more:g} {name} more than after {WARM}; limit {limit:g}")


@contextlib.contextmanager
def soaking(folder: Path) -> Iterator[Soak]:
    """Start what all rounds share; end it, whatever happens."""
    steady, doomed = (Server(folder / name) for name in ("steady", "doomed"))
    try:
        for server in (steady, doomed):
            server.start()
        write_presets(folder / "presets")
        own = {"PREFECT_API_URL": steady.api, "PREFECT_HOME": str(folder / "client"), "TMPDIR": str(folder)}
        # Each flow has new threads, and glibc keeps what they freed in up to 16 arenas: 200 MB after ten flows, and no
        # more. With two, what grows is what is held.
        own["MALLOC_ARENA_MAX"] = "2"
        with (folder / "calm.log").open("w") as log:
            calm = subprocess.Popen(
                [sys.executable, "-c", CALM],
                cwd=folder,
                env={**os.environ, **own, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            yield Soak(folder, steady, doomed, calm)
        finally:
            calm.kill()
            calm.communicate()
            for pid in descendants(os.getpid()):  # a run that was given up, and all of its processes
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    finally:
        for server in (steady, doomed):
            server.kill()


def main() -> int:
    """Soak for so many minutes or rounds; exit with 1 when a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next has the next")
    asked = parser.parse_args()
    first = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    folder = Path(tempfile.mkdtemp(prefix="synthcore-soak-"))
    broken, seed, until = "", first, time.monotonic() + 60 * asked.minutes
    with soaking(folder) as soak:
        try:
            for seed in range(first, first + asked.rounds):
                soak.round(seed)
                require_no_leak(soak.held)
                if time.monotonic() > until:
                    break
        except Exception as law:  # noqa: BLE001  whatever it is, the seed shows it again
            broken = f"{type(law).__name__}: {law}"
    report = {"first": first, "rounds": soak.rounds, "held": soak.held, "limits": LIMITS, "broken": broken}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    if broken:
        print(f"round {seed} BROKE A LAW: {broken}\nagain: make soak SEED={seed} ROUNDS=1; its files: {folder}")
        return 1
    shutil.rmtree(folder)
    disturbed = sum((Counter(one["disturbed"]) for one in soak.rounds), Counter[str]())
    print(f"{len(soak.rounds)} rounds, {sum(disturbed.values())} disturbances: {dict(disturbed)}; every law holds")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
