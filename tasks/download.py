"""Downloading presets, as a task: nothing new at the source, nothing done."""

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
from synthcore.tasks.records import guarded


@guarded
def download_key(_: Any, parameters: dict[str, Any]) -> str | None:
    """Fingerprint of the version that the source has now, and where it goes; None where no version is known."""
    source, version = parameters["source"], parameters["version"]
    made_of = json.dumps([source.url, source.licence, version, str(parameters["folder"])])
    return f"download-{hashlib.sha256(made_of.encode()).hexdigest()}" if version else None


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
    """Bring one source up to date by the task `downloading`, and say what became of it.

    A failure is an outcome too.
    """
    folder = output / source.folder_name
    known = {"url": source.address, "licence": source.licence, "folder": str(folder)}
    try:
        version = download.find_version(source, limits)
        arguments = (source, version, folder, limits)
        state: Any = downloading(*arguments, return_state=True)
        downloaded: DownloadResult = state.result()
        is_cached = state.name == "Cached"
        if is_cached and not downloaded.is_intact():
            downloaded, is_cached = downloading.with_options(refresh_cache=True)(*arguments), False
    except DownloadError as error:
        return Outcome(**known, state="failed", reason=str(error))
    found = downloaded.model_dump(include={"commit", "files", "bytes"})
    return Outcome(**known, **found, state="unchanged" if is_cached else "downloaded")
