"""Matching a sound with a dataset, as a task."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from synthcore.evaluation import match_report, matching
from synthcore.evaluation.match_report import MatchReport
from synthcore.evaluation.search import Watch
from synthcore.page.matching import gather_match
from synthcore.page.writing import write_match
from synthcore.pipeline.forms import Form
from synthcore.pipeline.sketching import StoredSketches
from synthcore.pipeline.target import read_target
from synthcore.publishing.matches import write_answers
from synthcore.settings.matching import Match
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.tasks.logs import show_logs


@task(name="match_sound", task_run_name="match {settings.sound}")
def match_sound(settings: Match, watch: Watch) -> MatchReport:
    """Find the nearest patches, search around the nearest if that is wanted, and write all of it down."""
    show_logs()
    with damage_named(settings.dataset), Dataset(settings.dataset) as dataset:
        target = read_target(settings.sound, Form.of(dataset))
        stored = StoredSketches(matching.plan(settings.dataset), settings.data_dir)
        found = matching.find(target, dataset, stored, settings.wanted, watch)
        report = match_report.report(found, dataset, str(settings.sound), settings.output)
        write_answers(found, report, dataset)
    write_match(gather_match(found, report), Path(report.page))
    return report
