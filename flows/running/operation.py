"""Operating: a Prefect server, its work pools, our deployments and a worker for each pool, kept in the background.

What was started is recorded with its command, so that `down` ends that and nothing else. One `up` or `down` at a time
works with the record, from reading it to its last change: of two at once, each would start programs that the other's
record doesn't name. The rest is Prefect's: its own commands serve, deploy and work.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from synthcore.base.atomic import atomic_path, one_at_a_time
from synthcore.base.databases import Database
from synthcore.base.errors import SynthcoreError
from synthcore.base.places import require_none
from synthcore.flows.running import environment, programs, registration, server
from synthcore.flows.running.database import require_usable
from synthcore.flows.running.programs import STOP_SECONDS, Program, log_of
from synthcore.flows.running.server import last_line

#: The workers that are kept, and the flags of each. The pools are those that prefect.yaml deploys to; of runs that
#: render shards one at a time, as each takes all cores.
WORKERS = {"worker": ("--pool", "local"), "render-worker": ("--pool", "render", "--limit", "1")}
POOLS = tuple(pool for _, pool, *_ in WORKERS.values())
START_SECONDS = 180.0  #: for a server on a machine that has never started one


class Operation(BaseModel):
    """What runs in the background, or what ran."""

    model_config = ConfigDict(frozen=True)

    api: str
    database: str = ""  #: without its password; "" for the one that Prefect's own settings name, or have by default
    programs: tuple[Program, ...] = ()

    @property
    def ui(self) -> str:
        """The address for a browser."""
        return self.api.removesuffix("/api")

    def has(self, name: str) -> bool:
        """Whether a program of that name was started here."""
        return any(program.name == name for program in self.programs)

    def to_text(self) -> str:
        """Say where it is and what to run next."""
        database = f"database        {self.database}\n" if self.database else ""
        return f"""
Prefect server  {self.ui}
{database}logs            {environment.started_file().parent}

next:
  {_typed("prefect")} deployment run generate/tier1-1k -p n_samples=600 --watch
  {_typed("synthcore")} generate --tier 2 -n 600
  {_typed("synthcore")} down
"""


class DownResult(BaseModel):
    """What `down` ended."""

    model_config = ConfigDict(frozen=True)

    ended: tuple[str, ...]

    def to_text(self) -> str:
        """Say it, for a terminal."""
        return (
            f"ended: {', '.join(self.ended)}\n" if self.ended else "nothing to end: no server or worker of ours runs\n"
        )


def up(port: int, say: Callable[[str], None], database: Database | None = None) -> Operation:
    """Start what isn't running yet: server, pools, deployments, workers.

    Parameters
    ----------
    port : int
        Of the server.
    say : callable
        Takes a line when something begins that takes a while.
    database : Database, optional
        Of the server. By default Prefect's own settings name it, or it is a file in Prefect's home.

    Raises
    ------
    SynthcoreError
        Another server or database is in use, or something doesn't start.
    """
    require_none(environment.home_obstacles(brings_server=True))
    with _record_held(say):
        return _start_missing(port, say, database)


def _start_missing(port: int, say: Callable[[str], None], database: Database | None) -> Operation:
    previous = environment.kept_api()  # may have died since
    now = _still_running() or Operation(api=f"http://127.0.0.1:{port}/api", database=str(database or ""))
    if now.api != f"http://127.0.0.1:{port}/api":
        raise SynthcoreError(f"synthcore keeps a server at {now.ui} already; end it with synthcore down first")
    if os.environ.get("PREFECT_API_URL", now.api) != now.api:
        raise SynthcoreError(f"PREFECT_API_URL names {os.environ['PREFECT_API_URL']}, not {now.api}: unset it first")
    _require_same_database(now, str(database or ""))
    _set_environment(now.api, port)
    now = _serve(now, port, say, database)
    if not environment.has_database(now.api):
        raise SynthcoreError(f"the database of the server at {now.ui} doesn't answer: start it, then run this again")
    say("deploying")
    registration.create_pools(POOLS)
    registration.deploy()
    registration.watch_for_killed_runs()
    now = _work(now, say)
    registration.use_in_profile(now.api, instead_of=previous)
    return now


def down(say: Callable[[str], None]) -> DownResult:
    """End what `up` started, workers first, each with all that it started; and the server that commands share.

    Parameters
    ----------
    say : callable
        Takes a line if this waits for another `up` or `down`.

    Raises
    ------
    SynthcoreError
        Prefect's home can't be read.
    """
    require_none(environment.home_obstacles(brings_server=False))
    if not environment.started_file().parent.is_dir():  # nothing of ours was ever here, and nothing need be made
        return DownResult(ended=())
    with _record_held(say):
        return _end_all()


def _end_all() -> DownResult:
    known = _still_running()
    ended = []
    if known and any(known.has(name) for name in WORKERS):
        _cancel_runs(known)
    for program in sorted(known.programs if known else (), key=lambda program: program.name == "server"):
        programs.end(program.pid)
        ended.append(program.name)
    if kept := environment.kept_api():
        registration.use_in_profile(None, instead_of=kept)
        environment.started_file().unlink()
    if server.end(environment.prefect_home()):
        ended.append("shared server")
    programs.remove_temporary_folders()
    return DownResult(ended=tuple(ended))


def lost() -> tuple[str, ...]:
    """Names of the programs that `up` has started and that no longer run."""
    known = _recorded()
    return tuple(program.name for program in known.programs if not program.is_running) if known else ()


def _record_held(say: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Keep other `up` and `down` away from the record and from what it names, for the length of a block."""
    lock = environment.started_file().with_suffix(".lock")
    return one_at_a_time(lock, lambda: say("another synthcore up or down is at work: waiting for it"))


def _still_running() -> Operation | None:
    """What was recorded, without the programs that have ended since; None if nothing is left."""
    known = _recorded()
    running = tuple(program for program in known.programs if program.is_running) if known else ()
    return known.model_copy(update={"programs": running}) if known and running else None


def _recorded() -> Operation | None:
    try:
        return Operation.model_validate_json(environment.started_file().read_text())
    except (OSError, ValueError):
        return None


def _require_same_database(now: Operation, named: str) -> None:
    """Refuse another database than that of what runs already. A server that has ended must be told it again."""
    if named != now.database and (named or not now.has("server")):
        known = now.database or "the database of Prefect's own settings"
        raise SynthcoreError(
            f"what synthcore up started uses {known}: name the same, or end it with synthcore down first"
        )


def _set_environment(api: str, port: int) -> None:
    """Set what Prefect's programs read; so does this process, which imports Prefect only after this."""
    os.environ.pop("SYNTHCORE_UP_DATABASE", None)  # workers and their runs don't need its password
    os.environ["COLUMNS"] = "500"  # what Prefect says in one line should be one in the log
    os.environ["PREFECT_API_URL"] = api
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)  # else the web page asks port 4200
    environment.set_defaults()


def _serve(now: Operation, port: int, say: Callable[[str], None], database: Database | None) -> Operation:
    if not now.has("server"):
        if environment.is_healthy(now.api):
            if database:
                raise SynthcoreError(f"a server that has a database already runs at {now.ui}: name another --port")
            say(f"using the Prefect server that runs at {now.ui} already")
            return now
        variables = {}
        if database:
            require_usable(database)
            variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database.url.get_secret_value()
        say(f"starting a Prefect server at {now.ui}: 20 s, the first time up to a minute")
        now = _start(now, "server", "server", "start", "--host", "127.0.0.1", "--port", str(port), **variables)
    deadline = time.monotonic() + START_SECONDS
    while not environment.is_healthy(now.api):
        _require_running(now, "server")
        if time.monotonic() > deadline:
            raise SynthcoreError(f"the server didn't answer in {START_SECONDS:.0f} s; {log_of('server')} says why")
        time.sleep(0.2)
    return now


def _work(now: Operation, say: Callable[[str], None]) -> Operation:
    """Start the workers that aren't running yet, side by side, and wait for all."""
    missing = [name for name in WORKERS if not now.has(name)]
    if missing:
        say("starting the workers")
    for name in missing:
        flags = (*WORKERS[name], "--type", "process")
        now = _start(now, name, "worker", "start", *flags, TMPDIR=programs.make_temporary_folder(name))
    for name, pool in zip(WORKERS, POOLS, strict=True):
        _await_worker(now, name, pool)
    return now


def _await_worker(now: Operation, name: str, pool: str) -> None:
    from prefect.client.orchestration import get_client

    from synthcore.flows.running.distribution import has_workers

    deadline = time.monotonic() + START_SECONDS
    with get_client(sync_client=True) as client:
        while not has_workers(client, pool):
            _require_running(now, name)
            if time.monotonic() > deadline:
                raise SynthcoreError(f"the {name} wasn't ready in {START_SECONDS:.0f} s; {log_of(name)} says why")
            time.sleep(0.2)


def _start(now: Operation, name: str, *arguments: str, **variables: str) -> Operation:
    """Start a program, and record it at once."""
    program = programs.start(name, *arguments, **variables)
    now = now.model_copy(update={"programs": (*now.programs, program)})
    try:
        with atomic_path(environment.started_file()) as temporary:
            temporary.write_text(now.model_dump_json())
    except SynthcoreError:
        programs.end(program.pid)  # down wouldn't know of it
        raise
    return now


def _require_running(now: Operation, name: str) -> None:
    if not all(program.is_running for program in now.programs if program.name == name):
        raise SynthcoreError(f"the {name} ended at once: {last_line(log_of(name).read_text())} ({log_of(name)})")


def _cancel_runs(now: Operation) -> None:
    """Cancel what our workers run: to the server, a run whose process is merely ended is still under way.

    The next run of its deployment would wait ten minutes until the server notices.
    """
    if not environment.has_database(now.api):
        return
    os.environ["PREFECT_API_URL"] = now.api
    environment.set_defaults()
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Cancelling

    workers = [program.pid for program in now.programs if program.name in WORKERS]
    ours = {str(process.pid) for worker in workers for process in programs.family(worker)}
    under_way = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}})
    with get_client(sync_client=True) as client:

        def ids() -> list[UUID]:
            return [
                run.id for run in client.read_flow_runs(flow_run_filter=under_way) if run.infrastructure_pid in ours
            ]

        for run in ids():
            client.set_flow_run_state(run, Cancelling())
        deadline = time.monotonic() + STOP_SECONDS
        while ids() and time.monotonic() < deadline:
            time.sleep(0.2)


def _typed(command: str) -> str:
    """Write a command the way one would type it here: not everyone has activated the virtual environment."""
    return command if shutil.which(command) else str(Path(sys.executable).with_name(command))
