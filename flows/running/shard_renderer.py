"""Rendering the shards of a run: each that is missing, and again those whose files are no longer what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.task_runners import TaskRunner

from synthcore.flows.running.display import Display
from synthcore.flows.running.runners import hand_out
from synthcore.pipeline.cache import NEWER, is_by_newer
from synthcore.pipeline.gaps import is_lost, stop_if_all_failed
from synthcore.pipeline.shard import ShardPlan
from synthcore.settings.generate import Generate, RenderShards
from synthcore.storage import part_records
from synthcore.storage.refs import Gap, ShardRef
from synthcore.tasks.intact import redo_lost
from synthcore.tasks.shards import outcome, render_shard


@dataclass(frozen=True, slots=True)
class ShardRenderer:
    """Renders shards side by side, as the settings say, and shows how far it is. A shard that fails leaves a gap."""

    settings: Generate | RenderShards
    runner: TaskRunner[Any]
    display: Display

    def render(self, plans: list[ShardPlan]) -> list[ShardRef | Gap]:
        """Render every shard that is not rendered yet, and those whose files are gone."""
        made = self._render(plans, refresh=self.settings.run.refreshes("render"))
        return redo_lost(plans, made, is_lost=lambda one: is_lost(one, self.settings.data_dir), redo=self.render_again)

    def render_again(self, lost: list[ShardPlan]) -> list[ShardRef | Gap]:
        """Render shards that were cached, but whose files are gone, damaged, or by now a newer synthcore's."""
        for plan in lost:
            now = NEWER if is_by_newer(self.settings.data_dir / plan.name) else "gone or damaged"
            self.display.shard_lost(plan, now)
        return self._render(lost, refresh=True)

    def _render(self, plans: list[ShardPlan], *, refresh: bool) -> list[ShardRef | Gap]:
        """Run a task for each shard; cached ones are there already, unless refreshed."""
        settings = self.settings
        task: Any = render_shard.with_options(
            retries=settings.run.retries, result_storage=settings.results_dir, refresh_cache=refresh
        )
        if refresh:
            for plan in plans:
                part_records.forget(plan.name, settings.data_dir)
        made: dict[int, ShardRef | Gap] = {}
        same = {"data_dir": settings.data_dir, "render_timeout": settings.run.render_timeout}
        for plan, future in hand_out(plans, self.runner, task, **same):
            # Raises what affects every shard, while the others are being stopped.
            one = made[plan.index] = outcome(plan, future)
            stop_if_all_failed(list(made.values()))
            if isinstance(one, ShardRef):
                self.display.shard_done(plan, is_cached=future.state.name == "Cached" or not one.tries)
            else:
                self.display.shard_failed()
        return [made[plan.index] for plan in plans]
