"""Downloading presets, as a task: cached as long as the source has no new version."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from prefect import Task, task

from synthcore.base.errors import DownloadError
from synthcore.ingest import download
from synthcore.ingest.download import DownloadResult, Outcome
from synthcore.ingest.remotes import RemoteSource
from synthcore.ingest.transfer import Limits
from synthcore.tasks.intact import run_or_find
from synthcore.tasks.records import guarded


@guarded
def download_key(_: Any, parameters: dict[str, Any]) -> str | None:
    """The hash of the version that the source has now, and of where it goes; None if no version is known."""
    source, version = parameters["source"], parameters["version"]
    # By the JSON that earlier keys were made of, which isn't canonical_json's.
    key_parts = json.dumps([source.url, source.licence, version, str(parameters["folder"])])
    return f"download-{hashlib.sha256(key_parts.encode()).hexdigest()}" if version else None


@task(
    name="download_source",
    task_run_name="download {source.folder_name}",
    cache_key_fn=download_key,
    persist_result=True,
    result_serializer="json",
)
def download_source(source: RemoteSource, version: str, folder: Path, limits: Limits) -> DownloadResult:
    """Download one source of presets, or find it downloaded already."""
    return download.download(source, version, folder, limits)


def fetch(source: RemoteSource, output: Path, limits: Limits, downloading: Task[..., DownloadResult]) -> Outcome:
    """Bring one source up to date by the task `downloading`; return what became of it, be it a failure."""
    folder = output / source.folder_name
    known = {"url": source.address, "licence": source.licence, "folder": str(folder)}
    try:
        version = download.find_version(source, limits)
        downloaded, is_found = run_or_find(downloading, source, version, folder, limits)
    except DownloadError as error:
        return Outcome(**known, state="failed", reason=str(error))
    found = downloaded.model_dump(include={"commit", "files", "bytes"})
    return Outcome(**known, **found, state="unchanged" if is_found else "downloaded")
