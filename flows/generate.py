"""Make a dataset: plan -> render_shard (mapped, retried, cached) -> merge_shards (cached) -> summary.

Presets are downloaded and ingested first, by flows of their own. What most runs do without, such as these flows, is
imported where it is used: a run starts a tenth of a second sooner.

`python flows/generate.py --help` lists its flags; `synthcore generate` is the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from synthcore.flows.running import environment

environment.prepare()  # Prefect reads its surroundings once, when it is imported

from prefect import flow
from prefect.runtime import flow_run

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
from synthcore.flows.running.form import parameters_of
from synthcore.flows.running.runners import task_runner
from synthcore.flows.running.shard_renderer import ShardRenderer
from synthcore.pipeline import library
from synthcore.pipeline.continuing import grown, require_continuable
from synthcore.pipeline.gaps import split_outcomes
from synthcore.pipeline.laps import Laps
from synthcore.pipeline.shard import ShardPlan, plan_shards, supply
from synthcore.pipeline.summary import RunStats, Summary
from synthcore.pipeline.tally import Tally, shard_rows, short_count
from synthcore.settings.command import RunnerSettings
from synthcore.settings.generate import Generate
from synthcore.sources.collection import Collection
from synthcore.spec import DatasetSpec
from synthcore.storage.refs import DatasetRef, Gap, ShardRef
from synthcore.tasks.artifacts import draw_picture, link_page, list_findings, list_shards, show_picture, summarize
from synthcore.tasks.intact import run_intact
from synthcore.tasks.logs import show_logs
from synthcore.tasks.merge import Layout, merge_shards

#: The first parameters, in the order in which callers give them by position and the form shows them.
FIRST = (
    *("tier", "n_samples", "output", "seed", "workers", "data_dir", "fixed_modulation", "wavetables_from_tier"),
    *("catalog", "community_dir", "factory", "repos", "approximate", "variations"),
)


def run_name() -> str:
    """Name a run after what it makes, such as "tier2 20k seed 7"."""
    parameters = flow_run.parameters
    return f"tier{parameters['tier']} {short_count(count(parameters['n_samples']))} seed {parameters['seed']}"


@flow(name="generate", flow_run_name=run_name)
@parameters_of(Generate, first=FIRST)
def generate(settings: Generate) -> Summary:
    """Make a dataset of (audio, parameters) pairs, or continue one.

    Returns
    -------
    Summary
        What was made, in numbers.

    Raises
    ------
    SpecError
        A parameter is out of range, the priors aren't a file of them, the output can't be continued, or no preset could
        be read.
    DatasetError
        The catalog is not one.
    DownloadError
        No repository could be downloaded.
    IncompleteDataset
        Shards failed for good: accident after accident, or too few candidates accepted.
    ServerGone
        The Prefect server no longer answers.
    SynthcoreError
        The disk is full.
    """
    laps = Laps()
    show_logs()
    catalog_digest, priors = keep_given(settings)
    laps.end("start")
    presets, files = gather_presets(settings)
    laps.end("presets" if settings.has_presets else "start")
    work = plan_work(settings, catalog_digest, priors, presets)
    made = make_dataset(work, laps)
    stats = RunStats(
        cached=len(made.tally.cached),
        rows_rendered=made.tally.rows_rendered,
        seconds=laps.parts["render"] + laps.parts["merge"],
        data_dir=settings.data_dir,
        weights=weigh(made.dataset, settings),
        features=add_features(made.dataset, settings),
        presets=files,
    )
    summary = Summary.of(work.spec, made.dataset, made.shards, made.gaps, stats)
    laps.end("weights" if settings.weights else "features" if settings.with_features else "rest")
    publish(summary, made.dataset, settings)
    laps.end("rest")
    size = Path(made.dataset.path).stat().st_size  # with its features
    return summary.model_copy(update={"parts": laps.parts, "bytes": size})


def keep_given(settings: Generate) -> tuple[str, str]:
    """Keep the catalog and the priors that were given, after looking whether all can be written; name both."""
    require_places(settings.data_dir)
    if settings.html:
        from synthcore.page.writing import require_replaceable

        require_replaceable(settings.html)
    catalog_digest = library.given_catalog(settings.catalog, settings.data_dir)
    return catalog_digest, library.given_priors(settings.priors, settings.data_dir)


def gather_presets(settings: Generate) -> tuple[Collection | None, dict[str, int]]:
    """Read the presets that rows are to be made from; with `repos`, download the known ones first.

    Returns
    -------
    Collection or None
        None if no presets are requested.
    dict of str to int
        What became of their files.
    """
    if not settings.has_presets:
        return None, {}
    from synthcore.flows.ingest_presets import ingest_presets

    folders = settings.community_dir
    if settings.repos:
        folders = (*folders, download_known(settings))
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


def download_known(settings: Generate) -> Path:
    """Download the presets of the sources that download-presets is set to on this machine; return their folder."""
    from synthcore.flows.download_presets import download_presets
    from synthcore.settings.ingestion import DownloadPresets

    known = DownloadPresets(output=settings.data_dir / "community", data_dir=settings.data_dir)
    download_presets(
        output=known.output,
        sources=known.sources,
        refresh=settings.run.refreshes("clone"),
        limits=known.limits,
        data_dir=known.data_dir,
    )
    return known.output


def plan_work(settings: Generate, catalog_digest: str, priors: str, presets: Collection | None) -> Work:
    """Plan the shards of the dataset. An output that is there already must be its beginning."""
    spec = settings.spec_of(catalog_digest, presets.digest if presets else "", priors)
    spec = grown(spec, settings.output_path, settings.grow_by)
    require_continuable(settings.output_path, spec, overwrite=settings.run.overwrite)
    plans = plan_shards(spec, settings.run.rows_per_shard, presets)
    catalog, drawn_from = library.catalog(spec, settings.data_dir), library.priors(spec, settings.data_dir)
    return Work.of(settings, spec, plans, lambda plan: supply(plan, catalog, presets, drawn_from))


class RunResult(NamedTuple):
    """A dataset that was made, the shards it was merged from, what it lacks, and the tally of the run."""

    dataset: DatasetRef
    shards: list[ShardRef]
    gaps: list[Gap]
    tally: Tally


def make_dataset(work: Work, laps: Laps) -> RunResult:
    """Render the shards side by side, and merge them."""
    settings, spec, plans = work.settings, work.spec, list(work.plans)
    tight = require_possible(work)
    with (
        environment.server_needed(),
        task_runner(settings.run, settings.workers) as runner,
        Display(plans, work) as display,
        interruptible(),
        at_most(settings.workers),
    ):
        if tight:
            display.say(f"{tight}: it may not fit")
        laps.end("start")
        if settings.run.distribute:  # afterwards, all shards are there
            distribute(plans, spec, settings, display)
        renderer = ShardRenderer(settings, runner, display)
        made = renderer.render(plans)
        environment.require_server()
        list_shards(shard_rows(plans, made, display.tally.cached), len(plans))
        shards, gaps = split_outcomes(made, allow_partial=settings.run.allow_partial)
        laps.end("render")
        dataset = merge(plans, shards, gaps, spec, settings, renderer)
        laps.end("merge")
    return RunResult(dataset, shards, gaps, display.tally)


def merge(
    plans: list[ShardPlan],
    shards: list[ShardRef],
    gaps: list[Gap],
    spec: DatasetSpec,
    settings: Generate,
    renderer: ShardRenderer,
) -> DatasetRef:
    """Merge the shards. Reading every byte may find a damaged one, which alone is rendered again."""
    named = {plan.name: plan for plan in plans}
    place = {ref.name: i for i, ref in enumerate(shards)}
    join = merge_shards.with_options(result_storage=settings.results_dir, refresh_cache=settings.run.refreshes("merge"))
    while True:
        renderer.display.merging()
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
            if plan is None:  # it was rendered again already: the disk can't keep it
                raise
            mended, _ = split_outcomes(renderer.render_again([plan]), allow_partial=False)
            shards[place[plan.name]] = mended[0]


def weigh(dataset: DatasetRef, settings: Generate) -> int:
    """Compute importance weights if they are requested; return how many rows they are of."""
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


def add_features(dataset: DatasetRef, settings: Generate) -> tuple[str, ...]:
    """Compute the features that are requested; return their names."""
    if not settings.with_features:
        return ()
    from synthcore.flows.compute_features import compute_features

    computed = compute_features(
        file=Path(dataset.path),
        log_mel="log-mel" in settings.with_features,
        sketch="sketch" in settings.with_features,
        run=RunnerSettings(runner=settings.run.runner, runner_address=settings.run.runner_address),
        refresh="all" in settings.run.refresh,
        workers=settings.workers,
        data_dir=settings.data_dir,
    )
    return tuple(computed.features)


def publish(summary: Summary, dataset: DatasetRef, settings: Generate) -> None:
    """Show in Prefect's UI what was made, and write the page if one is requested."""
    summarize(summary)
    show_picture(draw_picture.with_options(result_storage=settings.results_dir)(dataset))
    if settings.html:
        publish_page(dataset, settings.html)


def publish_page(dataset: DatasetRef, html: Path) -> None:
    """Write the dataset's page, and show in Prefect's UI what it found and where it is."""
    from synthcore.page.content import rows_heard
    from synthcore.tasks.inspection import write_page

    with rows_shown("listening", rows_heard(dataset.rows)):
        found = write_page(Path(dataset.path), html)
    list_findings(found)
    link_page(html)


if __name__ == "__main__":
    from synthcore.flows.running.flow_commands import run_file

    sys.exit(run_file("generate", generate))
