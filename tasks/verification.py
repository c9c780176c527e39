"""Verifying a dataset, as a task."""

from __future__ import annotations

from prefect import task

from synthcore.settings.models import Verify
from synthcore.storage.dataset import Dataset, damage_named
from synthcore.verification import rerendering as verification
from synthcore.verification.rerendering import Verdict, trials
from synthcore.verification.trials import ActivityVerdict


@task(name="verify_rows", task_run_name="verify {settings.file}")
def verify_rows(settings: Verify) -> Verdict | ActivityVerdict:
    """Render rows again from their labels and compare bit for bit, or move their controls."""
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        return trials.try_activity(dataset, settings) if settings.activity else verification.verify(dataset, settings)
