"""Make a dataset: plan -> render_shard (mapped, retried, cached) -> merge_shards (cached) -> summary.

With presets, they are downloaded and ingested first, by flows of their own. What most runs do without, such as these,
is imported where it is wanted: a run begins a tenth of a second sooner.

`python flows/generate.py --help` tells its flags; `synthcore generate` is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner

from synthcore.base.errors import DamagedShard, SpecError
from synthcore.base.places import require_places
from synthcore.base.quantities import count
from synthcore.engine.lending import at_most
from synthcore.engine.stopping import interruptible
from synthcore.estimates.room import require_possible
from synthcore.estimates.work import Work
from synthcore.flows.running.bar import rows_shown
from synthcore.flows.running.display import Display
from synthcore.flows.running.distribution import distribute
from synthcore.flows.running.form import described, settings_from
from synthcore.flows.running.runners import hand_out, task_runner
from synthcore.pipeline import library
from synthcore.pipeline.continuing import grown, require_continuable
from synthcore.pipeline.gaps import is_lost, split_outcomes, stop_if_all_failed
from synthcore.pipeline.laps import Laps
from synthcore.pipeline.shard import ShardPlan, plan_shards, supply
from synthcore.pipeline.summary import Summary
from synthcore.pipeline.tally import shard_rows, short_count
from synthcore.settings.models import (
    Approximate,
    CatalogFile,
    CommunityDirs,
    DataDir,
    DownloadPresets,
    Factory,
    Generate,
    GrowBy,
    Html,
    Output,
    RenderShards,
    Repos,
    RunSettings,
    Weights,
    Workers,
)
from synthcore.sources.collection import Collection
from synthcore.spec import (
    AcceptanceSpec,
    AudioSpec,
    DatasetSpec,
    FixedModulation,
    Rows,
    Seed,
    Tier,
    VariationCount,
    WavetablesFromTier,
)
from synthcore.storage.refs import DatasetRef, Gap, ShardRef
from synthcore.tasks.artifacts import draw_picture, link_page, list_findings, list_shards, show_picture, summarize
from synthcore.tasks.intact import redo_lost, run_intact
from synthcore.tasks.logs import show_logs
from synthcore.tasks.merge import Layout, merge_shards
from synthcore.tasks.shards import outcome, render_shard

SPEC, RUN = DatasetSpec(), RunSettings()  # the defaults are theirs


def run_name() -> str:
    """Name a run after what it makes, such as "tier2 20k seed 7"."""
    wishes = flow_run.parameters
    return f"tier{wishes['tier']} {short_count(count(wishes['n_samples']))} seed {wishes['seed']}"


@flow(name="generate", flow_run_name=run_name)
@described
def generate(
    tier: Tier = SPEC.tier,
    n_samples: Rows = SPEC.n_samples,
    output: Output = None,
    seed: Seed = SPEC.seed,
    workers: Workers | None = None,
    data_dir: DataDir | None = None,
    fixed_modulation: FixedModulation = SPEC.fixed_modulation,
    wavetables_from_tier: WavetablesFromTier = SPEC.wavetables_from_tier,
    catalog: CatalogFile = None,
    community_dir: CommunityDirs = (),
    factory: Factory = False,
    repos: Repos = False,
    approximate: Approximate = False,
    variations: VariationCount = SPEC.variations,
    audio: AudioSpec = SPEC.audio,
    acceptance: AcceptanceSpec = SPEC.acceptance,
    grow_by: GrowBy = 0,
    weights: Weights = 0,
    html: Html = None,
    run: RunSettings = RUN,
) -> Summary:
    """Make a dataset of (audio, parameters) pairs, or continue one.

    Returns
    -------
    Summary
        What was made, in numbers.

    Raises
    ------
    SpecError
        A parameter is out of range, the output can't be continued, or no preset could be read.
    DatasetError
        The catalog is none.
    DownloadError
        No repository could be had.
    IncompleteDataset
        Shards failed for good, by accident after accident or low acceptance.
    ServerGone
        The Prefect server no longer answers.
    SynthcoreError
        The disk is full.
    """
    settings, laps = settings_from(Generate, locals()), Laps()
    show_logs()
    require_places(settings.data_dir)
    catalog_digest = library.given_catalog(settings.catalog, settings.data_dir)
    if settings.html:
        from synthcore.page.writing import require_replaceable

        require_replaceable(settings.html)
    laps.end("start")
    presets, files = gather_presets(settings)
    laps.end("presets" if settings.has_presets else "start")
    spec = settings.spec_of(catalog_digest, presets.digest if presets else "")
    spec = grown(spec, settings.output_path, settings.grow_by)
    require_continuable(settings.output_path, spec, overwrite=settings.run.overwrite)
    plans = plan_shards(spec, settings.run.rows_per_shard, presets)
    work = Work.of(settings, spec, plans, lambda plan: supply(plan, settings.data_dir))
    tight = require_possible(work)

    with (
        environment.server_needed(),
        task_runner(settings) as runner,
        Display(plans, work) as display,
        interruptible(),
        at_most(settings.workers),
    ):
        if tight:
            display.say(f"{tight}: it may not fit")
        laps.end("start")
        if settings.run.distribute:  # afterwards, all shards are there
            distribute(plans, spec, settings, display)
        made = render_shards(plans, settings, runner, display)
        environment.require_server()
        list_shards(shard_rows(plans, made, display.tally.cached), len(plans))
        shards, gaps = split_outcomes(made, allow_partial=settings.run.allow_partial)
        laps.end("render")
        dataset = merge(plans, shards, gaps, spec, settings, runner, display)
        laps.end("merge")

    summary = Summary.of(
        spec,
        dataset,
        shards,
        gaps,
        cached=len(display.tally.cached),
        rows_rendered=display.tally.rows_rendered,
        seconds=laps.parts["render"] + laps.parts["merge"],
        data_dir=settings.data_dir,
        weights=weigh(dataset, settings),
        presets=files,
    )
    laps.end("weights" if settings.weights else "rest")
    summarize(summary)
    show_picture(draw_picture.with_options(result_storage=settings.results_dir)(dataset))
    if settings.html:
        publish_page(dataset, settings.html)
    laps.end("rest")
    return summary.model_copy(update={"parts": laps.parts})


def publish_page(dataset: DatasetRef, html: Path) -> None:
    """Write the page of what was made, and say where it is and what it found."""
    from synthcore.page.content import rows_heard
    from synthcore.tasks.inspection import write_page

    with rows_shown("listening", rows_heard(dataset.rows)):
        found = write_page(Path(dataset.path), html)
    list_findings(found)
    link_page(html)


def gather_presets(settings: Generate) -> tuple[Collection | None, dict[str, int]]:
    """Read the presets that rows are to be made from, after downloading those of the repositories if that is asked.

    Returns
    -------
    Collection or None
        None if no presets are asked for.
    dict of str to int
        What became of their files.
    """
    if not settings.has_presets:
        return None, {}
    from synthcore.flows.ingest_presets import ingest_presets

    folders = settings.community_dir
    if settings.repos:
        from synthcore.flows.download_presets import download_presets

        known = DownloadPresets(output=settings.data_dir / "community", data_dir=settings.data_dir)
        download_presets(
            output=known.output,
            sources=known.sources,
            refresh=settings.run.refreshes("clone"),
            limits=known.limits,
            data_dir=known.data_dir,
        )
        folders = (*folders, known.output)
    output = library.collection_of(folders, settings.factory, settings.approximate, settings.data_dir)
    library.forget_damaged(output)
    made = ingest_presets(
        folders=folders,
        factory=settings.factory,
        output=output,
        approximate=settings.approximate,
        refresh=settings.run.refreshes("ingest"),
        workers=settings.workers,
        data_dir=settings.data_dir,
    )
    presets = library.given_collection(Path(made.collection), settings.data_dir)
    if not presets.presets:
        where = ", ".join(map(str, folders)) or "the factory folders"
        raise SpecError(f"no preset could be read from {where}; {made.report_file} says why")
    return presets, made.report.totals


def weigh(dataset: DatasetRef, settings: Generate) -> int:
    """Compute importance weights, if that is asked; return how many rows they are of."""
    if not settings.weights:
        return 0
    from synthcore.flows.compute_weights import compute_weights

    weighed = compute_weights(
        output=Path(dataset.path),
        n_base=settings.weights,
        refresh=settings.run.refreshes("weights"),
        workers=settings.workers,
        data_dir=settings.data_dir,
    )
    return weighed.n_base


def render_shards(
    plans: list[ShardPlan], settings: Generate | RenderShards, runner: TaskRunner[Any], display: Display
) -> list[ShardRef | Gap]:
    """Render every shard that is not rendered yet, and those whose files are gone. One that fails leaves a gap."""
    made = render(plans, settings, runner, display, refresh=settings.run.refreshes("render"))
    return redo_lost(
        plans,
        made,
        is_lost=lambda one: is_lost(one, settings.data_dir),
        redo=lambda lost: render_again(lost, settings, runner, display),
    )


def render(
    plans: list[ShardPlan],
    settings: Generate | RenderShards,
    runner: TaskRunner[Any],
    display: Display,
    *,
    refresh: bool = False,
) -> list[ShardRef | Gap]:
    """Render shards side by side; cached ones are there already, unless refreshed."""
    task: Any = render_shard.with_options(
        retries=settings.run.retries, result_storage=settings.results_dir, refresh_cache=refresh
    )
    made: dict[int, ShardRef | Gap] = {}
    same = {"data_dir": settings.data_dir, "render_timeout": settings.run.render_timeout}
    for plan, future in hand_out(plans, runner, task, **same):
        one = made[plan.index] = outcome(plan, future)  # raises what ails all, while the others are being stopped
        stop_if_all_failed(list(made.values()))
        if isinstance(one, ShardRef):
            display.shard_done(plan, is_cached=future.state.name == "Cached" or not one.tries)
        else:
            display.shard_failed()
    return [made[plan.index] for plan in plans]


def render_again(
    lost: list[ShardPlan], settings: Generate | RenderShards, runner: TaskRunner[Any], display: Display
) -> list[ShardRef | Gap]:
    """Render shards that were cached, but whose files are gone or damaged."""
    for plan in lost:
        display.shard_lost(plan)
    return render(lost, settings, runner, display, refresh=True)


def merge(
    plans: list[ShardPlan],
    shards: list[ShardRef],
    gaps: list[Gap],
    spec: DatasetSpec,
    settings: Generate,
    runner: TaskRunner[Any],
    display: Display,
) -> DatasetRef:
    """Merge the shards. Reading every byte may find one damaged: it is rendered again, alone."""
    named = {plan.name: plan for plan in plans}
    place = {ref.name: i for i, ref in enumerate(shards)}
    join = merge_shards.with_options(result_storage=settings.results_dir, refresh_cache=settings.run.refreshes("merge"))
    while True:
        display.merging()
        try:
            return run_intact(
                join,
                shards,
                settings.output_path,
                settings.data_dir,
                spec,
                Layout(settings.run.merge, settings.run.chunk_rows),
                gaps,
            )
        except DamagedShard as damaged:
            plan = named.pop(damaged.name, None)
            if plan is None:  # rendered again already: the disk can't keep it
                raise
            mended, _ = split_outcomes(render_again([plan], settings, runner, display), allow_partial=False)
            shards[place[plan.name]] = mended[0]


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("generate", generate))
