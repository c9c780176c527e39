"""Compare a dataset with other sounds: plan -> sketch_sounds (mapped, retried, cached) -> compare_sketches -> a page.

`python flows/compare_datasets.py --help` lists its flags; `synthcore compare` is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.base.places import require_places
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.batches import run_batches
from synthcore.flows.running.form import dataset_of, parameters_of
from synthcore.page.nearness import sounds_heard
from synthcore.page.writing import require_replaceable
from synthcore.pipeline import comparing, library
from synthcore.pipeline.comparing import Others, Presets, Sides
from synthcore.pipeline.nearness_report import Nearness
from synthcore.settings.datasets import Compare
from synthcore.storage.collection import digest_of
from synthcore.tasks.artifacts import link_page, show_text
from synthcore.tasks.logs import show_logs
from synthcore.tasks.nearness import compare_sketches, sketch_sounds, write_nearness


def run_name() -> str:
    """Name a run after its dataset."""
    return f"compare {dataset_of(flow_run.parameters['file'])}"


@flow(name="compare", flow_run_name=run_name)
@parameters_of(Compare, dataset="file")
def compare(settings: Compare) -> Nearness:
    """Say how near the rows of a dataset come to other sounds.

    Returns
    -------
    Nearness
        Distances both ways, and how well the two can be told apart.

    Raises
    ------
    DatasetError
        The file is not a dataset with audio and rows.
    SpecError
        There is nothing to compare with, or the page can't be written.
    Accident
        A render met with accident after accident (a kill, a time-out, a lost process).
    """
    show_logs()
    require_places(settings.data_dir)
    if settings.html:
        require_replaceable(settings.html)
    found, sides = find_nearness(settings)
    show_text("nearness", found.headline, found.to_text())
    if settings.html:
        with rows_shown("listening", sounds_heard(found)), at_most(settings.workers), interruptible():
            write_nearness(found, sides.ours, sides.theirs, settings.html)
        link_page(settings.html)
    return found


def find_nearness(settings: Compare) -> tuple[Nearness, Sides]:
    """Sketch both sides and compare them, within a flow."""
    others = gather(settings)
    sides = comparing.plan(settings.file, others, settings.data_dir, notes=settings.notes, sounds=settings.sounds)
    plans = [*sides.ours, *sides.theirs]
    with rows_shown("sketching", sum(plan.sounds for plan in plans)), at_most(settings.workers):
        run_batches(sketch_sounds, plans, settings, "sounds")
    environment.require_server()
    return measure(sides, settings), sides


def gather(settings: Compare) -> Others:
    """Find out what the other sounds are; read them first if they are presets, by a flow of its own."""
    kind = comparing.kind_of(settings.other)
    if kind != "presets":
        return Others(settings.other, kind)
    if digest_of(settings.other):
        return Others(settings.other, kind, Presets(library.given_collection(settings.other, settings.data_dir)))
    from synthcore.flows.ingest_presets import ingest_presets

    folders = (settings.other,)
    output = library.collection_of(folders, False, settings.approximate, settings.data_dir)
    library.forget_damaged(output)
    made = ingest_presets(
        folders=folders,
        output=output,
        approximate=settings.approximate,
        refresh=settings.refresh,
        workers=settings.workers,
        data_dir=settings.data_dir,
    )
    collection = library.given_collection(Path(made.collection), settings.data_dir)
    return Others(settings.other, kind, Presets.of(collection, made.report))


def measure(sides: Sides, settings: Compare) -> Nearness:
    """Compare what was sketched, or find it compared."""
    task: Any = compare_sketches.with_options(result_storage=settings.results_dir, refresh_cache=settings.refresh)
    with rows_shown("comparing", 2 * sum(plan.sounds for plan in sides.ours)), interruptible():
        found: Nearness = task(sides.compared, sides.ours, sides.theirs, settings.data_dir, settings.workers)
    return found


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("compare", compare))
