"""What a run leaves in Prefect's UI: its progress, and a summary."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from synthcore.summary import Summary


def start_progress(what: str) -> UUID:
    """Show a progress bar in the UI; give its id to `show_progress`."""
    created: Any = create_progress_artifact(progress=0.0, key="progress", description=what)
    return UUID(str(created))


def show_progress(artifact: UUID, done: int, total: int) -> None:
    """Move the bar."""
    update_progress_artifact(artifact, progress=100.0 * done / total)


@task(name="summarize")
def summarize(summary: Summary) -> None:
    """Publish what was made as a page in the UI."""
    create_markdown_artifact(summary.to_markdown(), key="summary", description=summary.headline)


@task(name="show_text", task_run_name="{key}")
def show_text(key: str, headline: str, text: str) -> None:
    """Publish what a terminal would show as a page in the UI."""
    create_markdown_artifact(f"```\n{text}```\n", key=key, description=headline)
