"""Compute importance weights: plan_probes -> measure_probe (mapped, retried, cached) -> store_weights -> a page.

`python flows/compute_weights.py --help` lists its flags; `synthcore compute-weights` is the same.
"""

from __future__ import annotations

import sys
from typing import Any

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.analysis import importance
from synthcore.analysis.importance import Probe, ProbeRef
from synthcore.analysis.weighing import WeightsResult
from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.places import require_places
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.form import dataset_of, parameters_of
from synthcore.flows.running.runners import hand_out, threads
from synthcore.settings.datasets import ComputeWeights
from synthcore.tasks.artifacts import show_progress, show_text, start_progress
from synthcore.tasks.intact import redo_lost
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
    with rows_shown("weighing", sum(len(p.rows) for p in probes)), at_most(settings.workers):
        measured = redo_lost(
            probes,
            measure(probes, settings, refresh=settings.refresh),
            is_lost=lambda ref: not ref.is_intact(settings.data_dir),
            redo=lambda lost: measure(lost, settings, refresh=True),
        )
    environment.require_server()
    result = store_weights(settings.output, measured, settings.data_dir)
    show_text("weights", result.headline, result.to_text())
    return result


def measure(probes: list[Probe], settings: ComputeWeights, *, refresh: bool) -> list[ProbeRef]:
    """Measure probes side by side; cached ones are there already, unless refreshed."""
    all_of_them = how_many(len(probes), "probe")
    artifact = start_progress(all_of_them)
    task: Any = measure_probe.with_options(result_storage=settings.results_dir, refresh_cache=refresh)
    measured: dict[str, ProbeRef] = {}
    with threads(settings.workers) as runner, interruptible():  # ends the renders that the runner would wait for
        for probe, future in hand_out(probes, runner, task, data_dir=settings.data_dir):
            measured[probe.key] = future.result()  # raises what went wrong, while the others are being stopped
            if future.state.name == "Cached":
                progress.publish(progress.Progress(rows=len(probe.rows), fault=None))
            if environment.is_reachable():  # Prefect would try for a minute
                show_progress(artifact, len(measured) / len(probes), f"{len(measured)} of {all_of_them}")
    return [measured[probe.key] for probe in probes]


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("compute-weights", compute_weights))
