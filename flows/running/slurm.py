"""Slurm: a Dask cluster whose workers are jobs. Imported only for `--runner slurm`.

What Slurm has to be told, such as partition, account and time limit, is in dask-jobqueue's own settings.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import Any

import dask.config

_on_interrupt = signal.getsignal(signal.SIGINT)
from dask_jobqueue import SLURMCluster
from dask_jobqueue.slurm import SLURMJob

signal.signal(signal.SIGINT, _on_interrupt)  # dask-jobqueue has made Ctrl-C an exit without error, when imported
from tornado.ioloop import PeriodicCallback

from synthcore.base.errors import SpecError
from synthcore.base.places import require_folder
from synthcore.engine.capacity import RENDERER_BYTES, RUN_BYTES
from synthcore.flows.running import environment
from synthcore.flows.running.cluster import ShardRunner
from synthcore.flows.running.server import last_line

LOOK_SECONDS = 5.0  #: between two looks whether a job is to be replaced
#: Workers that a shard may lose before it fails. Dask suspects the shard, and gives it three. But a render can't end a
#: worker, and on a partition that is preempted jobs come and go.
ALLOWED_LOSSES = 100


class SlurmJobs(SLURMCluster):
    """Jobs of Slurm, each with one Dask worker; a job that ends before the run, for whatever reason, is replaced.

    Between run and workers everything is encrypted, with a key that only files of this user have: nodes are shared, and
    whoever can talk to a Dask scheduler can run anything as its user.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        # Dask forgets a worker some seconds after it has gone, but opens another only when it is told to scale.
        replace = PeriodicCallback(lambda: self.scale(len(self.worker_spec)), LOOK_SECONDS * 1000)
        self.periodic_callbacks["replace"] = replace

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for file in (self._job_ca_file, self._job_cert, self._job_key):
            file.close()  # and deleted: after Ctrl-C, a process ends too suddenly to do so itself


def slurm_runner(workers: int) -> ShardRunner:
    """Run in jobs of Slurm, submitted as they are needed; those that still wait or run are cancelled at the end.

    Parameters
    ----------
    workers : int
        Renders at a time, in all jobs together.

    Raises
    ------
    SpecError
        Slurm isn't here, or refuses such a job.
    """
    if not shutil.which("sbatch"):
        raise SpecError("there is no sbatch here, which --runner slurm needs: run this where you submit jobs to Slurm")
    told = dask.config.get("jobqueue.slurm")
    cores = told["cores"] or 1
    job = {"cores": cores, "processes": 1, "memory": told["memory"] or f"{RUN_BYTES + cores * RENDERER_BYTES} B"}
    _require_accepted(SLURMJob("tcp://127.0.0.1:8786", "worker", **job).job_script())
    cluster = {
        "scheduler_options": {
            "dashboard_address": None,
            "allowed_failures": ALLOWED_LOSSES,
            **told["scheduler-options"],
        },
        "security": True,
        "shared_temp_directory": told["shared-temp-directory"] or _own_folder(),
    }
    return ShardRunner(
        cluster_class=SlurmJobs,
        cluster_kwargs=job | cluster,
        adapt_kwargs={"minimum": 0, "maximum": -(-workers // cores)},
    )


def _require_accepted(script: str) -> None:
    """Have Slurm look at a job without submitting it: a run whose jobs are refused would wait for ever."""
    looked = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True)
    if looked.returncode:
        raise SpecError(
            f"Slurm takes no such job: {last_line(looked.stderr)}; its settings are jobqueue.slurm's, in "
            "~/.config/dask/jobqueue.yaml or variables such as DASK_JOBQUEUE__SLURM__QUEUE"
        )


def _own_folder() -> str:
    """A folder that jobs can read wherever they run, as homes are shared."""
    folder = environment.prefect_home() / "synthcore"
    require_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
