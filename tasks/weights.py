"""Measuring and storing importance weights, as tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.concurrency.sync import concurrency
from prefect.tasks import exponential_backoff

from synthcore.analysis import importance, weighing
from synthcore.analysis.importance import Probe, ProbeRef
from synthcore.analysis.weighing import WeightsResult
from synthcore.tasks.limits import of_this_machine
from synthcore.tasks.logs import show_logs
from synthcore.tasks.records import guarded
from synthcore.tasks.shards import heals


@guarded
def probe_key(_: Any, parameters: dict[str, Any]) -> str:
    """The fingerprint of what is measured: never of the file or the row that it is in."""
    return f"weights-{parameters['plan'].key}"


@task(
    name="measure_probe",
    task_run_name="probe {plan.index:04d}",
    cache_key_fn=probe_key,
    persist_result=True,
    result_serializer="json",
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_condition_fn=heals,
)
def measure_probe(plan: Probe, data_dir: Path) -> ProbeRef:
    """Move the controls of a few rows, and measure how much the sound changes."""
    show_logs()
    with concurrency(of_this_machine()):
        return importance.measure(plan, data_dir)


@task(name="store_weights", task_run_name="store weights")
def store_weights(file: Path, probes: list[ProbeRef], data_dir: Path) -> WeightsResult:
    """Average what was measured, and write it into the dataset."""
    return weighing.store(file, probes, data_dir)
