"""Compute features: plan -> compute_feature (mapped, retried, cached) -> store_features.

`python flows/compute_features.py --help` lists its flags; `synthcore features` is the same.
"""

from __future__ import annotations

import sys
from collections import Counter

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.base.places import require_places
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.batches import Done, run_batches
from synthcore.flows.running.form import dataset_of, parameters_of
from synthcore.flows.running.runners import task_runner
from synthcore.pipeline import features
from synthcore.pipeline.features import FeaturePlan, FeaturesResult
from synthcore.settings.datasets import Features
from synthcore.tasks.artifacts import show_text
from synthcore.tasks.features import compute_feature, store_features
from synthcore.tasks.logs import show_logs


def run_name() -> str:
    """Name a run after its dataset, such as "features of train.h5"."""
    return f"features of {dataset_of(flow_run.parameters['file']).name}"


@flow(name="features", flow_run_name=run_name)
@parameters_of(Features, dataset="file")
def compute_features(settings: Features) -> FeaturesResult:
    """Compute features of each row's sound, and keep them in the dataset.

    Returns
    -------
    FeaturesResult
        What the file holds of them, and how many rows were computed.

    Raises
    ------
    DatasetError
        The file is not a dataset with rows and audio, or was replaced meanwhile.
    SpecError
        No feature is named and none is stale, or one can't be computed at the file's sample rate.
    FileUnavailable
        The file may not be written.
    DiskError
        The disk is full.
    """
    show_logs()
    require_places(settings.data_dir)
    specs = features.specs_of(settings.file, settings.specs)
    planned = features.plan(settings.file, specs, settings.data_dir, again=settings.refresh)
    plans = [plan for one in planned for plan in one.plans]
    with rows_shown("computing", sum(plan.sounds for plan in plans)):
        done = run_batches(compute_feature, plans, settings, "rows", task_runner(settings.run, settings.workers))
    environment.require_server()
    store_features(settings.file, planned, settings.data_dir)
    result = features.result_of(settings.file, specs, rows_computed(plans, done))
    show_text("features", f"features of {settings.file.name}", result.to_text())
    return result


def rows_computed(plans: list[FeaturePlan], done: list[Done]) -> Counter[str]:
    """Count the rows computed, by feature; those that were cached were not."""
    counts: Counter[str] = Counter()
    for plan, one in zip(plans, done, strict=True):
        if not one.is_cached:
            counts[plan.spec.kind] += plan.sounds
    return counts


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("features", compute_features))
