"""The surroundings Prefect reads when it is imported. Call `prepare` before importing prefect.

A run uses the server that somebody named or that `synthcore up` keeps; otherwise a small one of ours
(`synthcore.flows.running.server`), which is there for the next command as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from synthcore.base.errors import ServerGone, SpecError, SynthcoreError
from synthcore.base.masking import masked
from synthcore.base.places import Obstacle, reason_against, require_none
from synthcore.flows.running import server
from synthcore.flows.running.form import settings_from
from synthcore.settings.common import Common

ANSWER_SECONDS = 10.0  #: a busy machine's server takes seconds for what takes milliseconds otherwise
RESTART_SECONDS = 30.0  #: a server takes 13 to 20 s to start
WATCH_SECONDS = 0.1  #: how soon it is noticed that the server of a run has ended
_ours: server.Server | None = None  #: the server of ours that this process uses
#: Prefect has read its surroundings already: in somebody's own program, in a flow of theirs, or in a worker's run.
PREFECT_WAS_HERE = "prefect" in sys.modules
_chosen = ""  #: what `prepare` has said
_found_healthy = threading.Event()  #: the server was found here, and asked how it is


def prepare(*, keep: bool | None = None) -> str:
    """Choose the Prefect server: the one named, else what `synthcore up` keeps, else a small one of ours, started here.

    One that happens to run on this machine may be anybody's: it is used only if it is named.

    It may not be ready yet when this returns, so that Prefect is imported meanwhile; see `require_ready`.

    Parameters
    ----------
    keep : bool, optional
        Whether a server that has to be started stays for the commands that follow; what a command says. A program that
        imports a flow leaves it to the settings, and where it has Prefect already, to Prefect.

    Returns
    -------
    str
        The choice, for people.

    Raises
    ------
    SynthcoreError
        The server named doesn't answer, or Prefect's home can't be used.
    """
    global _chosen
    disable_telemetry()
    if keep is None and PREFECT_WAS_HERE:
        return "Prefect server: that of this process"
    if _chosen:  # a command has chosen, and then each flow that it imports
        return _chosen
    _chosen, began = _choose(keep)
    return began or _chosen


def _choose(keep: bool | None) -> tuple[str, str]:
    """Say which server it is, and that it is being started, if it is."""
    global _ours
    require_none(home_obstacles(brings_server=False))
    named, where = named_api()
    if named:
        if not answers(named):
            raise SynthcoreError(
                f"no Prefect server answers at {masked(named)}, which {where} names; start it, or unset it there"
            )
        return _line(named), ""
    if (kept := kept_api()) and is_healthy(kept):
        os.environ["PREFECT_API_URL"] = kept
        _found_healthy.set()
        return _line(kept), ""
    require_none(home_obstacles(brings_server=True))
    if keep is None:
        keep = settings_from(Common, {}).keep
    keep = keep and not server.is_database_elsewhere()
    _ours = server.shared(prefect_home()) if keep else server.alone(prefect_home())
    os.environ["PREFECT_API_URL"] = _ours.api
    stays = "it stays for the next commands; synthcore down ends it" if keep else "for this run alone"
    return _line(_ours.api), f"{_line(_ours.api)}, just started: {stays}" if _ours.process else ""


def _line(api: str) -> str:
    return f"Prefect server: {masked(api.removesuffix('/api'))}"


def named_api() -> tuple[str | None, str]:
    """The server that the user has named, and where: in the environment, a file of this folder, or Prefect's profile.

    What `synthcore up` has written into the profile is not the user's choice: it may be dead by now.
    """
    if named := os.environ.get("PREFECT_API_URL"):
        return named, "PREFECT_API_URL"
    for file, table in (("prefect.toml", ()), ("pyproject.toml", ("tool", "prefect"))):
        if named := _within(_toml(Path(file)), *table, "api", "url"):
            return str(named), file
    profiles = _toml(prefect_home() / "profiles.toml")
    profile = os.environ.get("PREFECT_PROFILE") or _within(profiles, "active")
    named = _within(profiles, "profiles", str(profile), "PREFECT_API_URL")
    return (None, "") if not named or named == kept_api() else (str(named), f"Prefect's profile {profile}")


def _toml(file: Path) -> Any:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # Prefect complains of it, if it reads it
        return {}


def _within(table: Any, *names: str) -> Any:
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table


def disable_telemetry() -> None:
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


def require_ready() -> None:
    """Wait until the server of ours answers, or try whether the one named lets us in.

    Raises
    ------
    SynthcoreError
    """
    if _ours:
        _ours.require_ready(server.log_of(prefect_home()))
    if _ours or _found_healthy.is_set():
        return
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            client.hello()
    except Exception as error:
        require_server()  # the one named may have gone since it answered
        raise SynthcoreError(f"the Prefect server can't be used: {error}") from error


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
    """Say that the server went away, instead of whatever followed from it; then do what `on_server_gone` says.

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
        if on_server_gone:
            on_server_gone(gone)
        raise


@contextlib.contextmanager
def own_server_watched(leave: Callable[[ServerGone], object]) -> Iterator[None]:
    """End the run as soon as the server of ours has ended: Prefect would wait for its answer for minutes.

    It may end before the run where both get a signal, or where memory is short, or by another terminal's `down`.
    """
    over = threading.Event()
    if _ours:
        threading.Thread(target=_watch, args=(_ours, over, leave), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(ours: server.Server, over: threading.Event, leave: Callable[[ServerGone], object]) -> None:
    while not over.wait(WATCH_SECONDS):
        if not ours.is_running:
            said = "the Prefect server of this run was ended, and the run with it; what was made is kept. "
            leave(ServerGone(f"{said}Run the same command again: it continues"))
            return


#: How to end at once. Who can't, because the process isn't its own, waits while Prefect tries to report to nobody.
on_server_gone: Callable[[ServerGone], object] | None = None


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
