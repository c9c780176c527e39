"""What a run leaves in Prefect's UI: its progress, a table of its shards, a summary and a picture."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import platform
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from synthcore.analysis import picture
from synthcore.analysis.inspection import Inspection
from synthcore.base.addresses import place_of
from synthcore.base.counting import how_many
from synthcore.pipeline.summary import Summary
from synthcore.pipeline.tally import Cell
from synthcore.storage.opening import damage_named
from synthcore.storage.refs import DatasetRef
from synthcore.tasks.records import guarded


def start_progress(what: str) -> UUID:
    """Show a progress bar in the UI; give its id to `show_progress`."""
    created: Any = create_progress_artifact(progress=0.0, key="progress", description=what)
    return UUID(str(created))


def show_progress(artifact: UUID, fraction: float, what: str) -> None:
    """Move the bar to a fraction of 1, and say how far the run is."""
    with contextlib.suppress(Exception):  # a server that is unreachable for a moment must not end a run
        update_progress_artifact(artifact, progress=100.0 * fraction, description=what)


def list_shards(rows: list[dict[str, Cell]], shards: int) -> None:
    """Publish the table of a run's shards."""
    failed = sum(row["state"] == "failed" for row in rows)
    listed = "" if len(rows) == shards else f"; the first {len(rows)} are listed"
    create_table_artifact(rows, key="shards", description=f"{how_many(shards, 'shard')}, {failed} failed{listed}")


@task(name="summarize", task_run_name="summarize")
def summarize(summary: Summary) -> None:
    """Publish what was made as a page in the UI."""
    create_markdown_artifact(summary.to_markdown(), key="summary", description=summary.headline)


@task(name="show_text", task_run_name="{key}")
def show_text(key: str, headline: str, text: str) -> None:
    """Publish what a terminal would show as a page in the UI."""
    create_markdown_artifact(f"```\n{text}```\n", key=key, description=headline)


def list_findings(found: Inspection) -> None:
    """Publish what an inspection found as a table."""
    create_table_artifact(found.findings, key="findings", description=f"What is in {place_of(found.file).name}")


def link_page(page: Path) -> None:
    """Publish a link to a page. Browsers open a file's address only when it is pasted, on the machine that has it."""
    where = f"Page to look at and listen to, on {platform.node()}: {page}"
    create_link_artifact(page.as_uri(), link_text=page.name, key="page", description=where)


@guarded
def picture_key(_: Any, parameters: dict[str, Any]) -> str:
    """The hash of what the dataset holds and of how it is drawn; never of where it lies."""
    key_text = f"{picture.VERSION} {parameters['dataset'].digest}"
    return f"picture-{hashlib.sha256(key_text.encode()).hexdigest()}"


@task(
    name="draw_picture",
    task_run_name="draw picture",
    cache_key_fn=picture_key,
    persist_result=True,
    result_serializer="json",
)
def draw_picture(dataset: DatasetRef) -> str:
    """Draw a dataset: a PNG in base64, of some tens of kilobytes."""
    with damage_named(place_of(dataset.path)):  # drawing is the first to read audio, which may lie in shards
        return base64.b64encode(picture.draw(dataset)).decode()


def show_picture(png: str) -> None:
    """Publish a picture within a Markdown page, so that it needs no file server.

    Prefect's page of an image artifact would also show its address: 100,000 characters in one line.
    """
    create_markdown_artifact(
        f"![{picture.CAPTION}](data:image/png;base64,{png})", key="picture", description=picture.CAPTION
    )
