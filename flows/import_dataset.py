"""Import a dataset: check the files of a publication -> make the dataset again.

`python flows/import_dataset.py --help` lists its flags; `synthcore import` is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.base.places import require_places
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.form import parameters_of
from synthcore.pipeline.continuing import require_new
from synthcore.publishing.importing import ImportResult
from synthcore.publishing.publication import read_publication
from synthcore.settings.publishing import Import
from synthcore.tasks.artifacts import show_text
from synthcore.tasks.logs import show_logs
from synthcore.tasks.publishing import import_publication


def run_name() -> str:
    """Name a run after the folder, such as "import train"."""
    return f"import {Path(flow_run.parameters['folder']).name}"


@flow(name="import", flow_run_name=run_name)
@parameters_of(Import)
def import_dataset(settings: Import) -> ImportResult:
    """Make a dataset again from a folder that `publish` made.

    Returns
    -------
    ImportResult
        What was made, and whether it is the dataset that was published.

    Raises
    ------
    DatasetError
        The folder is not a whole publication.
    SpecError
        The file exists.
    DiskError
        The disk is full.
    """
    show_logs()
    require_places(settings.data_dir)
    require_new(settings.output)
    with rows_shown("importing", read_publication(settings.folder).rows):
        result = import_publication(settings.folder, settings.output, settings.workers)
    show_text("import", f"import of {settings.folder.name}", result.to_text())
    return result


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("import", import_dataset))
