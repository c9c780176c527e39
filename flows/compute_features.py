"""Compute features: plan -> compute_feature (mapped, retried, cached) -> store_features.

`python flows/compute_features.py --help` lists its flags; `synthcore features` is the same.
"""

from __future__ import annotations

import sys
from typing import Any

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.places import require_places
from synthcore.engine.stopping import interruptible
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.form import dataset_of, parameters_of
from synthcore.flows.running.runners import hand_out, threads
from synthcore.pipeline import features
from synthcore.pipeline.features import FeaturePlan, FeatureRef, FeaturesResult
from synthcore.settings.datasets import Features
from synthcore.tasks.artifacts import show_progress, show_text, start_progress
from synthcore.tasks.features import compute_feature, store_features
from synthcore.tasks.intact import redo_lost
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
    computed: dict[str, int] = {}
    with rows_shown("computing", sum(plan.rows for plan in plans)):
        redo_lost(
            plans,
            compute(plans, settings, computed, refresh=settings.refresh),
            is_lost=lambda ref: not ref.is_intact(settings.data_dir),
            redo=lambda lost: compute(lost, settings, computed, refresh=True),
        )
    environment.require_server()
    store_features(settings.file, planned, settings.data_dir)
    result = features.result_of(settings.file, specs, computed)
    show_text("features", f"features of {settings.file.name}", result.to_text())
    return result


def compute(
    plans: list[FeaturePlan], settings: Features, computed: dict[str, int], *, refresh: bool
) -> list[FeatureRef]:
    """Compute side by side; what is cached is there already, unless refreshed. Counts the rows computed, by feature."""
    batches = how_many(len(plans), "batch", "es")
    artifact = start_progress(f"{batches} of rows")
    task: Any = compute_feature.with_options(result_storage=settings.results_dir, refresh_cache=refresh)
    found: dict[str, FeatureRef] = {}
    with threads(settings.workers) as runner, interruptible():
        for plan, future in hand_out(plans, runner, task, data_dir=settings.data_dir):
            found[plan.key] = future.result()  # raises what went wrong, while the others are being stopped
            if future.state.name == "Cached":
                progress.publish(progress.Progress(rows=plan.rows, fault=None))
            else:
                computed[plan.spec.kind] = computed.get(plan.spec.kind, 0) + plan.rows
            if environment.is_reachable():  # Prefect would try for a minute
                show_progress(artifact, len(found) / len(plans), f"{len(found)} of {batches}")
    return [found[plan.key] for plan in plans]


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("features", compute_features))
