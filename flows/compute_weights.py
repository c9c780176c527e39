"""Compute importance weights: plan_probes -> measure_probe (mapped, retried, cached) -> store_weights -> a page.

`python flows/compute_weights.py --help` lists its flags; `synthcore compute-weights` is the same.
"""

from __future__ import annotations

import sys

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.analysis import importance
from synthcore.analysis.weighing import WeightsResult
from synthcore.base.places import require_places
from synthcore.engine.lending import at_most
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.batches import run_batches
from synthcore.flows.running.form import dataset_of, parameters_of
from synthcore.settings.datasets import ComputeWeights
from synthcore.tasks.artifacts import show_text
from synthcore.tasks.logs import show_logs
from synthcore.tasks.weights import measure_probe, store_weights


def run_name() -> str:
    """Name a run after its dataset, such as "weights of train.h5"."""
    return f"weights of {dataset_of(flow_run.parameters['output']).name}"


@flow(name="compute-weights", flow_run_name=run_name)
@parameters_of(ComputeWeights, dataset="output")
def compute_weights(settings: ComputeWeights) -> WeightsResult:
    """Measure how much each control moves the sound, and write it into the dataset.

    Returns
    -------
    WeightsResult
        The weights, by control.

    Raises
    ------
    DatasetError
        The file is not a dataset with rows and audio, or can't be written.
    EngineMismatch
        The synth here has other controls than the dataset's.
    Accident
        A render met with accident after accident (a kill, a time-out, a lost process).
    """
    show_logs()
    require_places(settings.data_dir)
    probes = importance.plan(settings.output, settings.n_base)
    with rows_shown("weighing", sum(probe.sounds for probe in probes)), at_most(settings.workers):
        done = run_batches(measure_probe, probes, settings, "rows")
    environment.require_server()
    result = store_weights(settings.output, [one.ref for one in done], settings.data_dir)
    show_text("weights", result.headline, result.to_text())
    return result


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("compute-weights", compute_weights))
