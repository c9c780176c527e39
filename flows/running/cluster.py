"""Dask: the runner, and what each process of its cluster needs. Imported only for `--runner dask` and `slurm`.

A crash of the synth never reaches a Dask worker: renders run in processes of their own, there as here.
"""

from __future__ import annotations

import multiprocessing
import signal
from typing import Any, Self

from distributed import Worker, WorkerPlugin
from prefect_dask.task_runners import DaskTaskRunner

from synthcore.base.errors import RenderError
from synthcore.engine.lending import at_most
from synthcore.flows.running.lookup import LookingUp


class Bound(WorkerPlugin):
    """Lets each worker process render as many candidates at a time as Dask gave it threads, with as many zygotes.

    A zygote is a warm process that renders are forked from. Each shard would use two: without a bound, a worker of
    eight threads would render sixteen candidates at a time.
    """

    name = "synthcore-bound"
    idempotent = True  # two runs may share a cluster

    def __init__(self, *, is_ours: bool) -> None:
        self._is_ours = is_ours

    def setup(self, worker: Worker) -> None:
        if self._is_ours:  # Ctrl-C in the terminal is for the run, which then ends its cluster
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._bound = at_most(worker.state.nthreads)
        self._bound.__enter__()

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  the signature is Dask's
        self._bound.__exit__(None, None, None)


class ShardRunner(LookingUp, DaskTaskRunner):
    """Prefect's runner for Dask, with `Bound` on every worker, including those that join later."""

    def __enter__(self) -> Self:
        super().__enter__()
        self.client.register_plugin(Bound(is_ours=self.address is None))
        return self


def dask_runner(address: str | None, workers: int) -> DaskTaskRunner:
    """Run on the cluster at this address, or on one on this machine for this run alone.

    Parameters
    ----------
    address : str or None
        The scheduler's.
    workers : int
        Processes of the cluster on this machine; each renders one candidate at a time.

    Raises
    ------
    RenderError
        This machine has no shared memory left for the processes of a cluster.
    """
    if address:
        return ShardRunner(address=address)
    _require_shared_memory()
    here: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    return ShardRunner(cluster_kwargs=here)


def _require_shared_memory() -> None:
    """Refuse a machine on which processes can't share a lock, as Dask's must: it would fail with three tracebacks."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        raise RenderError(
            f"no Dask cluster can be started here, as shared memory can't be had: {error.strerror}; remove what was "
            "left in /dev/shm, give it more room (a container's --shm-size), or leave out --runner dask"
        ) from error
