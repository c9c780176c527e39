"""Rendering a shard, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture
from prefect.runtime import task_run
from prefect.tasks import Task, exponential_backoff

from synthcore.base.errors import Accident
from synthcore.pipeline import gaps, shard
from synthcore.pipeline.shard import ShardPlan
from synthcore.storage.refs import Gap, ShardRef
from synthcore.tasks.limits import of_this_machine
from synthcore.tasks.logs import show_logs
from synthcore.tasks.records import guarded


@guarded
def shard_key(_: Any, parameters: dict[str, Any]) -> str:
    """The fingerprint of the shard's content: never of the dataset's size, of other shards or of a path."""
    return str(parameters["plan"].record)


async def heals(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether trying again helps: only after an accident."""
    return isinstance(await state.aresult(raise_on_failure=False), Accident)


@task(
    name="render_shard",
    task_run_name="shard {plan.index:04d}",
    cache_key_fn=shard_key,
    persist_result=True,
    result_serializer="json",
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=heals,
)
def render_shard(plan: ShardPlan, data_dir: Path, render_timeout: float) -> ShardRef:
    """Render one shard of a dataset, or find it rendered already."""
    show_logs()
    with shard.claimed(plan, data_dir) as made_elsewhere:
        if made_elsewhere:
            return made_elsewhere
        with concurrency(of_this_machine()):  # not while waiting: whoever renders the shard may need the slot
            ref = shard.render_shard(plan, data_dir, render_timeout)
    return ref.model_copy(update={"tries": task_run.run_count})


def outcome(plan: ShardPlan, future: PrefectFuture[ShardRef]) -> ShardRef | Gap:
    """What became of a shard: it was made, or it failed for good.

    Raises
    ------
    BaseException
        An error that affects the whole run, see `gaps.as_gap`.
    """
    result: Any = future.result(raise_on_failure=False)
    return result if isinstance(result, ShardRef) else gaps.as_gap(plan, result)
