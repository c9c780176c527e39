"""Looking up: what the runners of all clusters have in common. What is there already needn't go to a worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any, Self

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

LOOK_UPS = 4  #: cached shards looked up at a time


class LookingUp(TaskRunner[Any]):
    """What a cluster's runner does before Prefect's own: a shard whose file exists is looked up here.

    That takes a thread of this process 10 ms, and a worker 100 to 300.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        self._threads = ExitStack()
        self._here: ThreadPoolTaskRunner[Any] = self._threads.enter_context(ThreadPoolTaskRunner(LOOK_UPS))
        self._submitter = self._threads.enter_context(ThreadPoolExecutor(1))
        return self

    def __exit__(self, *error: Any) -> None:
        self._threads.__exit__(*error)
        super().__exit__(*error)

    def submit(self, task: Task[..., Any], parameters: dict[str, Any], *links: Any, **named_links: Any) -> Any:
        """Submit a shard's task, to the cluster or to a thread."""
        if (parameters["data_dir"] / parameters["plan"].name).exists() and not task.refresh_cache:
            return self._here.submit(task, parameters, *links, **named_links)
        # In a thread: Ctrl-C while pydantic serialises the task would become an error of pydantic's.
        submit, context = super().submit, copy_context()  # type: ignore[safe-super]  # that of Prefect's runner
        return self._submitter.submit(context.run, submit, task, parameters, *links, **named_links).result()
