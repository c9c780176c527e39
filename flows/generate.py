"""Make a dataset: plan -> render_shard (mapped, retried, cached) -> merge_shards (cached) -> summary.

`python flows/generate.py --help` tells its flags; `synthcore generate` is the same.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from flows import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow, unmapped
from prefect.futures import as_completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.display import Display
from synthcore.engine.client import at_most, interruptible
from synthcore.errors import DamagedShard
from synthcore.settings import DataDir, Generate, Output, RunSettings, Workers
from synthcore.shard import ShardPlan, ShardRef, plan_shards
from synthcore.spec import AcceptanceSpec, AudioSpec, FixedModulation, Rows, Seed, Tier
from synthcore.storage.continuing import require_continuable
from synthcore.storage.merge import DatasetRef
from synthcore.summary import Summary
from tasks.merge import merge_shards
from tasks.report import summarize
from tasks.shards import render_shard

#: What a call or a deployment leaves out comes from the environment, synthcore.toml, or the model's defaults.
UNSAID = Generate()


@flow(name="generate", flow_run_name="tier{tier} {n_samples} rows seed {seed}")
def generate(
    tier: Tier = UNSAID.tier,
    n_samples: Rows = UNSAID.n_samples,
    output: Output = UNSAID.output,
    seed: Seed = UNSAID.seed,
    workers: Workers = UNSAID.workers,
    data_dir: DataDir | None = None,
    fixed_modulation: FixedModulation = UNSAID.fixed_modulation,
    audio: AudioSpec = UNSAID.audio,
    acceptance: AcceptanceSpec = UNSAID.acceptance,
    run: RunSettings = UNSAID.run,
) -> Summary:
    """Make a dataset of (audio, parameters) pairs, or continue one."""
    settings = Generate(
        tier=tier,
        n_samples=n_samples,
        output=output,
        seed=seed,
        workers=workers,
        # Left out, it is the worker's own: a deployment doesn't know where it will run.
        data_dir=data_dir or UNSAID.data_dir,
        fixed_modulation=fixed_modulation,
        audio=audio,
        acceptance=acceptance,
        run=run,
    )
    require_continuable(settings.output_path, settings.spec, overwrite=settings.run.overwrite)
    plans = plan_shards(settings.spec, settings.run.rows_per_shard)

    with task_runner(settings) as runner, Display(plans, settings.n_samples) as display, interruptible():
        started = time.monotonic()
        with at_most(settings.workers):
            shards = render_shards(plans, settings, runner, display)
        dataset = merge(plans, shards, settings, display)
        seconds = time.monotonic() - started

    summary = Summary.of(
        settings.spec,
        dataset,
        shards,
        cached=display.shards_cached,
        seconds=seconds,
        data_dir=settings.data_dir,
    )
    summarize(summary)
    return summary


def task_runner(settings: Generate) -> TaskRunner[Any]:
    """What runs shards side by side. The one seam for another of Prefect's runners."""
    # One more than render at a time: a finished shard is hashed and flushed while the next one renders.
    return ThreadPoolTaskRunner(max_workers=settings.workers + 1)


def render_shards(
    plans: list[ShardPlan], settings: Generate, runner: TaskRunner[Any], display: Display
) -> list[ShardRef]:
    """Render every shard that is not rendered yet."""
    render: Any = render_shard.with_options(retries=settings.run.retries, result_storage=settings.results_dir)
    same = {"data_dir": unmapped(settings.data_dir), "render_timeout": unmapped(settings.run.render_timeout)}
    futures = runner.map(render, {"plan": plans, **same})
    planned = dict(zip(futures, plans, strict=True))
    for future in as_completed(list(futures)):
        future.result()  # raises what went wrong, while the others are still being stopped
        display.shard_done(planned[future], is_cached=future.state.name == "Cached")
    shards = [future.result() for future in futures]
    for plan, ref in zip(plans, shards, strict=True):
        if not ref.is_intact(settings.data_dir):
            shards[plan.index] = render_again(plan, settings, display)
    return shards


def render_again(plan: ShardPlan, settings: Generate, display: Display) -> ShardRef:
    """Render a shard that was cached, but whose file is gone or damaged."""
    display.say(f"{plan.name} is gone or damaged: rendering shard {plan.index} again")
    display.shard_lost()
    render = render_shard.with_options(
        retries=settings.run.retries, result_storage=settings.results_dir, refresh_cache=True
    )
    return render(plan, settings.data_dir, settings.run.render_timeout)


def merge(plans: list[ShardPlan], shards: list[ShardRef], settings: Generate, display: Display) -> DatasetRef:
    """Merge the shards. Reading every byte may find one damaged: it is rendered again, alone, in place."""
    refresh = False
    for _ in range(len(shards) + 1):  # each shard may turn out to be damaged once
        display.merging()
        join = merge_shards.with_options(result_storage=settings.results_dir, refresh_cache=refresh)
        try:
            dataset = join(
                shards,
                settings.output_path,
                settings.data_dir,
                settings.spec,
                settings.run.merge,
                settings.run.chunk_rows,
            )
        except DamagedShard as damaged:
            plan = next(p for p in plans if p.name == damaged.name)
            shards[plan.index] = render_again(plan, settings, display)
            continue
        if dataset.is_intact():
            return dataset
        refresh = True
    raise DamagedShard(str(Path(settings.output_path)))


if __name__ == "__main__":
    from flows.cli import main

    sys.exit(main(["generate", *sys.argv[1:]]))
