"""Inspecting a dataset, as a task."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from synthcore import inspection
from synthcore.inspection import Inspection, RowWords
from synthcore.storage.dataset import Dataset


@task(name="inspect_dataset", task_run_name="inspect {file}")
def inspect_file(file: Path, row: int | None) -> Inspection | RowWords:
    """Say what is in a dataset, or in one of its rows."""
    with Dataset(file) as dataset:
        return inspection.inspect(dataset) if row is None else inspection.describe_row(dataset, row)
