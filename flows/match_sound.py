"""Match a sound with a dataset: plan -> sketch_sounds (mapped, retried, cached) -> match_sound -> presets and a page.

`python flows/match_sound.py --help` lists its flags; `synthcore match` is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

from synthcore.base.places import require_places
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.evaluation import matching
from synthcore.evaluation.match_report import MatchReport
from synthcore.flows.running.bar import best_shown, rows_shown
from synthcore.flows.running.batches import run_batches
from synthcore.flows.running.form import parameters_of
from synthcore.publishing.matches import require_empty
from synthcore.settings.matching import Match
from synthcore.tasks.artifacts import link_page, show_text
from synthcore.tasks.logs import show_logs
from synthcore.tasks.matching import match_sound
from synthcore.tasks.nearness import sketch_sounds


def run_name() -> str:
    """Name a run after its sound."""
    return f"match {Path(flow_run.parameters['sound']).name}"


@flow(name="match", flow_run_name=run_name)
@parameters_of(Match, first=("sound", "output"), dataset="dataset")
def match(settings: Match) -> MatchReport:
    """Find the patches of a dataset that sound most like a sound, and write them as presets.

    Returns
    -------
    MatchReport
        The patches with their files, their distances, and how to make them.

    Raises
    ------
    DatasetError
        The file is not a dataset with audio and rows.
    SpecError
        The sound can't be matched, or the folder isn't empty or can't be written.
    Accident
        A render met with accident after accident (a kill, a time-out, a lost process).
    """
    show_logs()
    require_places(settings.data_dir)
    require_empty(settings.output)
    matching.look(settings.sound, settings.dataset, settings.wanted)
    plans = matching.plan(settings.dataset)
    with rows_shown("sketching", sum(plan.sounds for plan in plans)), at_most(settings.workers):
        run_batches(sketch_sounds, plans, settings, "sounds")
    environment.require_server()
    with best_shown(settings.search) as watch, at_most(settings.workers), interruptible():
        found = match_sound(settings, watch)
    show_text("match", found.headline, found.to_text())
    link_page(found.page)
    return found


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("match", match))
