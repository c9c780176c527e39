"""Distributing a run: batches of its shards become runs of the deployment `render-shards/shards-for-POOL`.

Workers write shards and results into the data directory that all of them share. So a shard is finished when its file
exists, and afterwards the run that distributed them finds all of them cached. The server keeps each run under a key
made of what it renders: whoever submits the same again, after a crash say, attaches to the runs that exist.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from synthcore.base.counting import how_many
from synthcore.base.errors import Accident, Interrupted, RenderError, SpecError
from synthcore.flows.running.display import Display
from synthcore.pipeline.batch import Batch, cut, mark
from synthcore.pipeline.shard import ShardPlan
from synthcore.settings.generate import Generate, RunSettings
from synthcore.spec import DatasetSpec

FLOW = "render-shards"
INCOMPLETE = "Incomplete"  #: the name of the final state of a run some of whose shards failed
POLL_SECONDS = 2.0
UNDER_WAY = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING}
PAGE = 200  #: flow runs read from the server at a time


def distribute(plans: list[ShardPlan], spec: DatasetSpec, settings: Generate, display: Display) -> None:
    """Have the workers of a pool render every missing shard, and wait for them.

    Raises
    ------
    SpecError
        The server has no such deployment.
    RenderError
        A run failed.
    Accident
        A run was lost again and again.
    Interrupted
        A run was cancelled.
    """
    run = settings.run
    pool = str(run.distribute).removeprefix("pool:")
    with get_client(sync_client=True) as client:
        submitter = RunSubmitter(client, pool, settings)
        under_way = [
            BatchRun(batch, plans[batch.first : batch.first + batch.shards], settings.data_dir)
            for batch in cut(plans, spec, run.rows_per_shard, run.batch)
        ]
        under_way = [one for one in under_way if one.missing]
        for one in under_way:
            submitter.submit(one)
        if under_way and not has_workers(client, pool):
            display.say(f"no worker serves the pool {pool}; start one: prefect worker start --pool {pool}")
        while under_way:
            states = submitter.states_of(under_way)
            under_way = [one for one in under_way if not _is_done(one, states[one.run_id], submitter, display)]
            if under_way:
                time.sleep(POLL_SECONDS)


class BatchRun:
    """A batch, the flow run that renders it, and those of its shards that are still missing."""

    def __init__(self, batch: Batch, plans: list[ShardPlan], data_dir: Path) -> None:
        self.batch = batch
        files = {data_dir / plan.name: plan for plan in plans}
        self.missing = {path: plan for path, plan in files.items() if not path.exists()}
        self.run_id = UUID(int=0)
        self.submission = 0
        self.times_lost = 0
        self.alive_at = time.monotonic()  #: when it last showed a sign of life
        self._state: StateType | None = None

    def note_state(self, state: StateType | None) -> None:
        """Note the run's state; a change is a sign of life, and so is waiting for a worker."""
        if state != self._state or state not in UNDER_WAY:
            self._state, self.alive_at = state, time.monotonic()

    def find_finished(self) -> list[ShardPlan]:
        """The shards that were finished since the last look."""
        found = [self.missing.pop(path) for path in list(self.missing) if path.exists()]
        if found:
            self.alive_at = time.monotonic()
        return found


class RunSubmitter:
    """Submits runs of the pool's deployment, and reads their states."""

    def __init__(self, client: SyncPrefectClient, pool: str, settings: Generate) -> None:
        self.client, self.pool = client, pool
        self.retries, self.lost_after = settings.run.retries, settings.run.lost_after
        self.deployment = self._find_deployment()
        how = RunSettings(render_timeout=settings.run.render_timeout, retries=settings.run.retries)
        self._shared: dict[str, Any] = {
            "data_dir": str(settings.data_dir),
            "data_mark": mark(settings.data_dir),
            "run": how.model_dump(mode="json"),
        }

    def submit(self, batch_run: BatchRun) -> None:
        """Submit a run, or attach to one that was submitted before and isn't over."""
        batch = batch_run.batch
        while True:
            run = self.client.create_flow_run_from_deployment(
                self.deployment.id,
                name=f"{batch.name} of {batch.spec.kind} seed {batch.spec.seed}",
                parameters={"batch": batch.model_dump(mode="json"), **self._shared},
                idempotency_key=f"{self.pool}-{self._shared['data_mark']}-{batch.key}-{batch_run.submission}",
                tags=[f"spec-{batch.spec.fingerprint[:12]}"],
            )
            if run.state is None or not run.state.is_final():
                break
            batch_run.submission += 1  # that one is over, and shards are missing
        batch_run.run_id, batch_run.alive_at = run.id, time.monotonic()

    def resubmit(self, batch_run: BatchRun, why: str) -> None:
        """Submit the shards of a lost run once more.

        Raises
        ------
        Accident
            It was lost too often.
        """
        batch_run.times_lost += 1
        if batch_run.times_lost > self.retries:
            times = how_many(batch_run.times_lost, "time")
            raise Accident(f"{batch_run.batch.name} lost {times} on the pool {self.pool}; last: {why}")
        batch_run.submission += 1
        self.submit(batch_run)

    def give_up(self, batch_run: BatchRun) -> str:
        """Mark a run as crashed that shows no sign of life; return why."""
        why = f"no shard was finished for {self.lost_after:g} s"
        self.client.set_flow_run_state(batch_run.run_id, Crashed(message=why), force=True)
        return why

    def states_of(self, batch_runs: list[BatchRun]) -> dict[UUID, State[Any] | None]:
        """The state of each run, by its id; None if the server no longer knows it."""
        ids = [one.run_id for one in batch_runs]
        runs: list[FlowRun] = []
        for start in range(0, len(ids), PAGE):
            page = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + PAGE]))
            # The server rejects a null sort, though the client allows it to be left out.
            runs += self.client.read_flow_runs(flow_run_filter=page, sort=FlowRunSort.ID_DESC, limit=PAGE)
        known = {run.id: run.state for run in runs}
        return {run_id: known.get(run_id) for run_id in ids}

    def _find_deployment(self) -> DeploymentResponse:
        name = f"{FLOW}/shards-for-{self.pool}"
        try:
            deployment = self.client.read_deployment_by_name(name)
        except ObjectNotFound as error:
            raise SpecError(
                f"the Prefect server at {self.client.api_url} has no deployment {name}, which --distribute needs"
            ) from error
        if deployment.work_pool_name != self.pool:
            raise SpecError(f"the deployment {name} is of the pool {deployment.work_pool_name}, not of {self.pool}")
        return deployment


def has_workers(client: SyncPrefectClient, pool: str) -> bool:
    """Whether a worker is online that takes a pool's runs."""
    workers = client.read_workers_for_work_pool(pool, offset=0, limit=PAGE)
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


def _is_done(batch_run: BatchRun, state: State[Any] | None, submitter: RunSubmitter, display: Display) -> bool:
    """Count what one run has finished, and resubmit it if it was lost; say whether it is done."""
    kind, message = (state.type, str(state.message)) if state else (None, "the server no longer knows it")
    batch_run.note_state(kind)
    for plan in batch_run.find_finished():  # after the state was read: what a finished run has made is there
        display.shard_done(plan, is_cached=False)
    is_over = state is None or state.is_final()
    is_quiet = kind in UNDER_WAY and time.monotonic() - batch_run.alive_at > submitter.lost_after
    if not batch_run.missing:
        if is_quiet:
            submitter.give_up(batch_run)
        return is_over or is_quiet  # not before: it still records what it made
    if state and state.name == INCOMPLETE:  # its failed shards are tried once more here, and then recorded as gaps
        display.say(f"{batch_run.batch.name}: {message}")
        return True
    if kind == StateType.FAILED:
        raise RenderError(f"{batch_run.batch.name} failed on the pool {submitter.pool}: {message}")
    if kind in (StateType.CANCELLED, StateType.CANCELLING):
        raise Interrupted(
            f"{batch_run.batch.name} cancelled on the pool {submitter.pool}; run the same command again to continue"
        )
    if is_quiet:
        message = submitter.give_up(batch_run)
    if is_over or is_quiet:
        submitter.resubmit(batch_run, message)
    return False
