"""Inspect a dataset: inspect_file (or write_page) -> text, table and picture in the UI, and a link to the page.

`python flows/inspect_dataset.py --help` tells its flags; `synthcore inspect` says the same without a server.
"""

from __future__ import annotations

import sys

from flows import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow

from flows.form import described
from synthcore.inspection import Inspection, RowWords
from synthcore.settings import DatasetFile, Html, Inspect, Row
from synthcore.storage.merge import DatasetRef
from tasks.inspection import describe_row, inspect_file, write_page
from tasks.report import draw_picture, link_page, list_findings, show_picture, show_text


@flow(name="inspect", flow_run_name="inspect {file}")
@described
def inspect_dataset(file: DatasetFile, row: Row = None, html: Html = None) -> Inspection | RowWords:
    """Say what is in a dataset, or in one of its rows.

    Returns
    -------
    Inspection or RowWords
        What was found.

    Raises
    ------
    DatasetError
        The file is no dataset, or has no such row.
    SpecError
        The page can't be written, or is asked of one row.
    """
    settings = Inspect(file=file, row=row, html=html)
    if settings.row is not None:
        told = describe_row(settings.file, settings.row)
        show_text("inspection", str(file), told.to_text())
        return told
    found = write_page(settings.file, settings.html) if settings.html else inspect_file(settings.file)
    show_text("inspection", str(file), found.to_text())
    list_findings(found)
    if settings.html:
        link_page(settings.html)
    if found.rows and not found.is_recipe:
        show_picture(draw_picture(DatasetRef(path=found.file, size=found.bytes, digest=found.digest, rows=found.rows)))
    return found


if __name__ == "__main__":
    from flows.cli import main

    sys.exit(main(["inspect", *sys.argv[1:]]))
