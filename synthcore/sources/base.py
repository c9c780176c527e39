"""Candidates: patches on trial, and where each kind of them comes from.

Rows come from people's presets, from variations of these, and from the priors. Each kind is a supply, which for one
patch and attempt always has the same candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from synthcore.sources.priors import Marginal, Priors
from synthcore.vital.patch import Patch

Source = Literal["community", "factory", "variation", "synthetic"]
#: In a dataset, rows come in this order: so more synthetic rows, of which most datasets are made, come last.
SOURCES: tuple[Source, ...] = ("community", "factory", "variation", "synthetic")
PRESET_SOURCES: tuple[Source, ...] = ("community", "factory")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A patch on trial.

    Attributes
    ----------
    index, attempt : int
        Which patch of its source, and how many were refused before.
    name : str
        What people call it.
    parents : tuple of str
        Hashes of the presets it was made from, as `sources/` lists them: its own for a preset, one or two for a
        variation, none for a synthetic patch.
    assets : mapping of str to bytes
        Assets that were made for this candidate; its supply has all others.
    """

    index: int
    attempt: int
    source: Source
    name: str
    patch: Patch
    parents: tuple[str, ...] = ()
    assets: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a preset comes from, and on what terms."""

    preset_hash: str  # of the patch as people made it, before anything was projected to a tier
    source: str
    name: str
    file: str
    repository: str
    commit: str
    licence: str
    author: str


class Supply(Protocol):
    """Where the candidates of one source come from."""

    @property
    def attempts(self) -> int:
        """How many candidates a patch may have. With 1, a refused one is left out; with more, one has to be found."""

    @property
    def refuses_repeats(self) -> bool:
        """Whether a candidate in which nothing follows the note is refused: its rows would repeat each other."""

    @property
    def marginals(self) -> Sequence[Marginal]:
        """What each control is drawn from; none where nothing is drawn."""

    @property
    def priors(self) -> Priors:
        """The priors behind the marginals."""

    @property
    def assets(self) -> Mapping[str, bytes]:
        """The canonical JSON of every asset that candidates refer to, by SHA-256."""

    @property
    def wavetable_names(self) -> Mapping[str, str]:
        """What people call each wavetable, by SHA-256."""

    def candidate(self, index: int, attempt: int) -> Candidate:
        """The candidate for a patch (from 0) at an attempt (from 0), quantised to what is stored."""

    def provenance(self, hashes: Iterable[str]) -> list[Provenance]:
        """Where these presets come from."""
