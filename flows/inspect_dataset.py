"""Inspect a dataset: inspect_file -> a page in the UI.

`python flows/inspect_dataset.py --help` tells its flags; `synthcore inspect` says the same without a server.
"""

from __future__ import annotations

import sys

from flows import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow

from flows.form import described
from synthcore.inspection import Inspection, RowWords
from synthcore.settings import DatasetFile, Row
from tasks.inspection import inspect_file
from tasks.report import show_text


@flow(name="inspect", flow_run_name="inspect {file}")
@described
def inspect_dataset(file: DatasetFile, row: Row = None) -> Inspection | RowWords:
    """Say what is in a dataset, or in one of its rows.

    Returns
    -------
    Inspection or RowWords
        What was found.

    Raises
    ------
    DatasetError
        The file is no dataset, or has no such row.
    """
    found = inspect_file(file, row)
    show_text("inspection", str(file), found.to_text())
    return found


if __name__ == "__main__":
    from flows.cli import main

    sys.exit(main(["inspect", *sys.argv[1:]]))
