"""The environment that Prefect reads when it is imported. Call `prepare` before importing prefect.

A run uses the server that somebody named or that `synthcore up` keeps; otherwise a small one of ours
(`synthcore.flows.running.server`), which stays for the next command.
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
from typing import Any, Literal

from synthcore.base.errors import ServerGone, SpecError, SynthcoreError
from synthcore.base.masking import masked
from synthcore.base.places import Obstacle, reason_against, require_none
from synthcore.flows.running import server
from synthcore.flows.running.form import settings_from
from synthcore.settings.command import Common

ANSWER_SECONDS = 10.0  #: on a busy machine, a server takes seconds for what otherwise takes milliseconds
RESTART_SECONDS = 30.0  #: a server takes 13 to 20 s to start
#: How a web server answers that has another page at Prefect's addresses, none, or doesn't take such questions.
STRANGE = (200, 404, 405, 501)
#: What to do about an address at which something else answers.
NAME_ANOTHER = "name one there, whose address ends with /api, or unset it"
WATCH_SECONDS = 0.1  #: how soon it is noticed that the server of a run has ended
_ours: server.Server | None = None  #: the server of ours that this process uses
#: Prefect has read its environment already: in somebody's own program, in a flow of theirs, or in a worker's run.
PREFECT_WAS_IMPORTED = "prefect" in sys.modules
_chosen = ""  #: what `prepare` has chosen, for people
_named: tuple[str, str] | None = None  #: the server chosen, if the user has named it, and where
_found_healthy = threading.Event()  #: set if the server was found running, and answers


def prepare(*, keep: bool | None = None) -> str:
    """Choose the Prefect server: the one named, else the one `synthcore up` keeps, else a small one, started here.

    One that merely happens to run on this machine may be anybody's: it is used only if it is named.

    The server may not be ready when this returns: Prefect can be imported meanwhile, see `require_ready`.

    Parameters
    ----------
    keep : bool, optional
        Whether a server that has to be started stays for the commands that follow. None, as in a program that imports
        a flow, leaves it to the settings; and the choice of server to Prefect, if it has been imported already. Then
        the server named isn't called yet: see `require_answer`.

    Returns
    -------
    str
        The choice, for people.

    Raises
    ------
    SynthcoreError
        Prefect's home can't be used, or the server named doesn't answer.
    """
    global _chosen
    set_defaults()
    if keep is None and PREFECT_WAS_IMPORTED:
        return "Prefect server: that of this process"
    line, began = (_chosen, "") if _chosen else _choose(keep)  # a command chooses, and then each flow that it imports
    if keep is not None:
        require_answer()
    _chosen = line
    return began or line


def require_answer() -> None:
    """Refuse to go on if `prepare` has chosen a server that the user named, and no Prefect server answers there.

    Raises
    ------
    SynthcoreError
    """
    if not _named:
        return
    api, where = masked(_named[0]), _named[1]
    match who_answers(_named[0]):
        case "nobody":
            raise SynthcoreError(
                f"no Prefect server answers at {api}, which {where} names; start it, or unset it there"
            )
        case "a stranger":
            raise SynthcoreError(f"what answers at {api}, which {where} names, isn't a Prefect server; {NAME_ANOTHER}")


def _choose(keep: bool | None) -> tuple[str, str]:
    """Choose a server; return a line that names it, and one that says it was just started, or "" if it wasn't."""
    global _ours, _named
    require_none(home_obstacles(brings_server=False))
    named, where = named_api()
    _named = (named, where) if named else None
    if named:
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
    idle = f"until {server.IDLE_SECONDS / 60:.0f} idle minutes or synthcore down"
    stays = f"\n  it stays for the next commands, {idle}" if keep else " for this run alone"
    return _line(_ours.api), f"{_line(_ours.api)}, just started:{stays}" if _ours.process else ""


def _line(api: str) -> str:
    return f"Prefect server: {masked(api.removesuffix('/api'))}"


def named_api() -> tuple[str | None, str]:
    """The server that the user has named, and where: in the environment, a file of this folder, or Prefect's profile.

    What `synthcore up` wrote into the profile is not the user's choice: that server may have died.
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
    except (OSError, ValueError):  # Prefect skips such a file of this folder; its home's is an obstacle
        return {}


def _within(table: Any, *names: str) -> Any:
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table


def set_defaults() -> None:
    """Set what our programs need that isn't Prefect's default, unless the user has set it."""
    os.environ.setdefault("DO_NOT_TRACK", "1")  # no usage statistics
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # Now and then a server answers 500, because another of its services has SQLite locked, and recovers at once.
    os.environ.setdefault("PREFECT_CLIENT_RETRY_EXTRA_CODES", "500")


def prefect_home() -> Path:
    """Where Prefect keeps its profiles, and a server of ours its database.

    Raises
    ------
    SpecError
        This user has no home folder, without which Prefect doesn't start.
    """
    try:
        own = Path.home()
    except RuntimeError as error:  # a user unknown to the system, as in a container
        raise SpecError("this user has no home folder; name one in HOME") from error
    named = os.environ.get("PREFECT_HOME")
    return Path(named).expanduser().absolute() if named else own / ".prefect"


def home_obstacles(*, brings_server: bool) -> Iterator[Obstacle]:
    """What keeps Prefect from starting here, or a server that is started here from writing its database."""
    home, todo = prefect_home(), "name another folder in PREFECT_HOME, or in HOME, where it is by default"
    profiles = home / "profiles.toml"
    try:
        tomllib.loads(profiles.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except ValueError as error:  # of TOML, or of UTF-8
        yield Obstacle(f"{profiles}, which Prefect reads, is not TOML: {error}", "mend it, or remove it")
        return
    except OSError as error:
        yield Obstacle(f"can't read Prefect's home {home}: {error.strerror}", todo)
        return
    if brings_server and (reason := reason_against(home)):
        yield Obstacle(f"{reason}, where Prefect's home is", todo)


def started_file() -> Path:
    """Where `synthcore up` records what it started: one server for each Prefect home, which has one database."""
    return prefect_home() / "synthcore" / "started.json"


def kept_api() -> str | None:
    """The address of the server that `synthcore up` started, or None. It may have died since."""
    try:
        return str(json.loads(started_file().read_text())["api"])
    except (OSError, ValueError, KeyError):
        return None


def is_starting() -> bool:
    """Whether this process has started a server, which need not answer yet."""
    return bool(_ours and _ours.process)


def require_ready() -> None:
    """Wait until the server of ours answers, or check that the one named lets us in.

    Raises
    ------
    SynthcoreError
        The server can't be used.
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
    """Whether the server in use answers. Without an address, Prefect starts one itself, which is assumed to."""
    api = os.environ.get("PREFECT_API_URL")
    return not api or is_healthy(api)


def require_server() -> None:
    """Go on only if the server answers, after giving one that is being restarted time to.

    Raises
    ------
    ServerGone
        It doesn't.
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
    """Within the block, turn whatever follows from a lost server into one error, and call `on_server_gone`.

    Raises
    ------
    ServerGone
        The server no longer answers.
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
    """Call `leave` as soon as the server of ours has ended: Prefect would wait for its answer for minutes.

    It may end before the run does: when both get a signal, when memory is short, or by another terminal's `down`.
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
            what = "the Prefect server of this run was ended, and the run with it; what was made is kept. "
            leave(ServerGone(f"{what}Run the same command again: it continues"))
            return


#: Ends the process at once. Left None where the process isn't ours to end; there, Prefect retries for minutes.
on_server_gone: Callable[[ServerGone], object] | None = None


def who_answers(api: str) -> Literal["a server", "a stranger", "nobody"]:
    """Look who answers at this address. A server may refuse us, or be behind what leads to a login elsewhere."""
    asked = f"{api}/health"
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:
            status, url, headers = answer.status, answer.url, answer.headers
    except urllib.error.HTTPError as refusal:
        status, url, headers = refusal.code, refusal.url, refusal.headers
    except (OSError, ValueError, HTTPException):
        return "nobody"
    # Prefect says all in JSON, even that it doesn't know an address.
    is_strange = url == asked and status in STRANGE and headers.get_content_type() != "application/json"
    return "a stranger" if is_strange else "a server"


def is_healthy(api: str) -> bool:
    """Whether a Prefect server answers at this address. Where nothing listens, this returns at once."""
    return _says_yes(f"{api}/health")


def has_database(api: str) -> bool:
    """Whether the database of a server that answers does so too. It may be on another machine."""
    return _says_yes(f"{api}/ready")


def _says_yes(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS):
            return True
    except (OSError, HTTPException):  # nothing answers, or something that isn't a web server, or it says no
        return False
