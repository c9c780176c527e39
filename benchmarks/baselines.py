"""Against what one would use instead: a pool of engines (`baseline_plan`), and vita's thread pool (`baseline_threads`).

Each makes the same number of rows with two workers, in turns. First with its own sampler: what counts is rows kept.
Then from the patches that our run kept, where none is refused any more; only ours are settled, exact, isolated and
labelled. Every time is without starting Python, and to the file's being whole; ours is to its being on the disk.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.baseline_plan import Request
from benchmarks.measure import Finished, Measure, generate, run_python
from synthcore.spec import AudioSpec
from synthcore.storage.dataset import Dataset

WORKERS = 2
ROWS, SHARD = 1152, 192  # six shards
SEEDS = (0,)  #: each takes a quarter of an hour
TIERS = (1, 2)
PLANNED_ACCEPTANCE = 0.65  #: the pool's design hopes to refuse 30 to 40 % of its renders


def run(folder: Path, share: float = 1.0) -> Iterator[Measure]:
    """Compare at each tier."""
    shard = max(12, round(SHARD * share) // 12 * 12)
    for tier in TIERS:
        yield from compare(folder / str(tier), tier, shard * ROWS // SHARD, shard)


def compare(folder: Path, tier: int, rows: int, shard: int) -> Iterator[Measure]:
    """Run all in turns; compare by the median of the ratios."""
    ratios = defaultdict(list)
    for seed in SEEDS:
        place = folder / str(seed)
        place.mkdir(parents=True)
        flags = ("--tier", tier, "--seed", seed, "-n", rows, "--workers", WORKERS, "--run.rows-per-shard", shard)
        ours = generate(place, *flags)
        presets = write_presets(place / "out.h5", place / "presets")
        plan = run_plan(Request(tier=tier, rows=rows, workers=WORKERS, seed=seed, output=place / "plan.h5"))
        kept = pace(plan) * plan.report["seconds"]
        ratios["accepted by the pool"].append(kept / (kept + plan.report["refused"]))
        ratios["rows/s of the pool, each with its own sampler"].append(pace(ours) / pace(plan))
        drawn = ours
        ours = run_known(place, *flags)
        same = Request(tier=tier, rows=rows, workers=WORKERS, output=place / "same.h5", presets=presets)
        plan = run_plan(same)
        threads = run_threads(presets, place / "wav")
        ratios["rows/s of the pool, same patches"].append(pace(ours) / pace(plan))
        ratios["rows/s of the pool, did it refuse what was planned"].append(
            pace(drawn) / pace(plan) / PLANNED_ACCEPTANCE
        )
        ratios["rows/s of the threads, same patches"].append(pace(ours) / pace(threads))
        ratios["bytes a row of the pool, same patches"].append(weight(ours) / weight(plan))
        ratios["bytes a row of the threads, same patches"].append(weight(ours) / weight(threads))
        for name, done in (("ours", ours), ("pool", plan), ("threads", threads)):
            ratios[f"rows a second on the same patches, {name}"].append(pace(done))
    bars = {
        "rows/s of the pool, each with its own sampler": (1.3, True),
        "rows/s of the pool, same patches": (1.0, True),
        "rows/s of the threads, same patches": (0.85, True),
        "bytes a row of the pool, same patches": (0.9, False),
    }
    for name, values in ratios.items():
        bar, at_least = bars.get(name, (None, True))
        yield Measure(f"baselines tier {tier}: {name}", statistics.median(values), bar, at_least)


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
