"""Verify a dataset: verify_rows -> a page in the UI. The run fails if a row differs.

`python flows/verify.py --help` tells its flags; `synthcore verify` says the same without a server.
"""

from __future__ import annotations

import sys

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.engine.lending import at_most
from synthcore.flows.running.form import RunDataset, dataset_of, described, settings_from
from synthcore.settings.models import (
    ControlsToMove,
    EveryRow,
    OfActivity,
    RowsToVerify,
    ToleranceDb,
    Verify,
    Workers,
)
from synthcore.tasks.artifacts import show_text
from synthcore.tasks.verification import verify_rows
from synthcore.verification.rerendering import Unverified, Verdict
from synthcore.verification.trials import ActivityVerdict


def run_name() -> str:
    """Name a run after its dataset."""
    return f"verify {dataset_of(flow_run.parameters['file'])}"


@flow(name="verify", flow_run_name=run_name)
@described
def verify(
    file: RunDataset = None,
    rows: RowsToVerify = 10,
    all: EveryRow = False,  # noqa: A002  the flag's name
    tolerance_db: ToleranceDb = -60.0,
    activity: OfActivity = False,
    controls: ControlsToMove = 20,
    workers: Workers | None = None,
) -> Verdict | ActivityVerdict:
    """Render rows again from their stored labels alone, and compare bit for bit.

    Returns
    -------
    Verdict or ActivityVerdict
        What was compared, and that it holds.

    Raises
    ------
    Unverified
        The file is not what it says: the message names the rows.
    DatasetError
        The file is not a dataset.
    EngineMismatch
        The synth here has other controls than the dataset's.
    """
    settings = settings_from(Verify, {**locals(), "file": dataset_of(file)})
    with at_most(settings.workers):
        verdict = verify_rows(settings)
    show_text("verdict", str(settings.file), verdict.to_text())
    if not verdict.holds:
        raise Unverified(verdict)
    return verdict


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("verify", verify))
