"""Ray: the runner, and what each process of its cluster needs. Imported only for `--runner ray`.

A crash of the synth never reaches a process of Ray: renders run in processes of their own, there as here.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout
from typing import Any, Self

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it is imported

from prefect_ray.context import remote_options
from prefect_ray.task_runners import RayTaskRunner

from synthcore.base.errors import SpecError
from synthcore.engine.lending import at_most
from synthcore.flows.running.lookup import LookingUp
from synthcore.flows.running.server import last_line

#: How often Ray repeats a shard whose process or node it lost, -1 for always: it is never the shard that kills them.
MAX_RETRIES = -1
#: How long Ray's own check tries to reach a head: with both, it takes 8 s. By default it takes 40.
BRIEFLY = {"RAY_gcs_rpc_server_connect_timeout_s": "2", "RAY_py_gcs_connect_timeout_s": "4"}
_bound = ExitStack()


def bound() -> None:
    """Let a process of Ray render one candidate at a time: Ray gives each shard a core, and it would use two."""
    _bound.enter_context(at_most(1))


class RayShardRunner(LookingUp, RayTaskRunner[Any]):
    """Prefect's runner for Ray, whose processes are all `bound`, those on nodes that join later included.

    Entering it raises SpecError if no head answers at its address.
    """

    def __enter__(self) -> Self:
        if self.address:
            _require_head(self.address)
        with ExitStack() as opened:
            opened.enter_context(redirect_stdout(sys.stderr))  # where Ray says what it has lost; stdout is for results
            super().__enter__()
            self._redirected = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        with self._redirected:
            super().__exit__(*error)

    def submit(self, task: Any, parameters: dict[str, Any], *links: Any, **named_links: Any) -> Any:
        """Submit a shard's task, to the cluster or to a thread."""
        with remote_options(max_retries=MAX_RETRIES):
            return super().submit(task, parameters, *links, **named_links)


def ray_runner(address: str | None, workers: int) -> RayShardRunner:
    """Run on the cluster at this address, or on one on this machine for this run alone.

    Parameters
    ----------
    address : str or None
        The head's.
    workers : int
        Cores of the cluster on this machine; a shard takes one.
    """
    # "local": else Ray would join whatever cluster was last started on this machine.
    here: dict[str, Any] = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    setup = {"worker_process_setup_hook": f"{__name__}.bound"}
    # mypy sees nothing of prefect-ray, whose constructor this is.
    return RayShardRunner(address, {**quiet, "runtime_env": setup, **({} if address else here)})  # type: ignore[no-untyped-call, call-arg]


def _require_head(address: str) -> None:
    """Refuse an address at which no head of Ray answers: joining a cluster, Ray would try for a quarter of an hour.

    In a process of its own, as Ray reads how long to try once, and a run has to be more patient.
    """
    if address.startswith("ray://"):  # of Ray's client, which this check isn't for, and which gives up by itself
        return
    check = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--skip-version-check", "--address", address]
    done = subprocess.run(check, env=os.environ | BRIEFLY, capture_output=True, text=True)
    if done.returncode:
        reason = last_line(done.stderr).partition(": ")
        raise SpecError(
            f"no head of Ray answers at {address}: {(reason[2] or reason[0]).rstrip('.')}; name in --runner-address "
            "what ray start --head shows, such as 10.0.0.5:6379, or leave it out for a cluster on this machine"
        )
