"""Computing and storing features, as tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.concurrency.sync import concurrency
from prefect.tasks import exponential_backoff

from synthcore.pipeline import features
from synthcore.pipeline.features import FeaturePlan, FeatureRef, Planned
from synthcore.tasks.limits import of_this_machine
from synthcore.tasks.logs import show_logs
from synthcore.tasks.records import guarded
from synthcore.tasks.shards import heals


@guarded
def feature_key(_: Any, parameters: dict[str, Any]) -> str:
    """The fingerprint of what is computed: never of the file or the rows that it is in."""
    return f"features-{parameters['plan'].key}"


@task(
    name="compute_feature",
    task_run_name="{plan.spec.kind} {plan.index:04d}",
    cache_key_fn=feature_key,
    persist_result=True,
    result_serializer="json",
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_condition_fn=heals,
)
def compute_feature(plan: FeaturePlan, data_dir: Path) -> FeatureRef:
    """Compute a feature of some rows."""
    show_logs()
    with concurrency(of_this_machine()):
        return features.compute(plan, data_dir)


@task(name="store_features", task_run_name="store features")
def store_features(file: Path, planned: list[Planned], data_dir: Path) -> None:
    """Write what was computed into the dataset."""
    features.store(file, planned, data_dir)
