"""Verifying a dataset, as a task."""

from __future__ import annotations

from prefect import task

from synthcore import verification
from synthcore.settings import Verify
from synthcore.storage.dataset import Dataset
from synthcore.verification import Verdict


@task(name="verify_rows", task_run_name="verify {settings.file}")
def verify_rows(settings: Verify) -> Verdict:
    """Render rows again from their labels, and compare bit for bit."""
    with Dataset(settings.file) as dataset:
        return verification.verify(dataset, settings)
