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
from tests.api import ask
from tests.flows.test_operation import Shell, free_port

if TYPE_CHECKING:  # what mypy tells who calls us
    assert_type(synthcore.generate(tier=1, n_samples=12), Summary)

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "tasks")  #: folders of theirs, the flows in the first
SECTION = (ROOT / "README.md").read_text().partition("## In your own project\n")[2].partition("\n## ")[0]
NOT_OURS = shutil.ignore_patterns(".*", "data", "build", "*.egg-info", "__pycache__")

pytestmark = pytest.mark.long


def code(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    return str(block)


def build(source: Path, output: Path, *kinds: str) -> Path:
    """Build as docs/releasing.md says, but with the setuptools of this environment."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), *kinds, str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return output


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout: building leaves things in it."""
    folder = tmp_path_factory.mktemp("source") / "synthcore"
    return Path(shutil.copytree(ROOT, folder, symlinks=True, ignore=NOT_OURS))


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and the wheel that was made of it."""
    return build(source, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"synthcore-{synthcore.__version__}-py3-none-any.whl"


def test_a_wheel_by_way_of_an_sdist_has_the_same_files(wheel: Path, source: Path, tmp_path: Path) -> None:
    (directly,) = build(source, tmp_path, "--wheel").iterdir()
    assert contents(directly) == contents(wheel)
    data = ("py.typed", "prefect.yaml", "deployments/process.json", "pipeline/summary.md")
    assert {f"synthcore/{name}" for name in data} <= contents(wheel).keys()
    assert {name.partition("/")[0] for name in contents(wheel)} == {
        "synthcore",
        f"synthcore-{synthcore.__version__}.dist-info",
    }


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path, source: Path) -> None:
    """Its data as well, such as templates: each kind stands in pyproject.toml."""
    rooms = [source / "synthcore", source / "flows", source / "tasks"]
    files = [path for room in rooms for path in room.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    needed = {str(path.relative_to(source)) for path in files} - {"synthcore/prefect.yaml"}  # a link
    assert len(needed) > 200
    packed = {
        name.replace("synthcore/flows/", "flows/").replace("synthcore/tasks/", "tasks/") for name in contents(wheel)
    }
    assert not needed - packed


def test_an_sdist_holds_the_package_and_what_says_what_it_is(built: Path, wheel: Path) -> None:
    (packed,) = built.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
        assert not [member.name for member in archive if not (member.isfile() or member.isdir())]
    package = {name for name in names if name.startswith("synthcore/")}
    assert package == {name for name in contents(wheel) if name.startswith("synthcore/")}
    others = {name for name in names if not name.startswith(("synthcore/", "synthcore.egg-info/"))}
    documents = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md"}
    assert others == documents | {"MANIFEST.in", "PKG-INFO", "pyproject.toml", "setup.cfg"}


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


@pytest.fixture(scope="module")
def served(project: Project) -> Iterator[Project]:
    """The project with a server that all commands find."""
    environment, install, up, *_ = code("bash").splitlines()
    assert (environment.split()[2], *install.split()[:2]) == ("venv", "pip", "install")  # as was done above
    try:
        project.shell(f"{up.partition('#')[0]} --port", project.port)
        yield project
    finally:
        project.shell("synthcore down")


@pytest.mark.timeout(900)  # a server, three programs and two workers, one after the other
def test_the_readme_is_followed_in_a_project_of_ones_own(served: Project) -> None:
    project = served
    project.shell(
        "prefect deployment run generate/tier1-1k -p n_samples=6 --watch", "-p", """'run={"rows_per_shard": 6}'"""
    )
    for line in code("bash").splitlines()[3:]:
        project.shell(line.replace("flows.", f"{ROOMS[0]}."))
    runs = ask(f"{project.api}/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * len(runs)
    assert [*ours(project, runs)] == ["generate", "nightly > generate", "generate", "generate"]
    made = [project.folder / "data" / "nightly.h5", project.folder / "data" / "first.h5"]
    for file in (*made, project.folder / "share" / "synthcore" / "tier1-seed0.h5"):
        with Dataset(file) as dataset:
            assert len(dataset) == 12
    assert not (project.folder / "data" / "results").exists()  # caches are where the user's data are


def test_the_example_learns_from_what_the_wheel_makes(served: Project) -> None:
    pytest.importorskip("torch")
    short = "--notes C3 --note-seconds 0.2 --render-seconds 0.3 --sample-rate 22050"
    served.shell(f"synthcore generate --tier 1 -n 60 {short} --features log-mel -o data/train.h5")
    assert "verified" in served.shell("synthcore verify data/train.h5 --all")
    shutil.copy(ROOT / "examples" / "train_baseline.py", served.folder / "train.py")
    said = served.shell("python train.py data/train.h5 --epochs 1").splitlines()
    assert [line.split()[0] for line in said] == ["epoch", "network", "mean", "median"]


def ours(project: Project, runs: list[dict[str, Any]]) -> Iterator[str]:
    """Our runs, oldest first, each behind the run of theirs that it is a part of."""
    names = {flow["id"]: flow["name"] for flow in ask(f"{project.api}/flows/filter", {})}
    within = {task["id"]: task["flow_run_id"] for task in ask(f"{project.api}/task_runs/filter", {})}
    flows = {run["id"]: names[run["flow_id"]] for run in runs}
    for run in runs:
        parent = within.get(run["parent_task_run_id"])
        if flows[run["id"]] == "generate":
            yield f"{flows[parent]} > generate" if parent else "generate"
