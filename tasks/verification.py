"""Verifying a dataset, as a task."""

from __future__ import annotations

from prefect import task

from synthcore.settings.datasets import Verify
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.verification import rerendering
from synthcore.verification.equivalence_trials import EquivalencesVerdict, try_equivalences
from synthcore.verification.rerendering import Verdict
from synthcore.verification.trials import ActivityVerdict, try_activity


@task(name="verify_rows", task_run_name="verify {settings.file}")
def verify_rows(settings: Verify) -> Verdict | ActivityVerdict | EquivalencesVerdict:
    """Render rows again from their labels and compare bit for bit, move their controls, or exchange their labels."""
    rows, workers = settings.rows_requested, settings.workers
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        if settings.activity:
            return try_activity(dataset, rows, controls=settings.controls, workers=workers)
        if settings.equivalences:
            return try_equivalences(dataset, rows, workers=workers)
        return rerendering.verify(dataset, rows, tolerance_db=settings.tolerance_db, workers=workers)
