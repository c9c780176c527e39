"""A collection: the patches read from presets, each once, with where each came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from synthcore.base.errors import DatasetError
from synthcore.base.hashing import canonical_json
from synthcore.sources.base import Provenance, Source
from synthcore.storage import collection as file_format
from synthcore.storage.collection import StoredPresets
from synthcore.vital.controls import installed
from synthcore.vital.patch import Patch


@dataclass(frozen=True)
class Preset:
    """One patch that people made, and where it comes from. Texts are empty where nobody said.

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

    @property
    def provenance(self) -> Provenance:
        """Where it comes from, as datasets store it."""
        told = (self.source, self.name, self.file, self.repository, self.commit, self.licence, self.author)
        return Provenance(self.patch.hash, *told)


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
        What presets call their wavetables, by SHA-256; the nameless are left out.
    """

    presets: tuple[Preset, ...]
    assets: dict[str, bytes]
    wavetable_names: dict[str, str]

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over patches, which stand for their assets, provenance and names."""
        told = [
            [p.patch.hash, p.name, p.source, p.file, p.repository, p.commit, p.licence, p.author, p.macros]
            for p in self.presets
        ]
        text = canonical_json(["synthcore presets 1", told, sorted(self.wavetable_names.items())])
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises
        ------
        SynthcoreError
            The disk is full or the folder can't be written.
        """
        stored = StoredPresets(
            patches=[preset.patch for preset in self.presets],
            sources=[preset.provenance for preset in self.presets],
            macros=[preset.macros for preset in self.presets],
            assets=self.assets,
            wavetable_names=self.wavetable_names,
            digest=self.digest,
        )
        file_format.write(path, stored, installed())

    @classmethod
    def read(cls, path: Path) -> Collection:
        """Read a file that `write` made, and check every byte of it that matters.

        Raises
        ------
        DatasetError
            It is missing, damaged, no collection, or made with another synth.
        """
        stored = file_format.read(path, installed())
        collection = cls(
            presets=tuple(map(_preset, stored.patches, stored.sources, stored.macros)),
            assets=dict(stored.assets),
            wavetable_names=dict(stored.wavetable_names),
        )
        if collection.digest != stored.digest or not _are_named_by_content(stored.assets.items()):
            raise DatasetError(f"{path} is damaged: it isn't what its digest says; ingest the presets again")
        return collection


def _preset(patch: Patch, source: Provenance, macros: tuple[str, ...]) -> Preset:
    kind: Source = "factory" if source.source == "factory" else "community"
    return Preset(
        patch=patch,
        name=source.name,
        source=kind,
        file=source.file,
        repository=source.repository,
        commit=source.commit,
        licence=source.licence,
        author=source.author,
        macros=macros,
    )


def _are_named_by_content(assets: Iterable[tuple[str, bytes]]) -> bool:
    return all(hashlib.sha256(text).hexdigest() == name for name, text in assets)
