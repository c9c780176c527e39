"""Render a batch of shards: find the data directory -> render_shard (mapped, retried, cached).

`generate --distribute pool:NAME` submits such runs; workers of the pool carry them out. The run that submitted them
finds what they make in the data directory that all share.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from synthcore.base.errors import IncompleteDataset
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.flows.running.display import Display
from synthcore.flows.running.distribution import INCOMPLETE
from synthcore.flows.running.form import described
from synthcore.flows.running.runners import task_runner
from synthcore.flows.running.shard_renderer import ShardRenderer
from synthcore.pipeline.batch import Batch, find
from synthcore.pipeline.gaps import split_outcomes
from synthcore.settings.generate import RenderShards, RunSettings


@flow(name="render-shards")
@described
def render_shards(
    batch: Annotated[Batch, Field(description="Which shards of which dataset.")],
    data_dir: Annotated[
        Path,
        Field(
            description="The data directory of the run that submits this one. A worker that mounts it elsewhere sets "
            "SYNTHCORE_DATA_DIR."
        ),
    ],
    data_mark: Annotated[
        str, Field(description="The mark in that directory, by which it is known wherever it is mounted.")
    ],
    run: Annotated[RunSettings, Field(description="How shards are rendered.")],
) -> State[None]:
    """Render some shards of a dataset, for a run that distributes its work.

    Ends in the state `Incomplete` if shards failed for good; the others are rendered all the same.

    Raises
    ------
    SpecError
        The data directory isn't mounted here.
    EngineMismatch
        This machine would make other shards.
    SynthcoreError
        The disk is full.
    """
    own = RenderShards()
    settings = own.model_copy(update={"data_dir": find(data_mark, [own.data_dir, data_dir]), "run": run})
    plans = batch.plans(settings.data_dir)
    try:
        with (
            task_runner(run, settings.workers) as runner,
            Display(plans) as display,
            interruptible(),
            at_most(settings.workers),
        ):
            made = ShardRenderer(settings, runner, display).render(plans)
        split_outcomes(made, allow_partial=False)
    except IncompleteDataset as incomplete:
        return Failed(name=INCOMPLETE, message=str(incomplete))
    return Completed()
