"""Progress bars of rows on a terminal; elsewhere, lines every few seconds."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from synthcore.base import progress
from synthcore.pipeline.tally import Tally, duration

LINE_SECONDS = 5.0  #: between two lines, where there is no terminal
LINES = 10  #: of all rows, so that long work doesn't fill a log
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
    lines = _Lines(console, what, rows)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=rows)

        def count(event: progress.Progress) -> None:
            bar.advance(task, event.rows)
            if not console.is_terminal:
                lines.count(event.rows)

        with progress.listening(count):
            yield


class _Lines:
    """How many rows are done, in a line now and then."""

    def __init__(self, console: Console, what: str, rows: int) -> None:
        self._console, self._what, self._rows = console, what, rows
        self._done = self._listed = 0
        self._began_at = self._listed_at = time.monotonic()
        self._lock = threading.Lock()

    def count(self, rows: int) -> None:
        """Count what is done; called from rendering threads."""
        with self._lock:
            self._done += rows
            now = time.monotonic()
            is_due = now - self._listed_at >= LINE_SECONDS and (self._done - self._listed) * LINES >= self._rows
            if not is_due or self._done >= self._rows:  # what comes next says that all are done
                return
            self._listed, self._listed_at = self._done, now
            left = (now - self._began_at) * (self._rows - self._done) / self._done
            text = f"{self._what}: {self._done:,} of {self._rows:,}, {duration(left)} left"
            self._console.print(text, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def best_shown(renders: int) -> Iterator[Callable[[int, float], None]]:
    """Show how far a search is, and the best so far; without a terminal, in a line every few seconds.

    Yields
    ------
    callable
        Takes the renders so far, and the distance of the best in dB.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("searching"),
        BarColumn(bar_width=BAR_WIDTH),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeRemainingColumn(),
    )
    listed_at = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("searching", total=renders, best="")

        def show(done: int, best_db: float) -> None:
            nonlocal listed_at
            best = f"best {best_db:.2f} dB"
            bar.update(task, completed=done, best=best)
            if not console.is_terminal and time.monotonic() - listed_at >= LINE_SECONDS:
                listed_at = time.monotonic()
                console.print(f"searching: {done} of {renders}, {best}", highlight=False, soft_wrap=True)

        yield show


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
