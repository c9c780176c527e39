"""Progress bars of rows on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from synthcore.base import progress
from synthcore.pipeline.tally import Tally

BAR_WIDTH = 12  #: columns, where there is room


@contextlib.contextmanager
def rows_shown(what: str, rows: int) -> Iterator[None]:
    """Show how many rows are done, and how long the rest will take."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=BAR_WIDTH),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=rows)
        with progress.listening(lambda event: bar.advance(task, event.rows)):
            yield


def run_bar(console: Console) -> Progress:
    """Make the bar of a run. What `fitting` leaves out makes room for the count, and so does the bar, which shrinks."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, table_column=Column(max_width=BAR_WIDTH)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[verdicts]}"),
        console=console,
        disable=not console.is_terminal,
    )


def fitting(tally: Tally, width: int) -> dict[str, Any]:
    """Choose what a run's bar says besides its count, which is never cut: the most that fits.

    Parameters
    ----------
    tally : Tally
    width : int
        Columns of the terminal.

    Returns
    -------
    dict
        The fields `speed` and `verdicts`.
    """
    count = len(f"{tally.requested}/{tally.requested}")
    room = width - len("rendering") - count - len("0:00:00") - len(".....")  # a space between each two
    speed = f"{tally.rows_per_second:.1f} rows/s" if tally.rows_rendered else ""
    if BAR_WIDTH + len(speed) + len(tally.verdicts) <= room:
        return {"speed": speed, "verdicts": tally.verdicts}
    verdicts = tally.kept_text if len(speed) + len(tally.kept_text) < room else ""
    return {"speed": speed if len(speed) < room else "", "verdicts": verdicts}
