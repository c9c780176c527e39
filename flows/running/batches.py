"""Batches of sounds: a cached task for each plan of some, side by side; what is cached, but gone, is done again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from prefect.tasks import Task

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.engine.stopping import interruptible
from synthcore.flows.running import environment
from synthcore.flows.running.runners import hand_out, threads
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


class Settings(Protocol):
    """What running batches depends on, as commands have it."""

    @property
    def data_dir(self) -> Path: ...
    @property
    def results_dir(self) -> Path: ...
    @property
    def workers(self) -> int: ...
    @property
    def refresh(self) -> bool: ...


Plan = TypeVar("Plan", bound=SoundPlan)


def run_batches(task: Task[..., Any], plans: Sequence[Plan], settings: Settings, what: str) -> None:
    """Run a task for each plan; what is cached is there already, unless refreshed.

    Parameters
    ----------
    task : Task
        Takes a plan and the data directory, and returns a reference to a file in there.
    plans : sequence
    settings : Settings
        Workers, data directory, and whether to refresh.
    what : str
        What the sounds are called in the progress bar of the UI.

    Raises
    ------
    Exception
        With which a task failed, while the others are being stopped.
    """
    redo_lost(
        [*plans],
        _run(task, plans, settings, what, refresh=settings.refresh),
        is_lost=lambda ref: not ref.is_intact(settings.data_dir),
        redo=lambda lost: _run(task, lost, settings, what, refresh=True),
    )


def _run(task: Task[..., Any], plans: Sequence[Plan], settings: Settings, what: str, *, refresh: bool) -> list[Any]:
    batches = how_many(len(plans), "batch", "es")
    artifact = start_progress(f"{batches} of {what}")
    cached: Any = task.with_options(result_storage=settings.results_dir, refresh_cache=refresh)
    done: dict[str, Any] = {}
    with threads(settings.workers) as runner, interruptible():  # ends the renders that the runner would wait for
        for plan, future in hand_out([*plans], runner, cached, data_dir=settings.data_dir):
            done[plan.key] = future.result()  # raises what went wrong, while the others are being stopped
            if future.state.name == "Cached":
                progress.publish(progress.Progress(rows=plan.sounds, fault=None))
            if environment.is_reachable():  # Prefect would try for a minute
                show_progress(artifact, len(done) / len(plans), f"{len(done)} of {batches}")
    return [done[plan.key] for plan in plans]
