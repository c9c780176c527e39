"""Distributing a run: batches of its shards become runs of the deployment `render-shards/POOL`.

Workers put shards and results into the data directory, which all of them share. So a shard is finished when its file
has its name, and afterwards the run that asked finds all of them cached. Which runs there are is kept by the server,
each under a key made of what it renders: whoever asks for the same again, after a crash say, attaches to them.
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

from synthcore.batch import Batch, cut, mark
from synthcore.errors import Accident, Interrupted, RenderError, SpecError
from synthcore.flows.display import Display
from synthcore.settings import Generate, RunSettings
from synthcore.shard import ShardPlan
from synthcore.spec import DatasetSpec

FLOW = "render-shards"
INCOMPLETE = "Incomplete"  #: the name of the state of a run of which some shards failed, alone
POLL_SECONDS = 2.0
UNDER_WAY = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING}
PAGE = 200  #: flow runs that the server tells of at a time


def distribute(plans: list[ShardPlan], spec: DatasetSpec, settings: Generate, display: Display) -> None:
    """Let the workers of a pool render every shard that is not there, and wait for them.

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
    batches = cut(plans, spec, run.rows_per_shard, run.batch)
    with get_client(sync_client=True) as client:
        desk = Desk(client, pool, settings)
        errands = [
            Errand(batch, plans[batch.first : batch.first + batch.shards], settings.data_dir) for batch in batches
        ]
        errands = [errand for errand in errands if errand.missing]
        for errand in errands:
            desk.submit(errand)
        if errands and not has_workers(client, pool):
            display.say(f"no worker serves the pool {pool}; start one: prefect worker start --pool {pool}")
        while errands:
            states = desk.states_of(errands)
            errands = [errand for errand in errands if not _is_done(errand, states[errand.run_id], desk, display)]
            if errands:
                time.sleep(POLL_SECONDS)


class Errand:
    """A batch, the run that renders it, and the shards of it that are still to come."""

    def __init__(self, batch: Batch, plans: list[ShardPlan], data_dir: Path) -> None:
        self.batch = batch
        files = {data_dir / plan.name: plan for plan in plans}
        self.missing = {path: plan for path, plan in files.items() if not path.exists()}
        self.run_id = UUID(int=0)
        self.attempt = 0
        self.lost = 0
        self.heard_at = time.monotonic()
        self._stood: StateType | None = None

    def stands(self, state: StateType | None) -> None:
        """Note how its run stands; a change is a sign of life, and so is waiting for a worker."""
        if state != self._stood or state not in UNDER_WAY:
            self._stood, self.heard_at = state, time.monotonic()

    def find_new(self) -> list[ShardPlan]:
        """The shards that have come since the last look."""
        found = [self.missing.pop(path) for path in list(self.missing) if path.exists()]
        if found:
            self.heard_at = time.monotonic()
        return found


class Desk:
    """Where runs of the deployment are asked for, and asked about."""

    def __init__(self, client: SyncPrefectClient, pool: str, settings: Generate) -> None:
        self.client, self.pool = client, pool
        self.retries, self.lost_after = settings.run.retries, settings.run.lost_after
        self.deployment = self._find_deployment()
        how = RunSettings(render_timeout=settings.run.render_timeout, retries=settings.run.retries)
        self._same: dict[str, Any] = {
            "data_dir": str(settings.data_dir),
            "data_mark": mark(settings.data_dir),
            "run": how.model_dump(mode="json"),
        }

    def submit(self, errand: Errand) -> None:
        """Ask for a run, or attach to one that was asked for before and isn't over."""
        batch = errand.batch
        while True:
            run = self.client.create_flow_run_from_deployment(
                self.deployment.id,
                name=f"{batch.name} of {batch.spec.kind} seed {batch.spec.seed}",
                parameters={"batch": batch.model_dump(mode="json"), **self._same},
                idempotency_key=f"{self.pool}-{self._same['data_mark']}-{batch.key}-{errand.attempt}",
                tags=[f"spec-{batch.spec.fingerprint[:12]}"],
            )
            if run.state is None or not run.state.is_final():
                break
            errand.attempt += 1  # that one is over, and shards are missing
        errand.run_id, errand.heard_at = run.id, time.monotonic()

    def submit_again(self, errand: Errand, why: str) -> None:
        """Ask once more for the shards of a run that was lost.

        Raises
        ------
        Accident
            It was lost too often.
        """
        errand.lost += 1
        if errand.lost > self.retries:
            raise Accident(f"{errand.batch.name} were lost {errand.lost} times on the pool {self.pool}; last: {why}")
        errand.attempt += 1
        self.submit(errand)

    def give_up(self, errand: Errand) -> str:
        """Write down that nothing has been heard of a run."""
        why = f"no shard was finished for {self.lost_after:g} s"
        self.client.set_flow_run_state(errand.run_id, Crashed(message=why), force=True)
        return why

    def states_of(self, errands: list[Errand]) -> dict[UUID, State[Any] | None]:
        """How the runs stand."""
        ids = [errand.run_id for errand in errands]
        runs: list[FlowRun] = []
        for start in range(0, len(ids), PAGE):
            these = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + PAGE]))
            # The server takes no null, not even where the client says that it may be left out.
            runs += self.client.read_flow_runs(flow_run_filter=these, sort=FlowRunSort.ID_DESC, limit=PAGE)
        known = {run.id: run.state for run in runs}
        return {run_id: known.get(run_id) for run_id in ids}

    def _find_deployment(self) -> DeploymentResponse:
        name = f"{FLOW}/{self.pool}"
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
    """Whether a worker is there to take a pool's runs."""
    workers = client.read_workers_for_work_pool(pool, offset=0, limit=PAGE)
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


def _is_done(errand: Errand, state: State[Any] | None, desk: Desk, display: Display) -> bool:
    """Look after one errand."""
    kind, said = (state.type, str(state.message)) if state else (None, "the server knows it no more")
    errand.stands(kind)
    for plan in errand.find_new():  # after the state was asked for: what a finished run has made is there
        display.shard_done(plan, is_cached=False)
    is_over = state is None or state.is_final()
    is_quiet = kind in UNDER_WAY and time.monotonic() - errand.heard_at > desk.lost_after
    if not errand.missing:
        if is_quiet:
            desk.give_up(errand)
        return is_over or is_quiet  # not before: it writes down what it made
    if state and state.name == INCOMPLETE:  # those that failed are tried here once more, and then written down
        display.say(f"{errand.batch.name}: {said}")
        return True
    if kind == StateType.FAILED:
        raise RenderError(f"{errand.batch.name} failed on the pool {desk.pool}: {said}")
    if kind in (StateType.CANCELLED, StateType.CANCELLING):
        raise Interrupted(f"{errand.batch.name} were cancelled; run the same command again to continue")
    if is_quiet:
        said = desk.give_up(errand)
    if is_over or is_quiet:
        desk.submit_again(errand, said)
    return False
