"""Inspect a dataset: inspect_file (or write_page) -> text, table and picture in the UI, and a link to the page.

`python flows/inspect_dataset.py --help` lists its flags; `synthcore inspect` does the same without a server.
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
from synthcore.base.addresses import Address, local
from synthcore.flows.running.form import dataset_of, parameters_of, settings_from
from synthcore.pipeline.comparing import Sides
from synthcore.pipeline.nearness_report import Nearness
from synthcore.settings.datasets import Inspect
from synthcore.storage.refs import DatasetRef
from synthcore.tasks.artifacts import draw_picture, link_page, list_findings, show_picture, show_text
from synthcore.tasks.inspection import compare_files, describe_row, inspect_file, write_page


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
        The file is not a dataset, or has no such row.
    SpecError
        The page can't be written, or is requested for single rows.
    """
    if settings.row:
        rows = [describe_row(settings.file, row, settings.all) for row in settings.row]
        show_text("inspection", str(settings.file), "\n".join(words.to_text() for words in rows))
        return rows
    if settings.other:
        compared = compare_files(settings.file, settings.other, settings.html)
        show_text("comparison", f"{settings.file} and {settings.other}", compared.to_text())
        if settings.html:
            link_page(settings.html)
        return compared
    near = find_near(settings) if settings.near else None
    found = write_page(settings.file, settings.html, near) if settings.html else inspect_file(settings.file)
    show_text("inspection", str(settings.file), found.to_text())
    list_findings(found)
    if settings.html:
        link_page(settings.html)
    is_hidden = isinstance(settings.file, Address) and settings.file.has_secrets  # a task is told of no secret
    if found.rows and not found.is_recipe and not is_hidden:
        show_picture(draw_picture(DatasetRef(path=found.file, size=found.bytes, digest=found.digest, rows=found.rows)))
    return found


def find_near(settings: Inspect) -> tuple[Nearness, Sides]:
    """Say how near the dataset comes to other sounds, with what `compare` is set to on this machine."""
    from synthcore.flows.compare_datasets import find_nearness
    from synthcore.settings.datasets import Compare

    return find_nearness(settings_from(Compare, {"file": local(settings.file), "other": settings.near}))


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("inspect", inspect_dataset))
