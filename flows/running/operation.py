"""Operating: a Prefect server, its work pools, our deployments and a worker for each pool, kept in the background.

What was started is written down with its command, so that `down` ends that and nothing else, whoever has got its
process id since. The rest is Prefect's: its own commands serve, deploy and work.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from synthcore.base.atomic import atomic_path, disk_errors_of
from synthcore.base.errors import SynthcoreError
from synthcore.base.places import require_none
from synthcore.flows.running import environment, server

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = Path(str(files("synthcore")))  #: with what is deployed; in a checkout, by links to it
ZOMBIES = SHIPPED / "deployments" / "zombies.yaml"
#: The workers that are kept, and the flags of each. The pools are those that prefect.yaml deploys to; of runs that
#: render shards one at a time, as each takes all cores.
WORKERS = {"worker": ("--pool", "local"), "render-worker": ("--pool", "render", "--limit", "1")}
POOLS = tuple(pool for _, pool, *_ in WORKERS.values())
START_SECONDS = 180.0  #: for a server on a machine that has never started one
STOP_SECONDS = 20.0  #: for a program to end by itself; then it is killed


class Program(BaseModel):
    """A program that was started here."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    command: tuple[str, ...]

    @property
    def is_running(self) -> bool:
        """Whether it still runs: its id may be another program's by now."""
        # Some systems show another path for the interpreter than the one that was asked for.
        return " ".join(self.command[1:]) in _processes().get(self.pid, (0, ""))[1]


class Operation(BaseModel):
    """What runs in the background, or what ran."""

    model_config = ConfigDict(frozen=True)

    api: str
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
        return f"""
Prefect server  {self.ui}
logs            {environment.started_file().parent}

next:
  {_typed("prefect")} deployment run generate/tier1-1k -p n_samples=600 --watch
  {_typed("synthcore")} generate --tier 2 -n 600
  {_typed("synthcore")} down
"""


class Ended(BaseModel):
    """What `down` ended."""

    model_config = ConfigDict(frozen=True)

    ended: tuple[str, ...]

    def to_text(self) -> str:
        """Say it, for a terminal."""
        return (
            f"ended: {', '.join(self.ended)}\n" if self.ended else "nothing to end: no server or worker of ours runs\n"
        )


def up(port: int, say: Callable[[str], None]) -> Operation:
    """Start what isn't running yet: server, pools, deployments, workers.

    Raises
    ------
    SynthcoreError
        Another server is in use, or something doesn't start.
    """
    if not shutil.which("ps"):
        raise SynthcoreError("there is no ps here, by which down knows what up started: install procps")
    require_none(environment.home_obstacles(brings_server=True))
    kept = environment.kept_api()  # of old, maybe dead since
    now = _still_running() or Operation(api=f"http://127.0.0.1:{port}/api")
    if now.api != f"http://127.0.0.1:{port}/api":
        raise SynthcoreError(f"synthcore keeps a server at {now.ui} already; end it with synthcore down first")
    if os.environ.get("PREFECT_API_URL", now.api) != now.api:
        raise SynthcoreError(f"PREFECT_API_URL names {os.environ['PREFECT_API_URL']}, not {now.api}: unset it first")
    _surround(now.api, port)
    now = _serve(now, port, say)
    _create_pools()
    say("deploying")
    _deploy()
    _watch_for_killed_runs()
    now = _work(now, say)
    _use_in_profile(now.api, instead_of=kept)
    return now


def down() -> Ended:
    """End what `up` started, workers first, each with all that it started; and the server that commands share."""
    known = _still_running()
    ended = []
    if known and any(known.has(name) for name in WORKERS):
        _cancel_runs(known)
    for program in sorted(known.programs if known else (), key=lambda program: program.name == "server"):
        _end(program.pid)
        ended.append(program.name)
    if kept := environment.kept_api():
        _use_in_profile(None, instead_of=kept)
        environment.started_file().unlink()
    if server.end(environment.prefect_home()):
        ended.append("shared server")
    shutil.rmtree(_tmp(), ignore_errors=True)  # what can't be removed does no harm
    return Ended(ended=tuple(ended))


def lost() -> tuple[str, ...]:
    """Names of the programs that `up` has started and that run no more."""
    known = _written_down()
    return tuple(program.name for program in known.programs if not program.is_running) if known else ()


def _still_running() -> Operation | None:
    """What was written down, without the programs that have ended since; None if nothing is left."""
    known = _written_down()
    running = tuple(program for program in known.programs if program.is_running) if known else ()
    return known.model_copy(update={"programs": running}) if known and running else None


def _written_down() -> Operation | None:
    try:
        return Operation.model_validate_json(environment.started_file().read_text())
    except (OSError, ValueError):
        return None


def _surround(api: str, port: int) -> None:
    """Set what Prefect's programs read; also the one running here, which imports Prefect only after this."""
    os.environ["COLUMNS"] = "500"  # what Prefect says in one line should be one in the log
    os.environ["PREFECT_API_URL"] = api
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)  # else the web page asks port 4200
    environment.disable_telemetry()


def _serve(now: Operation, port: int, say: Callable[[str], None]) -> Operation:
    if not now.has("server"):
        if environment.is_healthy(now.api):
            say(f"using the Prefect server that runs at {now.ui} already")
            return now
        say(f"starting a Prefect server at {now.ui}: 20 s, the first time up to a minute")
        now = _start(now, "server", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    deadline = time.monotonic() + START_SECONDS
    while not environment.is_healthy(now.api):
        _require_running(now, "server")
        if time.monotonic() > deadline:
            raise SynthcoreError(f"the server didn't answer in {START_SECONDS:.0f} s; {_log('server')} says why")
        time.sleep(0.2)
    return now


def _work(now: Operation, say: Callable[[str], None]) -> Operation:
    """Start the workers that aren't running yet, side by side, and wait for all."""
    missing = [name for name in WORKERS if not now.has(name)]
    if missing:
        say("starting the workers")
    for name in missing:
        now = _start(now, name, "worker", "start", *WORKERS[name], "--type", "process", TMPDIR=_make_tmp(name))
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
                raise SynthcoreError(f"the {name} wasn't ready in {START_SECONDS:.0f} s; {_log(name)} says why")
            time.sleep(0.2)


def _create_pools() -> None:
    """Create the work pools, unless they are there: what people have changed in them stays."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    template = json.loads((SHIPPED / "deployments" / "process.json").read_text())
    with get_client(sync_client=True) as client:
        for pool in POOLS:
            with contextlib.suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))


def _deploy() -> None:
    """Deploy all. Deploying sets schedules to what prefect.yaml says, so those that people switched on stay on."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.client.schemas.sorting import DeploymentSort

    with get_client(sync_client=True) as client:

        def read() -> list[DeploymentResponse]:
            found: list[DeploymentResponse] = []
            while page := client.read_deployments(limit=200, offset=len(found), sort=DeploymentSort.NAME_ASC):
                found += page
            return found

        switched_on = [(d.id, s.schedule) for d in read() for s in d.schedules if s.active]
        deploy = ("--no-prompt", "deploy", "--all", "--prefect-file", str(SHIPPED / "prefect.yaml"))
        _run("the deployments were refused", *deploy)
        for deployment in read():
            for schedule in deployment.schedules:
                if (deployment.id, schedule.schedule) in switched_on:
                    client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def _watch_for_killed_runs() -> None:
    """Create the automation that marks them as crashed, unless there is one of its name."""
    from prefect.client.orchestration import get_client

    name = next(line for line in ZOMBIES.read_text().splitlines() if line.startswith("name: ")).removeprefix("name: ")
    with get_client(sync_client=True) as client:
        is_there = bool(client.read_automations_by_name(name))
    if not is_there:
        _run("the automation was refused", "automation", "create", "--from-file", str(ZOMBIES))


def _use_in_profile(api: str | None, instead_of: str | None) -> None:
    """Let the `prefect` command find the server too, or forget it. A server of the user's own choice stays."""
    from prefect.settings import PREFECT_API_URL, load_current_profile, update_current_profile

    if load_current_profile().settings.get(PREFECT_API_URL) in (None, instead_of):
        update_current_profile({PREFECT_API_URL: api})


def _typed(command: str) -> str:
    """Write a command the way one would type it here: not everyone has activated the virtual environment."""
    return command if shutil.which(command) else str(Path(sys.executable).with_name(command))


def _folder() -> Path:
    """Where the worker is, and relative paths begin: the checkout, or else the folder one is in."""
    return ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()


def _prefect(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "prefect", *arguments)


def _cancel_runs(now: Operation) -> None:
    """Cancel what our workers run: a run whose process is only ended stays under way in the server's books.

    The next run of its deployment would wait ten minutes for it to be missed.
    """
    if not environment.is_healthy(now.api):
        return
    os.environ["PREFECT_API_URL"] = now.api
    environment.disable_telemetry()
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Cancelling

    workers = [program.pid for program in now.programs if program.name in WORKERS]
    ours = {str(pid) for worker in workers for pid in _family(worker)}
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


def _run(complaint: str, *arguments: str) -> None:
    """Run one of Prefect's commands to its end."""
    done = subprocess.run(_prefect(*arguments), cwd=_folder(), capture_output=True, text=True)
    if done.returncode:
        raise SynthcoreError(f"{complaint}: {_last_line(done.stdout + done.stderr)}")


def _start(now: Operation, name: str, *arguments: str, **variables: str) -> Operation:
    """Start one of Prefect's programs out of reach of this terminal, and write it down at once."""
    surroundings = os.environ | variables
    place, log_file = environment.started_file(), _log(name)
    with disk_errors_of(log_file):
        place.parent.mkdir(parents=True, exist_ok=True)
        log = log_file.open("w")
    with log:
        process = subprocess.Popen(
            _prefect(*arguments),
            cwd=_folder(),
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    program = Program(name=name, pid=process.pid, command=_prefect(*arguments))
    now = now.model_copy(update={"programs": (*now.programs, program)})
    try:
        with atomic_path(place) as temporary:
            temporary.write_text(now.model_dump_json())
    except SynthcoreError:
        _end(process.pid)  # down would know nothing of it
        raise
    return now


def _require_running(now: Operation, name: str) -> None:
    if not all(program.is_running for program in now.programs if program.name == name):
        raise SynthcoreError(f"the {name} ended at once: {_last_line(_log(name).read_text())} ({_log(name)})")


def _tmp() -> Path:
    """Where the workers and their runs put temporary files.

    In the system's own folder, Prefect's workers of all users would share one, which belongs to whoever was first.
    """
    return environment.started_file().with_name("tmp")


def _make_tmp(worker: str) -> str:
    """Make a worker's own: whatever it clears away at its end isn't another's."""
    place = _tmp() / worker
    with disk_errors_of(place):
        _tmp().mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
    return str(place)


def _log(name: str) -> Path:
    return environment.started_file().with_name(f"{name}.log")


def _last_line(text: str) -> str:
    return ([line.strip(" │") for line in text.splitlines() if line.strip(" │╰╯─")] or ["it said nothing"])[-1]


def _processes() -> dict[int, tuple[int, str]]:
    """Every process: its parent's id and its command."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return {int(row[0]): (int(row[1]), row[2] if len(row) > 2 else "") for row in rows}


def _family(pid: int) -> dict[int, str]:
    """Find a process and all that it started, with their commands. A worker's runs are in sessions of their own."""
    processes, family = _processes(), {pid}
    while more := {child for child, (parent, _) in processes.items() if parent in family} - family:
        family |= more
    return {member: processes[member][1] for member in family if member in processes}


def _end(pid: int) -> None:
    """End a process and all that it started: first it is asked to, then what is left is killed."""
    left = _family(pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for member in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, number)
        deadline = time.monotonic() + STOP_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(0.1)
            processes = _processes()
            left = {one: command for one, command in left.items() if processes.get(one, (0, ""))[1] == command}
