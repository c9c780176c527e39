"""Databases: what names one, what Prefect is given, and that no text shows a password."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from synthcore.base.databases import Database, database
from synthcore.flows.cli import main

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("given", "url", "shown"),
    [
        (
            "postgresql://me:hunter2@db.example.org:5433/prefect?ssl=require&x=a@b",
            "postgresql+asyncpg://me:hunter2@db.example.org:5433/prefect?ssl=require&x=a@b",
            "postgresql://db.example.org:5433/prefect",
        ),
        ("postgresql+asyncpg://h/x", "postgresql+asyncpg://h/x", "postgresql://h/x"),
        ("postgresql://me@[::1]:5432/x", "postgresql+asyncpg://me@[::1]:5432/x", "postgresql://[::1]:5432/x"),
        ("postgresql:///x?host=/run/pg", "postgresql+asyncpg:///x?host=/run/pg", "postgresql:///x"),
        ("sqlite+aiosqlite:////data/my runs.db", "sqlite+aiosqlite:////data/my runs.db", "sqlite:/data/my runs.db"),
    ],
)
def test_a_database_has_the_driver_that_prefect_needs_and_is_shown_by_its_place(
    given: str, url: str, shown: str
) -> None:
    found = database(given)
    assert isinstance(found, Database)
    assert found.url.get_secret_value() == url
    assert str(found) == shown
    assert found.is_file == given.startswith("sqlite")


def test_no_text_of_a_database_has_its_password() -> None:
    class Settings(BaseModel):
        database: Database

    found = database(f"postgresql://me:{SECRET}@h/x?password={SECRET}")
    assert isinstance(found, Database)
    settings = Settings(database=found)
    for shown in (str(found), repr(found), f"{found}", str(settings), settings.model_dump_json()):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "given",
    [
        f"mysql://me:{SECRET}@h/x",
        f"postgres://me:{SECRET}@h/x",
        f"postgresql+psycopg2://me:{SECRET}@h/x",
        f"host=h password={SECRET}",
        f"postgresql://me:{SECRET}@h",
        f"postgresql://me:{SECRET}@h/",
        f"postgresql://me:{SECRET}@h:port/x",
        f"postgresql://me:a@{SECRET}@h/x",  # @, / and the others end what is before them
        f"postgresql://me:a/{SECRET}@h/x",
        f"postgresql://me:a#{SECRET}@h/x",
        "sqlite+aiosqlite:///here.db",  # the server may be started in another folder
        "sqlite:////data/x.db",
        "/data/x.db",
    ],
)
@pytest.mark.parametrize("by", ["--database", "SYNTHCORE_UP_DATABASE"])
def test_what_names_no_database_costs_one_line_without_a_password(
    given: str, by: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["up", by, given] if by.startswith("-") else ["up"]
    monkeypatch.setenv("SYNTHCORE_UP_DATABASE", given if len(words) == 1 else "")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"synthcore: {by}: must be postgresql://user:password@host/name or sqlite+aiosqlite:////")
    assert err.count("\n") == 1
    assert SECRET not in err
