"""Databases that a Prefect server can use: how people name one, and how one is shown without its secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from synthcore.base.quantities import Typed

# Stricter than who opens it: were an @ or / of a password taken for the end of it, the rest would be shown as a host.
_POSTGRESQL = re.compile(
    r"postgresql(?:\+asyncpg)?://(?P<credentials>[^@/?#]*@)?(?P<place>(?:[\w.-]*|\[[\da-fA-F:.]+\])(?::\d{1,5})?/[\w.%-]+)"
    r"(?P<options>\?[^#]*)?"
)
_SQLITE = re.compile(r"sqlite\+aiosqlite://(?P<place>//[^?#]+)(?P<options>\?[^#]*)?")
_FORMS = "postgresql://user:password@host/name or sqlite+aiosqlite:////folder/file.db"
_ESCAPES = "in a password, @ / ? # are written %40 %2F %3F %23"


@dataclass(frozen=True, slots=True)
class Database:
    """A database that is named by its address. As a text it has no secrets.

    Attributes
    ----------
    url : SecretStr
        What Prefect takes, with the driver that it needs.
    place : str
        The same without driver, user, password and options.
    """

    url: SecretStr
    place: str

    @property
    def is_file(self) -> bool:
        """Whether it is one of SQLite."""
        return self.place.startswith("sqlite:")

    def __str__(self) -> str:
        return self.place


def database(given: object) -> object:
    """Read the address of a database; a plain postgresql:// gets the one driver that Prefect can use.

    >>> read = database("postgresql://me:hunter2@db.example.org/prefect?ssl=require")
    >>> str(read), read.url.get_secret_value()
    ('postgresql://db.example.org/prefect', 'postgresql+asyncpg://me:hunter2@db.example.org/prefect?ssl=require')

    Raises
    ------
    PydanticCustomError
        It names none. It isn't quoted: it may hold a password.
    """
    if given is None or isinstance(given, Database):
        return given
    text = given if isinstance(given, str) else ""
    if found := _POSTGRESQL.fullmatch(text):
        rest = text.partition("://")[2]
        return Database(SecretStr(f"postgresql+asyncpg://{rest}"), f"postgresql://{found['place']}")
    if found := _SQLITE.fullmatch(text):
        return Database(SecretStr(text), f"sqlite:{found['place'][1:]}")
    raise PydanticCustomError("secret", "{complaint}", {"complaint": f"must be {_FORMS}; {_ESCAPES}"})


NamedDatabase = Annotated[Database | None, BeforeValidator(database), Typed("URL", "postgresql://me@host/prefect")]
