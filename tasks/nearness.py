"""Sketching sounds and comparing them, as tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.concurrency.sync import concurrency
from prefect.tasks import exponential_backoff

from synthcore.base.hashing import content_hash
from synthcore.page import writing
from synthcore.page.nearness import gather_nearness
from synthcore.pipeline import nearness_report, sketching
from synthcore.pipeline.nearness_report import Compared, Nearness
from synthcore.pipeline.sketching import SketchRef, StoredSketches
from synthcore.pipeline.sounds import SketchPlan
from synthcore.tasks.limits import of_this_machine
from synthcore.tasks.logs import show_logs
from synthcore.tasks.records import guarded
from synthcore.tasks.shards import heals


@guarded
def sketch_key(_: Any, parameters: dict[str, Any]) -> str:
    """The fingerprint of what is sketched: never of where it lies."""
    return f"sketches-{parameters['plan'].key}"


@task(
    name="sketch_sounds",
    task_run_name="sketch {plan.index:04d}",
    cache_key_fn=sketch_key,
    persist_result=True,
    result_serializer="json",
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_condition_fn=heals,
)
def sketch_sounds(plan: SketchPlan, data_dir: Path) -> SketchRef:
    """Sketch some rows, patches or recordings."""
    show_logs()
    with concurrency(of_this_machine()):
        return sketching.sketch_plan(plan, data_dir)


@guarded
def nearness_key(_: Any, parameters: dict[str, Any]) -> str:
    """The fingerprint of all sketches, and of what their sounds are called."""
    plans = [plan.model_dump(mode="json") for side in ("ours", "theirs") for plan in parameters[side]]
    return f"nearness-{content_hash([nearness_report.VERSION, parameters['compared'].model_dump(), plans])}"


@task(
    name="compare_sketches",
    task_run_name="compare {compared.file} with {compared.other}",
    cache_key_fn=nearness_key,
    persist_result=True,
    result_serializer="json",
)
def compare_sketches(
    compared: Compared, ours: list[SketchPlan], theirs: list[SketchPlan], data_dir: Path, workers: int
) -> Nearness:
    """Find the nearest of each sound on the other side, and tell the two sides apart."""
    sides = StoredSketches(ours, data_dir), StoredSketches(theirs, data_dir)
    return nearness_report.report(compared, *sides, workers)


@task(name="write_nearness", task_run_name="write {output}")
def write_nearness(found: Nearness, ours: list[SketchPlan], theirs: list[SketchPlan], output: Path) -> None:
    """Write a page of the farthest sounds beside their nearest."""
    writing.write_nearness(gather_nearness(found, ours, theirs), output)
