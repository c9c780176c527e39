"""The program of the server that commands share: Prefect's API and page, with nothing that a local run doesn't need.

`server` starts it, with a socket that listens already: whoever asks before it is ready waits for the answer. It ends
when nobody has asked it anything for a while, when its folder is gone, or, if it is one run's alone, with it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
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

#: What only deployments, schedules, workers and concurrency limits across machines need. `synthcore up` has it all.
WITHOUT = (
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_ENABLED",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED",
)
WATCH_SECONDS = 0.5  #: how soon it notices that it should end
FAREWELL_SECONDS = 3  #: that open connections get to end


class Attended:
    """An ASGI app that knows for how long nobody has asked it for anything."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._open = 0
        self._last = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        return 0.0 if self._open else time.monotonic() - self._last

    def wake(self) -> None:
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
            self.wake()


def main() -> None:
    """Serve until nobody needs it; with --template, make the database that others begin with."""
    if sys.argv[1:] == ["--template"]:
        make_template()
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket", type=int, help="descriptor of the socket that listens")
    parser.add_argument("home", type=Path, help="Prefect's home, where the database is")
    parser.add_argument("--book", type=int, help="descriptor of the locked file to be found by; else stdin is watched")
    parser.add_argument("--idle", type=float, default=float("inf"), help="seconds after which it ends")
    given = parser.parse_args()
    listening = socket.socket(fileno=given.socket)
    port = listening.getsockname()[1]
    if given.book is not None:
        write_down(given.book, port)
    serve(listening, port, given)


def write_down(book: int, port: int) -> None:
    """Say where this server is to be found, in the file whose lock it holds as long as it lives."""
    entry = {"api": f"http://127.0.0.1:{port}/api", "pid": os.getpid()}
    os.truncate(book, 0)
    os.pwrite(book, json.dumps(entry).encode(), 0)


def serve(listening: socket.socket, port: int, given: argparse.Namespace) -> None:
    """Serve Prefect's API and page on a socket."""
    gc.disable()  # importing makes a million objects, and none of them is rubbish
    os.environ["PREFECT_HOME"] = str(given.home)
    surround(port)
    provide_database(given.home / "prefect.db")
    import uvicorn
    from prefect.server.api.server import create_app

    app = Attended(create_app(final=True))
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(
        app, log_level="error", lifespan="on", access_log=False, timeout_graceful_shutdown=FAREWELL_SECONDS
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        watch = asyncio.create_task(watch_for_the_end(server, app, given))
        await server.serve(sockets=[listening])
        watch.cancel()

    asyncio.run(run())


def surround(port: int) -> None:
    """Set what Prefect reads when it is imported."""
    os.environ.pop("PREFECT_API_URL", None)
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)  # the page asks there
    for service in WITHOUT:
        os.environ.setdefault(service, "false")


def template() -> Path:
    """A database that is migrated already, made at set-up: `python -m synthcore.flows.running.serve --template`."""
    return Path(sys.prefix, "share", "synthcore", f"prefect-{metadata.version('prefect')}.db")


def provide_database(database: Path) -> None:
    """Begin with a database that is migrated already; leave out migrations where there is nothing to migrate."""
    ready = template()
    if not ready.is_file() or is_database_elsewhere():
        return
    if not database.exists():
        temporary = database.with_name(f"{database.name}.{os.getpid()}.tmp")
        shutil.copyfile(ready, temporary)
        temporary.replace(database)
    if revision(database) == revision(ready):
        os.environ["PREFECT_API_DATABASE_MIGRATE_ON_START"] = "false"
        os.environ["PREFECT_API_BLOCKS_REGISTER_ON_START"] = "false"


def make_template() -> None:
    """Migrate a database once, for all that are made later."""
    ready = template()
    if ready.is_file():
        return
    ready.parent.mkdir(parents=True, exist_ok=True)
    gc.disable()  # a sixth of the time
    with tempfile.TemporaryDirectory(dir=ready.parent) as home:
        os.environ |= {"PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
        surround(port=0)
        asyncio.run(_migrate())
        made = Path(home, "prefect.db")
        with closing(sqlite3.connect(made)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made.replace(ready)


async def _migrate() -> None:
    """Do once what a server does whenever it starts with a new database."""
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    database = provide_database_interface()
    await database.create_db()
    async with await database.session() as session:
        await run_block_auto_registration(session=session)
    await (await database.engine()).dispose()


def revision(database: Path) -> str | None:
    """The revision of a Prefect database, or None if it can't be told."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return str(connection.execute("SELECT version_num FROM alembic_version").fetchone())
    except sqlite3.Error:
        return None


async def watch_for_the_end(server: Any, app: Attended, given: argparse.Namespace) -> None:
    """End the server when nobody needs it any more."""
    while not server.started:  # who waits for that is not idle
        await asyncio.sleep(WATCH_SECONDS)
    app.wake()
    while app.idle_seconds < given.idle and not is_left(given):
        await asyncio.sleep(WATCH_SECONDS)
    server.should_exit = True


def is_left(given: argparse.Namespace) -> bool:
    """Whether the folder is gone, or another file is in place of its book, or the run that it was for has ended."""
    if given.book is None:
        return bool(select.select([sys.stdin], [], [], 0)[0])
    return os.fstat(given.book).st_nlink == 0


if __name__ == "__main__":
    main()
