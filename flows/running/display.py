"""What people see of a run: a live bar on a terminal, a progress artifact in Prefect's UI."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from types import TracebackType

from rich.console import Console

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.estimates.pace import FEW, Meter
from synthcore.estimates.work import Work
from synthcore.flows.running.bar import fitting, run_bar
from synthcore.flows.running.command import fit
from synthcore.flows.running.environment import is_reachable
from synthcore.pipeline.shard import ShardPlan
from synthcore.pipeline.tally import Tally
from synthcore.tasks.artifacts import show_progress, start_progress

#: How often the artifact is updated: often enough to look live, yet only a few dozen requests in a run of minutes.
SECONDS = 3.0
#: Without a terminal, each of up to so many shards gets a line; beyond, there is one every few seconds.
LISTED, LINE_SECONDS = 100, 5.0
FIRST_SECONDS = 3.0  #: of rendering, from which the rest can be estimated


class Warnings(logging.Handler):
    """Shows synthcore's warnings above the bar. In Prefect's UI they are among the run's logs."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.say(record.getMessage())


class Display:
    """Follows one run. Rows are counted as they are rendered, or by the shard when it was cached."""

    def __init__(self, plans: list[ShardPlan], work: Work | None = None) -> None:
        self.tally = Tally(plans, requested=work.rows_requested if work else None)
        self._work = work  # until its estimate has been shown
        self._meter = Meter(work.settings.workers) if work else None
        self._listed_at = -LINE_SECONDS
        self._artifact = start_progress(self.tally.to_text())
        self._bar = run_bar(Console(stderr=True))
        self._task = self._bar.add_task(
            "rendering", total=self.tally.requested, **fitting(self.tally, self._bar.console.width)
        )
        self._listening = progress.listening(self._count)
        self._warnings = Warnings(self)
        self._has_shown_notice = False
        self._over = threading.Event()
        # In the run's context, as it uses the run's connection to the server.
        self._publisher = threading.Thread(target=contextvars.copy_context().run, args=(self._publish,), daemon=True)

    def __enter__(self) -> Display:
        self._listening.__enter__()
        logging.getLogger("synthcore").addHandler(self._warnings)
        self._bar.start()
        if self._work and self._work.missing and not self._bar.console.is_terminal:  # the bar says it there
            self.say(f"rendering {how_many(len(self._work.missing), 'shard')}", style="")
        self._publisher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._bar.stop()
        logging.getLogger("synthcore").removeHandler(self._warnings)
        self._listening.__exit__(kind, error, trace)
        if error is None or isinstance(error, Exception):  # an interrupted run doesn't wait for the last update
            self._publisher.join()
            self._show()

    def shard_done(self, plan: ShardPlan, *, is_cached: bool) -> None:
        """Count a finished shard, once."""
        self.tally.shard_done(plan, is_cached=is_cached)
        self._move()
        if not is_cached and not self._bar.console.is_terminal:
            self._list(plan)

    def shard_failed(self) -> None:
        """Count a shard that failed for good."""
        self.tally.shard_failed()
        self._move()

    def shard_lost(self, plan: ShardPlan, now: str) -> None:
        """Uncount a finished shard: its file isn't what it was, and it will be rendered again."""
        self.say(f"{plan.name} is {now}: rendering shard {plan.index} again")
        self.tally.shard_lost(plan)
        self._bar.update(self._task, description="rendering")
        self._move()

    def say(self, line: str, style: str = "yellow") -> None:
        """Print a line above the bar; on a terminal, wrapped where that is narrower."""
        console = self._bar.console
        text = fit(line, console.width) if console.is_terminal else line
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def merging(self) -> None:
        """Say that rendering is over."""
        self._bar.update(self._task, description="merging")

    def _count(self, event: progress.Progress) -> None:
        if event.notice:
            if not self._has_shown_notice:
                self._has_shown_notice = True
                self.say(event.notice)
            return
        self.tally.count(event)
        if self._meter:
            self._meter.hear(event)
        self._move()

    def _list(self, plan: ShardPlan) -> None:
        """Print a line for a rendered shard; of many, one every few seconds."""
        now, tally = time.monotonic(), self.tally
        is_last = tally.shards_done == tally.shards
        if tally.shards <= LISTED or is_last or now - self._listed_at >= LINE_SECONDS:
            self._listed_at = now
            self.say(tally.of_shard(plan), style="")

    def _show_estimate(self) -> None:
        """Say once what a run will take, as soon as that can be estimated: before it, or from its first seconds."""
        if self._work is None or self._meter is None:
            return
        from synthcore.estimates.estimate import forecast  # only now: a short run never needs it

        missing = sum(plan.rows for plan in self._work.missing)
        if missing and 2 * self.tally.rows_rendered >= missing:
            self._work = None  # more than half is done: the bar and the shards' lines say enough
            return
        paces = self._work.known_paces()
        if self._meter.seconds >= FIRST_SECONDS and self._meter.candidates >= FEW:
            paces = dict.fromkeys(paces, self._meter.pace("run"))
        elif not paces or None in paces.values():
            return
        for line in forecast(self._work, paces):
            self.say(line, style="")
        self._work = None

    def _move(self) -> None:
        fields = fitting(self.tally, self._bar.console.width)
        self._bar.update(self._task, completed=self.tally.requested_done, **fields)

    def _publish(self) -> None:
        self._show_estimate()
        while not self._over.wait(SECONDS):
            self._show_estimate()
            self._show()

    def _show(self) -> None:
        if is_reachable():  # Prefect would try for a minute
            show_progress(self._artifact, self.tally.rows_done / self.tally.rows, self.tally.to_text())
