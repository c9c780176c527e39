"""What is deployed fits the flows, and what can't be run here at least agrees with itself."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prefect import Flow

from deployments.healthcheck import ask_worker
from deployments.show_job import job_variable
from synthcore.flows.cli import main
from synthcore.settings.command import Common
from tests.conftest import ROOT
from tests.servers import answering

DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
POOLS = {kind: json.loads((ROOT / "deployments" / f"{kind}.json").read_text()) for kind in ("docker", "kubernetes")}
COMPOSE = yaml.safe_load((ROOT / "deployments" / "compose.yaml").read_text())


each_deployment = pytest.mark.parametrize("deployment", DEPLOYED, ids=lambda d: f"{d['entrypoint']} {d['name']}")


def parameters_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a deployment's flow, and their defaults."""
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), name)
    assert isinstance(flow, Flow)
    return {parameter.name: parameter.default for parameter in inspect.signature(flow).parameters.values()}


@each_deployment
def test_a_deployment_names_a_flow_and_its_parameters(deployment: dict[str, Any]) -> None:
    assert set(deployment.get("parameters", {})) <= parameters_of(deployment).keys()


@each_deployment
def test_a_deployment_leaves_what_commands_share_to_the_worker(deployment: dict[str, Any]) -> None:
    shared = Common.model_fields.keys() & parameters_of(deployment).keys()
    if "render_shards" not in deployment["entrypoint"]:  # the run that asks says where its data directory is
        assert {name: parameters_of(deployment)[name] for name in shared} == dict.fromkeys(shared)
    assert not shared & deployment.get("parameters", {}).keys()
    assert not any(str(value).startswith("data/") for value in deployment.get("parameters", {}).values())


def test_deployments_are_written_into_a_folder_for_one_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", "--pool", "cluster 1"]) == 0
    assert capsys.readouterr().out == (
        f"""{len(DEPLOYED)} deployments for the work pool cluster 1: {tmp_path}/prefect.yaml

next, in {tmp_path}, with a server that prefect knows (synthcore up starts one):
  prefect work-pool create 'cluster 1' --type process
  prefect deploy --all
  prefect worker start --pool 'cluster 1'
"""
    )
    of_pool = {"work_pool": {"name": "cluster 1"}}
    wanted = [
        d | of_pool | ({"name": "shards-for-cluster 1"} if d["name"] == "shards-for-render" else {}) for d in DEPLOYED
    ]
    assert yaml.safe_load((tmp_path / "prefect.yaml").read_text())["deployments"] == wanted


def test_deployments_of_somebody_else_are_left_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prefect.yaml").write_text("name: theirs\n")
    assert main(["deploy", "-o", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "prefect.yaml there is yours, and stays as it is" in output
    assert "prefect deploy --all --prefect-file synthcore-prefect.yaml\n" in output
    assert main(["deploy", "-o", str(tmp_path)]) == 0  # the same again
    assert main(["deploy", "-o", str(tmp_path), "--pool", "other"]) == 2
    assert main(["deploy", "-o", str(tmp_path / "prefect.yaml")]) == 2
    assert "prefect.yaml is there already and says something else; remove it, or" in capsys.readouterr().err
    assert (tmp_path / "prefect.yaml").read_text() == "name: theirs\n"
    assert 'name: "local"' in (tmp_path / "synthcore-prefect.yaml").read_text()


def test_schedules_are_off_until_someone_switches_them_on() -> None:
    assert [s["active"] for d in DEPLOYED for s in d.get("schedules", [])] == [False, False]


def test_the_image_is_the_one_of_this_version_everywhere() -> None:
    image = f"synthcore:{tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}"
    assert {pool["variables"]["properties"]["image"]["default"] for pool in POOLS.values()} == {image}
    ours = {service["image"] for name, service in COMPOSE["services"].items() if name != "database"}
    assert ours == {image}
    assert image in (ROOT / "deployments" / "Dockerfile").read_text()


def test_images_are_pinned_and_run_as_no_root() -> None:
    lines = (ROOT / "deployments" / "Dockerfile").read_text().splitlines()
    assert {line.split()[1] for line in lines if line.startswith("FROM")} == {"${BASE_IMAGE}"}
    assert any(re.match(r"ARG BASE_IMAGE=\w+:\d+\.\d+\.\d+-slim", line) for line in lines)
    assert re.fullmatch(r"\$\{DATABASE_IMAGE:-postgres:\d+\.\d+-\w+\}", COMPOSE["services"]["database"]["image"])
    user = next(line.split()[1] for line in lines if line.startswith("USER"))
    pod = POOLS["kubernetes"]["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert int(user) == pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"]


def test_every_container_shares_the_data_directory() -> None:
    place = "/opt/synthcore/data"
    pod = POOLS["kubernetes"]["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == [place]
    volume = f"{COMPOSE['name']}_data:{place}"
    variables = POOLS["docker"]["variables"]["properties"]
    assert variables["volumes"]["default"] == [volume]
    assert COMPOSE["services"]["worker"]["volumes"] == [f"data:{place}"]
    assert (
        POOLS["docker"]["variables"]["properties"]["network_mode"]["default"] == COMPOSE["networks"]["prefect"]["name"]
    )


def test_the_claim_is_the_one_that_pods_ask_for() -> None:
    claim = yaml.safe_load((ROOT / "deployments" / "claim.yaml").read_text())
    assert claim["metadata"]["name"] == POOLS["kubernetes"]["variables"]["properties"]["data_claim"]["default"]


@each_deployment
def test_a_name_alone_says_what_a_deployment_does(deployment: dict[str, Any]) -> None:
    """Lists of Prefect's UI show little else, so it has a verb or a thing besides how much, when or where."""
    words = {"tier1", "tier2", "tier3", "grow", "download", "wavetables", "ingest", "weights"}
    words |= {"verify", "inspect", "compare", "evaluate", "features"}
    assert {*deployment["name"].split("-")} & (words | {"shards"})


@pytest.mark.parametrize("port", ["abc", "70000", "-1", "8080/x"])
def test_a_container_whose_worker_is_given_no_port_is_unhealthy_in_one_line(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_WORKER_WEBSERVER_PORT", port)
    with pytest.raises(SystemExit, match=f"^PREFECT_WORKER_WEBSERVER_PORT is '{port}', not a port: ") as ended:
        ask_worker()
    assert isinstance(ended.value.code, str)  # which Python says, and exits with 1


def test_a_port_at_which_something_else_listens_is_unhealthy_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"SSH-2.0-OpenSSH_9.6\r\n") as port:
        monkeypatch.setenv("PREFECT_WORKER_WEBSERVER_PORT", str(port))
        with pytest.raises(SystemExit, match=f"^the worker says at port {port}: SSH-2.0"):
            ask_worker()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("cpu_request", "'cpu_request' is not NAME=VALUE, such as cpu_request=8"),
        ("nosuch=1", "the template has no variable 'nosuch'; it has name, env, labels, command, "),
        ("=8", "the template has no variable ''; it has name, env, "),
        ("env=x", 'env must be an object, such as {"NAME": "text"}, not \'x\''),
        ('env={"A": 1}', "env must be an object"),
        ("cpu_request=lots", "cpu_request must be a quantity, such as 500m, 8 or 16Gi, not 'lots'"),
        ("finished_job_ttl=1.5", "finished_job_ttl must be a whole number, such as 60, not '1.5'"),
        ("stream_output=no", "stream_output must be true or false, not 'no'"),
        ("image_pull_policy=Often", "image_pull_policy must be one of IfNotPresent, Always, Never, not 'Often'"),
    ],
)
def test_a_job_variable_that_makes_no_sense_is_refused(given: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
        job_variable(given)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        *(("cpu_request=8", "8"), ("cpu_limit=.5", ".5"), ("memory_limit=1e9", "1e9"), ("memory_request=2Gi", "2Gi")),
        *(('env={"A": "b=c"}', {"A": "b=c"}), ("finished_job_ttl=60", 60), ("stream_output=false", False)),
        ("name=a=b", "a=b"),
    ],
)
def test_a_job_variable_is_what_the_template_says(given: str, value: object) -> None:
    assert job_variable(given) == (given.partition("=")[0], value)


def test_a_wrong_job_variable_costs_one_line_whatever_is_installed() -> None:
    command = [sys.executable, str(ROOT / "deployments" / "show_job.py"), "--job-variable", "cpu_request=lots"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"show_job\.py: --job-variable: cpu_request must be .*\n", done.stderr)


def test_the_script_for_docker_names_every_variable_that_it_hands_over() -> None:
    script = ROOT / "deployments" / "try-docker"
    said = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    used = {"BASE_IMAGE", "DATABASE_IMAGE", "BUILD_FLAGS", "DOCKER_HOST", "TRY_DOCKER", "DEBIAN_MIRROR"}
    assert used <= set(re.findall(r"^  ([A-Z_]+) ", said, re.MULTILINE))
    assert used <= set(re.findall(r"[A-Z_]+", script.read_text().partition("\nEND\n")[2]))
