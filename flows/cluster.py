"""Dask: the runner, and what each process of its cluster needs. Imported only by who asks for Dask.

A crash of the synth never reaches a Dask worker: renders happen in processes of their own, there as here.
"""

from __future__ import annotations

from typing import Any, Self

from distributed import Worker, WorkerPlugin
from prefect_dask.task_runners import DaskTaskRunner

from synthcore.engine.client import at_most


class Bound(WorkerPlugin):
    """Lets each worker process render as many candidates at a time as Dask gave it threads, and warms no zygote more.

    A shard alone would use two. Without a bound, a worker of eight threads would render sixteen at a time.
    """

    name = "synthcore-bound"
    idempotent = True  # two runs may share a cluster

    def setup(self, worker: Worker) -> None:
        self._bound = at_most(worker.state.nthreads)
        self._bound.__enter__()

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  the signature is Dask's
        self._bound.__exit__(None, None, None)


class BoundDaskTaskRunner(DaskTaskRunner):
    """Prefect's runner for Dask, with `Bound` on every worker, also on those that join later."""

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]  # Prefect has given it no types
        self.client.register_plugin(Bound())
        return self


def dask_runner(address: str | None, workers: int) -> DaskTaskRunner:
    """Run on the cluster at this address, or on one of this machine for this run alone.

    Parameters
    ----------
    address : str or None
        Of the scheduler.
    workers : int
        Processes of the cluster of this machine; each renders one candidate at a time.
    """
    if address:
        return BoundDaskTaskRunner(address=address)
    here: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    return BoundDaskTaskRunner(cluster_kwargs=here)
