"""What runs shards side by side: the choice of Prefect's task runner, and how shards are handed to it."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from synthcore.base.errors import SpecError
from synthcore.settings.command import RunnerSettings

#: Shards that a runner has at a time: more than a cluster usually has cores, and few enough to be no burden on the
#: scheduler or on this process. 10,000 planned shards are 10,000 plans, not 10,000 live futures.
AHEAD = 256
Plan = TypeVar("Plan")


def task_runner(run: RunnerSettings, workers: int) -> TaskRunner[Any]:
    """Make the task runner that the settings name. Another of Prefect's runners would be added here.

    Raises
    ------
    SpecError
        The runner is not installed, or not to be had on this machine.
    """
    try:
        if run.runner == "dask":
            from synthcore.flows.running.cluster import dask_runner

            return dask_runner(run.runner_address, workers)
        if run.runner == "slurm":
            from synthcore.flows.running.slurm import slurm_runner

            return slurm_runner(workers)
        if run.runner == "ray":
            from synthcore.flows.running.ray_cluster import ray_runner

            return ray_runner(run.runner_address, workers)
    except ImportError as error:
        name = run.runner
        raise SpecError(f"the runner {name} is not installed; do so with: pip install 'synthcore[{name}]'") from error
    return threads(workers)


def threads(workers: int) -> TaskRunner[Any]:
    """Make a runner of threads in this process, for so many renders at a time."""
    # One more than render: a finished shard is hashed and flushed while the next one renders.
    return ThreadPoolTaskRunner(max_workers=workers + 1)


def hand_out(
    plans: list[Plan], runner: TaskRunner[Any], task: Task[..., Any], **same: Any
) -> Iterator[tuple[Plan, PrefectFuture[Any]]]:
    """Submit a task for each shard, never more than `AHEAD` at a time, and yield each as soon as it is finished.

    A future that was yielded is no longer referred to here: as long as one is, Dask keeps its result, and computes it
    again when the worker that has it dies.
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
