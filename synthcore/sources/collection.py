"""A collection: the patches read from presets, each once, with where each came from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from synthcore.base.hashing import content_hash
from synthcore.sources.base import Provenance, Source
from synthcore.vital.patch import Patch


@dataclass(frozen=True)
class Preset:
    """One patch that people made, and where it comes from. What isn't known is an empty text.

    Attributes
    ----------
    file : str
        Relative to the folder it was found in; inside an archive, "bank.vitalbank!Author/Presets/x.vital".
    macros : tuple of str
        The names of the four macro knobs.
    """

    patch: Patch
    name: str
    source: Source
    file: str
    repository: str
    commit: str
    licence: str
    author: str
    macros: tuple[str, ...]

    @classmethod
    def of(cls, patch: Patch, provenance: Provenance, macros: tuple[str, ...]) -> Preset:
        """A patch with what a file says of where it comes from."""
        source: Source = "factory" if provenance.source == "factory" else "community"
        names = ("name", "file", "repository", "commit", "licence", "author")
        return cls(patch=patch, source=source, macros=macros, **{name: getattr(provenance, name) for name in names})

    @property
    def provenance(self) -> Provenance:
        """Where it comes from, as datasets store it."""
        fields = (self.source, self.name, self.file, self.repository, self.commit, self.licence, self.author)
        return Provenance(self.patch.hash, *fields)


@dataclass(frozen=True)
class Collection:
    """Patches read from presets.

    Attributes
    ----------
    presets : tuple of Preset
        Sorted by patch hash, each hash once.
    assets : dict of str to bytes
        The canonical JSON of everything the patches refer to, by SHA-256.
    wavetable_names : dict of str to str
        What presets call their wavetables, by SHA-256; those without a name are left out.
    """

    presets: tuple[Preset, ...]
    assets: dict[str, bytes]
    wavetable_names: dict[str, str]

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over patches, which stand for their assets, provenance and names."""
        presets = [
            [p.patch.hash, p.name, p.source, p.file, p.repository, p.commit, p.licence, p.author, p.macros]
            for p in self.presets
        ]
        return content_hash(["synthcore presets 1", presets, sorted(self.wavetable_names.items())])
