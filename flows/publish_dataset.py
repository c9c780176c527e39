"""Publish a dataset: plan -> publish_file (mapped, retried, cached) -> assemble or upload.

`python flows/publish_dataset.py --help` lists its flags; `synthcore publish` is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.base.addresses import Address
from synthcore.base.places import require_places
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.batches import run_batches
from synthcore.flows.running.form import parameters_of
from synthcore.flows.running.runners import threads
from synthcore.publishing import planning
from synthcore.publishing.planning import Form
from synthcore.publishing.publication import PublishResult
from synthcore.publishing.uploading import require_free
from synthcore.settings.publishing import Publish
from synthcore.tasks.artifacts import show_text
from synthcore.tasks.logs import show_logs
from synthcore.tasks.publishing import assemble, publish_file, upload


def run_name() -> str:
    """Name a run after its dataset, such as "publish train.h5"."""
    return f"publish {Path(flow_run.parameters['file']).name}"


@flow(name="publish", flow_run_name=run_name)
@parameters_of(Publish)
def publish(settings: Publish) -> PublishResult:
    """Write a dataset as a folder that others can load, cite and trust.

    Returns
    -------
    PublishResult
        What the folder holds.

    Raises
    ------
    DatasetError
        The file is not a whole dataset, or has no row that may be published.
    SpecError
        The folder holds something else, or the licence isn't one.
    DiskError
        The disk is full.
    FileUnavailable
        The bucket to write to is forbidden, or gives no answer.
    """
    show_logs()
    require_places(settings.data_dir)
    planned = planning.plan(settings.file, Form.model_validate(settings), settings.workers)
    require_free(settings.output, planned.key)
    with rows_shown("publishing", planned.rows):
        # Each file has its rows coded by all workers, while the one before it is hashed and flushed.
        done = run_batches(publish_file, planned.plans, settings, "rows", threads(1))
    environment.require_server()
    refs, output = [one.ref for one in done], settings.output
    if isinstance(output, Address):
        result = upload(planned, refs, settings.data_dir, output)
    else:
        result = assemble(planned, refs, settings.data_dir, output)
    show_text("publication", f"publication of {settings.file.name}", result.to_text())
    return result


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("publish", publish))
