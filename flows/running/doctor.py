"""What `synthcore doctor` examines: installation, Prefect server, data directory. Prefect itself may be broken."""

from __future__ import annotations

import base64
import importlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from importlib import metadata
from pathlib import Path

import psutil

from synthcore.base.masking import masked
from synthcore.flows.running import environment, operation, server
from synthcore.flows.running.serve import revision, revisions
from synthcore.pipeline import doctor
from synthcore.pipeline.cache import Records
from synthcore.pipeline.doctor import Diagnosis, Finding


def diagnose(data_dir: Path, results_dir: Path, *, repairs: bool) -> Diagnosis:
    """Examine everything; with `repairs`, first remove what is provably stale."""
    checks = [("Prefect", _prefect), ("Prefect home", _home), ("database", _database), ("server", _server)]
    findings = [*doctor.installation(), *doctor.examine(checks), *doctor.room(data_dir)]
    repaired: list[str] = []

    def look() -> Iterator[Finding]:
        records = _records(data_dir, results_dir)
        if repairs:
            repaired.extend(doctor.repair(data_dir, records))
            records = _records(data_dir, results_dir)
        yield from doctor.contents(data_dir, records)

    is_started = not any(f.state == "problem" for f in findings if f.check == "Prefect home")
    if is_started and os.access(data_dir, os.R_OK | os.X_OK):  # else a finding says why not
        findings += doctor.examine([("shards", look)])
    return Diagnosis(findings=tuple(findings), repaired=tuple(repaired))


def _records(data_dir: Path, results_dir: Path) -> Records:
    from synthcore.tasks.records import read_records

    return read_records(data_dir, results_dir)


def _prefect() -> Iterator[Finding]:
    importlib.import_module("prefect")
    yield Finding(check="Prefect", state="ok", what=f"Prefect {metadata.version('prefect')}")


def _home() -> Iterator[Finding]:
    """Whether Prefect can read its home, and write there where a run has to start a server."""
    hindered = [*doctor.hindrances("Prefect home", "problem", environment.home_obstacles(brings_server=not _api()))]
    yield from hindered or [Finding(check="Prefect home", state="ok", what=f"{environment.prefect_home()} can be used")]


def _database() -> Iterator[Finding]:
    """Whether the database in Prefect's home is of the version installed here, or an upgrade lies before it."""
    database = environment.prefect_home() / "prefect.db"
    if server.is_database_elsewhere() or not os.access(database, os.R_OK):  # none yet, or _home says what is wrong
        return
    prefect, found, (newest, earlier) = metadata.version("prefect"), revision(database), revisions()
    if found == newest:
        yield Finding(check="database", state="ok", what=f"{database} is as Prefect {prefect} has it")
    elif found in earlier:
        what = f"{database} is of an earlier Prefect than {prefect}; the next server upgrades it, and keeps its runs"
        todo = "to be able to go back, copy it first: an earlier Prefect can't open it afterwards"
        yield Finding(check="database", state="warning", what=what, todo=todo)
    else:
        what = f"{database} is of a later Prefect than {prefect}, whose servers can't open it, or is damaged"
        todo = "install that version, or have another PREFECT_HOME"
        yield Finding(check="database", state="problem", what=what, todo=todo)


def _api() -> str | None:
    """The server that a run would use, if one is named or answers."""
    named, _ = environment.named_api()
    kept = environment.kept_api()
    return named or (kept if kept and environment.is_healthy(kept) else None)


def _server() -> Iterator[Finding]:
    """Which server a run would use, and whether it can."""
    (named, where), kept = environment.named_api(), environment.kept_api()
    api = named or kept
    answering = environment.who_answers(named) if named else ""
    if named and answering == "nobody":
        what = f"nothing answers at {masked(named)}, which {where} names"
        yield Finding(check="server", state="problem", what=what, todo="start it, or unset it there")
    elif named and answering == "a stranger":
        what = f"what answers at {masked(named)}, which {where} names, isn't a Prefect server"
        yield Finding(check="server", state="problem", what=what, todo=environment.NAME_ANOTHER)
    elif api and environment.is_healthy(api):
        yield from _same_version(api)
        if not environment.has_database(api):
            what = f"the database of the server at {masked(api)} doesn't answer"
            yield Finding(check="server", state="problem", what=what, todo="start it; the server finds it again")
    elif named:
        what = f"what answers at {masked(named)} doesn't say how it is: it asks for a login, or isn't well"
        yield Finding(check="server", state="warning", what=what, todo="see its log if a run can't use it either")
    elif kept:
        what = f"the server that synthcore up started at {kept} doesn't answer"
        yield Finding(check="server", state="warning", what=what, todo="synthcore down, then synthcore up")
    elif shared := server.running(environment.prefect_home()):
        yield from _shared(shared)
    else:
        what = "none runs; the next command starts one, which ends by itself when idle (synthcore up keeps one)"
        yield Finding(check="server", state="ok", what=what)
    if lost := operation.lost():
        what = f"of what synthcore up started, the {' and the '.join(lost)} ended by itself"
        yield Finding(check="server", state="warning", what=what, todo="synthcore up starts it again")
    yield from _orphans()


def _shared(found: server.Server) -> Iterator[Finding]:
    """The server that commands share."""
    where = f"the server that commands share at {found.api.removesuffix('/api')} (process {found.pid})"
    if environment.is_healthy(found.api):
        minutes = server.IDLE_SECONDS / 60
        what = f"{where} answers; it ends after {minutes:.0f} idle minutes, or by synthcore down"
        yield Finding(check="server", state="ok", what=what)
    else:
        yield Finding(check="server", state="warning", what=f"{where} doesn't answer", todo="synthcore down ends it")


def _same_version(api: str) -> Iterator[Finding]:
    theirs, ours = _version_at(api), metadata.version("prefect")
    if theirs is None:
        what = f"the server at {masked(api)} asks for a login, or for another one"
        yield Finding(check="server", state="problem", what=what, todo="set PREFECT_API_AUTH_STRING to USER:PASSWORD")
    elif theirs == ours:
        yield Finding(check="server", state="ok", what=f"Prefect {theirs} answers at {masked(api)}")
    else:
        what = f"the server at {masked(api)} is Prefect {theirs}, and the one installed here {ours}"
        yield Finding(check="server", state="warning", what=what, todo="use the same version for both")


def _version_at(api: str) -> str | None:
    """The version of a server; None if it doesn't take the login of Prefect's settings.

    These are read only for a server that asks for one: they may be what is wrong here.
    """
    for headers_of in (dict, _login):
        try:
            request = urllib.request.Request(f"{api}/admin/version", headers=headers_of())
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(json.load(answer))
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.UNAUTHORIZED:
                raise
    return None


def _login() -> dict[str, str]:
    """What Prefect's own client says to a server with a password."""
    from prefect.settings import PREFECT_API_AUTH_STRING

    login: str = PREFECT_API_AUTH_STRING.value() or ""
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def _orphans() -> Iterator[Finding]:
    """Servers that killed runs have left behind: one that Prefect starts for a run doesn't notice the run's end.

    They are not ended here: a server that somebody started in the background looks the same.
    """
    left = [
        str(process.pid)
        for process in psutil.process_iter(["ppid", "cmdline"])
        if process.info["ppid"] == 1 and "prefect.server.api.server:create_app" in (process.info["cmdline"] or ())
    ]
    if left:
        what = f"Prefect servers without the run that started them, or in the background: {len(left)}"
        yield Finding(check="server", state="warning", what=what, todo=f"if nobody uses them: kill {' '.join(left)}")
