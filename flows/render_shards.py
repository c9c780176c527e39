"""Render a batch of shards: find the data directory -> render_shard (mapped, retried, cached).

`generate --distribute pool:NAME` submits such runs; workers of the pool carry them out. What they make is found by
the run that asked in the data directory that all share.
"""

from __future__ import annotations

from pathlib import Path

from flows import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow

from flows import generate
from flows.display import Display
from flows.runners import task_runner
from synthcore.batch import Batch, find
from synthcore.engine.client import at_most, interruptible
from synthcore.settings import RenderShards, RunSettings


@flow(name="render-shards")
def render_shards(batch: Batch, data_dir: Path, data_mark: str, run: RunSettings) -> None:
    """Render some shards of a dataset, for a run that distributes its work.

    Parameters
    ----------
    batch
        Which shards of which dataset.
    data_dir
        Where the run that asks has its data directory. A worker that mounts it elsewhere says so by
        SYNTHCORE_DATA_DIR.
    data_mark
        What that directory says of itself.
    run
        How it is done.

    Raises
    ------
    SpecError
        The data directory isn't mounted here.
    EngineMismatch
        This machine would make other shards.
    LowAcceptance
        Nearly every candidate was refused.
    Accident
        A shard met with accidents again and again.
    SynthcoreError
        The disk is full.
    """
    own = RenderShards()
    settings = own.model_copy(update={"data_dir": find(data_mark, [own.data_dir, data_dir]), "run": run})
    plans = batch.plans(settings.data_dir)
    with task_runner(settings) as runner, Display(plans) as display, interruptible(), at_most(settings.workers):
        generate.render_shards(plans, settings, runner, display)
