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

A line for each round; `benchmarks/results/soak.json` holds all of them, of the last time that it was an hour. Exits
with 1, and names the seed, when a law was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import Server, descendants, is_alive, kill_a_render, wait_until
from benchmarks.soak_disturbances import BrokenLaw, damage, hindered, require
from benchmarks.soak_scenario import Scenario
from synthcore.sources.synthetic import SyntheticSource
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import installed

RESULTS = Path(__file__).parent / "results" / "soak.json"
RECORDED_MINUTES = 60.0  #: shorter ones are tries
#: What the long-lived process may have more after its last flow than after the third, when caches are full.
LIMITS = {"rss_mb": 100.0, "descriptors": 8, "threads": 8, "children": 0}
WARM = 3
RUN_PATIENCE = 900.0  #: seconds for a run: Dask alone gives a worker that falls silent five minutes

#: The long-lived process: runs one flow for each line that it reads, and prints the digest and what it holds.
CALM = """
import gc, json, sys, threading, psutil
from synthcore import generate
process = psutil.Process()
for line in sys.stdin:
    digest = generate(**json.loads(line)).digest
    gc.collect()
    held = {"rss_mb": process.memory_info().rss / 1e6, "descriptors": process.num_fds(),
            "threads": threading.active_count(), "children": len(process.children())}
    print("made", json.dumps({"digest": digest, "held": held}), flush=True)
"""


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
            raise RuntimeError("a process started with pipes has none")
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
        """Make one dataset undisturbed and once more under fire, and check the laws."""
        scenario, started = Scenario.of(seed), time.monotonic()
        place = self.folder / f"round-{seed}"
        (place / "tmp").mkdir(parents=True)
        done: Counter[str] = Counter()
        expected = self.undisturbed(scenario.parameters(self.presets, place / "calm", place / "calm.h5"))
        report = self._under_fire(scenario, place, done)
        require(report["digest"] == expected, f"digest {report['digest']}, undisturbed {expected}")
        verdict = self._command(place, "verify", "out.h5", "--all")
        require(verdict["exact"] == report["rows"], f"of {report['rows']} rows, {verdict['exact']} are exact")
        self._require_prefix(scenario, place)
        self._command(place, "cache", "prune", "--data-dir", "data", "--older-than", "0")
        left = [p.name for p in place.rglob(".*") if p.suffix in (".tmp", ".claim")]
        left += [str(p) for p in (place / "tmp").rglob("*") if p.is_file() and "dask" not in str(p)]
        require(not left, f"left behind: {', '.join(left)}")
        shutil.rmtree(place)
        self.rounds.append(
            {**asdict(scenario), "disturbed": dict(done), "seconds": round(time.monotonic() - started, 1)}
        )
        held = self.held[-1]
        print(
            f"round {seed}: tier {scenario.tier}, {report['rows']} rows, {scenario.runner}, {scenario.merge}; "
            f"{', '.join(f'{what} {times}' for what, times in done.items()) or 'undisturbed'}; laws hold; "
            f"{held['rss_mb']:.0f} MB, {held['descriptors']:.0f} descriptors; {time.monotonic() - started:.0f} s",
            flush=True,
        )

    def _under_fire(self, scenario: Scenario, place: Path, done: Counter[str]) -> dict[str, Any]:
        """Run the command until it ends well, ending it now and then; return its report."""
        chance = random.Random(scenario.seed)
        if scenario.hindrance:
            done[scenario.hindrance] += 1
            self._hindered(replace(scenario, runner="threads"), place)
        for ending in (*scenario.endings, ""):
            report = self._attempt(scenario, place, ending, chance, done)
            if report is None and not ending and "--refresh merge" in log_of(place):  # what it refers to was damaged
                done["refresh"] += 1
                report = self._command(place, "generate", *scenario.flags(self.presets), "--refresh", "merge")
            if ending == "server":
                self.doomed.start()
            if report is not None:
                return report
            damage(place, chance, done)
        raise BrokenLaw(f"a run that nothing ended didn't end well: {log_of(place)}")

    def _hindered(self, scenario: Scenario, place: Path) -> None:
        """Run the command once with something in its way, and require that it succeeded or said in one line why not."""
        with (
            hindered(scenario.hindrance, scenario.seed, place) as limit,
            (place / "output.txt").open("w") as output,
            (place / "log.txt").open("w") as log,
        ):
            words = ("generate", *scenario.flags(self.presets), "--json")
            process = self._start(place, *words, stdout=output, stderr=log, preexec_fn=limit)
            code = process.wait(RUN_PATIENCE)
        log_text = (place / "log.txt").read_text()
        require(code in (0, 1, 2), f"with {scenario.hindrance} in its way, a run exited with {code}: {log_of(place)}")
        require(
            "Traceback" not in log_text,
            f"with {scenario.hindrance} in its way, a run ended in a traceback: {log_text[-2000:]}",
        )
        require(not code or log_text.splitlines()[-1].startswith("synthcore: "), f"no line says why: {log_of(place)}")
        half = [path.name for path in place.rglob(".*") if path.suffix in (".tmp", ".claim")]
        require(not half, f"with {scenario.hindrance} in its way, a run left {', '.join(half)}")

    def _attempt(
        self, scenario: Scenario, place: Path, ending: str, chance: random.Random, done: Counter[str]
    ) -> dict[str, Any] | None:
        """Run the command once, with kills of renders on the way; None where the run was ended before it was done."""
        with (place / "output.txt").open("w+") as output, (place / "log.txt").open("a") as log:
            process = self._start(place, "generate", *scenario.flags(self.presets), "--json", stdout=output, stderr=log)
            goal, family = chance.randrange(0, 4), {process.pid}
            kills = chance.choice([0, 0, 2, 4])
            ends = {1, 130, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL}
            ends |= {2} if ending == "server" else set()  # it was gone before the run had looked for it
            ends |= {2} if scenario.merge == "virtual" else set()  # a shard that it refers to was damaged
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
            output.seek(0)
            if process.returncode == 0:
                report: dict[str, Any] = json.loads(output.read())
                return report
        require(process.returncode in ends, log_of(place))
        return None

    def _require_prefix(self, scenario: Scenario, place: Path) -> None:
        fewer = scenario.parameters(self.presets, place / "data", place / "fewer.h5") | {"weights": 0}
        self.undisturbed(fewer | {"n_samples": max(1, scenario.rows // 2)})
        with Dataset(place / "fewer.h5") as some, Dataset(place / "out.h5") as every:
            for column in ("audio_sha256", "preset_hash", "continuous", "categorical"):
                begins = some.column(column) == every.column(column, slice(0, len(some)))
                require(bool(begins.all()), f"{column} of fewer rows isn't the beginning of more")

    def _command(self, place: Path, *words: str) -> dict[str, Any]:
        with (place / "output.txt").open("w+") as output, (place / "log.txt").open("a") as log:
            process = self._start(place, *words, "--json", stdout=output, stderr=log)
            require(process.wait(RUN_PATIENCE) == 0, f"{words[0]} exited with {process.returncode}: {log_of(place)}")
            output.seek(0)
            answer: dict[str, Any] = json.loads(output.read())
            return answer

    def _start(self, place: Path, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
        own = {"PREFECT_API_URL": self.doomed.api, "PREFECT_HOME": str(self.folder / "client")}
        own["TMPDIR"] = str(place / "tmp")
        command = [sys.executable, "-m", "synthcore.flows.cli", *words]
        return subprocess.Popen(command, cwd=place, env={**os.environ, **own}, start_new_session=True, **streams)


def log_of(place: Path) -> str:
    """The last lines of the commands' log."""
    return " / ".join((place / "log.txt").read_text().splitlines()[-3:])


def write_presets(folder: Path) -> None:
    """Write some made-up presets."""
    folder.mkdir()
    registry = installed()
    sampler = SyntheticSource(DatasetSpec(tier=3, seed=77), registry)
    for number in range(4):
        text = sampler.draw(number, 0).to_json(registry, sampler.assets, name=f"sound {number}")
        (folder / f"sound {number}.vital").write_text(text)


def require_no_leak(held: list[dict[str, float]]) -> None:
    """Check the long-lived process against its limits."""
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
    parser.add_argument("--minutes", type=float, default=RECORDED_MINUTES)
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next has the next")
    arguments = parser.parse_args()
    first = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="synthcore-soak-"))
    broken, seed, until = "", first, time.monotonic() + 60 * arguments.minutes
    with soaking(folder) as soak:
        try:
            for seed in range(first, first + arguments.rounds):
                soak.round(seed)
                require_no_leak(soak.held)
                if time.monotonic() > until:
                    break
        except Exception as law:  # noqa: BLE001  whatever it is, the seed shows it again
            broken = f"{type(law).__name__}: {law}"
    report = {"first": first, "rounds": soak.rounds, "held": soak.held, "limits": LIMITS, "broken": broken}
    if arguments.minutes >= RECORDED_MINUTES:
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
