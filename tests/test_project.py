"""In a project of someone's own: the wheel beside flows of theirs, as README says, with no checkout in sight."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import pytest

import synthcore
from synthcore.pipeline.summary import Summary
from synthcore.storage.dataset import Dataset
from tests.flows.test_flow import post
from tests.flows.test_operation import Shell, free_port

if TYPE_CHECKING:  # what mypy tells who calls us
    assert_type(synthcore.generate(tier=1, n_samples=12), Summary)

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "tasks")  #: folders of theirs, the flows in the first
SECTION = (ROOT / "README.md").read_text().partition("## In your own project\n")[2].partition("\n## ")[0]
NOT_OURS = shutil.ignore_patterns(".*", "data", "build", "*.egg-info", "__pycache__")

pytestmark = pytest.mark.slow


def code(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    return str(block)


def build(kind: str, source: Path, output: Path) -> Path:
    """What a build tool does: a wheel or an sdist of a folder."""
    program = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, output], cwd=source, check=True, capture_output=True)
    (built,) = output.iterdir()
    return built


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout: building leaves things in it."""
    folder = tmp_path_factory.mktemp("source") / "synthcore"
    return Path(shutil.copytree(ROOT, folder, symlinks=True, ignore=NOT_OURS))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def test_a_wheel_by_way_of_an_sdist_has_the_same_files(wheel: Path, source: Path, tmp_path: Path) -> None:
    for name in ("sdist", "unpacked", "wheel"):
        (tmp_path / name).mkdir()
    with tarfile.open(build("sdist", source, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = build("wheel", unpacked, tmp_path / "wheel")
    assert contents(again) == contents(wheel)
    data = ("py.typed", "prefect.yaml", "deployments/process.json", "pipeline/summary.md")
    assert {f"synthcore/{name}" for name in data} <= contents(wheel).keys()


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}


@dataclass(frozen=True)
class Project(Shell):
    """Somebody's folder, and an environment in which synthcore was installed from its wheel."""

    programs: Path

    @property
    def environment(self) -> dict[str, str]:
        path = {"PATH": f"{self.programs}:{os.environ['PATH']}", "XDG_DATA_HOME": str(self.folder / "share")}
        inherited = {k: v for k, v in super().environment.items() if k != "SYNTHCORE_DATA_DIR"}
        return inherited | path

    def shell(self, *words: object) -> str:
        """Run a line as it is typed; it must succeed."""
        line = " ".join(map(str, words))
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    own = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", own], check=True)
    python = own / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    (packages,) = own.glob("lib/python*/site-packages")
    # What else it needs is that of this environment; the checkout, which a file there names, is not.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (own / "bin" / "prefect").write_text(f'#!/bin/sh\nexec {python} -m prefect "$@"\n')
    (own / "bin" / "prefect").chmod(0o755)
    for name in (*ROOMS, "tmp"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    (folder / ROOMS[0] / "nightly.py").write_text(code("python"))
    return Project(folder, free_port(), own / "bin")


def test_nothing_of_the_wheel_but_synthcore_is_at_the_top(project: Project) -> None:
    where = project.shell("cd / && python -I -c 'import synthcore; print(synthcore.__file__)'")
    assert str(project.programs.parent) in where
    assert project.shell("python -c 'import synthcore, sys; print(*sys.modules)'").split().count("prefect") == 0


@pytest.mark.timeout(900)  # a server, three programs and two workers, one after the other
def test_the_readme_is_followed_in_a_project_of_ones_own(project: Project) -> None:
    try:
        environment, install, up, *lines = code("bash").splitlines()
        assert (environment.split()[2], *install.split()[:2]) == ("venv", "pip", "install")  # as was done above
        project.shell(f"{up.partition('#')[0]} --port", project.port)  # all that follows finds its server
        project.shell(
            "prefect deployment run generate/tier1-1k -p n_samples=6 --watch", "-p", """'run={"rows_per_shard": 6}'"""
        )
        for line in lines:
            project.shell(line.replace("flows.", f"{ROOMS[0]}."))
        runs = post(f"{project.api}/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})
        assert [run["state_type"] for run in runs] == ["COMPLETED"] * len(runs)
        assert [*ours(project, runs)] == ["generate", "nightly > generate", "generate", "generate"]
    finally:
        project.shell("synthcore down")
    made = [project.folder / "data" / "nightly.h5", project.folder / "data" / "first.h5"]
    for file in (*made, project.folder / "share" / "synthcore" / "tier1-seed0.h5"):
        with Dataset(file) as dataset:
            assert len(dataset) == 12
    assert not (project.folder / "data" / "results").exists()  # caches are where the user's data are


def ours(project: Project, runs: list[dict[str, Any]]) -> Iterator[str]:
    """Our runs, oldest first, each behind the run of theirs that it is a part of."""
    names = {flow["id"]: flow["name"] for flow in post(f"{project.api}/flows/filter", {})}
    within = {task["id"]: task["flow_run_id"] for task in post(f"{project.api}/task_runs/filter", {})}
    flows = {run["id"]: names[run["flow_id"]] for run in runs}
    for run in runs:
        parent = within.get(run["parent_task_run_id"])
        if flows[run["id"]] == "generate":
            yield f"{flows[parent]} > generate" if parent else "generate"
