"""Parts: every n-th shard of a dataset, rendered by a process of its own that needs no workflow and no server.

Parts share nothing but the data directory. A run of the whole dataset finds there what they made: the shards, and of
each a record that says what it held when it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore.base.counting import how_many
from synthcore.base.errors import Accident, RenderError
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.pipeline.gaps import as_gap, split_outcomes, stop_if_all_failed
from synthcore.pipeline.shard import ShardPlan, claimed, render_shard
from synthcore.storage import part_records
from synthcore.storage.refs import Gap, ShardRef


class PartResult(BaseModel):
    """What a part has rendered."""

    model_config = ConfigDict(frozen=True)

    part: str
    shards: int  # of the part
    shards_there: int  # before
    rows_rendered: int

    def to_text(self) -> str:
        """Say it, for a terminal."""
        shards = how_many(self.shards, "shard")
        return f"part {self.part}: {shards}, {self.shards_there:,} there before; {self.rows_rendered:,} rows rendered\n"


@dataclass(frozen=True, slots=True)
class PartRenderer:
    """Renders the shards of a part that are missing, so many candidates at a time."""

    data_dir: Path
    workers: int
    render_timeout: float  # seconds
    retries: int

    def render(self, plans: Sequence[ShardPlan], part: str, say: Callable[[str], object]) -> PartResult:
        """Render a part of these shards, such as "3/20": the third of twenty, with the 3rd, the 23rd, the 43rd ...

        Parameters
        ----------
        plans : sequence of ShardPlan
            Of the whole dataset.
        part : str
        say : callable
            Takes a line for each shard.

        Raises
        ------
        IncompleteDataset
            Shards failed for good; the others are there.
        SynthcoreError
            What befell one shard would befall all.
        """
        number, of = map(int, part.split("/"))
        mine = plans[number - 1 :: of]
        missing = [plan for plan in mine if not (self.data_dir / plan.name).exists()]
        made: list[ShardRef | Gap] = []
        with ThreadPoolExecutor(self.workers + 1) as threads, interruptible(), at_most(self.workers):
            for future in as_completed([threads.submit(self._outcome, plan) for plan in missing]):
                made.append(future.result())
                stop_if_all_failed(made)
                say(f"{len(made):,} of {how_many(len(missing), 'shard')}")
        split_outcomes(made, allow_partial=False)
        rows = sum(one.rows for one in made if isinstance(one, ShardRef) and one.tries)
        return PartResult(part=part, shards=len(mine), shards_there=len(mine) - len(missing), rows_rendered=rows)

    def _outcome(self, plan: ShardPlan) -> ShardRef | Gap:
        """Render a shard, once more after each accident, while there are retries."""
        attempt = 0
        while True:
            try:
                with claimed(plan, self.data_dir) as made_elsewhere:
                    if made_elsewhere:
                        return made_elsewhere
                    ref = render_shard(plan, self.data_dir, self.render_timeout)
                    part_records.write(ref, self.data_dir)
                    return ref
            except RenderError as error:
                attempt += 1
                if not isinstance(error, Accident) or attempt > self.retries:
                    return as_gap(plan, error)
