"""Against what one would use instead: a pool of engines (`baseline_plan`), and vita's thread pool (`baseline_threads`).

All make the same number of rows with two workers. `samplers` lets each draw its own: what counts is rows kept, and a
pool that refuses nine of ten takes half an hour. `baselines` gives all of them the patches that our run kept, where
none is refused any more; only ours are settled, exact, isolated and labelled. The others run before ours and again
after it, as a machine's pace may change by a tenth within minutes. Every time is without starting Python, and to the
file's being whole; ours is to its being on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.baseline_plan import Request
from benchmarks.measure import Finished, Measure, generate, run_python
from synthcore.spec import AudioSpec
from synthcore.storage.dataset import Dataset

WORKERS = 2
SHARD = 192
ROWS = 12 * SHARD  # as the efficiency is measured
SAMPLED_ROWS = 6 * SHARD
TIERS = (1, 2)
PLANNED_ACCEPTANCE = 0.65  #: the pool's design hopes to refuse 30 to 40 % of its renders


def run(folder: Path, share: float = 1.0) -> Iterator[Measure]:
    """Compare at each tier, on the same patches."""
    for tier in TIERS:
        place, flags = folder / str(tier), to_flags(tier, ROWS, share)
        drawn = generate(place, *flags)
        presets = write_presets(place / "out.h5", place / "presets")
        same = Request(tier=tier, rows=drawn.report["rows"], workers=WORKERS, output=place / "same.h5", presets=presets)
        before = run_plan(same), run_threads(presets, place / "wav-before")
        ours = run_known(place, *flags)
        after = run_plan(same), run_threads(presets, place / "wav-after")
        plan, threads = map(together, before, after)
        name = f"baselines tier {tier}"
        yield Measure(f"{name}: rows/s of the pool, same patches", pace(ours) / pace(plan), 1.0)
        hoped = pace(drawn) / pace(plan) / PLANNED_ACCEPTANCE
        yield Measure(f"{name}: rows/s of the pool, did it refuse what was planned", hoped)
        yield Measure(f"{name}: rows/s of the threads, same patches", pace(ours) / pace(threads), 0.85)
        yield Measure(
            f"{name}: bytes a row of the pool, same patches", weight(ours) / weight(plan), 0.9, at_least=False
        )
        yield Measure(f"{name}: bytes a row of the threads, same patches", weight(ours) / weight(threads))
        for whose, done in (("ours", ours), ("pool", plan), ("threads", threads)):
            yield Measure(f"{name}: rows a second on the same patches, {whose}", pace(done), unit="rows/s")


def together(before: Finished, after: Finished) -> Finished:
    """Two runs as if they were one."""
    return Finished({what: before.report[what] + after.report[what] for what in ("rows", "seconds", "bytes")}, 0.0)


def run_samplers(folder: Path, share: float = 1.0) -> Iterator[Measure]:
    """Compare at each tier, each with its own sampler."""
    for tier in TIERS:
        place = folder / str(tier)
        ours = generate(place, *to_flags(tier, SAMPLED_ROWS, share))
        plan = run_plan(Request(tier=tier, rows=ours.report["rows"], workers=WORKERS, output=place / "plan.h5"))
        name, kept = f"baselines tier {tier}", plan.report["rows"]
        yield Measure(f"{name}: accepted by the pool", kept / (kept + plan.report["refused"]))
        yield Measure(f"{name}: rows/s of the pool, each with its own sampler", pace(ours) / pace(plan), 1.3)


def to_flags(tier: int, rows: int, share: float) -> tuple[object, ...]:
    """What our runs are asked for."""
    shard = max(12, round(SHARD * share) // 12 * 12)
    return ("--tier", tier, "-n", rows // SHARD * shard, "--workers", WORKERS, "--rows-per-shard", shard)


def write_presets(made: Path, folder: Path) -> Path:
    """Write every patch of a dataset as the preset that was rendered."""
    folder.mkdir()
    with Dataset(made) as dataset:
        firsts = {index: row for row, index in reversed(list(enumerate(dataset.column("patch_index").tolist())))}
        for index, row in sorted(firsts.items()):
            (folder / f"{index:06d}.vital").write_text(dataset.patch(row).to_json(dataset.registry, dataset.assets))
    return folder


def run_plan(request: Request) -> Finished:
    """Run the pool of engines."""
    return run_python("-m", "benchmarks.baseline_plan", request.model_dump_json())


def run_threads(presets: Path, output: Path) -> Finished:
    """Run the pool of threads."""
    arguments = (str(presets), str(WORKERS), str(output), AudioSpec().model_dump_json())
    return run_python("-m", "benchmarks.baseline_threads", *arguments)


def run_known(place: Path, *flags: object) -> Finished:
    """Run ours on the candidates kept, in a data directory without their shards."""
    where = ("--data-dir", place / "data-again", "-o", place / "again.h5")
    arguments = (place / "out.h5", *where, *flags, "--json")
    return run_python("-m", "benchmarks.known", *map(str, arguments))


def pace(done: Finished) -> float:
    """Rows a second."""
    return float(done.report["rows"] / done.report["seconds"])


def weight(done: Finished) -> float:
    """Bytes a row."""
    return float(done.report["bytes"] / done.report["rows"])
