"""The command line: `synthcore COMMAND`. Each command is a settings model, and a function that prints what came."""

from __future__ import annotations

import time

_BEGAN = [time.monotonic()]  # of this process, before anything else is imported; its first command takes it

import contextlib
import errno
import gc
import itertools
import json
import os
import signal
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from synthcore.base.errors import DownloadError, RenderError, ServerGone, SynthcoreError
from synthcore.base.places import require_places
from synthcore.base.spelling import meant
from synthcore.pipeline.laps import began

if TYPE_CHECKING:  # --version and --help do without
    from pathlib import Path

    from pydantic import BaseModel

    from synthcore.analysis.inspection import Inspection
    from synthcore.settings.datasets import ComputeWeights, Export, Inspect, RenderRecipe, Verify, WriteRecipe
    from synthcore.settings.generate import Generate
    from synthcore.settings.ingestion import DiscoverWavetables, DownloadPresets, Ingest
    from synthcore.settings.upkeep import CacheCommand, Completion, Deploy, Doctor, Down, Up
    from synthcore.storage.dataset import Dataset

USAGE = """usage: synthcore COMMAND ...

Datasets of (audio, parameters) pairs for inverse synthesis with Vital.

make
  generate          make a dataset, or continue one
  recipe            write a dataset without audio and other people's assets
  render            make a dataset again from its recipe
look and use
  inspect           say what is in a dataset
  verify            render rows again from their labels, and compare bit for bit
  export            write rows as a .wav and a .vital preset
  compute-weights   measure how much each control moves the sound
presets and wavetables
  download-presets  download the presets of public repositories and archives
  ingest            read presets into one file of patches
  discover-wt       make a catalog of the wavetables on this machine
this machine
  doctor            say what is wrong here, and what to do
  deploy            write our deployments into a project of yours
  cache             list, prune or verify what is cached on disk
  up, down          keep a server, all deployments and workers running; end them
  completion        print what makes a shell complete commands and flags

synthcore COMMAND --help tells a command's flags. To begin:

  synthcore generate -n 256 -o demo.h5
  synthcore inspect demo.h5
"""
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
#: Why it can't even be asked whether there is something at a path that someone named.
NOT_TO_BE_SEEN = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)


def main(arguments: list[str] | None = None, *, as_flow: bool = False) -> int:
    """Run one command; return the process's exit code.

    With `as_flow`, which `python flows/NAME.py` sets, a command that otherwise does without Prefect runs its flow, too.

    0 for success, 1 when a dataset or a render failed, 2 for input that a person can correct, 130 after Ctrl-C.
    """
    words = sys.argv[1:] if arguments is None else arguments
    began.set(_BEGAN.pop() if _BEGAN else time.monotonic())
    try:
        return _run(words, as_flow)
    except (RenderError, DownloadError) as error:
        return _complain(error, FAILED)
    except SynthcoreError as error:
        return _complain(error, BAD_INPUT)
    except ImportError as error:  # of a library that is damaged or missing: ours are tested
        return _complain(f"the installation is damaged: {error}; make setup installs it again", FAILED)
    except MemoryError:
        return _complain("out of memory: end other programs, or raise the limit (ulimit -v, ulimit -d)", FAILED)
    except KeyboardInterrupt:
        return _interrupted(words[0])
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None or error.errno not in NOT_TO_BE_SEEN:
            raise
        return _complain(f"can't use {error.filename}: {error.strerror}; name another place", BAD_INPUT)


def _run(words: list[str], as_flow: bool) -> int:
    if sys.platform == "win32":
        raise SynthcoreError("Vital is forked for every render, which Windows can't: run synthcore in WSL")
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(USAGE)
        return 0
    if words[0] == "--version":
        from importlib import metadata

        sys.stdout.write(f"synthcore {metadata.version('synthcore')}\n")
        return 0
    if words[0] not in COMMANDS:
        near = meant(words[0], COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        raise SynthcoreError(f"there is no command {words[0]!r}{near}")
    return _run_command(words, as_flow)


def _run_command(words: list[str], as_flow: bool) -> int:
    from pydantic_core import PydanticSerializationError

    from synthcore.settings.commands import help_of, model_of, parse

    command = (COMMANDS | FLOWS if as_flow else COMMANDS)[words[0]]
    model = model_of(words[0])
    if {"-h", "--help"} & set(itertools.takewhile(lambda word: word != "--", words)):
        sys.stdout.write(help_of(model))
        return 0
    try:
        code = command(parse(model, words[1:], lambda line: _say(f"synthcore: {line}")))
    except PydanticSerializationError as error:
        if KeyboardInterrupt.__name__ not in str(error):  # all that is left of one that came while it was at work
            raise
        return _interrupted(words[0])
    sys.stdout.flush()
    return code


def _interrupted(command: str) -> int:
    goes_on = "; run the same command again to continue" if command in CONTINUED else ""
    return _complain(f"interrupted{goes_on}", INTERRUPTED)


def _complain(what: object, code: int) -> int:
    _say(f"synthcore: {what}")
    return code


def _leave(gone: ServerGone) -> None:
    """End at once: otherwise Prefect tries for minutes to tell a server that is gone what became of each task."""
    from synthcore.engine import lending, stopping

    stopping.stop()
    time.sleep(5 * stopping.POLL_SECONDS)  # for those who render to clear away what they have half written
    lending.end_zygotes()
    _complain(gone, FAILED)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(FAILED)


def run_generate(settings: Generate) -> int:
    """Run the flow, and say what it made; or say what it would take."""
    if settings.dry_run:
        return _estimate(settings)
    from concurrent.futures import ThreadPoolExecutor

    from synthcore.engine.client import require_room
    from synthcore.estimates.room import may_be_too_large, require_possible
    from synthcore.estimates.work import get_ready, looked_at
    from synthcore.ingest.wavetables import places_to_search
    from synthcore.pipeline import library
    from synthcore.pipeline.continuing import grown, require_same_spec, require_writable
    from synthcore.spec import DatasetSpec

    require_places(settings.data_dir)
    require_writable(settings.output_path)
    require_room(DatasetSpec(audio=settings.audio, acceptance=settings.acceptance).render_format)
    if settings.html:
        from synthcore.page.writing import require_replaceable

        require_replaceable(settings.html)
    if settings.community_dir:
        places_to_search((), wished=settings.community_dir)  # what isn't there needs no server
    spec = None
    if not settings.has_presets:  # else it is known only when they have been read
        spec = settings.spec_of(library.given_catalog(settings.catalog, settings.data_dir), "")
        spec = grown(spec, settings.output_path, settings.grow_by)
        require_same_spec(settings.output_path, spec, overwrite=settings.run.overwrite)
        if may_be_too_large(settings):  # else the flow looks, which has planned its shards
            require_possible(looked_at(settings)[0])
    ready = ThreadPoolExecutor(1).submit(get_ready, settings, spec)  # while Prefect is imported here
    _say(f"data directory: {settings.data_dir}")
    with _prefect_ready(keep=settings.keep):
        from synthcore.flows.generate import generate

        ready.result()
    summary = _call(generate, settings, without={"catalog_digest", "presets_digest", "dry_run"})
    if settings.html:
        _say(f"page: {settings.html}")
    _tell(summary.ended(time.monotonic() - began.get()), as_json=settings.as_json)
    return 0


def _estimate(settings: Generate) -> int:
    """Say what a dataset will take, after rendering for some seconds if nothing is known of its like."""
    from synthcore.engine.client import require_room
    from synthcore.estimates.estimate import estimate
    from synthcore.spec import DatasetSpec

    require_places(settings.data_dir)
    require_room(DatasetSpec(audio=settings.audio, acceptance=settings.acceptance).render_format)
    _tell(estimate(settings), as_json=settings.as_json)
    return 0


def run_inspect(settings: Inspect) -> int:
    """Say what is in a dataset: at once what needs no audio, and then what is heard."""
    from synthcore.analysis.overview import look
    from synthcore.storage.dataset import Dataset, damage_named

    if settings.other:
        return _compare(settings.file, settings.other, settings)
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        if settings.row:
            from synthcore.analysis.words import describe

            told = [describe(dataset, row, everything=settings.all) for row in settings.row]
            _tell_each(told, as_json=settings.as_json)
            return 0
        is_telling = not (settings.as_json or settings.html)  # a page that can't be written is refused first
        if is_telling:
            sys.stdout.write(printable(look(dataset).begin_text()))
            sys.stdout.flush()
        found = _listen(dataset, settings)
    if is_telling:
        sys.stdout.write(printable(f"\n{found.rest_text()}"))
    else:
        _tell(found, as_json=settings.as_json)
    return 0


def _listen(dataset: Dataset, settings: Inspect) -> Inspection:
    """Hear rows, and write a page if one is asked for."""
    from concurrent.futures import ThreadPoolExecutor

    from synthcore.analysis import inspection
    from synthcore.analysis.audio import QUICK
    from synthcore.flows.running.bar import rows_shown
    from synthcore.vital.controls import installed

    ThreadPoolExecutor(1).submit(installed)  # a process of its own looks at the synth meanwhile
    if not settings.html:
        with rows_shown("listening", min(QUICK, len(dataset))):
            return inspection.inspect(dataset)
    from synthcore.page.content import rows_heard
    from synthcore.page.writing import write_page

    with rows_shown("listening", rows_heard(len(dataset))):
        found = write_page(dataset, settings.html)
    _say(f"page: {settings.html}")
    return found


def _compare(file: Path, other: Path, settings: Inspect) -> int:
    """Say how two datasets differ."""
    from synthcore.analysis import comparison
    from synthcore.flows.running.bar import rows_shown
    from synthcore.page.content import HEARD
    from synthcore.page.writing import write_comparison
    from synthcore.storage.dataset import Dataset, damage_named

    with damage_named(file), Dataset(file) as first, damage_named(other), Dataset(other) as second:
        if settings.html:
            with rows_shown("listening", min(len(first), HEARD) + min(len(second), HEARD)):
                found = write_comparison(first, second, settings.html)
            _say(f"page: {settings.html}")
        else:
            found = comparison.compare(first, second)
    _tell(found, as_json=settings.as_json)
    return 0


def run_inspect_flow(settings: Inspect) -> int:
    """Run the flow, and say what is in a dataset."""
    from synthcore.storage.dataset import Dataset

    for file in filter(None, (settings.file, settings.other)):
        Dataset(file).close()  # what is not a dataset needs no server
    with _prefect_ready():
        from synthcore.flows.inspect_dataset import inspect_dataset

    found = _call(inspect_dataset, settings)
    _tell_each(found if isinstance(found, list) else [found], as_json=settings.as_json)
    return 0


def run_verify(settings: Verify) -> int:
    """Verify a dataset; 1 when a row differs."""
    from synthcore.flows.running.bar import rows_shown
    from synthcore.storage.dataset import Dataset, damage_named
    from synthcore.verification import rerendering, trials

    verdict: trials.ActivityVerdict | rerendering.Verdict
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        rows = len(dataset) if settings.all else min(settings.rows, len(dataset))
        if settings.activity:
            with rows_shown("moving controls", 2 * settings.controls * rows):
                verdict = trials.try_activity(
                    dataset, settings.rows_requested, controls=settings.controls, workers=settings.workers
                )
        else:
            with rows_shown("verifying", rows):
                verdict = rerendering.verify(
                    dataset, settings.rows_requested, tolerance_db=settings.tolerance_db, workers=settings.workers
                )
    _tell(verdict, as_json=settings.as_json)
    return 0 if verdict.holds else FAILED


def run_verify_flow(settings: Verify) -> int:
    """Run the flow, and say what it found; 1 when a row differs."""
    from synthcore.storage.dataset import Dataset

    Dataset(settings.file).close()  # what is not a dataset needs no server
    with _prefect_ready():
        from synthcore.flows.verify import verify
        from synthcore.verification.rerendering import Unverified

    try:
        verdict = _call(verify, settings)
    except Unverified as unverified:
        verdict = unverified.verdict
    _tell(verdict, as_json=settings.as_json)
    return 0 if verdict.holds else FAILED


def run_discover_wavetables(settings: DiscoverWavetables) -> int:
    """Run the flow, and say what it found."""
    from synthcore.ingest.wavetables import places_to_search

    require_places(settings.data_dir)
    places_to_search((), wished=(*settings.extra_dir, *settings.extra_file))  # what isn't there needs no server
    with _prefect_ready(keep=settings.keep):
        from synthcore.flows.discover_wavetables import discover_wavetables

    _tell(_call(discover_wavetables, settings), as_json=settings.as_json)
    return 0


def run_download_presets(settings: DownloadPresets) -> int:
    """Run the flow, and say what became of each source; 1 when too many failed."""
    require_places(settings.data_dir)
    with _prefect_ready(keep=settings.keep):
        from synthcore.flows.download_presets import download_presets
        from synthcore.ingest.download import IncompleteDownload

    code = 0
    try:
        report = _call(download_presets, settings)
    except IncompleteDownload as incomplete:
        report, code = incomplete.report, _complain(incomplete, FAILED)
    _tell(report, as_json=settings.as_json)
    return code


def run_ingest(settings: Ingest) -> int:
    """Run the flow, and say what became of each preset; 1 when none was accepted."""
    from synthcore.ingest.collecting import require_folders

    require_places(settings.data_dir)
    require_folders(settings.folders)  # what isn't there needs no server
    with _prefect_ready(keep=settings.keep):
        from synthcore.flows.ingest_presets import ingest_presets

    ingested = _call(ingest_presets, settings)
    _tell(ingested, as_json=settings.as_json)
    total = ingested.report.totals
    if total["accepted"]:
        return 0
    others = f"; --approximate takes {total['approximate']}, which Vital plays differently" * bool(total["approximate"])
    return _complain(f"there is no preset in it that could be accepted{others}", FAILED)


def run_compute_weights(settings: ComputeWeights) -> int:
    """Run the flow, and say what it measured."""
    from synthcore.analysis import importance

    require_places(settings.data_dir)
    importance.plan(settings.output, settings.n_base)  # what has no weights needs no server
    with _prefect_ready(keep=settings.keep):
        from synthcore.flows.compute_weights import compute_weights

    _tell(_call(compute_weights, settings), as_json=settings.as_json)
    return 0


def run_recipe(settings: WriteRecipe) -> int:
    """Write a recipe."""
    from synthcore.pipeline.continuing import require_new
    from synthcore.publishing import recipe
    from synthcore.storage.dataset import Dataset, damage_named

    require_new(settings.output)
    with damage_named(settings.file), Dataset(settings.file) as dataset:
        written = recipe.write_recipe(dataset, settings.output)
    _tell(written, as_json=settings.as_json)
    return 0


def run_render(settings: RenderRecipe) -> int:
    """Render a recipe; 1 when a row differs where it shouldn't."""
    from synthcore.flows.running.bar import rows_shown
    from synthcore.pipeline.continuing import require_new
    from synthcore.publishing import recipe
    from synthcore.storage.dataset import Dataset, damage_named

    require_new(settings.output)
    with damage_named(settings.file), Dataset(settings.file) as dataset, rows_shown("rendering", len(dataset)):
        made = recipe.render_recipe(dataset, settings.assets, settings.output, settings.workers)
    _tell(made, as_json=settings.as_json)
    return 0 if made.holds or not made.same_machine_type else FAILED


def run_export(settings: Export) -> int:
    """Write rows as files."""
    from synthcore.publishing import export
    from synthcore.storage.dataset import Dataset, damage_named

    with damage_named(settings.file), Dataset(settings.file) as dataset:
        exported = export.export_rows(dataset, settings.row, settings.output)
    _tell(exported, as_json=settings.as_json)
    return 0


def run_cache(settings: CacheCommand) -> int:
    """List, prune or verify the cache; 1 when a shard is damaged."""
    from synthcore.pipeline import cache
    from synthcore.tasks.records import read_records  # Prefect reads its own records; that needs no server

    records = read_records(settings.data_dir, settings.results_dir)
    code = 0
    found: cache.Cache | cache.PruneResult | cache.Verified
    if settings.action == "verify":
        found = cache.verify(settings.data_dir, records)
        code = FAILED if found.damaged else 0
    else:
        found = cache.survey(settings.data_dir, records)
    if settings.action == "prune" and isinstance(found, cache.Cache):
        limits = {name: getattr(settings, name) for name in ("older_than", "spec", "other_engines", "dry_run")}
        found = cache.prune(found, **limits)
    _tell(found, as_json=settings.as_json)
    return code


def run_doctor(settings: Doctor) -> int:
    """Say what is wrong; 1 when something stands in the way of a run."""
    from synthcore.flows.running import doctor

    found = doctor.diagnose(settings.data_dir, settings.results_dir, repairs=settings.repair)
    _tell(found, as_json=settings.as_json)
    return 0 if found.is_healthy else FAILED


def run_deploy(settings: Deploy) -> int:
    """Write the deployments, and say what to run next."""
    from synthcore.flows.running import deployments

    _tell(deployments.write(settings.output, settings.pool), as_json=settings.as_json)
    return 0


def run_up(settings: Up) -> int:
    """Start what isn't running, and say where it is."""
    from synthcore.flows.running import operation

    _tell(operation.up(settings.port, _say), as_json=settings.as_json)
    return 0


def run_down(settings: Down) -> int:
    """End what was started here."""
    from synthcore.flows.running import operation

    _tell(operation.down(), as_json=settings.as_json)
    return 0


def run_completion(settings: Completion) -> int:
    """Print a script for a shell."""
    from synthcore.settings import completion
    from synthcore.settings.commands import models

    script = completion.script(settings.shell, {model.command: model for model in models()})
    sys.stdout.write(json.dumps({"shell": settings.shell, "script": script}) + "\n" if settings.as_json else script)
    return 0


@contextlib.contextmanager
def _prefect_ready(*, keep: bool | None = None) -> Iterator[None]:
    """Have a Prefect server ready. Only within may a flow be imported."""
    # The run speaks for itself here; Prefect's own log goes to its server. Set the variable to see it as well.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")  # each event that a server doesn't take
    if "prefect" in sys.modules:  # a flow's file imported it before it came here
        from prefect.logging.configuration import setup_logging

        setup_logging()
    gc.disable()  # importing makes half a million objects, and none of them is rubbish
    try:
        from synthcore.flows.running import environment
        from synthcore.flows.running.form import settings_from
        from synthcore.settings.common import Common

        _say(environment.prepare(keep=settings_from(Common, {}).keep if keep is None else keep))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: children and server with it
        environment.on_server_gone = _leave
        yield
        environment.require_ready()
    finally:
        gc.freeze()  # and it stays: to look through it takes 0.3 s, before the first task and every now and then
        gc.enable()


def _call(flow: Callable[..., Any], settings: BaseModel, without: Collection[str] = ()) -> Any:
    """Run a flow with what was asked for; say so if the server that it reports to goes away."""
    from synthcore.flows.running import environment

    names = type(settings).model_fields.keys() - {"as_json", "keep", *without}
    with environment.server_needed(), environment.own_server_watched(_leave):
        return flow(**{name: getattr(settings, name) for name in names})


def _tell(report: Any, *, as_json: bool) -> None:
    sys.stdout.write(report.model_dump_json() + "\n" if as_json else printable(report.to_text()))


def _tell_each(reports: list[Any], *, as_json: bool) -> None:
    """Tell one report, or several: as JSON still one document."""
    if as_json and len(reports) > 1:
        sys.stdout.write(f"[{','.join(report.model_dump_json() for report in reports)}]\n")
        return
    for report in reports:
        _tell(report, as_json=as_json)


def _say(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")


def printable(text: str) -> str:
    """Replace what commands a terminal: a name in a file may be anybody's."""
    commands = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs")} - {"\n"}
    return text.translate({ord(c): "\N{REPLACEMENT CHARACTER}" for c in commands})


#: What each command does. Its settings have their home in `synthcore.settings.commands`.
COMMANDS: dict[str, Callable[[Any], int]] = {
    "generate": run_generate,
    "inspect": run_inspect,
    "verify": run_verify,
    "discover-wt": run_discover_wavetables,
    "download-presets": run_download_presets,
    "ingest": run_ingest,
    "compute-weights": run_compute_weights,
    "recipe": run_recipe,
    "render": run_render,
    "export": run_export,
    "cache": run_cache,
    "doctor": run_doctor,
    "deploy": run_deploy,
    "up": run_up,
    "down": run_down,
    "completion": run_completion,
}
#: Flows of commands that do without Prefect.
FLOWS: dict[str, Callable[[Any], int]] = {
    "inspect": run_inspect_flow,
    "verify": run_verify_flow,
}
CONTINUED = ("generate", "download-presets", "ingest", "compute-weights")  #: they keep what they have done

if __name__ == "__main__":
    sys.exit(main())
