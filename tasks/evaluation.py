"""Scoring answers, as tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.concurrency.sync import concurrency
from prefect.tasks import exponential_backoff

from synthcore.evaluation import scoring, searching
from synthcore.evaluation.answers import Origin
from synthcore.evaluation.report import Evaluation
from synthcore.evaluation.scoring import ScorePlan, ScoreRef
from synthcore.evaluation.searching import SearchPlan
from synthcore.page import writing
from synthcore.page.evaluation import gather_evaluation
from synthcore.tasks.limits import of_this_machine
from synthcore.tasks.logs import show_logs
from synthcore.tasks.records import guarded
from synthcore.tasks.shards import heals


@guarded
def score_key(_: Any, parameters: dict[str, Any]) -> str:
    """The fingerprint of what is compared, or searched: never of where it lies."""
    return f"scores-{parameters['plan'].key}"


CACHED: dict[str, Any] = {
    "cache_key_fn": score_key,
    "persist_result": True,
    "result_serializer": "json",
    "retries": 2,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_condition_fn": heals,
}


@task(name="search_answers", task_run_name="search {plan.index:04d}", **CACHED)
def search_answers(plan: SearchPlan, data_dir: Path) -> ScoreRef:
    """Search for some rows by rendering."""
    show_logs()
    with concurrency(of_this_machine()):
        return searching.search_plan(plan, data_dir)


@task(name="score_answers", task_run_name="score {plan.index:04d}", **CACHED)
def score_answers(plan: ScorePlan, data_dir: Path) -> ScoreRef:
    """Render and score some answers."""
    show_logs()
    with concurrency(of_this_machine()):
        return scoring.score_plan(plan, data_dir)


@task(name="write_evaluation", task_run_name="write {output}")
def write_evaluation(found: Evaluation, origin: Origin, output: Path) -> None:
    """Write a page of rows beside their answers."""
    writing.write_evaluation(gather_evaluation(found, origin), output)
