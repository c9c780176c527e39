"""Download presets: for each source, ask which version there is -> download_source (cached) -> report.

`python flows/download_presets.py --help` tells its flags; `synthcore download-presets` is the same.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from rich.console import Console
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from synthcore.base.places import require_places
from synthcore.flows.running.form import parameters_of
from synthcore.ingest import transfer
from synthcore.ingest.download import DownloadReport, require_writable
from synthcore.ingest.remotes import RemoteSource
from synthcore.settings.ingestion import DownloadPresets
from synthcore.tasks.download import download_source, fetch


@flow(name="download-presets", flow_run_name="download presets to {output}")
@parameters_of(DownloadPresets)
def download_presets(settings: DownloadPresets) -> DownloadReport:
    """Download the presets of public repositories and archives, each into a folder that says where it is from.

    Returns
    -------
    DownloadReport
        What became of every source.

    Raises
    ------
    SpecError
        A parameter makes no sense, or the folder can't be written.
    IncompleteDownload
        Every source failed, or one did and `strict` is set.
    """
    require_places(settings.data_dir)
    require_writable(settings.output)

    outcomes = []
    for source in settings.sources:
        with shown(source):
            task = download_source.with_options(result_storage=settings.results_dir, refresh_cache=settings.refresh)
            outcomes.append(fetch(source, settings.output, settings.limits, task))

    report = DownloadReport(outcomes=tuple(outcomes))
    report.require_success(strict=settings.strict)
    return report


@contextlib.contextmanager
def shown(source: RemoteSource) -> Iterator[None]:
    """Say what is about to be downloaded and under which licence; on a terminal, show how far it is."""
    console = Console(stderr=True)
    console.print(f"{source.address} (licence: {source.licence})", markup=False, highlight=False, soft_wrap=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        line = bar.add_task("downloading", total=None)
        with transfer.listening(lambda size: bar.update(line, completed=size)):
            yield


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("download-presets", download_presets))
