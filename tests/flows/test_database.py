"""Whether a database can be used is found out before a server starts on it; here of files, and of ports."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from synthcore.base.databases import Database, database
from synthcore.base.errors import SynthcoreError
from synthcore.flows.running.database import require_usable
from tests.flows.test_operation import free_port


def of(url: str) -> Database:
    found = database(url)
    assert isinstance(found, Database)
    return found


def test_a_file_that_is_new_or_has_tables_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "my runs.db"
    require_usable(of(f"sqlite+aiosqlite:///{file}"))
    with closing(sqlite3.connect(file)) as made:
        made.execute("CREATE TABLE flow_run (id)")
        made.commit()
    require_usable(of(f"sqlite+aiosqlite:///{file}"))


def test_a_file_that_is_no_database_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, and dear to someone")
    for name, says in (("notes.txt", "file is not a database"), ("nowhere/x.db", "unable to open database file")):
        with pytest.raises(SynthcoreError, match=f"^the database sqlite:{tmp_path}/{name} can't be used: {says}$"):
            require_usable(of(f"sqlite+aiosqlite:///{tmp_path}/{name}"))
    assert (tmp_path / "notes.txt").read_text() == "not a database, and dear to someone"


@pytest.mark.slow
@pytest.mark.parametrize("begins", ["postgresql", "postgresql+asyncpg"])
def test_a_parameter_that_the_driver_does_not_take_is_named(begins: str) -> None:
    """As libpq and other drivers write it; nothing is asked of the host then."""
    with pytest.raises(SynthcoreError) as found:
        require_usable(of(f"{begins}://me:hunter2@h/x?sslmode=require&prepared_statement_cache_size=0"))
    assert str(found.value) == (
        "the database postgresql://h/x can't be used: its address has the parameter sslmode, which the driver, "
        "asyncpg, doesn't take: for TLS, write ssl=require"
    )


@pytest.mark.slow
def test_a_port_at_which_none_answers_is_refused_without_the_password() -> None:
    port = free_port()
    with pytest.raises(SynthcoreError, match=f"^the database postgresql://127.0.0.1:{port}/x can't be used: ") as found:
        require_usable(of(f"postgresql://me:hunter2@127.0.0.1:{port}/x"))
    assert "hunter2" not in str(found.value)


@pytest.mark.slow
def test_a_server_that_runs_already_is_given_no_other_database(prefect_api: str, tmp_path: Path) -> None:
    """Its runs would not be where the command said."""
    port = prefect_api.removesuffix("/api").rpartition(":")[2]
    words = ["up", "--port", port, "--database", f"sqlite+aiosqlite:///{tmp_path}/other.db"]
    code = "import os, sys; os.environ['PREFECT_HOME'] = sys.argv.pop(1); os.environ.pop('PREFECT_API_URL', None)"
    code += "; from synthcore.flows.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "home"), *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "already runs at" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "other.db").exists()
