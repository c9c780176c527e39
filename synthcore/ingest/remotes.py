"""What can be downloaded: repositories and archives of presets, by address, with the licence they state."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from synthcore.base.masking import masked
from synthcore.base.quantities import Typed, whole_items

NONE_STATED = "none stated"
ARCHIVES = (".zip", ".vitalbank")
SCHEMES = ("https", "http", "ssh", "file")
LONGEST_NAME = 100  #: of a folder, in bytes; file systems take 255, and its temporary name is longer

# What git allows in a branch or tag name (git help check-ref-format), without what could mislead git or a reader.
_REF = re.compile(r"(?![-/.])(?!.*(\.\.|@\{|//))[^\x00-\x20\x7f~^:?*\[\\]{1,250}")


class RemoteSource(BaseModel):
    """One repository or archive of presets."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    url: str = Field(
        max_length=2000,
        description="A git repository (https, http, ssh, file), or an archive: .zip, .vitalbank, or with a sha256.",
    )
    ref: str | None = Field(None, description="Branch, tag or whole commit; by default the repository's main branch.")
    licence: str = Field(NONE_STATED, max_length=200, description="What its authors say others may do with it.")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="What an archive's bytes must add up to.")

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        if not url.isprintable() or " " in url:
            raise ValueError("an address has no spaces and no control characters")
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not url.startswith(f"{parts.scheme}://"):
            raise ValueError(f"an address begins with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        if parts.scheme == "file":
            if parts.netloc or not parts.path.startswith("/"):
                raise ValueError("a file address holds an absolute path: file:///home/me/presets.git")
            return url
        _require_host(parts)
        return url

    @field_validator("ref")
    @classmethod
    def _named(cls, ref: str | None) -> str | None:
        if ref is not None and not _REF.fullmatch(ref):
            raise ValueError("a ref is the name of a branch or tag, or a whole commit")
        return ref

    @field_validator("licence")
    @classmethod
    def _one_line(cls, licence: str) -> str:
        if not licence.isprintable() or not licence.strip():
            raise ValueError(f"a licence is one line of text; say {NONE_STATED!r} if there is none")
        return licence

    @model_validator(mode="after")
    def _of_one_kind(self) -> RemoteSource:
        if self.is_archive and self.ref:
            raise ValueError("ref belongs to a repository: an archive is pinned by its sha256")
        if self.is_archive and urlsplit(self.url).scheme not in ("https", "http"):
            raise ValueError("an archive is downloaded over https or http; ingest reads one that is here already")
        return self

    def __repr__(self) -> str:
        return f"{self.address}{f' at {self.ref}' if self.ref else ''} (licence: {self.licence})"

    @field_serializer("url", when_used="json")
    def _without_secrets(self, url: str) -> str:
        return masked(url)  # Prefect writes down what a flow was called with

    @property
    def address(self) -> str:
        """The address as it may be written down and shown: without secrets."""
        return masked(self.url)

    @property
    def is_archive(self) -> bool:
        """Whether this is a file to download, not a repository to clone."""
        return self.sha256 is not None or urlsplit(self.url).path.lower().endswith(ARCHIVES)

    @property
    def folder_name(self) -> str:
        """The name of its folder: host, path and ref, spelt so that any file system takes them."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        plain = f"{host}{parts.path.removesuffix('.git')}" + (f"@{self.ref}" if self.ref else "")
        name = re.sub(r"[^A-Za-z0-9._@-]+", "-", plain).strip(".-")
        if re.fullmatch(r"[A-Za-z0-9._/@-]+", plain) and 0 < len(name) <= LONGEST_NAME and not parts.query:
            return name
        return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(self.url.encode()).hexdigest()[:8]}".lstrip("-")

    @property
    def file_name(self) -> str:
        """The name of an archive's file in its folder."""
        suffix = PurePosixPath(urlsplit(self.url).path).suffix.lower()
        return f"presets{suffix if suffix in ARCHIVES else '.zip'}"


def _require_host(parts: SplitResult) -> None:
    if not parts.hostname or parts.hostname.startswith("-"):
        raise ValueError("an address names a host")
    _ = parts.port  # raises ValueError if it isn't a port
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise ValueError("an address goes into the dataset, so it can't hold a user or password; ssh:// knows your key")


def _from_address(entry: object) -> object:
    """Let a bare address stand for a source with nothing else set."""
    return {"url": entry} if isinstance(entry, str) else entry


def _apart(sources: tuple[RemoteSource, ...]) -> tuple[RemoteSource, ...]:
    taken: dict[str, RemoteSource] = {}
    for source in sources:
        name = source.folder_name.casefold()  # as macOS compares names
        if name in taken:
            raise ValueError(
                f"{taken[name].address} and {source.address} would be put in the same folder: leave one out"
            )
        taken[name] = source
    return sources


Sources = Annotated[
    tuple[Annotated[RemoteSource, BeforeValidator(_from_address)], ...],
    BeforeValidator(whole_items),
    AfterValidator(_apart),
    Typed("URL"),
    Field(
        min_length=1,
        description="Where presets come from: a list of addresses, or of objects with url, ref, licence, sha256.",
    ),
]

#: Public repositories of presets for Vital, with the licence that they stated when they were looked at.
#: Built without validation, which would take a third of --help's time; a test validates them.
KNOWN: tuple[RemoteSource, ...] = (
    RemoteSource.model_construct(url="https://github.com/jpriebe/qub1t-vital-presets"),
    RemoteSource.model_construct(url="https://github.com/instatetragrammaton/Patches", licence="CC-BY-4.0"),
    RemoteSource.model_construct(url="https://github.com/SlavaCat118/Vinetics"),
)
