"""A progress bar of rows on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from synthcore.base import progress


@contextlib.contextmanager
def rows_shown(what: str, rows: int) -> Iterator[None]:
    """Show how many rows are done, and how long the rest will take."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=12), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=rows)
        with progress.listening(lambda event: bar.advance(task, event.rows)):
            yield
