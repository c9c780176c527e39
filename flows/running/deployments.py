"""Our deployments for a project of someone's own: one file beside their flows, which `prefect deploy` reads.

It is this project's own prefect.yaml, with one work pool instead of two. Nothing of theirs is overwritten.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore.base.atomic import atomic_path, disk_errors_of
from synthcore.base.counting import how_many
from synthcore.base.errors import SynthcoreError
from synthcore.flows.running.registration import SHIPPED

NAME, BESIDE_THEIRS = "prefect.yaml", "synthcore-prefect.yaml"


class Deployments(BaseModel):
    """A file of deployments, as it was written."""

    model_config = ConfigDict(frozen=True)

    file: str
    pool: str
    deployments: int

    def to_text(self) -> str:
        """Say where it is, and what to run there."""
        file = Path(self.file)
        which = "" if file.name == NAME else f" --prefect-file {shlex.quote(file.name)}"
        theirs = "" if file.name != BESIDE_THEIRS else f" ({NAME} there is yours, and stays as it is)"
        pool = shlex.quote(self.pool)
        return f"""{how_many(self.deployments, "deployment")} for the work pool {self.pool}: {file}{theirs}

next, in {file.parent}, with a server that prefect knows (synthcore up starts one):
  prefect work-pool create {pool} --type process
  prefect deploy --all{which}
  prefect worker start --pool {pool}
"""


def write(output: Path, pool: str) -> Deployments:
    """Write the deployments to a file, or into a folder: beside a prefect.yaml that is there already.

    Raises
    ------
    SynthcoreError
        A file of that name says something else, or can't be written.
    """
    text = _text(pool)
    file = _place(output, text) if output.is_dir() else output
    if _is_taken(file, text):
        raise SynthcoreError(
            f"{file} is there already and says something else; remove it, or name another file with -o"
        )
    with disk_errors_of(file), atomic_path(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Deployments(file=str(file), pool=pool, deployments=len(re.findall(r"^  - ", text, re.MULTILINE)))


def _text(pool: str) -> str:
    shipped = (SHIPPED / NAME).read_text(encoding="utf-8")
    named = re.sub(r"\bname: (local|render)$", f"name: {json.dumps(pool)}", shipped, flags=re.MULTILINE)
    return named.replace("name: shards-for-render", f"name: {json.dumps(f'shards-for-{pool}')}")


def _place(folder: Path, text: str) -> Path:
    return folder / (BESIDE_THEIRS if _is_taken(folder / NAME, text) else NAME)


def _is_taken(file: Path, text: str) -> bool:
    with disk_errors_of(file):
        return file.exists() and file.read_text(encoding="utf-8", errors="replace") != text
