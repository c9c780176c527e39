"""The job that a worker would ask Kubernetes for, and the claim: valid by its API's schemas. No cluster is here."""

from __future__ import annotations

from typing import Any

import pytest

WANTED = "pip install prefect-kubernetes kubernetes-validate"
pytest.importorskip("prefect_kubernetes", reason=WANTED)
schemas = pytest.importorskip("kubernetes_validate", reason=WANTED)

from deployments.show_job import claim, job_of_a_batch, require_valid  # noqa: E402  after what it needs

API = "http://prefect:4200/api"


def container(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_job_of_a_batch_and_the_claim_are_what_kubernetes_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", "/home/somebody/prefect")
    job = job_of_a_batch(API, {"cpu_request": "8", "memory_limit": "16Gi"})
    require_valid(job)
    require_valid(claim())
    resources = {"requests": {"cpu": "8", "memory": "2Gi"}, "limits": {"memory": "16Gi"}}
    assert container(job)["resources"] == resources
    assert job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"] == {
        "claimName": claim()["metadata"]["name"]
    }
    told = {variable["name"]: variable["value"] for variable in container(job)["env"]}
    assert told["PREFECT_API_URL"] == API
    assert told["PREFECT_HOME"] == "/home/synthcore/.prefect"  # the image's, not the worker's


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    job = job_of_a_batch(API, {})
    job["spec"]["template"]["spec"]["parallelism"] = 1
    with pytest.raises(schemas.ValidationError, match="parallelism"):
        require_valid(job)


def test_a_value_of_the_wrong_type_is_found() -> None:
    job = job_of_a_batch(API, {})
    job["spec"]["backoffLimit"] = "none"
    with pytest.raises(schemas.ValidationError, match="none"):
        require_valid(job)
