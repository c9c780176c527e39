"""Verifying a dataset, as a task."""

from __future__ import annotations

from prefect import task

from synthcore import trials, verification
from synthcore.settings import Verify
from synthcore.storage.dataset import Dataset, damage_named
from synthcore.trials import ActivityVerdict
from synthcore.verification import Verdict


@task(name="verify_rows", task_run_name="verify {settings.file}")
def verify_rows(settings: Verify) -> Verdict | ActivityVerdict:
    """Render rows again from their labels and compare bit for bit, or move their controls."""
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        return trials.try_activity(dataset, settings) if settings.activity else verification.verify(dataset, settings)
