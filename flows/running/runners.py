"""What runs shards side by side: the one seam for Prefect's task runners, and how shards are handed to them."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from synthcore.base.errors import SpecError
from synthcore.settings.generate import Generate, RenderShards

#: Shards that a runner has at a time. More than a cluster usually has cores; few enough to cost neither the scheduler
#: nor us anything: 10,000 planned shards are 10,000 plans, not 10,000 live futures.
AHEAD = 256
Plan = TypeVar("Plan")


def task_runner(settings: Generate | RenderShards) -> TaskRunner[Any]:
    """What runs shards side by side. The one seam for another of Prefect's runners.

    Raises
    ------
    SpecError
        The runner is not installed.
    """
    if settings.run.runner == "dask":
        try:
            from synthcore.flows.running.cluster import dask_runner
        except ImportError as error:
            raise SpecError("the runner dask is not installed; do so with: pip install 'synthcore[dask]'") from error
        return dask_runner(settings.run.runner_address, settings.workers)
    return threads(settings.workers)


def threads(workers: int) -> TaskRunner[Any]:
    """Threads of this machine, for so many renders at a time."""
    # One more than render: a finished shard is hashed and flushed while the next one renders.
    return ThreadPoolTaskRunner(max_workers=workers + 1)


def hand_out(
    plans: list[Plan], runner: TaskRunner[Any], task: Task[..., Any], **same: Any
) -> Iterator[tuple[Plan, PrefectFuture[Any]]]:
    """Submit a task for each shard, never more than `AHEAD` at a time, and give each back as soon as it is finished.

    A future that was given back is forgotten here. Dask keeps what a future refers to, and makes it again when the
    worker that has it dies.
    """
    finished: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    under_way: dict[PrefectFuture[Any], Plan] = {}
    for plan in plans:
        future = runner.submit(task, {"plan": plan, **same})
        under_way[future] = plan
        future.add_done_callback(finished.put)
        while len(under_way) == AHEAD or not finished.empty():
            done = finished.get()
            yield under_way.pop(done), done
    while under_way:
        done = finished.get()
        yield under_way.pop(done), done
