"""Making and assembling the files of a publication, and importing one, as tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.concurrency.sync import concurrency
from prefect.tasks import exponential_backoff

from synthcore.base.addresses import Address
from synthcore.publishing import folder as folders
from synthcore.publishing import importing, planning, uploading
from synthcore.publishing.importing import ImportResult
from synthcore.publishing.planning import AnyPlan, FileRef, Planned
from synthcore.publishing.publication import PublishResult
from synthcore.tasks.limits import of_this_machine
from synthcore.tasks.logs import show_logs
from synthcore.tasks.records import guarded
from synthcore.tasks.shards import heals


@guarded
def file_key(_: Any, parameters: dict[str, Any]) -> str:
    """The hash of what the file will hold: never of the publication that it is for."""
    return f"published-{parameters['plan'].key}"


@task(
    name="publish_file",
    task_run_name="{plan.path}",
    cache_key_fn=file_key,
    persist_result=True,
    result_serializer="json",
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_condition_fn=heals,
)
def publish_file(plan: AnyPlan, data_dir: Path) -> FileRef:
    """Make one file of a publication."""
    show_logs()
    with concurrency(of_this_machine()):
        return planning.make(plan, data_dir)


@task(name="assemble", task_run_name="assemble {output.name}")
def assemble(planned: Planned, refs: list[FileRef], data_dir: Path, output: Path) -> PublishResult:
    """Put the files of a publication into its folder."""
    publication = folders.publication_of(planned, refs)
    state = folders.assemble(publication, refs, planned.file, data_dir, output)
    return PublishResult.of(publication, output, state)


@task(name="upload", task_run_name="upload to {output}")
def upload(planned: Planned, refs: list[FileRef], data_dir: Path, output: Address) -> PublishResult:
    """Upload a publication, as far as it isn't there yet."""
    show_logs()
    publication = folders.publication_of(planned, refs)
    state = uploading.upload(publication, refs, planned.file, data_dir, output)
    return PublishResult.of(publication, output, state)


@task(name="import_publication", task_run_name="import {folder.name}")
def import_publication(folder: Path, output: Path, workers: int) -> ImportResult:
    """Make a dataset from a publication."""
    show_logs()
    with concurrency(of_this_machine()):
        return importing.import_publication(folder, output, workers)
