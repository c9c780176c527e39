"""Whether a Prefect server will be able to use a database: asked before it starts, as it would fail in many lines."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from contextlib import closing

from synthcore.base.databases import Database
from synthcore.base.errors import SynthcoreError

ANSWER_SECONDS = 10.0  #: Prefect's server waits for 5
OF_SQLALCHEMY = "prepared_statement_cache_size"  #: what it takes from an address itself, for asyncpg


def require_usable(database: Database) -> None:
    """Refuse a database that can't be opened, or in which no tables can be made.

    Raises
    ------
    SynthcoreError
        It says why, and has no password in it.
    """
    refused = f"the database {database} can't be used"
    try:
        may_create = _is_writable(database) if database.is_file else asyncio.run(_may_create_tables(database))
    except TimeoutError as error:
        raise SynthcoreError(f"{refused}: no answer in {ANSWER_SECONDS:.0f} s") from error
    except Exception as error:  # of the system, of a driver or of SQLAlchemy: they have no class in common
        reason = getattr(error, "orig", error)  # SQLAlchemy adds a line to what a driver says
        raise SynthcoreError(f"{refused}: {reason}") from error
    if not may_create:
        raise SynthcoreError(f"{refused}: its user may not create tables in it; make that user its owner")


def _is_writable(database: Database) -> bool:
    """Begin to write; whatever keeps one from it is an error of SQLite's."""
    with closing(sqlite3.connect(database.place.removeprefix("sqlite:"))) as connection:
        connection.execute("BEGIN IMMEDIATE")
    return True


async def _may_create_tables(database: Database) -> bool:
    """Connect the way Prefect's server does.

    Raises
    ------
    ValueError
        The address has a parameter that the driver doesn't take, such as one of libpq's.
    """
    import asyncpg  # type: ignore[import-untyped]
    from sqlalchemy import make_url, text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    known = {*inspect.signature(asyncpg.connect).parameters, OF_SQLALCHEMY}
    for name in sorted(make_url(database.url.get_secret_value()).query.keys() - known):
        hint = ": for TLS, write ssl=require" if name.startswith("ssl") else ""
        raise ValueError(f"its address has the parameter {name}, which the driver, asyncpg, doesn't take{hint}")
    engine = create_async_engine(
        database.url.get_secret_value(), poolclass=NullPool, connect_args={"timeout": ANSWER_SECONDS}
    )
    async with engine.connect() as connection:
        return bool(await connection.scalar(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")))
