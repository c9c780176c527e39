"""Show the job that a worker would ask Kubernetes for, without a cluster or a server, after checking it.

    pip install prefect-kubernetes kubernetes-validate
    python deployments/show_job.py --job-variable cpu_request=8

prefect-kubernetes fills in the template as its worker does for a run of a batch; the job and the volume claim are then
held against the schemas of Kubernetes' API, in which a field that Kubernetes doesn't know is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import kubernetes_validate
import yaml  # type: ignore[import-untyped]
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

HERE = Path(__file__).parent
#: The version of Kubernetes' API that jobs are checked against.
KUBERNETES = "1.37"


def job_of_a_batch(api: str, variables: dict[str, str]) -> dict[str, Any]:
    """Make the job of a run of `render-shards`, as a worker does.

    Parameters
    ----------
    api : str
        The server's address, as pods are told it.
    variables : dict
        Job variables of the deployment or the run, by name.
    """
    template = json.loads((HERE / "kubernetes.json").read_text())
    flow = Flow(id=uuid4(), name="render-shards", labels={})
    run = FlowRun(id=uuid4(), flow_id=flow.id, name="shards 0000 to 0007")
    with temporary_settings({PREFECT_API_URL: api}):
        # A client that isn't opened: it would be asked for blocks, and the template names none.
        made = asyncio.run(
            KubernetesWorkerJobConfiguration.from_template_and_values(template, variables, client=PrefectClient(api))
        )
        made.prepare_for_flow_run(run, flow=flow)
    job: dict[str, Any] = made.job_manifest
    return job


def claim() -> dict[str, Any]:
    """Read the volume claim that all pods share."""
    read: dict[str, Any] = yaml.safe_load((HERE / "claim.yaml").read_text())
    return read


def require_valid(manifest: dict[str, Any]) -> None:
    """Refuse what Kubernetes' API would refuse, or would drop because it doesn't know it.

    Raises
    ------
    kubernetes_validate.ValidationError
        It says where.
    """
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def main() -> None:
    """Print the job of a batch."""
    parser = argparse.ArgumentParser(description="Show the Kubernetes job of a batch, checked.")
    parser.add_argument("--api", default="http://prefect:4200/api", help="the server's address, as pods reach it")
    parser.add_argument("--job-variable", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    job = job_of_a_batch(arguments.api, dict(text.split("=", 1) for text in arguments.job_variable))
    for manifest in (job, claim()):
        require_valid(manifest)
    sys.stdout.write(yaml.safe_dump(job, sort_keys=False))


if __name__ == "__main__":
    main()
