"""Set-up: what `make setup` installs with, and where it looks for packages; and how a process of tests ends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
RUN_UV = re.search(r"^define RUN_UV\n(.*?)^endef", MAKEFILE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_tests_in_one_process_end_well_with_vita_loaded() -> None:
    collect = ("--collect-only", "--quiet", "--numprocesses", "0", "tests/vital/test_panel.py")
    done = subprocess.run([sys.executable, "-m", "pytest", *collect], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_uv_finds_packages_where_pip_is_told_to_look(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "only_here-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("only_here.py", "")
        wheel.writestr("only_here-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: only-here\nVersion: 1.0\n")
        wheel.writestr(
            "only_here-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("only_here-1.0.dist-info/RECORD", "")
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\n[install]\nfind-links = {tmp_path}\n")
    foreign = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    assert RUN_UV
    done = subprocess.run(
        [sys.executable, "-c", RUN_UV[1], "pip", "install", "--dry-run", "--python", sys.executable, "only-here"],
        env=foreign | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")},
        capture_output=True,
        text=True,
    )
    assert "+ only-here==1.0" in done.stderr, done.stderr


def test_what_changed_is_set_up_again_and_nothing_else(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, checkout)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)

    def steps() -> list[str]:
        """What make would do, from a shell, which remembers the link that it came by."""
        command = ["sh", "-c", "cd $0 && make -n setup", str(checkout)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        begins = {"Building .venv": "packages", "--editable .": "synthcore"}
        return [step for words, step in begins.items() if words in done.stdout]

    def set_up() -> None:
        """Leave the two stamps that `make setup` leaves, in their order."""
        printed = subprocess.run(["make", "-pn", "setup"], cwd=checkout, capture_output=True, text=True, check=True)
        for name in ("LOCKED", "READY"):
            stamp = re.search(rf"^{name} := (.*)", printed.stdout, re.MULTILINE)
            assert stamp
            (checkout / stamp[1]).touch()

    def change(name: str) -> None:
        (checkout / name).write_text((checkout / name).read_text() + "\n")

    assert steps() == ["packages", "synthcore"]
    set_up()
    assert steps() == []
    change("pyproject.toml")
    assert steps() == ["synthcore"]
    set_up()
    change("requirements.lock")
    assert steps() == ["packages", "synthcore"]  # the stamp of synthcore is there, but goes with the rest of .venv
    set_up()
    moved = checkout.rename(tmp_path / "moved")
    checkout.symlink_to(moved)
    assert steps() == ["packages", "synthcore"]
    set_up()
    checkout = moved
    assert steps() == []
