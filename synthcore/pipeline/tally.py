"""What people see of a run: how far it is, and what became of each shard. Numbers and words, no pictures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from synthcore.base.counting import how_many, largest_first, listed
from synthcore.base.progress import Progress
from synthcore.pipeline.shard import ShardPlan
from synthcore.storage.refs import Gap, ShardRef

#: Shards that a table lists. Past that a browser is slow to show it, and the server's database grows.
LISTED = 1_000
Cell = str | int | float


class Tally:
    """Counts one run as it goes on. Its methods may be called from any thread.

    Rows that this process renders are counted one by one; those of other processes when their shard is done.

    Parameters
    ----------
    plans : sequence of ShardPlan
        The shards of the run.
    clock : callable
        Gives seconds.
    requested : int, optional
        Rows that were asked for, where whole shards hold more.
    """

    def __init__(
        self, plans: Sequence[ShardPlan], clock: Callable[[], float] = time.monotonic, requested: int | None = None
    ) -> None:
        self.shards, self.rows = len(plans), sum(plan.rows for plan in plans)
        self.requested = self.rows if requested is None else requested
        self.faults: Counter[str] = Counter()
        self.candidates = 0
        self._clock = clock
        self._started = clock()
        self.failed = self._rendered = self._finished = self._cached = 0
        self._done: dict[int, bool] = {}  # index of a shard that is done -> whether it was cached
        self._lock = threading.Lock()

    def count(self, event: Progress) -> None:
        """Count a candidate."""
        with self._lock:
            self._rendered += event.rows
            self.candidates += 1
            if event.fault:
                self.faults[event.fault] += 1

    def shard_done(self, plan: ShardPlan, *, is_cached: bool) -> None:
        """Count a finished shard, once: what workers of a pool have finished is found cached afterwards."""
        with self._lock:
            if plan.index in self._done:
                return
            self._done[plan.index] = is_cached
            if is_cached:
                self._cached += plan.rows
            else:
                self._finished += plan.rows

    def shard_failed(self) -> None:
        """Count a shard that failed for good; none of its rows is there."""
        with self._lock:
            self.failed += 1

    def shard_lost(self, plan: ShardPlan) -> None:
        """Take a shard back that was done."""
        with self._lock:
            if self._done.pop(plan.index):
                self._cached -= plan.rows
            else:
                self._finished -= plan.rows
                self._rendered -= plan.rows

    @property
    def cached(self) -> set[int]:
        """Indices of the shards that were there already."""
        return {index for index, is_cached in self._done.items() if is_cached}

    @property
    def shards_done(self) -> int:
        """Shards that are there, cached ones included."""
        return len(self._done)

    @property
    def rows_rendered(self) -> int:
        """Rows rendered by this run."""
        return max(self._rendered, self._finished)

    @property
    def rows_done(self) -> int:
        """Rows that are there, cached ones included."""
        return min(self._cached + self.rows_rendered, self.rows)

    @property
    def requested_done(self) -> int:
        """The same, of the rows that were asked for: what whole shards add to them is spread evenly."""
        return self.rows_done * self.requested // self.rows

    @property
    def rows_per_second(self) -> float:
        """Rendered rows for each second since the run began."""
        return self.rows_rendered / max(self._clock() - self._started, 1e-9)

    @property
    def kept(self) -> float:
        """Share of the candidates that were kept."""
        return 1 - self.faults.total() / self.candidates if self.candidates else 1.0

    @property
    def kept_text(self) -> str:
        """The share that was kept, in words; "" before the first candidate."""
        return f"{self.kept:.0%} kept" if self.candidates else ""

    @property
    def verdicts(self) -> str:
        """The same, and why the others were refused."""
        return self.kept_text + (f" (refused: {listed(largest_first(self.faults))})" if self.faults else "")

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at the pace so far; None while there is none."""
        pace = self.rows_per_second
        return (self.rows - self.rows_done) / pace if pace else None

    def of_shard(self, plan: ShardPlan) -> str:
        """Say that a shard has been rendered, and how far the run is."""
        rows = how_many(plan.rows, "row")
        line = f"shard {self.shards_done} of {self.shards}: {rows}, {self.rows_per_second:.1f} rows/s"
        left = self.seconds_left
        return f"{line}, {duration(left)} left" if left and self.rows_done < self.rows else line

    def to_text(self) -> str:
        """Say how far the run is, in a line."""
        extra = f" ({self.rows:,} in whole shards)" * (self.requested < self.rows)
        done = f"{self.requested_done:,} of {how_many(self.requested, 'row')}{extra}"
        parts = [f"{done}, {self.shards_done:,} of {how_many(self.shards, 'shard')}"]
        if self._cached:
            parts.append(f"{len(self.cached)} of them cached")
        if self.failed:
            parts.append(f"{how_many(self.failed, 'shard')} failed")
        if self.rows_rendered:
            parts.append(f"{self.rows_per_second:.1f} rows/s")
        if self.seconds_left and self.rows_done < self.rows:
            parts.append(f"{duration(self.seconds_left)} left")
        if self.candidates:
            parts.append(self.verdicts)
        return "; ".join(parts)


def shard_rows(
    plans: Sequence[ShardPlan], made: Sequence[ShardRef | Gap], cached: Iterable[int]
) -> list[dict[str, Cell]]:
    """Make the table of a run's shards: failed ones first, then in order, `LISTED` at most."""
    there = set(cached)
    rows = [
        _failed_row(plan, outcome) if isinstance(outcome, Gap) else _row(plan, outcome, is_cached=plan.index in there)
        for plan, outcome in zip(plans, made, strict=True)
    ]
    return sorted(rows, key=lambda row: row["state"] != "failed")[:LISTED]


def _row(plan: ShardPlan, ref: ShardRef, *, is_cached: bool) -> dict[str, Cell]:
    return {
        "shard": f"{plan.index:04d}",
        "state": "cached" if is_cached else "rendered",
        "failed because": "",
        "source": ref.source,
        "rows": ref.rows,
        "candidates": ref.candidates,
        "refused": listed(largest_first(ref.faults)),
        "seconds": ref.seconds,
        "tries": ref.tries,
        "worker": ref.worker,
    }


def _failed_row(plan: ShardPlan, gap: Gap) -> dict[str, Cell]:
    nothing: dict[str, Cell] = {
        "rows": 0,
        "candidates": "",
        "refused": "",
        "seconds": "",
        "tries": "",
        "worker": "",
    }
    named = {"shard": f"{plan.index:04d}", "state": "failed", "failed because": gap.reason, "source": gap.source}
    return {**named, **nothing}


def duration(seconds: float) -> str:
    """Write a time span as people say it.

    Examples
    --------
    >>> duration(42), duration(312), duration(10_000), duration(86_400)
    ('42 s', '5 min', '2 h 47 min', '24 h')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 600:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} days"


def short_count(count: int) -> str:
    """Write a count as people say it.

    Examples
    --------
    >>> short_count(600), short_count(20_000), short_count(1_500), short_count(2_000_000)
    ('600', '20k', '1.5k', '2M')
    """
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= size and count % (size // 10) == 0:
            return f"{count / size:g}{letter}"
    return str(count)
