"""Ingest presets: survey the folders -> make_collection (cached) -> report.

`python flows/ingest_presets.py --help` tells its flags; `synthcore ingest` is the same.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from synthcore.base import progress
from synthcore.base.places import require_places
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.flows.running.form import parameters_of
from synthcore.ingest.collecting import Survey, survey
from synthcore.ingest.report import IngestResult
from synthcore.pipeline.continuing import require_writable
from synthcore.settings.ingestion import Ingest
from synthcore.tasks.ingest import make_collection
from synthcore.tasks.logs import show_logs
from synthcore.vital.folders import factory_folders


def run_name() -> str:
    """Name a run after the folders it reads, such as "ingest community"."""
    wishes = flow_run.parameters
    named = [Path(folder).name for folder in wishes["folders"]] + ["factory"] * bool(wishes["factory"])
    return f"ingest {', '.join(named)}"


@flow(name="ingest-presets", flow_run_name=run_name)
@parameters_of(Ingest)
def ingest_presets(settings: Ingest) -> IngestResult:
    """Read presets that people wrote into one file of patches, each sound once.

    Returns
    -------
    IngestResult
        The file, and what became of each preset.

    Raises
    ------
    SpecError
        A parameter makes no sense, a folder isn't there, or the output can't be written.
    Accident
        A preset met with accidents again and again.
    SynthcoreError
        The disk is full.
    """
    show_logs()
    require_places(settings.data_dir)
    require_writable(settings.output_path)
    searched = [*settings.folders, *(factory_folders() if settings.factory else [])]
    found = survey(searched)
    with shown(found), interruptible(), at_most(settings.workers):
        made = collect(searched, found, settings)
    environment.require_server()
    return made


def collect(folders: list[Path], found: Survey, settings: Ingest) -> IngestResult:
    """Make the collection, unless it is there; once more if it was made, but is gone or changed."""
    arguments = (folders, found, settings.output_path, settings.check, settings.approximate, settings.workers)
    task = make_collection.with_options(result_storage=settings.results_dir, refresh_cache=settings.refresh)
    made: IngestResult = task(*arguments)
    return made if made.is_intact() else task.with_options(refresh_cache=True)(*arguments)


@contextlib.contextmanager
def shown(found: Survey) -> Iterator[None]:
    """On a terminal, show how many presets have been read."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=12), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        reading = bar.add_task("reading presets", total=found.files)
        with progress.listening(lambda _: bar.advance(reading)):
            yield


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("ingest", ingest_presets))
