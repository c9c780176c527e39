"""docs/scale.md: the scale curve, the model in words and numbers, the recorded runs, what large datasets cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import costs
from benchmarks.measure import read_result
from benchmarks.scale_model import Stages
from synthcore.flows.running.runners import AHEAD

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
WORKERS = (1, 2, 8, 64, 512)
ROWS = (20_000, 100_000, 1_000_000)
PREFACE = """# Scale

Written by `python -m benchmarks scale` and `python -m benchmarks.record`; do not edit. How long runs take with more
workers than we had for measuring, and what large datasets cost.

## The model

A dataset is rendered in shards, small files of some 200 rows, and each shard is one task. The formulae are in
`benchmarks/scale_model.py`; in words:

- *Workers* render side by side. A shard occupies a worker for its rows times the seconds per row, plus the latency of a
  task: from the end of one shard to the start of the next, with one worker.
- Whatever all shards pass through limits rows per second, however many workers there are. For the *scheduler* (the flow
  and Dask's scheduler, one process), the limit is the rows of a shard divided by the CPU seconds that a task costs it;
  for the *API* (Prefect's server), likewise; for the *file system*, its bytes per second divided by the bytes per row.
  And the flow submits at most {ahead} shards at a time, so more workers than that have nothing to do.
- The pace of rendering is the lowest of these limits and of the workers' own. A run takes a fixed time (its start, and
  the last shard, for which all others wait), plus its rows divided by the pace, plus the merge: its bytes divided by a
  rate of its own, because one process does it.
- Everything but the fixed time grows in proportion to the rows. So the number of workers alone decides which stage
  saturates, while the fixed time decides from how many rows on this is felt: once rendering takes longer.
- The simulation replaces each render by a sleep, and everything shares one machine. There, a run takes as many rounds
  of sleep and latency as the slots require or, if that is longer, its tasks times the CPU seconds of each, limited by
  the scheduler, the server, the workers' processes, or all of them together divided by the cores.

We didn't measure workers on other machines, their network, or a file system that they share. Nor does the model cover a
database that slows down as it fills, or machines that fail.

"""


def write() -> None:
    """Write the page of what was written down."""
    PAGE.write_text(text(read_result("scale"), read_result("latest") or [], read_result("runs") or []))


def text(scale: dict[str, Any] | None, latest: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str:
    """The whole page."""
    parts = [PREFACE.format(ahead=AHEAD)]
    parts.append(_measured(scale) if scale else "It was not measured yet: `python -m benchmarks scale`.\n\n")
    if runs:
        parts.append(_runs(runs))
    parts.append(_costs(latest, runs))
    return "".join(parts)


def _measured(scale: dict[str, Any]) -> str:
    stages = Stages(**scale["stages"])
    return (
        f"Measured on {scale['date']}: {scale['machine']}.\n\n"
        f"{_stages(stages)}\n{_curve(scale, stages)}\n{_saturation(stages)}\n{_checks(scale['checks'])}\n"
    )


def _stages(s: Stages) -> str:
    return f"""## What was measured

| stage | |
| --- | --- |
| one worker, a row | {s.row_seconds * 1e3:.0f} ms |
| rows to a shard | {s.rows_per_shard} |
| a row in its shard | {s.row_bytes / 1e3:.0f} kB |
| a task: CPU of the flow and the scheduler | {s.flow_cpu * 1e3:.0f} ms |
| a task: CPU of Prefect's server | {s.api_cpu * 1e3:.0f} ms |
| a task: CPU of the process it runs in | {s.worker_cpu * 1e3:.0f} ms |
| a task: latency | {s.latency * 1e3:.0f} ms |
| file system, one writer, to the disk | {s.write_rate / 1e6:.0f} MB/s |
| merge, by copy | {s.merge_rate / 1e6:.0f} MB/s |
| merge, by reference | {s.view_rate / 1e6:.0f} MB/s |
| start of a run | {s.start:.1f} s |
"""


def _curve(scale: dict[str, Any], stages: Stages) -> str:
    curve = scale["curve"]
    heads = "".join(f" {rows:,} rows |" for rows in ROWS)
    lines = []
    for workers in WORKERS:
        known = {1: curve["one"], 2: curve["two"]}.get(workers)
        times = "".join(f" {stages.seconds(workers, rows) / 3600:.2f} h |" for rows in ROWS)
        lines.append(
            f"| {workers} | {f'{known:.1f}' if known else ''} | {stages.rate(workers):,.0f} | "
            f"{stages.saturates(workers)} | {stages.merge_share(workers):.0%} | "
            f"{stages.merge_share(workers, view=True):.0%} | {stages.felt_from(workers):,} |{times}\n"
        )
    gain = curve["two"] / curve["one"]
    return f"""## The curve

Two workers make {gain:.2f} times the rows of one; two independent loops that only render make {curve["raw"]:.2f} times
those of one, so it is {gain / curve["raw"]:.2f} of that.

| workers | rows/s | predicted, rendering | limited by | merge's share | by reference | felt from rows |{heads}
| --- | --- | --- | --- | --- | --- | --- |{" --- |" * len(ROWS)}
{"".join(lines)}"""


def _saturation(stages: Stages) -> str:
    lines = "".join(
        f"| {name} | {workers:,.0f} | {stages.felt_from(max(1, round(workers))):,} |\n"
        for name, workers in stages.saturating_workers().items()
    )
    return f"""## What saturates, in this order

A merge comes last, so it saturates nothing; it is listed where it takes as long as rendering.

| stage | from workers | and rows |
| --- | --- | --- |
{lines}"""


def _checks(checks: list[dict[str, Any]]) -> str:
    lines = "".join(
        f"| {c['name']} | {c['tasks']} | {c['sleep']:.2f} s | {c['ideal']:.1f} s | {c['predicted']:.1f} s "
        f"({c['tasks'] / c['predicted']:.2f}/s) | {c['simulated']:.1f} s ({c['tasks'] / c['simulated']:.2f}/s) | "
        f"{c['predicted'] / c['simulated'] - 1:+.0%} |\n"
        for c in checks
    )
    return f"""## Simulated

Sleeps in place of renders, in 64 slots of a Dask cluster on this machine, run by the flow's own code.

| run | tasks | sleep | with nothing but sleep | predicted | simulated | error |
| --- | --- | --- | --- | --- | --- | --- |
{lines}"""


def _runs(runs: list[dict[str, Any]]) -> str:
    lines = "".join(
        f"| {r['name']} | {r['seconds'] / 60:.0f} min | {r['stops']} | {r['rejection_rate']:.1%} | "
        f"{r['bytes'] / 1e9:.2f} GB | "
        f"{r['shard_bytes'] / 1e9:.2f} GB | {r['peak_rss_flow'] / 1e6:.0f} MB | {r['peak_rss_tree'] / 1e6:.0f} MB | "
        f"`{r['digest'][:16]}` | {r['date']} |\n"
        for r in runs
    )
    return f"""## Recorded runs

Each was stopped with Ctrl-C on the way, and continued. Time is the sum of all parts, from command to end; the peaks of
memory are those of the flow's process, and of everything it had started together (shared pages count in each).

| run | time | stops | refused | file | shards | peak of the flow | of all | digest | date |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{lines}
"""


def _costs(latest: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str:
    return f"""## What large datasets cost

Core-hours are cores times hours, including idle ones. GB are those of the shards; a file merged by copy takes as much
again. Figures per row come from [the measurements](measurements.md) and the recorded runs.

{costs.table(latest, runs)}"""
