"""Sketching within a flow: a cached and retried task for each batch of sounds, side by side, with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.flows.running import environment
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.runners import hand_out, threads
from synthcore.pipeline.sketching import SketchRef
from synthcore.pipeline.sounds import SketchPlan
from synthcore.tasks.artifacts import show_progress, start_progress
from synthcore.tasks.intact import redo_lost
from synthcore.tasks.nearness import sketch_sounds


class Settings(Protocol):
    """What sketching depends on, as commands have it."""

    @property
    def data_dir(self) -> Path: ...
    @property
    def results_dir(self) -> Path: ...
    @property
    def workers(self) -> int: ...
    @property
    def refresh(self) -> bool: ...


def sketch_all(plans: Sequence[SketchPlan], settings: Settings) -> None:
    """Sketch whatever isn't sketched yet, or all again if that is asked for."""
    with rows_shown("sketching", sum(plan.sounds for plan in plans)), at_most(settings.workers):
        redo_lost(
            [*plans],
            _sketch(plans, settings, refresh=settings.refresh),
            is_lost=lambda ref: not ref.is_intact(settings.data_dir),
            redo=lambda lost: _sketch(lost, settings, refresh=True),
        )


def _sketch(plans: Sequence[SketchPlan], settings: Settings, *, refresh: bool) -> list[SketchRef]:
    """Sketch side by side; what is cached is there already, unless refreshed."""
    batches = how_many(len(plans), "batch", "es")
    artifact = start_progress(f"{batches} of sounds")
    task: Any = sketch_sounds.with_options(result_storage=settings.results_dir, refresh_cache=refresh)
    sketched: dict[str, SketchRef] = {}
    with threads(settings.workers) as runner, interruptible():  # ends the renders that the runner would wait for
        for plan, future in hand_out([*plans], runner, task, data_dir=settings.data_dir):
            sketched[plan.key] = future.result()  # raises what went wrong, while the others are being stopped
            if future.state.name == "Cached":
                progress.publish(progress.Progress(rows=plan.sounds, fault=None))
            if environment.is_reachable():  # Prefect would try for a minute
                show_progress(artifact, len(sketched) / len(plans), f"{len(sketched)} of {batches}")
    return [sketched[plan.key] for plan in plans]
