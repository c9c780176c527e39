"""Batches of sounds: a cached task for each plan of some, side by side; what is cached, but gone, is done again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.errors import DiskError
from synthcore.engine.stopping import interruptible
from synthcore.flows.running import environment
from synthcore.flows.running.runners import hand_out, threads
from synthcore.settings.command import Batched
from synthcore.tasks.artifacts import show_progress, start_progress
from synthcore.tasks.intact import redo_lost


class SoundPlan(Protocol):
    """What is to be done with some sounds."""

    @property
    def key(self) -> str:
        """What it comes to, by content."""

    @property
    def sounds(self) -> int:
        """How many there are."""


class Done(NamedTuple):
    """What came of a plan: a reference to a file in the data directory; and whether that was there already."""

    ref: Any
    is_cached: bool


def run_batches(
    task: Task[..., Any],
    plans: Sequence[SoundPlan],
    settings: Batched,
    what: str,
    runner: TaskRunner[Any] | None = None,
) -> list[Done]:
    """Run a task for each plan; what is cached is there already, unless refreshed.

    Parameters
    ----------
    task : Task
        Takes a plan and the data directory, and returns a reference to a file in there.
    plans : sequence
    settings : Batched
        Workers, data directory, and whether to refresh.
    what : str
        What the sounds are called in the progress bar of the UI.
    runner : TaskRunner, optional
        By default threads of this process.

    Returns
    -------
    list of Done
        In the order of the plans.

    Raises
    ------
    DiskError
        A file isn't in the data directory once its task has made it.
    Exception
        With which a task failed, while the others are being stopped.
    """
    cached: Any = task.with_options(result_storage=settings.results_dir, refresh_cache=settings.refresh)
    again: Any = cached.with_options(refresh_cache=True)
    data_dir = settings.data_dir

    def is_lost(done: Done) -> bool:
        return not done.ref.is_intact(data_dir)

    def redo(lost: Sequence[SoundPlan]) -> list[Done]:
        done = _run(again, lost, opened, data_dir, what)
        if any(map(is_lost, done)):
            raise DiskError(
                f"what was computed isn't in {data_dir}: every worker must have that folder, under the same path"
            )
        return done

    if not plans:  # a cluster would be started for nothing
        return []
    with runner or threads(settings.workers) as opened, interruptible():  # ends the renders that it would wait for
        return redo_lost([*plans], _run(cached, plans, opened, data_dir, what), is_lost, redo)


def _run(
    task: Task[..., Any], plans: Sequence[SoundPlan], runner: TaskRunner[Any], data_dir: Path, what: str
) -> list[Done]:
    batches = how_many(len(plans), "batch", "es")
    artifact = start_progress(f"{batches} of {what}")
    done: dict[str, Done] = {}
    for plan, future in hand_out([*plans], runner, task, data_dir=data_dir):
        ref = future.result()  # raises what went wrong, while the others are being stopped
        one = done[plan.key] = Done(ref, is_cached=future.state.name == "Cached")
        if one.is_cached or not isinstance(runner, ThreadPoolTaskRunner):  # elsewhere, nobody hears of single rows
            progress.publish(progress.Progress(rows=plan.sounds, fault=None))
        if environment.is_reachable():  # Prefect would try for a minute
            show_progress(artifact, len(done) / len(plans), f"{len(done)} of {batches}")
    return [done[plan.key] for plan in plans]
