"""Verify a dataset: verify_rows -> a page in the UI. The run fails if a row differs.

`python flows/verify.py --help` lists its flags; `synthcore verify` does the same without a server.
"""

from __future__ import annotations

import sys

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.engine.lending import at_most
from synthcore.flows.running.form import dataset_of, parameters_of
from synthcore.settings.datasets import Verify
from synthcore.tasks.artifacts import show_text
from synthcore.tasks.verification import verify_rows
from synthcore.verification.equivalence_trials import EquivalencesVerdict
from synthcore.verification.rerendering import Unverified, Verdict
from synthcore.verification.trials import ActivityVerdict


def run_name() -> str:
    """Name a run after its dataset."""
    return f"verify {dataset_of(flow_run.parameters['file'])}"


@flow(name="verify", flow_run_name=run_name)
@parameters_of(Verify, dataset="file")
def verify(settings: Verify) -> Verdict | ActivityVerdict | EquivalencesVerdict:
    """Render rows again from their stored labels alone, and compare bit for bit.

    Returns
    -------
    Verdict, ActivityVerdict or EquivalencesVerdict
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
    with at_most(settings.workers):
        verdict = verify_rows(settings)
    show_text("verdict", str(settings.file), verdict.to_text())
    if not verdict.holds:
        raise Unverified(verdict)
    return verdict


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("verify", verify))
