"""What `synthcore up` registers with a Prefect server: work pools, deployments, the automation for killed runs.

Nothing that people have changed there is overwritten, but for the deployments themselves.
"""

from __future__ import annotations

import contextlib
import json
from importlib.resources import files
from pathlib import Path

from synthcore.flows.running import programs

SHIPPED = Path(str(files("synthcore")))  #: with what is deployed; in a checkout, by links to it
ZOMBIES = SHIPPED / "deployments" / "zombies.yaml"


def create_pools(pools: tuple[str, ...]) -> None:
    """Create the work pools, unless they exist."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    template = json.loads((SHIPPED / "deployments" / "process.json").read_text())
    with get_client(sync_client=True) as client:
        for pool in pools:
            with contextlib.suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))


def deploy() -> None:
    """Deploy all. Deploying resets schedules to what prefect.yaml says, so those that were switched on stay on."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.client.schemas.sorting import DeploymentSort

    with get_client(sync_client=True) as client:

        def read() -> list[DeploymentResponse]:
            found: list[DeploymentResponse] = []
            while page := client.read_deployments(limit=200, offset=len(found), sort=DeploymentSort.NAME_ASC):
                found += page
            return found

        switched_on = [(d.id, s.schedule) for d in read() for s in d.schedules if s.active]
        command = ("--no-prompt", "deploy", "--all", "--prefect-file", str(SHIPPED / "prefect.yaml"))
        programs.run("the deployments were refused", *command)
        for deployment in read():
            for schedule in deployment.schedules:
                if (deployment.id, schedule.schedule) in switched_on:
                    client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def watch_for_killed_runs() -> None:
    """Create the automation that marks them as crashed, unless there is one of its name."""
    from prefect.client.orchestration import get_client

    name = next(line for line in ZOMBIES.read_text().splitlines() if line.startswith("name: ")).removeprefix("name: ")
    with get_client(sync_client=True) as client:
        exists = bool(client.read_automations_by_name(name))
    if not exists:
        programs.run("the automation was refused", "automation", "create", "--from-file", str(ZOMBIES))


def use_in_profile(api: str | None, instead_of: str | None) -> None:
    """Have the `prefect` command use the server too, or forget it. A server that the user has chosen stays."""
    from prefect.settings import PREFECT_API_URL, load_current_profile, update_current_profile

    if load_current_profile().settings.get(PREFECT_API_URL) in (None, instead_of):
        update_current_profile({PREFECT_API_URL: api})
