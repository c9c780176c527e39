"""What was cached, but whose file is gone or changed since, is done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from prefect import Task

Plan = TypeVar("Plan")
Result = TypeVar("Result")


class FileRef(Protocol):
    """A task's result that refers to a file."""

    def is_intact(self) -> bool:
        """Whether the file is the one that was written."""


Ref = TypeVar("Ref", bound=FileRef)


def run_intact(task: Task[..., Ref], *arguments: Any) -> Ref:
    """Run a task that makes a file, or find it made; one that was found, but whose file is gone or changed, runs again.

    Raises
    ------
    Exception
        With which the task failed.
    """
    return run_or_find(task, *arguments)[0]


def run_or_find(task: Task[..., Ref], *arguments: Any) -> tuple[Ref, bool]:
    """Do as `run_intact`, and say as well whether the file was found.

    Raises
    ------
    Exception
        With which the task failed.
    """
    state: Any = task(*arguments, return_state=True)
    ref: Ref = state.result()
    if state.name != "Cached":
        return ref, False
    if ref.is_intact():
        return ref, True
    return task.with_options(refresh_cache=True)(*arguments), False


def redo_lost(
    plans: list[Plan],
    results: list[Result],
    is_lost: Callable[[Result], bool],
    redo: Callable[[list[Plan]], list[Result]],
) -> list[Result]:
    """Do again those of many tasks that were cached, but whose files are gone or changed.

    Parameters
    ----------
    plans : list
        What was to be done.
    results : list
        What came of each.
    is_lost : callable
        Whether the file of a result is gone or changed.
    redo : callable
        Does plans again, whatever is cached; gives a result for each.

    Returns
    -------
    list
        A result for each plan.
    """
    lost = [place for place, result in enumerate(results) if is_lost(result)]
    again = redo([plans[place] for place in lost]) if lost else []
    made_again = dict(zip(lost, again, strict=True))
    return [made_again.get(place, result) for place, result in enumerate(results)]
