"""Inspecting a dataset, as a task."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from synthcore.analysis import comparison, inspection, words
from synthcore.analysis.comparison import Comparison
from synthcore.analysis.inspection import Inspection
from synthcore.analysis.words import RowWords
from synthcore.base.addresses import Place
from synthcore.page import writing
from synthcore.page.nearness import gather_nearness
from synthcore.pipeline.comparing import Sides
from synthcore.pipeline.nearness_report import Nearness
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named


@task(name="inspect_dataset", task_run_name="inspect {file}")
def inspect_file(file: Place) -> Inspection:
    """Say what is in a dataset."""
    with damage_named(file), Dataset(file) as dataset:
        return inspection.inspect(dataset)


@task(name="describe_row", task_run_name="describe row {row} of {file}")
def describe_row(file: Place, row: int, everything: bool) -> RowWords:
    """Say what is in one row."""
    with damage_named(file), Dataset(file) as dataset:
        return words.describe(dataset, row, everything=everything)


@task(name="write_page", task_run_name="write page")
def write_page(file: Place, output: Path, near: tuple[Nearness, Sides] | None = None) -> Inspection:
    """Write a dataset's page, also with how near it comes to other sounds; return the inspection that it shows."""
    content = gather_nearness(near[0], near[1].ours, near[1].theirs) if near else None
    with damage_named(file), Dataset(file) as dataset:
        return writing.write_page(dataset, output, content)


@task(name="compare_files", task_run_name="compare {file} with {other}")
def compare_files(file: Place, other: Place, output: Path | None) -> Comparison:
    """Compare two datasets; with an output, write a page as well."""
    with damage_named(file), Dataset(file) as first, damage_named(other), Dataset(other) as second:
        return writing.write_comparison(first, second, output) if output else comparison.compare(first, second)
