"""The program of the server that commands share: Prefect's API and page, without what a local run doesn't need.

`server` starts it, with a socket that listens already: requests that come before it is ready wait for their answer. It
ends when it has had no request for a while, when its folder is gone, or, if it is for one run alone, with that run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import select
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

from synthcore.flows.running.server import is_database_elsewhere

#: Services that only deployments, schedules, workers and limits across machines need. `synthcore up` has them all.
DISABLED_SERVICES = (
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_ENABLED",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED",
)
WATCH_SECONDS = 0.5  #: how soon it notices that it should end
SHUTDOWN_SECONDS = 3  #: that open connections get to end


class IdleTimer:
    """An ASGI app that knows how long ago its last request was."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._open = 0
        self._last = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        return 0.0 if self._open else time.monotonic() - self._last

    def restart(self) -> None:
        """Count from now on."""
        self._last = time.monotonic()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
            self.restart()


def main() -> None:
    """Serve until nobody needs it; with --template, make the database that servers start from."""
    if sys.argv[1:] == ["--template"]:
        make_template()
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket", type=int, help="descriptor of the listening socket")
    parser.add_argument("home", type=Path, help="Prefect's home, where the database is")
    parser.add_argument(
        "--book", type=int, help="descriptor of the locked file it is found by; without one, stdin is watched"
    )
    parser.add_argument("--idle", type=float, default=float("inf"), help="seconds after which it ends")
    arguments = parser.parse_args()
    listening = socket.socket(fileno=arguments.socket)
    port = listening.getsockname()[1]
    if arguments.book is not None:
        record_address(arguments.book, port)
    serve(listening, port, arguments)


def record_address(book: int, port: int) -> None:
    """Write where this server is into the file whose lock it holds as long as it lives."""
    entry = {"api": f"http://127.0.0.1:{port}/api", "pid": os.getpid()}
    os.truncate(book, 0)
    os.pwrite(book, json.dumps(entry).encode(), 0)


def serve(listening: socket.socket, port: int, arguments: argparse.Namespace) -> None:
    """Serve Prefect's API and page on a socket."""
    gc.disable()  # importing makes a million objects, and none of them is garbage
    os.environ["PREFECT_HOME"] = str(arguments.home)
    set_environment(port)
    provide_database(arguments.home / "prefect.db")
    import uvicorn
    from prefect.server.api.server import create_app

    app = IdleTimer(create_app(final=True))
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(
        app, log_level="error", lifespan="on", access_log=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        watch = asyncio.create_task(watch_for_end(server, app, arguments))
        await server.serve(sockets=[listening])
        watch.cancel()

    asyncio.run(run())


def set_environment(port: int) -> None:
    """Set what Prefect reads when it is imported."""
    os.environ.pop("PREFECT_API_URL", None)
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)  # the page asks there
    for service in DISABLED_SERVICES:
        os.environ.setdefault(service, "false")


def template() -> Path:
    """A migrated database, made at set-up by `python -m synthcore.flows.running.serve --template`."""
    return Path(sys.prefix, "share", "synthcore", f"prefect-{metadata.version('prefect')}.db")


def provide_database(database: Path) -> None:
    """Start from a migrated database; skip migrations where there is nothing to migrate."""
    ready = template()
    if not ready.is_file() or is_database_elsewhere():
        return
    if not database.exists():
        temporary = database.with_name(f"{database.name}.{os.getpid()}.tmp")
        shutil.copyfile(ready, temporary)
        temporary.replace(database)
    if (found := revision(database)) and found == revision(ready):
        os.environ["PREFECT_API_DATABASE_MIGRATE_ON_START"] = "false"
        os.environ["PREFECT_API_BLOCKS_REGISTER_ON_START"] = "false"


def make_template() -> None:
    """Migrate a database once, as the template of all later ones."""
    ready = template()
    if ready.is_file():
        return
    ready.parent.mkdir(parents=True, exist_ok=True)
    gc.disable()  # a sixth of the time
    with tempfile.TemporaryDirectory(dir=ready.parent) as home:
        os.environ |= {"PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
        set_environment(port=0)
        asyncio.run(_migrate())
        made = Path(home, "prefect.db")
        with closing(sqlite3.connect(made)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made.replace(ready)


async def _migrate() -> None:
    """Do what a server does whenever it starts with a new database."""
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    database = provide_database_interface()
    await database.create_db()
    async with await database.session() as session:
        await run_block_auto_registration(session=session)
    await (await database.engine()).dispose()


def revision(database: Path) -> str | None:
    """The revision of a Prefect database, or None if it can't be read."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None


def revisions() -> tuple[str, set[str]]:
    """The revision of a database of SQLite as the installed Prefect has it, and those that it can upgrade."""
    package = metadata.distribution("prefect")
    folder = Path(str(package.locate_file("prefect/server/database/_migrations/versions/sqlite")))
    before: dict[str, str] = {}
    for path in folder.glob("*.py"):
        text = path.read_text()
        if found := re.search(r'^revision\b.*"(\w+)"', text, re.MULTILINE):
            previous = re.search(r'^down_revision\b.*"(\w+)"', text, re.MULTILINE)
            before[found[1]] = previous[1] if previous else ""
    (newest,) = before.keys() - before.values()
    return newest, before.keys() - {newest}


async def watch_for_end(server: Any, app: IdleTimer, arguments: argparse.Namespace) -> None:
    """End the server when nobody needs it any longer."""
    while not server.started:  # waiting for it to start isn't idle time
        await asyncio.sleep(WATCH_SECONDS)
    app.restart()
    while app.idle_seconds < arguments.idle and not is_abandoned(arguments):
        await asyncio.sleep(WATCH_SECONDS)
    server.should_exit = True


def is_abandoned(arguments: argparse.Namespace) -> bool:
    """Whether the file that it is found by was removed or replaced, or the run that it was for has ended."""
    if arguments.book is None:
        return bool(select.select([sys.stdin], [], [], 0)[0])
    return os.fstat(arguments.book).st_nlink == 0


if __name__ == "__main__":
    main()
