"""Ingesting presets, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.tasks import exponential_backoff

from synthcore.base.hashing import content_hash
from synthcore.ingest import collecting as ingest
from synthcore.ingest.collecting import Survey
from synthcore.ingest.report import IngestResult
from synthcore.tasks.records import guarded
from synthcore.tasks.shards import heals
from synthcore.vital.controls import installed


@guarded
def ingest_key(_: Any, parameters: dict[str, Any]) -> str:
    """Fingerprint of what was found, what is asked of it, and where the file lies."""
    asked = [parameters[name] for name in ("check", "approximate")]
    made_of = [parameters["survey"].fingerprint, *asked, str(parameters["output"])]
    return f"ingest-{content_hash(made_of)}"


@task(
    name="ingest_presets",
    task_run_name="ingest {survey.files} files",
    cache_key_fn=ingest_key,
    persist_result=True,
    result_serializer="json",
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_condition_fn=heals,
)
def make_collection(
    folders: list[Path],
    survey: Survey,  # noqa: ARG001  the survey is the key
    output: Path,
    check: bool,
    approximate: bool,
    workers: int,
) -> IngestResult:
    """Read presets into a collection, or find it made already."""
    return ingest.make_collection(folders, output, installed(), check=check, workers=workers, approximate=approximate)
