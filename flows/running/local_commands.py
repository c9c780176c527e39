"""Commands that run no flow: they read files, or look after this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from synthcore.flows.running.command import FAILED, printable, say, tell, tell_each

if TYPE_CHECKING:  # --version and --help do without
    from synthcore.analysis.inspection import Inspection
    from synthcore.base.addresses import Place
    from synthcore.settings.datasets import Diff, Export, Inspect, RenderRecipe, Verify, WriteRecipe
    from synthcore.settings.upkeep import CacheCommand, Deploy, Doctor, Down, Up
    from synthcore.storage.dataset import Dataset


def run_inspect(settings: Inspect) -> int:
    """Say what is in a dataset: at once what needs no audio, then what its rows sound like."""
    from synthcore.analysis.overview import look
    from synthcore.storage.dataset import Dataset
    from synthcore.storage.opening import damage_named

    if settings.other:
        return _compare(settings.file, settings.other, settings)
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        if settings.row:
            from synthcore.analysis.words import describe

            described = [describe(dataset, row, everything=settings.all) for row in settings.row]
            tell_each(described, as_json=settings.as_json)
            return 0
        is_text = not (settings.as_json or settings.html)  # of a page, it is checked first that it can be written
        if is_text:
            sys.stdout.write(printable(look(dataset).begin_text()))
            sys.stdout.flush()
        found = _listen(dataset, settings)
    if is_text:
        sys.stdout.write(printable(f"\n{found.rest_text()}"))
    else:
        tell(found, as_json=settings.as_json)
    return 0


def _listen(dataset: Dataset, settings: Inspect) -> Inspection:
    """Measure how rows sound; with --html, write a page."""
    from concurrent.futures import ThreadPoolExecutor

    from synthcore.analysis import inspection
    from synthcore.analysis.audio import QUICK
    from synthcore.flows.running.bar import rows_shown
    from synthcore.vital.controls import installed

    ThreadPoolExecutor(1).submit(installed)  # meanwhile, a process of its own reads the synth's controls
    if not settings.html:
        with rows_shown("listening", min(QUICK, len(dataset))):
            return inspection.inspect(dataset)
    from synthcore.page.content import rows_heard
    from synthcore.page.writing import write_page

    with rows_shown("listening", rows_heard(len(dataset))):
        found = write_page(dataset, settings.html)
    say(f"page: {settings.html}")
    return found


def _compare(file: Place, other: Place, settings: Inspect) -> int:
    """Say how two datasets differ."""
    from synthcore.analysis import comparison
    from synthcore.flows.running.bar import rows_shown
    from synthcore.page.content import HEARD
    from synthcore.page.writing import write_comparison
    from synthcore.storage.dataset import Dataset
    from synthcore.storage.opening import damage_named

    with damage_named(file), Dataset(file) as first, damage_named(other), Dataset(other) as second:
        if settings.html:
            with rows_shown("listening", min(len(first), HEARD) + min(len(second), HEARD)):
                found = write_comparison(first, second, settings.html)
            say(f"page: {settings.html}")
        else:
            found = comparison.compare(first, second)
    tell(found, as_json=settings.as_json)
    return 0


def run_diff(settings: Diff) -> int:
    """Say how two datasets differ; 1 when they do."""
    from synthcore.analysis.differences import diff

    found = diff(settings.file, settings.other)
    tell(found, as_json=settings.as_json)
    return 0 if found.is_same else FAILED


def run_verify(settings: Verify) -> int:
    """Verify a dataset; 1 when a row differs."""
    from synthcore.flows.running.bar import rows_shown
    from synthcore.storage.dataset import Dataset
    from synthcore.storage.opening import damage_named
    from synthcore.verification import equivalence_trials, rerendering, trials

    verdict: trials.ActivityVerdict | equivalence_trials.EquivalencesVerdict | rerendering.Verdict
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        rows = len(dataset) if settings.all else min(settings.rows, len(dataset))
        if settings.activity:
            with rows_shown("moving controls", 2 * settings.controls * rows):
                verdict = trials.try_activity(
                    dataset, settings.rows_requested, controls=settings.controls, workers=settings.workers
                )
        elif settings.equivalences:
            with rows_shown("exchanging labels", rows):
                verdict = equivalence_trials.try_equivalences(
                    dataset, settings.rows_requested, workers=settings.workers
                )
        else:
            with rows_shown("verifying", rows):
                verdict = rerendering.verify(
                    dataset, settings.rows_requested, tolerance_db=settings.tolerance_db, workers=settings.workers
                )
    tell(verdict, as_json=settings.as_json)
    return 0 if verdict.holds else FAILED


def run_recipe(settings: WriteRecipe) -> int:
    """Write a recipe."""
    from synthcore.pipeline.continuing import require_new
    from synthcore.publishing import recipe
    from synthcore.storage.dataset import Dataset
    from synthcore.storage.opening import damage_named

    require_new(settings.output)
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        written = recipe.write_recipe(dataset, settings.output)
    tell(written, as_json=settings.as_json)
    return 0


def run_render(settings: RenderRecipe) -> int:
    """Render a recipe; 1 when a row differs where it shouldn't."""
    from synthcore.flows.running.bar import rows_shown
    from synthcore.pipeline.continuing import require_new
    from synthcore.publishing import recipe
    from synthcore.storage.dataset import Dataset
    from synthcore.storage.opening import damage_named

    require_new(settings.output)
    with damage_named(settings.file), Dataset(settings.file) as dataset, rows_shown("rendering", len(dataset)):
        made = recipe.render_recipe(dataset, settings.assets, settings.output, settings.workers)
    tell(made, as_json=settings.as_json)
    return 0 if made.holds or not made.same_machine_type else FAILED


def run_export(settings: Export) -> int:
    """Write rows as files."""
    from synthcore.publishing import export
    from synthcore.storage.dataset import Dataset
    from synthcore.storage.opening import damage_named

    with damage_named(settings.file), Dataset(settings.file) as dataset:
        exported = export.export_rows(dataset, settings.row, settings.output)
    tell(exported, as_json=settings.as_json)
    return 0


def run_cache(settings: CacheCommand) -> int:
    """List, prune or verify the cache; 1 when a shard is damaged."""
    from synthcore.base.places import require_none
    from synthcore.flows.running import environment
    from synthcore.pipeline import cache

    require_none(environment.home_obstacles(brings_server=False))
    from synthcore.tasks.records import read_records  # Prefect reads its own records; that needs no server

    records = read_records(settings.data_dir, settings.results_dir)
    if settings.action == "verify":
        verified = cache.verify(settings.data_dir, records)
        tell(verified, as_json=settings.as_json)
        return FAILED if verified.damaged else 0
    found = cache.survey(settings.data_dir, records)
    if settings.action == "list":
        tell(found, as_json=settings.as_json)
        return 0
    pruned = cache.prune(
        found,
        older_than=settings.older_than,
        spec=settings.spec,
        other_engines=settings.other_engines,
        dry_run=settings.dry_run,
    )
    tell(pruned, as_json=settings.as_json)
    return 0


def run_doctor(settings: Doctor) -> int:
    """Say what is wrong; 1 when something keeps datasets from being made."""
    from synthcore.flows.running import doctor

    found = doctor.diagnose(settings.data_dir, settings.results_dir, repairs=settings.repair)
    tell(found, as_json=settings.as_json)
    return 0 if found.is_healthy else FAILED


def run_deploy(settings: Deploy) -> int:
    """Write a file of deployments, and say what to run next."""
    from synthcore.flows.running import deployments

    tell(deployments.write(settings.output, settings.pool), as_json=settings.as_json)
    return 0


def run_up(settings: Up) -> int:
    """Start what isn't running yet, and say where it is."""
    from synthcore.flows.running import operation

    tell(operation.up(settings.port, say, settings.database), as_json=settings.as_json)
    return 0


def run_down(settings: Down) -> int:
    """Stop what `synthcore up` started."""
    from synthcore.flows.running import operation

    tell(operation.down(say), as_json=settings.as_json)
    return 0
