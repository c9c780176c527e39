"""Inspect a dataset: inspect_file (or write_page) -> text, table and picture in the UI, and a link to the page.

`python flows/inspect_dataset.py --help` tells its flags; `synthcore inspect` says the same without a server.
"""

from __future__ import annotations

import sys

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.analysis.comparison import Comparison
from synthcore.analysis.inspection import Inspection
from synthcore.analysis.words import RowWords
from synthcore.flows.running.form import dataset_of, parameters_of
from synthcore.settings.datasets import Inspect
from synthcore.storage.refs import DatasetRef
from synthcore.tasks.inspection import compare_files, describe_row, inspect_file, write_page
from synthcore.tasks.report import draw_picture, link_page, list_findings, show_picture, show_text


def run_name() -> str:
    """Name a run after its dataset."""
    return f"inspect {dataset_of(flow_run.parameters['file'])}"


@flow(name="inspect", flow_run_name=run_name)
@parameters_of(Inspect, dataset="file")
def inspect_dataset(settings: Inspect) -> Inspection | list[RowWords] | Comparison:
    """Say what is in a dataset, or in one of its rows, or how two datasets differ.

    Returns
    -------
    Inspection, list of RowWords or Comparison
        What was found.

    Raises
    ------
    DatasetError
        The file is no dataset, or has no such row.
    SpecError
        The page can't be written, or is asked of one row.
    """
    if settings.row:
        told = [describe_row(settings.file, row, settings.all) for row in settings.row]
        show_text("inspection", str(settings.file), "\n".join(words.to_text() for words in told))
        return told
    if settings.other:
        compared = compare_files(settings.file, settings.other, settings.html)
        show_text("comparison", f"{settings.file} and {settings.other}", compared.to_text())
        if settings.html:
            link_page(settings.html)
        return compared
    found = write_page(settings.file, settings.html) if settings.html else inspect_file(settings.file)
    show_text("inspection", str(settings.file), found.to_text())
    list_findings(found)
    if settings.html:
        link_page(settings.html)
    if found.rows and not found.is_recipe:
        show_picture(draw_picture(DatasetRef(path=found.file, size=found.bytes, digest=found.digest, rows=found.rows)))
    return found


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("inspect", inspect_dataset))
