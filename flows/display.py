"""What people see of a run: a live bar on a terminal, a progress artifact in Prefect's UI."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from synthcore import progress
from synthcore.shard import ShardPlan
from tasks.report import show_progress, start_progress


class Display:
    """Follows one run. Rows are counted as they are rendered, or by the shard when it was cached."""

    def __init__(self, plans: list[ShardPlan]) -> None:
        self._shards = len(plans)
        self._done: dict[int, bool] = {}  # by the shard's index: was it cached?
        self._faults: Counter[str] = Counter()
        self._candidates = 0
        self._lock = threading.Lock()
        self._artifact = start_progress(f"{sum(p.rows for p in plans)} rows in {len(plans)} shards")
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed_text]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[verdicts]}"),
            console=console,
            disable=not console.is_terminal,
        )
        # The last shard is rendered whole, so there may be a few more rows than were asked for.
        self._task = self._bar.add_task("rendering", total=sum(p.rows for p in plans), speed_text="", verdicts="")
        self._listening = progress.listening(self._count)

    def __enter__(self) -> Display:
        self._listening.__enter__()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._listening.__exit__(kind, error, trace)

    @property
    def shards_cached(self) -> int:
        """How many of the shards were there already."""
        return sum(self._done.values())

    def shard_done(self, plan: ShardPlan, *, is_cached: bool, is_counted: bool = True) -> None:
        """Count a finished shard, once; its rows as well, unless they were counted when they were rendered.

        Parameters
        ----------
        plan : ShardPlan
        is_cached : bool
            Nothing was rendered.
        is_counted : bool
            What was rendered was rendered in this process, and told of its rows.
        """
        if plan.index in self._done:
            return
        self._done[plan.index] = is_cached
        if is_cached or not is_counted:
            self._bar.advance(self._task, plan.rows)
        show_progress(self._artifact, len(self._done), self._shards)

    def shard_lost(self, plan: ShardPlan) -> None:
        """Take back a finished shard: its file is gone or damaged, and it will be rendered again."""
        self.say(f"{plan.name} is gone or damaged: rendering shard {plan.index} again")
        self._done.pop(plan.index, None)
        self._bar.update(self._task, description="rendering", advance=-plan.rows)

    def say(self, line: str) -> None:
        """Tell people what they should know, above the bar."""
        self._bar.console.print(line, style="yellow")

    def merging(self) -> None:
        """Say that rendering is over."""
        self._bar.update(self._task, description="merging")

    def _count(self, event: progress.Progress) -> None:
        with self._lock:
            self._candidates += 1
            if event.fault:
                self._faults[event.fault] += 1
            kept = 1 - self._faults.total() / self._candidates
            refused = "".join(f" {reason} {count}" for reason, count in self._faults.most_common())
            speed = self._bar.tasks[0].speed
            self._bar.update(
                self._task,
                advance=event.rows,
                speed_text=f"{speed:.1f} rows/s" if speed else "",
                verdicts=f"{kept:.0%} kept{refused}",
            )
