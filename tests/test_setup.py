"""Set-up: what `make setup` installs with, and where it looks for packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

MAKEFILE = (Path(__file__).parent.parent / "Makefile").read_text()
RUN_UV = re.search(r"^define RUN_UV\n(.*?)^endef", MAKEFILE, re.MULTILINE | re.DOTALL)


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
