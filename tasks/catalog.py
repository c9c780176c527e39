"""Searching for wavetables, as a task: cached as long as the files are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task

from synthcore.base.hashing import content_hash
from synthcore.ingest import wavetables as discovery
from synthcore.ingest.wavetables import CatalogRef
from synthcore.tasks.records import guarded
from synthcore.tasks.shards import heals


@guarded
def catalog_key(_: Any, parameters: dict[str, Any]) -> str:
    """The hash of every file that would be read, and of where the catalog goes; never of folders' names or times."""
    key_parts = [discovery.contents_fingerprint(parameters["places"]), str(parameters["output"])]
    return f"catalog-{content_hash(key_parts)}"


@task(
    name="catalog_wavetables",
    task_run_name="catalog {output.name}",
    cache_key_fn=catalog_key,
    persist_result=True,
    result_serializer="json",
    retries=2,
    retry_condition_fn=heals,
)
def catalog_wavetables(places: list[Path], output: Path, workers: int) -> CatalogRef:
    """Search folders and files for wavetables, and write a catalog of them."""
    return discovery.catalog_wavetables(places, output, workers)
