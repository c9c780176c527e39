"""The image as people run it: by hand, as workers and as the runs of a docker pool; killed, cramped and full.

With a Docker daemon only. `deployments/try-docker` starts one on Debian, and says how its images are built there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from synthcore.spec import AudioSpec, DatasetSpec
from tests.conftest import ROOT, make_dataset, wait_until
from tests.flows.test_operation import free_port

PROJECT = "synthcore-test"  #: names whatever a test makes
IMAGE = f"{PROJECT}:0.1.0"
WORKER_IMAGE = f"{PROJECT}-docker:0.1.0"  #: the same with prefect-docker
DATA = "/opt/synthcore/data"
#: 24 rows in 8 shards, and 120 rows in 20.
FLAGS = ("--tier", "1", "--note-seconds", "0.2", "--json")
FEW, MANY = (*FLAGS, "-n", "24", "--rows-per-shard", "3"), (*FLAGS, "-n", "120", "--rows-per-shard", "6")


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def has_daemon() -> bool:
    return shutil.which("docker") is not None and docker("version", check=False).returncode == 0


pytestmark = [
    pytest.mark.long,
    pytest.mark.docker,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not has_daemon(), reason="no Docker daemon answers; deployments/try-docker starts one on Debian"
    ),
]


def build(image: str, *flags: str) -> str:
    told = shlex.split(os.environ.get("BUILD_FLAGS", ""))
    docker("build", "-f", str(ROOT / "deployments" / "Dockerfile"), "-t", image, *told, *flags, str(ROOT))
    return image


@pytest.fixture(scope="module")
def image() -> str:
    return build(IMAGE)


@pytest.fixture(scope="module")
def digest_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """What so many rows add up to without containers."""

    def digest(rows: int, seed: int = 0) -> str:
        spec = DatasetSpec(tier=1, n_samples=rows, seed=seed, audio=AudioSpec(note_seconds=0.2))
        return make_dataset(spec, tmp_path_factory.mktemp("plain"), rows_per_shard=60).ref.digest

    return digest


@dataclass(frozen=True)
class Box:
    """A volume, and the containers that share it."""

    volume: str
    image: str

    def run(self, *command: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return docker("run", "--rm", *flags, "-v", f"{self.volume}:{DATA}", self.image, *command, check=False)

    def generate(self, *words: str, flags: tuple[str, ...] = ()) -> dict[str, Any]:
        """Make a dataset, which must succeed, and return the run's report."""
        done = self.run("synthcore", "generate", *words, "-o", "data/made.h5", flags=flags)
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def start(self, *command: str, flags: tuple[str, ...] = ()) -> Container:
        words = ("run", "--detach", *flags, "-v", f"{self.volume}:{DATA}", self.image, *command)
        return Container(docker(*words).stdout.strip())


@dataclass(frozen=True)
class Container:
    id: str

    def do(self, *command: str) -> str:
        return docker("exec", self.id, *command).stdout

    def log(self) -> str:
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(docker("inspect", "--format", "{{json .State}}", self.id).stdout)
        return state

    def await_health(self, status: str) -> None:
        wait_until(lambda: self.state()["Health"]["Status"] == status, seconds=120)


@pytest.fixture
def box(image: str) -> Iterator[Box]:
    with boxed(image) as made:
        yield made


@contextlib.contextmanager
def boxed(image: str, *options: str) -> Iterator[Box]:
    volume = f"{PROJECT}-{uuid.uuid4().hex[:8]}"
    docker("volume", "create", *options, volume)
    try:
        yield Box(volume, image)
    finally:
        left = docker("ps", "--all", "--quiet", "--filter", f"volume={volume}").stdout.split()
        docker("rm", "--force", *left, check=bool(left))
        docker("volume", "rm", volume)


def test_the_image_is_small_and_has_neither_root_nor_the_configuration_of_its_build(image: str) -> None:
    assert int(docker("image", "inspect", "--format", "{{.Size}}", image).stdout) < 1.2e9
    said = docker("run", "--rm", image, "sh", "-c", "id -u; ls /etc/pip.conf /run/secrets", check=False)
    assert said.stdout == "10001\n"


@pytest.mark.parametrize(
    "flags",
    [
        ("--shm-size", "64m"),
        ("--read-only", "--tmpfs", "/tmp", "--tmpfs", "/home/synthcore:uid=10001"),
        ("--cpus", "1.5", "--memory", "1g", "--memory-swap", "1g"),
    ],
    ids=["64 MB of shared memory", "read-only", "1.5 CPUs and 1 GB"],
)
def test_a_run_with_little_makes_the_same_file(flags: tuple[str, ...], box: Box, digest_of: Callable[..., str]) -> None:
    assert box.generate(*FEW, flags=flags)["digest"] == digest_of(24)


def test_without_a_place_for_temporary_files_a_line_says_so(box: Box) -> None:
    done = box.run("synthcore", "generate", *FEW, flags=("--read-only",))
    assert done.returncode == 2
    assert "can't write temporary files" in done.stderr
    assert "TMPDIR" in done.stderr


def test_the_limits_of_a_container_decide_how_many_renderers_start(box: Box) -> None:
    said = box.run("synthcore", "doctor", "--json", flags=("--cpus", "1.5", "--memory", "1g")).stdout
    found = {finding["check"]: finding["what"] for finding in json.loads(said)["findings"]}["resources"]
    assert found.startswith("1 core (/sys/fs/cgroup/")
    assert "1.1 GB of memory (/sys/fs/cgroup/" in found
    assert found.endswith("1 renderer at a time")


def test_a_killed_container_loses_nothing(box: Box, digest_of: Callable[..., str]) -> None:
    killed = box.start("synthcore", "generate", *MANY, "-o", "data/made.h5")
    wait_until(lambda: "shard 3 of 20" in killed.log(), seconds=240)
    docker("kill", killed.id)
    assert killed.state()["ExitCode"] == 137
    again = box.generate(*MANY)
    assert again["shards_cached"] >= 2
    assert again["digest"] == digest_of(120)


def test_a_container_that_takes_more_memory_than_it_may_loses_nothing(box: Box, digest_of: Callable[..., str]) -> None:
    """350 MB are too few for the run and its server, and the kernel kills what is largest."""
    cut = box.start("synthcore", "generate", *FEW, flags=("--memory", "350m", "--memory-swap", "350m"))
    docker("wait", cut.id)
    assert cut.state()["OOMKilled"]
    assert cut.state()["ExitCode"] != 0
    assert box.generate(*FEW)["digest"] == digest_of(24)


def test_a_full_volume_ends_the_run_with_a_line_and_loses_nothing(image: str, digest_of: Callable[..., str]) -> None:
    options = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=24m,uid=10001,mode=700")
    with boxed(image, *options) as box:
        holder = box.start("sleep", "infinity", flags=("--health-interval", "1s", "--health-retries", "1"))
        holder.await_health("healthy")
        holder.do("sh", "-c", "head -c 20m /dev/zero > data/ballast")
        cut = box.run("synthcore", "generate", *FEW)
        assert cut.returncode == 2
        assert "No space left on device; nothing was left half-written." in cut.stderr
        docker("exec", holder.id, "sh", "-c", "cat /dev/zero >> data/ballast", check=False)
        holder.await_health("unhealthy")
        holder.do("rm", "data/ballast")
        again = box.generate(*FEW)
        assert again["shards_cached"] > 0
        assert again["digest"] == digest_of(24)
        holder.await_health("healthy")


def test_a_run_of_ones_own_is_healthy_until_it_is_stopped(box: Box) -> None:
    flags = ("--health-interval", "1s", "--health-retries", "1")
    running = box.start("synthcore", "generate", *FLAGS, "-n", "30000", flags=flags)
    running.await_health("healthy")
    running.do("sh", "-c", "kill -STOP $(cat /proc/1/task/1/children)")
    running.await_health("unhealthy")
    running.do("sh", "-c", "kill -CONT $(cat /proc/1/task/1/children)")
    running.await_health("healthy")


def renamed(text: str) -> str:
    """A file of deployments/ with names of a test's own: those in it may belong to services that run here."""
    for name in ("network_mode", "name"):
        text = text.replace(f"{name}: synthcore\n", f"{name}: {PROJECT}\n")
    text = text.replace("synthcore_data", f"{PROJECT}_data").replace("synthcore:0.1.0", IMAGE)
    return text.replace('"synthcore"', f'"{PROJECT}"')


def compose(*words: str, port: int = 0) -> str:
    """Ask Compose; version 1, which Debian has, doesn't know the file's `name`."""
    text = renamed((ROOT / "deployments" / "compose.yaml").read_text())
    program = ["docker", "compose"]
    if docker("compose", "version", check=False).returncode != 0:
        program, text = ["docker-compose"], text.replace(f"\nname: {PROJECT}\n", "\n", 1)
    place = ["--project-directory", str(ROOT / "deployments"), "-p", PROJECT, "-f", "-"]
    environment = {**os.environ, "POSTGRES_PASSWORD": "hunter2", "SERVER_PORT": str(port)}
    done = subprocess.run([*program, *place, *words], input=text, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workers(image: str) -> Iterator[list[Container]]:
    """The two workers of compose.yaml, when all its services are up."""
    compose("down", "--volumes")  # what is left of a run that was killed
    try:
        compose("up", "--no-build", "--detach", "--scale", "worker=2", port=free_port())
        yield [Container(name) for name in compose("ps", "--quiet", "worker").split()]
    finally:
        compose("down", "--volumes")


def test_the_composed_server_has_its_web_page(workers: list[Container]) -> None:
    """It copies the page's files when it starts, which its user can't do everywhere."""
    ask = "import urllib.request; print(urllib.request.urlopen('http://server:4200/').read().decode())"
    assert "<!DOCTYPE html>" in workers[0].do("python", "-c", ask)


def run_there(worker: Container, rows: int, rows_per_shard: int, output: str) -> subprocess.Popen[str]:
    """Start a run of a deployment, in whichever pool that has."""
    audio, run = json.dumps({"note_seconds": 0.2}), json.dumps({"rows_per_shard": rows_per_shard})
    command = ["docker", "exec", worker.id, "prefect", "deployment", "run", "generate/tier1-1k", "--watch"]
    for word in (f"n_samples={rows}", f"audio={audio}", f"run={run}", f"output={output}"):
        command += ["-p", word]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def digest_there(worker: Container, file: str) -> str:
    digest: str = json.loads(worker.do("synthcore", "inspect", file, "--json"))["digest"]
    return digest


def test_a_run_on_composed_services_outlives_a_restart_of_their_database(
    workers: list[Container], digest_of: Callable[..., str]
) -> None:
    assert len(workers) == 2
    running = run_there(workers[0], 120, 6, "data/composed.h5")

    def has_begun() -> bool:
        return any("shard 3 of 20" in worker.log() for worker in workers)

    wait_until(lambda: has_begun() or running.poll() is not None, seconds=240)
    assert running.poll() is None
    docker("restart", *compose("ps", "--quiet", "database").split())
    said, _ = running.communicate()
    assert running.returncode == 0, said
    assert digest_there(workers[1], "data/composed.h5") == digest_of(120)  # written by either
    for worker in workers:
        worker.await_health("healthy")


@pytest.fixture(scope="module")
def docker_pool(workers: list[Container]) -> Iterator[str]:
    """A work pool whose runs are containers, with a worker in a container too."""
    build(WORKER_IMAGE, "--build-arg", "WORKERS=prefect-docker")
    template = renamed((ROOT / "deployments" / "docker.json").read_text())
    deploy = (
        "cat > /tmp/docker.json && synthcore deploy --pool docker -o /tmp"
        " && prefect work-pool create docker --type docker --base-job-template /tmp/docker.json"
        " && prefect --no-prompt deploy --all --prefect-file /tmp/prefect.yaml"
    )
    subprocess.run(["docker", "exec", "-i", workers[0].id, "sh", "-c", deploy], input=template, text=True, check=True)
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    flags = ["--network", PROJECT, "-e", "PREFECT_API_URL=http://server:4200/api"]
    flags += ["-v", f"{socket}:/var/run/docker.sock", "--group-add", str(Path(socket).stat().st_gid)]
    command = ("prefect", "worker", "start", "--pool", "docker", "--with-healthcheck")
    worker = docker("run", "--detach", *flags, WORKER_IMAGE, *command).stdout.strip()
    try:
        yield "docker"
    finally:
        docker("rm", "--force", worker)


def test_runs_of_a_docker_pool_share_the_data_volume_and_one_may_be_killed(
    workers: list[Container], docker_pool: str, digest_of: Callable[..., str]
) -> None:
    """The run that asks, a worker's command here, sends two batches; each is rendered in a container of its own.

    Its seed is its own: of the composed run's, all shards are there.
    """
    words = ["-n", "600", "--rows-per-shard", "30", "--seed", "1", "-o", "data/distributed.h5"]
    words += ["--distribute", f"pool:{docker_pool}", "--batch", "10"]
    command = ["docker", "exec", workers[0].id, "synthcore", "generate", *FLAGS, *words]
    asking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def rendering() -> list[str]:
        running = docker("ps", "--quiet", "--filter", "name=shards-").stdout.split()
        logs = {name: docker("logs", name, check=False) for name in running}  # it may have ended meanwhile
        return [name for name, log in logs.items() if " rows of " in log.stdout + log.stderr]

    wait_until(lambda: bool(rendering()) or asking.poll() is not None, seconds=240)
    docker("kill", rendering()[0])
    said, errors = asking.communicate()
    assert asking.returncode == 0, errors
    report = json.loads(said)
    assert report["shards"] == 20
    assert report["digest"] == digest_of(600, seed=1)
