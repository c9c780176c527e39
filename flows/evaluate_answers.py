"""Evaluate answers: plan -> (a baseline: sketch_sounds -> search_answers ->) score_answers -> report.

`python flows/evaluate_answers.py --help` lists its flags; `synthcore evaluate` is the same.
"""

from __future__ import annotations

import sys

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.base.places import require_places
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.evaluation.answers import Answers
from synthcore.evaluation.baselines import answers_of, answers_of_nearest, answers_to_sounds, look, plan_nearest
from synthcore.evaluation.report import Evaluation, report
from synthcore.evaluation.scoring import plan_scores, read_scores
from synthcore.evaluation.searching import answers_of_searches, plan_searches
from synthcore.evaluation.sound_answers import audio_of, presets_in
from synthcore.evaluation.sounds import SoundFolder, audio_files, survey
from synthcore.evaluation.targets import opened
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.batches import run_batches
from synthcore.flows.running.form import dataset_of, parameters_of
from synthcore.page.evaluation import sounds_heard
from synthcore.page.writing import require_replaceable
from synthcore.settings.evaluation import Evaluate
from synthcore.tasks.artifacts import link_page, show_text
from synthcore.tasks.evaluation import score_answers, search_answers, write_evaluation
from synthcore.tasks.logs import show_logs
from synthcore.tasks.nearness import sketch_sounds


def run_name() -> str:
    """Name a run after the dataset."""
    return f"evaluate against {dataset_of(flow_run.parameters['against'])}"


@flow(name="evaluate", flow_run_name=run_name)
@parameters_of(Evaluate, dataset="against")
def evaluate(settings: Evaluate) -> Evaluation:
    """Say how good answers to the rows of a dataset, or to the sounds of a folder, are.

    Returns
    -------
    Evaluation
        Every metric over all rows, and by tier, source and note.

    Raises
    ------
    DatasetError
        A file is not a dataset with audio and such rows, or not predictions.
    SpecError
        The answers are to other rows or sounds, or no sound can be used.
    Accident
        A render met with accident after accident (a kill, a time-out, a lost process).
    """
    show_logs()
    require_places(settings.data_dir)
    look(settings.choice)
    if settings.html:
        require_replaceable(settings.html)
    sounds = read_sounds(settings)
    answers = find_answers(settings, sounds)
    with opened(settings.against, sounds) as targets:
        plans = plan_scores(answers, targets)
        with rows_shown("scoring", len(answers.rows)), at_most(settings.workers):
            run_batches(score_answers, plans, settings, "answers")
        found = report(answers, targets, settings.split, read_scores(plans, settings.data_dir))
    environment.require_server()
    show_text("evaluation", found.headline, found.to_text())
    if settings.html:
        with rows_shown("listening", sounds_heard(found)), at_most(settings.workers), interruptible():
            write_evaluation(found, answers.origin, settings.html)
        link_page(settings.html)
    return found


def read_sounds(settings: Evaluate) -> SoundFolder | None:
    """The sounds that are answered, each read once; None if a dataset's rows are."""
    if not settings.against.is_dir():
        return None
    files = len(audio_files(settings.against))
    with rows_shown("reading sounds", files), at_most(settings.workers), interruptible():
        return survey(settings.against, audio_of(settings.choice), settings.note, settings.workers)


def find_answers(settings: Evaluate, sounds: SoundFolder | None) -> Answers:
    """The answers of a file, or of a baseline."""
    if settings.baseline == "nearest":
        return find_nearest(settings, sounds)
    if settings.baseline == "search":
        return search_from(find_nearest(settings, sounds), settings, sounds)
    if sounds is None:
        return answers_of(settings.choice, settings.data_dir)
    with rows_shown("reading answers", presets_in(settings.choice)), at_most(settings.workers):
        return answers_to_sounds(settings.choice, sounds, settings.data_dir, settings.workers)


def find_nearest(settings: Evaluate, sounds: SoundFolder | None) -> Answers:
    """The training row that is nearest to each row or sound, by sketches."""
    asked, known = plan_nearest(settings.choice, sounds)
    plans = [*asked, *known]
    with rows_shown("sketching", sum(plan.sounds for plan in plans)), at_most(settings.workers):
        run_batches(sketch_sounds, plans, settings, "sounds")
    with rows_shown("finding the nearest", sum(plan.sounds for plan in known)), interruptible():
        return answers_of_nearest(settings.choice, asked, known, settings.data_dir, sounds)


def search_from(nearest: Answers, settings: Evaluate, sounds: SoundFolder | None) -> Answers:
    """What is found for each row or sound by rendering, from the nearest training row on."""
    with opened(settings.against, sounds) as targets:
        plans = plan_searches(nearest, targets, settings.renders)
    with rows_shown("searching", len(nearest.rows)), at_most(settings.workers):
        run_batches(search_answers, plans, settings, "sounds" if sounds else "rows")
    return answers_of_searches(nearest, plans, settings.data_dir)


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("evaluate", evaluate))
