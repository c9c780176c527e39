"""Verify a dataset: verify_rows -> a page in the UI. The run fails if a row differs.

`python flows/verify.py --help` tells its flags; `synthcore verify` says the same without a server.
"""

from __future__ import annotations

import sys

from flows import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow

from flows.form import described
from synthcore.engine.client import at_most
from synthcore.settings import (
    CORES,
    DatasetFile,
    EveryRow,
    RowsToVerify,
    ToleranceDb,
    Verify,
    Workers,
)
from synthcore.verification import Verdict
from tasks.report import show_text
from tasks.verification import verify_rows


@flow(name="verify", flow_run_name="verify {file}")
@described
def verify(
    file: DatasetFile,
    rows: RowsToVerify = 10,
    all: EveryRow = False,  # noqa: A002  the flag's name
    tolerance_db: ToleranceDb = -60.0,
    workers: Workers = CORES,
) -> Verdict:
    """Render rows again from their stored labels alone, and compare bit for bit.

    Returns
    -------
    Verdict
        What was compared, and that it holds.

    Raises
    ------
    DatasetError
        The file is no dataset, or it is not what it says: the message names the rows.
    EngineMismatch
        The synth here has other controls than the dataset's.
    """
    settings = Verify(file=file, rows=rows, all=all, tolerance_db=tolerance_db, workers=workers)
    with at_most(settings.workers):
        verdict = verify_rows(settings)
    show_text("verdict", str(file), verdict.to_text())
    verdict.require_hold()
    return verdict


if __name__ == "__main__":
    from flows.cli import main

    sys.exit(main(["verify", *sys.argv[1:]]))
