"""The surroundings Prefect reads when it is imported. Call `prepare` before importing prefect.

A running server makes a run start in 5 s; without one, Prefect starts a server for the run alone, in 20 to 30 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

from synthcore.errors import ServerGone, SpecError, SynthcoreError
from synthcore.places import Obstacle, reason_against, require_none
from synthcore.presets.masking import masked

LOCAL_API = "http://127.0.0.1:4200/api"  #: Prefect's own default
#: The default of 20 s is too short for a machine that has never imported the server before.
EPHEMERAL_START_SECONDS = "120"
ANSWER_SECONDS = 10.0  #: a busy machine's server takes seconds for what takes milliseconds otherwise
RESTART_SECONDS = 30.0  #: a server takes 13 to 20 s to start
WATCH_SECONDS = 0.1  #: how soon it is noticed that the server of a run has ended
#: Prefect has read its surroundings already: in somebody's own program, in a flow of theirs, or in a worker's run.
PREFECT_WAS_HERE = "prefect" in sys.modules
_found_healthy = threading.Event()  #: the server was found here, and asked how it is


def prepare() -> str:
    """Choose the Prefect server: the one named, else the one running here, else one for this run alone.

    Returns
    -------
    str
        The choice, for people.
    """
    call_nobody_home()
    if PREFECT_WAS_HERE:
        return "Prefect server: that of this process"
    named = os.environ.get("PREFECT_API_URL")
    if named:
        if not answers(named):
            raise SynthcoreError(
                f"no Prefect server answers at {masked(named)}, which PREFECT_API_URL names; "
                "start it, or unset the variable"
            )
        return f"Prefect server: {masked(named)}"
    kept = kept_api()
    if is_healthy(kept or LOCAL_API):
        os.environ["PREFECT_API_URL"] = kept or LOCAL_API
        _found_healthy.set()
        return f"Prefect server: {kept or LOCAL_API}"
    if kept:  # it died without `synthcore down`, and Prefect's profile still names it: that doesn't hold
        os.environ["PREFECT_API_URL"] = ""
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", EPHEMERAL_START_SECONDS)
    return "Prefect server: starting one for this run, 10 to 40 s (`synthcore up` keeps one running)"


def call_nobody_home() -> None:
    """Switch Prefect's usage statistics off, unless the user has switched them on."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def prefect_home() -> Path:
    """Where Prefect keeps its profiles, and a server of ours its database.

    Raises
    ------
    SpecError
        This user has no home, without which Prefect doesn't start.
    """
    try:
        own = Path.home()
    except RuntimeError as error:  # of a user that the system doesn't know, as in a container
        raise SpecError("this user has no home folder; name one in HOME") from error
    named = os.environ.get("PREFECT_HOME")
    return Path(named).expanduser().absolute() if named else own / ".prefect"


def home_obstacles(*, brings_server: bool) -> Iterator[Obstacle]:
    """What keeps Prefect from starting here, or, with a server of its own, from writing its database."""
    home, todo = prefect_home(), "name another folder in PREFECT_HOME, or in HOME, where it is by default"
    try:
        (home / "profiles.toml").stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        yield Obstacle(f"can't read Prefect's home {home}: {error.strerror}", todo)
        return
    if brings_server and (reason := reason_against(home)):
        yield Obstacle(f"{reason}, where Prefect's home is", todo)


def started_file() -> Path:
    """Where `synthcore up` writes down what it started: one server to a Prefect home, as that has one database."""
    return prefect_home() / "synthcore" / "started.json"


def kept_api() -> str | None:
    """The address of the server that `synthcore up` started, or None. It may have died since."""
    try:
        return str(json.loads(started_file().read_text())["api"])
    except (OSError, ValueError, KeyError):
        return None


def start_server() -> None:
    """Start the server of this run, if it needs one, out of reach of Ctrl-C; or try whether the one named lets us in.

    The terminal sends Ctrl-C to the server as well, and a run whose server is gone waits a minute for an answer
    before it ends. A signal that is blocked in the thread that starts the server stays blocked in the server.
    """
    is_there = _found_healthy.is_set()
    require_none(home_obstacles(brings_server=not is_there and not os.environ.get("PREFECT_API_URL")))
    if is_there:
        return
    failed: list[BaseException] = []
    thread = threading.Thread(target=_meet_server, args=(failed,), daemon=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    thread.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    while thread.is_alive():
        thread.join(0.1)
    if failed:
        require_server()  # the one named may have gone since it answered
        raise SynthcoreError(f"no Prefect server could be started: {failed[0]}") from failed[0]


def _meet_server(failed: list[BaseException]) -> None:
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            client.hello()
    except Exception as error:  # noqa: BLE001  it is raised again in the thread that waits
        failed.append(error)


def is_reachable() -> bool:
    """Whether the server that is named answers; one that the run brought is taken to."""
    api = os.environ.get("PREFECT_API_URL")
    return not api or is_healthy(api)


def require_server() -> None:
    """Go on only with a server. One that is being started again is waited for.

    Raises
    ------
    ServerGone
    """
    until = time.monotonic() + RESTART_SECONDS
    while not is_reachable():
        if time.monotonic() > until:
            api = masked(os.environ["PREFECT_API_URL"])
            raise ServerGone(
                f"the Prefect server at {api} no longer answers, so the run ended; what was rendered is kept. Start "
                "the server and run the same command again: it continues"
            )
        time.sleep(1)


@contextlib.contextmanager
def server_needed() -> Iterator[None]:
    """Say that the server went away, instead of whatever followed from it; then do what `at_loss` says.

    Raises
    ------
    ServerGone
    """
    try:
        try:
            yield
        except SynthcoreError:
            raise
        except Exception:
            require_server()
            raise
    except ServerGone as gone:
        if at_loss:
            at_loss(gone)
        raise


@contextlib.contextmanager
def own_server_watched(leave: Callable[[ServerGone], object]) -> Iterator[None]:
    """End the run as soon as the server that it brought has ended: Prefect would wait for its answer for minutes.

    It ends before the run where both get a signal, as from `timeout`, or where memory is short.
    """
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(over, leave), daemon=True)
    if not os.environ.get("PREFECT_API_URL"):
        watch.start()
    try:
        yield
    finally:
        over.set()


def _watch(over: threading.Event, leave: Callable[[ServerGone], object]) -> None:
    from prefect.server.api.server import SubprocessASGIServer

    said = "the Prefect server of this run was ended, and the run with it; what was made is kept. Run the same command "
    process = SubprocessASGIServer().server_process
    while process and not over.wait(WATCH_SECONDS):
        if process.poll() is not None:
            leave(ServerGone(f"{said}again: it continues"))
            return


#: How to end at once. Who can't, because the process isn't its own, waits while Prefect tries to report to nobody.
at_loss: Callable[[ServerGone], object] | None = None


def answers(api: str) -> bool:
    """Whether anything answers at this address, if only that we may not come in."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=ANSWER_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError, HTTPException):
        return False


def is_healthy(api: str) -> bool:
    """Whether a Prefect server answers at this address. Where there is none, that is known at once."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=ANSWER_SECONDS):
            return True
    except (OSError, HTTPException):  # nothing answers, or something that is no web server
        return False
