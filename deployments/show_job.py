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
import re
import sys
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import yaml  # type: ignore[import-untyped]

HERE = Path(__file__).parent
TEMPLATE = json.loads((HERE / "kubernetes.json").read_text())
#: The version of Kubernetes' API that jobs are checked against.
KUBERNETES = "1.37"
#: How Kubernetes writes amounts of cores and memory. Its schemas take any text.
QUANTITY = re.compile(r"(\d+\.?\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")


def job_variable(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE, as what the template says the value is.

    Raises
    ------
    ValueError
        The template has no such variable, or it is something else.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not NAME=VALUE, such as cpu_request=8")
    variables = TEMPLATE["variables"]["properties"]
    if name not in variables:
        raise ValueError(f"the template has no variable {name!r}; it has {', '.join(variables)}")
    schema = variables[name]
    if value not in schema.get("enum", [value]):
        raise ValueError(f"{name} must be one of {', '.join(schema['enum'])}, not {value!r}")
    if name.endswith(("_request", "_limit")) and not QUANTITY.fullmatch(value):
        raise ValueError(f"{name} must be a quantity, such as 500m, 8 or 16Gi, not {value!r}")
    return name, value if schema["type"] == "string" else _from_json(name, value, schema["type"])


def _from_json(name: str, value: str, kind: str) -> Any:
    """Read a value that isn't text, as Prefect's own --job-variable does."""
    try:
        read = json.loads(value)
    except ValueError:
        read = None
    form, is_right = {
        "integer": ("a whole number, such as 60", type(read) is int),
        "boolean": ("true or false", type(read) is bool),
        "object": ('an object, such as {"NAME": "text"}', _is_object_of_texts(read)),
    }[kind]
    if not is_right:
        raise ValueError(f"{name} must be {form}, not {value!r}")
    return read


def _is_object_of_texts(read: Any) -> bool:
    return isinstance(read, dict) and all(isinstance(text, str) for text in read.values())


def job_of_a_batch(api: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Make the job of a run of `render-shards`, as a worker does.

    Parameters
    ----------
    api : str
        The server's address, as pods are told it.
    variables : dict
        Job variables of the deployment or the run, by name.
    """
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Flow, FlowRun
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    flow = Flow(id=uuid4(), name="render-shards", labels={})
    run = FlowRun(id=uuid4(), flow_id=flow.id, name="shards 0000 to 0007")
    with temporary_settings({PREFECT_API_URL: api}):
        # A client that isn't opened: it would be asked for blocks, and the template names none.
        made = asyncio.run(
            KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, variables, client=PrefectClient(api))
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
    import kubernetes_validate

    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def main() -> None:
    """Print the job of a batch; or say in a line what is wrong, with exit code 2."""
    parser = argparse.ArgumentParser(description="Show the Kubernetes job of a batch, checked.")
    parser.add_argument("--api", default="http://prefect:4200/api", help="the server's address, as pods reach it")
    parser.add_argument("--job-variable", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    try:
        variables = dict(map(job_variable, arguments.job_variable))
    except ValueError as error:
        refuse(f"--job-variable: {error}")
    try:
        from kubernetes_validate import ValidationError

        job = job_of_a_batch(arguments.api, variables)
    except ModuleNotFoundError as error:
        refuse(f"{error.name} is missing: pip install prefect-kubernetes kubernetes-validate")
    try:
        for manifest in (job, claim()):
            require_valid(manifest)
    except ValidationError as error:
        refuse(f"Kubernetes would refuse {'.'.join(map(str, error.path))}: {error.message}")
    sys.stdout.write(yaml.safe_dump(job, sort_keys=False))


def refuse(what: str) -> NoReturn:
    """End with a line that says what is wrong."""
    sys.stderr.write(f"show_job.py: {what}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
