"""Dask: the runner, and what each process of its cluster needs. Imported only for `--runner dask` and `slurm`.

A crash of the synth never reaches a Dask worker: renders run in processes of their own, there as here.
"""

from __future__ import annotations

import multiprocessing
import signal
from typing import Any, Self

from distributed import Worker, WorkerPlugin
from distributed.comm.addressing import resolve_address
from distributed.core import rpc
from distributed.security import Security
from distributed.utils import LoopRunner
from prefect_dask.task_runners import DaskTaskRunner

from synthcore.base.errors import RenderError, SpecError
from synthcore.engine.lending import at_most
from synthcore.flows.running.lookup import LookingUp

CONNECT_SECONDS = 5.0  #: for a connection to a scheduler, which is tried again and again until then
ANSWER_SECONDS = 8.0  #: for a connection and its first answer


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
    """Prefect's runner for Dask, with `Bound` on every worker, including those that join later.

    Entering it raises SpecError if no scheduler answers at its address.
    """

    def __enter__(self) -> Self:
        if self.address:
            _require_scheduler(self.address)
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


def _require_scheduler(address: str) -> None:
    """Refuse an address at which no scheduler answers.

    Dask's client would take half a minute to find that nothing listens there, and wait for ever for what listens and
    isn't of Dask.
    """
    try:
        resolve_address(address)  # else an unknown host would be looked up again and again until the time is over
        kind = LoopRunner(asynchronous=False).run_sync(_kind_at, address, callback_timeout=ANSWER_SECONDS)
    except Exception as error:  # of any class: Dask takes the first bytes of a stranger's answer for a length
        raise _no_scheduler(address, _reason(error)) from error
    if kind != "Scheduler":
        raise _no_scheduler(address, f"it is the address of a {kind}")


def _no_scheduler(address: str, reason: str) -> SpecError:
    return SpecError(
        f"no Dask scheduler answers at {address}: {reason}; name in --runner-address what dask scheduler shows, such "
        "as tcp://10.0.0.5:8786, or leave it out for a cluster on this machine"
    )


async def _kind_at(address: str) -> str:
    """Ask what of Dask is at an address: a Scheduler, Worker or Nanny."""
    encryption = Security().get_connection_args("client")  # as Dask's own settings have it, like a client's
    async with rpc(address, timeout=CONNECT_SECONDS, connection_args=encryption) as remote:
        return str((await remote.identity())["type"])


def _reason(error: Exception) -> str:
    """Say why nothing answered: what a connection met that was tried again, which its time-out hides."""
    if isinstance(error, ValueError | TypeError):  # of the address itself, or of the encryption that it asks for
        return str(error)
    if isinstance(error, TimeoutError):
        return f"what listens there said nothing in {ANSWER_SECONDS:.0f} s"
    root: BaseException = error
    while root.__cause__:
        root = root.__cause__
    if isinstance(root, OSError) and root.strerror:
        return root.strerror
    if type(error) is OSError:  # none of Dask's own kinds: the last try was cut short before it failed
        return f"no connection in {CONNECT_SECONDS:.0f} s"
    return "what listens there doesn't answer as a scheduler does"


def _require_shared_memory() -> None:
    """Refuse a machine on which processes can't share a lock, as Dask's must: it would fail with three tracebacks."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        raise RenderError(
            f"no Dask cluster can be started here, as shared memory can't be had: {error.strerror}; remove what was "
            "left in /dev/shm, give it more room (a container's --shm-size), or leave out --runner dask"
        ) from error
