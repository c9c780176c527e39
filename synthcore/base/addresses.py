"""Addresses: the names of files on other machines, as s3://bucket/file.h5 or https://example.org/file.h5.

An address may hold secrets: a password, or a signature that lets whoever has it read the file. Written as text it is
masked, wherever that is; only who opens the file asks for the `url`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic_core import CoreSchema, core_schema

from synthcore.base.errors import SpecError
from synthcore.base.masking import masked

SCHEMES = ("s3", "https", "http")
_BEGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class Address(str):
    """Where a file on another machine is. As a text it is masked, so whatever keeps or shows it keeps no secret.

    Attributes
    ----------
    url : str
        The address itself.

    Raises
    ------
    SpecError
        It isn't one that can be read, or an s3 address with credentials in it.
    """

    __slots__ = ("url",)
    url: str

    def __new__(cls, url: str) -> Self:
        whole = url.url if isinstance(url, Address) else url
        address = super().__new__(cls, masked(whole))
        address.url = whole
        address._require_readable()
        return address

    def _require_readable(self) -> None:
        _, _, rest = self.url.partition("://")
        allowed = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        if self.scheme not in SCHEMES:
            raise SpecError(f"can't read {self}: an address begins with {allowed}")
        if self.scheme == "s3" and "@" in rest.partition("/")[0]:
            raise SpecError(
                f"{self} holds credentials, which an s3 address can't: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, and name s3://bucket/file"
            )
        if not rest.strip("/") or (self.scheme == "s3" and not rest.partition("/")[2]):
            raise SpecError(f"{self} names no file: write s3://bucket/file.h5 or https://host/file.h5")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __getnewargs__(self) -> tuple[str]:  # as text alone, a pickle would lack the secrets
        return (self.url,)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    @property
    def scheme(self) -> str:
        """What it begins with: s3, https or http."""
        return self.url.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The file's name alone, such as demo.h5."""
        path = self.url if self.scheme == "s3" else urlsplit(self.url).path
        return unquote(path.rstrip("/").rpartition("/")[2])

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return Path(self.name).stem

    @property
    def has_secrets(self) -> bool:
        """Whether its text differs from it."""
        return str(self) != self.url

    def joined(self, name: str) -> Address:
        """The address of a file in the folder that this one names."""
        return Address(f"{self.url.rstrip('/')}/{name}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "format": "uri"}


Place = Path | Address  #: where a file is: on this machine, or behind an address


def local(place: Place) -> Path:
    """A place that must be on this machine.

    Raises
    ------
    SpecError
        It is behind an address.
    """
    if isinstance(place, Address):
        raise SpecError(f"{place} can be read from there, but not for this: download it, and name the copy")
    return place


def place_of(named: str | Path | Address) -> Place:
    """What a text names: a file, or, if it begins like one, an address.

    Raises
    ------
    SpecError
        An address that can't be read.
    """
    if isinstance(named, Address):
        return named
    return Address(named) if isinstance(named, str) and _BEGIN.match(named) else Path(named)
