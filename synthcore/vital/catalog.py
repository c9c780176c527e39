"""The catalog: wavetables by content, with all their names.

Owns the order, the digest and the file of a catalog. A catalog is a value: made, merged and written, never changed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError, PresetError
from synthcore.base.hashing import canonical_json, content_hash
from synthcore.vital import parsing, validation
from synthcore.vital.builtin import builtin_wavetables
from synthcore.vital.wavetable import canonical_wavetable, count_frames, playable

FORMAT = "synthcore wavetables 1"  #: of the JSON file
MAX_NAME = 1000  #: characters of a wavetable's name
MAX_PLACES = 5  #: how many of the files that hold a wavetable are named


class CatalogEntry(BaseModel):
    """What is known of one wavetable.

    Attributes
    ----------
    digest : str
        SHA-256 of its canonical form, in hex: its id.
    name : str
        The name it goes by most often; a built-in table keeps its own.
    names : dict of str to int
        Every name seen in files, and how often.
    places : tuple of str
        The first files that hold it, relative to the folders searched.
    count : int
        How often it was seen in files; 0 for a built-in table that nobody uses.
    frames : int
        How many frames it has, 1..257; `wave_frame` does nothing beyond them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    name: str
    names: dict[str, int]
    places: tuple[str, ...]
    count: int
    frames: int


@dataclass(frozen=True, eq=False)
class Catalog:
    """Wavetables in a stable order: the built-in ones first, in their own order, then the others by digest.

    Attributes
    ----------
    entries : tuple of CatalogEntry
        A wavetable's index is its place here.
    assets : mapping of str to bytes
        The canonical JSON of each wavetable, by SHA-256.
    """

    entries: tuple[CatalogEntry, ...]
    assets: Mapping[str, bytes]

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex of the wavetables in their order, without names, which don't change the sound."""
        return content_hash([entry.digest for entry in self.entries])

    @cached_property
    def _indices(self) -> Mapping[str, int]:
        return {entry.digest: index for index, entry in enumerate(self.entries)}

    def index(self, digest: str) -> int | None:
        """The place of a wavetable, or None if it isn't here."""
        return self._indices.get(digest)

    def merged(self, other: Catalog) -> Catalog:
        """Both catalogs' wavetables, with their names and counts added up."""
        found = {entry.digest: entry for entry in self.entries}
        for entry in other.entries:
            mine = found.get(entry.digest)
            found[entry.digest] = _joined(mine, entry) if mine else entry
        order = _builtin_order()
        ordered = sorted(found.values(), key=lambda entry: (order.get(entry.digest, len(order)), entry.digest))
        assets = {**self.assets, **other.assets}
        return Catalog(tuple(ordered), {entry.digest: assets[entry.digest] for entry in ordered})

    def to_json(self) -> str:
        """Serialise with the wavetables themselves: equal catalogs give equal text."""
        entries = [
            {**entry.model_dump(mode="json"), "wavetable": self.assets[entry.digest].decode()} for entry in self.entries
        ]
        return canonical_json({"format": FORMAT, "digest": self.digest, "entries": entries})

    @classmethod
    def from_json(cls, text: str, where: str = "the catalog") -> Catalog:
        """Read `to_json`'s text.

        Raises
        ------
        DatasetError
            It isn't a catalog, is damaged, or holds what the synth doesn't survive.
        """
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise ValueError(f"its format is {data['format']!r}, here it is {FORMAT!r}")
            texts = [entry.pop("wavetable").encode() for entry in data["entries"]]
            entries = TypeAdapter(tuple[CatalogEntry, ...]).validate_python(data["entries"])
            if not entries or len({entry.digest for entry in entries}) < len(entries):
                raise ValueError("it has no wavetables, or one of them twice")
            catalog = cls(entries, {hashlib.sha256(text).hexdigest(): text for text in texts})
            if catalog.digest != data["digest"] or set(catalog.assets) != set(catalog._indices):
                raise ValueError("its contents aren't those that were written")
            for entry, content in zip(entries, texts, strict=True):
                _require_canonical(content)
                if entry.frames != count_frames(json.loads(content)):
                    raise ValueError(f"{entry.digest} has another number of frames than it says")
                if not all(name.isprintable() and len(name) <= MAX_NAME for name in (entry.name, *entry.names)):
                    raise ValueError(f"{entry.digest} has a name that can't be shown")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, PresetError) as error:
            reason = "entries are missing or malformed" if isinstance(error, ValidationError) else error
            raise DatasetError(
                f"{where} isn't a wavetable catalog: {reason}; make one with synthcore discover-wt"
            ) from error
        return catalog

    def save(self, path: Path) -> None:
        """Write the catalog as JSON, whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_text(self.to_json(), encoding="ascii")

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Read a catalog's file.

        Raises
        ------
        DatasetError
            It can't be read, or isn't a catalog.
        """
        try:
            if path.exists() and not path.is_file():
                raise DatasetError(f"{path} isn't a file; name the catalog that discover-wt made")
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise DatasetError(f"can't read the catalog {path}: {reason}") from error
        return cls.from_json(text, str(path))


@dataclass(frozen=True, slots=True)
class Sighting:
    """One wavetable seen in a file, with the name it goes by there."""

    content: bytes
    name: str
    place: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def catalog_of(sightings: Iterable[Sighting]) -> Catalog:
    """Make a catalog of what was seen, in whatever order."""
    names: dict[str, Counter[str]] = {}
    places: dict[str, set[str]] = {}
    assets: dict[str, bytes] = {}
    for seen in sightings:
        digest = seen.digest
        assets[digest] = seen.content
        names.setdefault(digest, Counter())[seen.name] += 1
        places.setdefault(digest, set()).add(seen.place)
    entries = [
        CatalogEntry(
            digest=digest,
            name=_most_frequent(names[digest]),
            names=dict(sorted(names[digest].items())),
            places=tuple(sorted(places[digest])[:MAX_PLACES]),
            count=names[digest].total(),
            frames=count_frames(json.loads(content)),
        )
        for digest, content in sorted(assets.items())
    ]
    return Catalog((), {}).merged(Catalog(tuple(entries), assets))


@lru_cache(maxsize=1)
def builtin() -> Catalog:
    """The catalog that is always there, made without a synth."""
    made = [(name, content, hashlib.sha256(content).hexdigest()) for name, content in builtin_wavetables()]
    entries = tuple(
        CatalogEntry(digest=digest, name=name, names={}, places=(), count=0, frames=count_frames(json.loads(content)))
        for name, content, digest in made
    )
    return Catalog(entries, {digest: content for _, content, digest in made})


@lru_cache(maxsize=1)
def _builtin_order() -> Mapping[str, int]:
    return {entry.digest: place for place, entry in enumerate(builtin().entries)}


def _joined(one: CatalogEntry, other: CatalogEntry) -> CatalogEntry:
    names = Counter(one.names) + Counter(other.names)
    is_builtin = one.digest in _builtin_order()
    return one.model_copy(
        update={
            "name": builtin().entries[_builtin_order()[one.digest]].name if is_builtin else _most_frequent(names),
            "names": dict(sorted(names.items())),
            "places": tuple(sorted({*one.places, *other.places})[:MAX_PLACES]),
            "count": one.count + other.count,
        }
    )


def _most_frequent(names: Counter[str]) -> str:
    return min(names, key=lambda name: (-names[name], name))


def _require_canonical(content: bytes) -> None:
    """Refuse what was edited by hand: `playable` works on the text, and the synth doesn't survive every table."""
    wavetable = parsing.load(playable(content.decode()).encode())
    validation.require_wavetable(wavetable)
    if canonical_wavetable(wavetable) != content:
        raise ValueError("a wavetable isn't in its canonical form")
