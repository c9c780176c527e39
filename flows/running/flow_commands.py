"""Commands that run a flow. Each is given a function that imports it, to be called once Prefect may be imported."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synthcore.base.addresses import local
from synthcore.base.places import require_places
from synthcore.flows.running.command import (
    FAILED,
    INTERRUPTED,
    Act,
    call_flow,
    complain,
    exit_code_of,
    prefect_ready,
    run,
    say,
    tell,
    tell_each,
)
from synthcore.pipeline.laps import began

if TYPE_CHECKING:  # --version and --help do without
    from synthcore.settings.datasets import Compare, ComputeWeights, Features, Inspect, Verify
    from synthcore.settings.evaluation import Evaluate
    from synthcore.settings.generate import Generate
    from synthcore.settings.ingestion import DiscoverWavetables, DownloadPresets, FitPriors, Ingest
    from synthcore.settings.matching import Match
    from synthcore.settings.publishing import Import, Publish
    from synthcore.spec import DatasetSpec

Load = Callable[[], Callable[..., Any]]  #: imports a flow


def run_file(command: str, flow: Callable[..., Any]) -> int:
    """Run the flow of a file, `python flows/NAME.py FLAGS`, as its command does; return the exit code."""
    return exit_code_of(command, lambda: run(command, with_flow(command, lambda: flow), sys.argv[1:]))


def with_flow(command: str, load: Load) -> Act:
    """What a command does, given the way to import its flow."""
    return lambda settings: FLOW_COMMANDS[command](settings, load)


def run_generate(settings: Generate, load: Load) -> int:
    """Run the flow, and say what it made; or say what it would take, or render a part of it without the flow."""
    if settings.dry_run:
        return _estimate(settings)
    if settings.part:
        return _render_part(settings, settings.part)
    from concurrent.futures import ThreadPoolExecutor

    from synthcore.estimates.work import get_ready

    spec = _possible_spec(settings)
    ready = ThreadPoolExecutor(1).submit(get_ready, settings, spec)  # while Prefect is imported here
    say(f"data directory: {settings.data_dir}")
    with prefect_ready(keep=settings.keep):
        generate = load()
        ready.result()
    summary = call_flow(generate, settings, without={"catalog_digest", "presets_digest", "dry_run", "part"})
    if settings.html:
        say(f"page: {settings.html}")
    tell(summary.ended(time.monotonic() - began.get()), as_json=settings.as_json)
    return 0


def _possible_spec(settings: Generate) -> DatasetSpec | None:
    """Refuse what can't be made before a server starts; give the spec, unless presets must be read for it first."""
    from synthcore.estimates.room import may_be_too_large, require_possible
    from synthcore.estimates.work import looked_at
    from synthcore.ingest.wavetables import places_to_search
    from synthcore.pipeline import library
    from synthcore.pipeline.continuing import grown, require_same_spec, require_writable

    require_places(settings.data_dir)
    require_writable(settings.output_path)
    _require_room(settings)
    if settings.html:
        from synthcore.page.writing import require_replaceable

        require_replaceable(settings.html)
    if settings.community_dir:
        places_to_search((), requested=settings.community_dir)
    if settings.has_presets:
        return None
    priors = library.given_priors(settings.priors, settings.data_dir)
    spec = settings.spec_of(library.given_catalog(settings.catalog, settings.data_dir), "", priors)
    spec = grown(spec, settings.output_path, settings.grow_by)
    require_same_spec(settings.output_path, spec, overwrite=settings.run.overwrite)
    if may_be_too_large(settings):  # else the flow looks, which has planned its shards
        require_possible(looked_at(settings)[0])
    return spec


def _estimate(settings: Generate) -> int:
    """Say what a dataset will take, after rendering for some seconds if nothing is known of its like."""
    from synthcore.estimates.estimate import estimate

    require_places(settings.data_dir)
    _require_room(settings)
    tell(estimate(settings, say), as_json=settings.as_json)
    return 0


def _render_part(settings: Generate, part: str) -> int:
    """Render a part of a dataset's shards, without a server: hundreds of jobs may do so side by side."""
    from synthcore.base.errors import SpecError
    from synthcore.estimates.work import looked_at
    from synthcore.pipeline import library
    from synthcore.pipeline.part import PartRenderer

    _possible_spec(settings)
    library.given_catalog(settings.catalog, settings.data_dir)
    library.given_priors(settings.priors, settings.data_dir)
    work, _ = looked_at(settings)
    if settings.has_presets and not work.spec.presets_digest:
        raise SpecError("presets are read by a whole run only: make one first with -n 1 and another output")
    how = settings.run
    renderer = PartRenderer(settings.data_dir, settings.workers, how.render_timeout, how.retries)
    tell(renderer.render(work.plans, part, say), as_json=settings.as_json)
    return 0


def _require_room(settings: Generate) -> None:
    """Refuse sounds too long to be rendered on this machine."""
    from synthcore.engine.client import require_room
    from synthcore.spec import DatasetSpec

    require_room(DatasetSpec(audio=settings.audio, acceptance=settings.acceptance).render_format)


def run_inspect(settings: Inspect, load: Load) -> int:
    """Run the flow, and say what is in a dataset."""
    from synthcore.storage.dataset import Dataset

    for file in (settings.file, settings.other):
        if file:
            Dataset(file).close()  # what is not a dataset needs no server
    if settings.near and settings.html:
        from synthcore.page.writing import require_replaceable
        from synthcore.pipeline import comparing

        require_replaceable(settings.html)
        comparing.look(local(settings.file), settings.near, ())
    with prefect_ready():
        inspect_dataset = load()
    found = call_flow(inspect_dataset, settings)
    if settings.html:
        say(f"page: {settings.html}")
    tell_each(found if isinstance(found, list) else [found], as_json=settings.as_json)
    return 0


def run_compare(settings: Compare, load: Load) -> int:
    """Run the flow, and say how near the two sides are."""
    from synthcore.pipeline import comparing

    require_places(settings.data_dir)
    comparing.look(local(settings.file), settings.other, settings.notes)  # what can't be compared needs no server
    if settings.html:
        from synthcore.page.writing import require_replaceable

        require_replaceable(settings.html)
    with prefect_ready(keep=settings.keep):
        compare = load()
    found = call_flow(compare, settings)
    if settings.html:
        say(f"page: {settings.html}")
    tell(found, as_json=settings.as_json)
    return 0


def run_match(settings: Match, load: Load) -> int:
    """Run the flow, and say what it found; 130 where Ctrl-C ended the search, whose best is kept."""
    from synthcore.evaluation import matching
    from synthcore.publishing.matches import require_empty

    require_places(settings.data_dir)
    require_empty(settings.output)
    matching.look(settings.sound, settings.dataset, settings.wanted)  # what can't be matched needs no server
    with prefect_ready(keep=settings.keep):
        match = load()
    found = call_flow(match, settings)
    say(f"page: {found.page}")
    tell(found, as_json=settings.as_json)
    return complain("interrupted; the best so far was written", INTERRUPTED) if found.is_interrupted else 0


def run_evaluate(settings: Evaluate, load: Load) -> int:
    """Run the flow, and say how good the answers are."""
    from synthcore.evaluation.baselines import look

    require_places(settings.data_dir)
    look(settings.choice)  # what can't be evaluated needs no server
    if settings.html:
        from synthcore.page.writing import require_replaceable

        require_replaceable(settings.html)
    with prefect_ready(keep=settings.keep):
        evaluate = load()
    found = call_flow(evaluate, settings)
    if settings.html:
        say(f"page: {settings.html}")
    tell(found, as_json=settings.as_json)
    return 0


def run_verify(settings: Verify, load: Load) -> int:
    """Run the flow, and say what it found; 1 when a row differs."""
    from synthcore.storage.dataset import Dataset

    Dataset(settings.file).close()  # what is not a dataset needs no server
    with prefect_ready():
        verify = load()
        from synthcore.verification.rerendering import Unverified

    try:
        verdict = call_flow(verify, settings)
    except Unverified as unverified:
        verdict = unverified.verdict
    tell(verdict, as_json=settings.as_json)
    return 0 if verdict.holds else FAILED


def run_discover_wavetables(settings: DiscoverWavetables, load: Load) -> int:
    """Run the flow, and say what it found."""
    from synthcore.ingest.wavetables import places_to_search

    require_places(settings.data_dir)
    places_to_search((), requested=(*settings.extra_dir, *settings.extra_file))  # what isn't there needs no server
    with prefect_ready(keep=settings.keep):
        discover_wavetables = load()
    tell(call_flow(discover_wavetables, settings), as_json=settings.as_json)
    return 0


def run_fit_priors(settings: FitPriors, load: Load) -> int:
    """Run the flow, and say what it wrote."""
    from synthcore.ingest.collecting import require_folders

    require_places(settings.data_dir)
    require_folders(settings.folders)  # what isn't there needs no server
    with prefect_ready(keep=settings.keep):
        fit_priors = load()
    tell(call_flow(fit_priors, settings), as_json=settings.as_json)
    return 0


def run_download_presets(settings: DownloadPresets, load: Load) -> int:
    """Run the flow, and say what became of each source; 1 when too many failed."""
    require_places(settings.data_dir)
    with prefect_ready(keep=settings.keep):
        download_presets = load()
        from synthcore.ingest.download import IncompleteDownload

    code = 0
    try:
        report = call_flow(download_presets, settings)
    except IncompleteDownload as incomplete:
        report, code = incomplete.report, complain(incomplete, incomplete.exit_code)
    tell(report, as_json=settings.as_json)
    return code


def run_ingest(settings: Ingest, load: Load) -> int:
    """Run the flow, and say what became of each preset; 1 when none was accepted."""
    from synthcore.ingest.collecting import require_folders

    require_places(settings.data_dir)
    require_folders(settings.folders)  # what isn't there needs no server
    with prefect_ready(keep=settings.keep):
        ingest_presets = load()
    ingested = call_flow(ingest_presets, settings)
    tell(ingested, as_json=settings.as_json)
    total = ingested.report.totals
    if total["accepted"]:
        return 0
    others = f"; --approximate takes {total['approximate']}, which Vital plays differently" * bool(total["approximate"])
    return complain(f"none of the presets could be accepted{others}", FAILED)


def run_compute_weights(settings: ComputeWeights, load: Load) -> int:
    """Run the flow, and say what it measured."""
    from synthcore.analysis import importance

    require_places(settings.data_dir)
    importance.plan(settings.output, settings.n_base)  # a file that can't have weights needs no server
    with prefect_ready(keep=settings.keep):
        compute_weights = load()
    tell(call_flow(compute_weights, settings), as_json=settings.as_json)
    return 0


def run_features(settings: Features, load: Load) -> int:
    """Run the flow, and say what it stored."""
    from synthcore.pipeline import features

    require_places(settings.data_dir)
    features.plan(settings.file, features.specs_of(settings.file, settings.specs), settings.data_dir)
    with prefect_ready(keep=settings.keep):
        compute_features = load()
    tell(call_flow(compute_features, settings), as_json=settings.as_json)
    return 0


def run_publish(settings: Publish, load: Load) -> int:
    """Run the flow, and say what was published."""
    from synthcore.publishing import planning
    from synthcore.publishing.uploading import require_free

    require_places(settings.data_dir)
    require_free(settings.output)
    form = planning.Form.model_validate(settings)
    planning.plan(settings.file, form, settings.workers)  # what can't be published needs no server
    with prefect_ready(keep=settings.keep):
        publish = load()
    tell(call_flow(publish, settings), as_json=settings.as_json)
    return 0


def run_import(settings: Import, load: Load) -> int:
    """Run the flow, and say what was made."""
    from synthcore.pipeline.continuing import require_new
    from synthcore.publishing.publication import read_publication

    require_places(settings.data_dir)
    require_new(settings.output)
    read_publication(settings.folder)  # what isn't published needs no server
    with prefect_ready(keep=settings.keep):
        import_dataset = load()
    tell(call_flow(import_dataset, settings), as_json=settings.as_json)
    return 0


#: What each command does. `inspect` and `verify` run a flow only from their files.
FLOW_COMMANDS: dict[str, Callable[[Any, Load], int]] = {
    "generate": run_generate,
    "inspect": run_inspect,
    "compare": run_compare,
    "match": run_match,
    "evaluate": run_evaluate,
    "verify": run_verify,
    "discover-wt": run_discover_wavetables,
    "fit-priors": run_fit_priors,
    "download-presets": run_download_presets,
    "ingest": run_ingest,
    "compute-weights": run_compute_weights,
    "features": run_features,
    "publish": run_publish,
    "import": run_import,
}
