"""Sharing: which rows of a dataset may be published, and under which licence.

A row that was made from presets, a variation included, is published under what their sources state, or left out. The
others are the user's own, and are published under the user's licence.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthcore.base.counting import how_many
from synthcore.base.errors import SpecError
from synthcore.publishing.licences import Verdict, judge, require_licence
from synthcore.storage.dataset import Dataset
from synthcore.vital.catalog import builtin
from synthcore.vital.patch import init_assets

#: Of a drawn row whose wavetable is neither built in nor the init preset's: catalogs state no licences.
FOREIGN = Verdict(reason="plays a wavetable of a catalog, whose licence nobody stated")
NOBODY = -1  #: stands for a parent that a row doesn't have


@dataclass(frozen=True, slots=True, eq=False)
class Sharing:
    """What becomes of each row.

    Attributes
    ----------
    verdicts : tuple of Verdict
        The different ones that occur.
    of_rows : ndarray of int, shape (N,)
        Which of them is each row's.
    """

    verdicts: tuple[Verdict, ...]
    of_rows: NDArray[np.intp]

    @property
    def is_shared(self) -> NDArray[np.bool_]:
        """Which rows may be published: shape (N,)."""
        shared = np.array([not verdict.reason for verdict in self.verdicts], dtype=bool)
        return shared[self.of_rows]

    def licence(self, row: int) -> str:
        """The licence that a row is published under; "" if it is left out."""
        return self.verdicts[int(self.of_rows[row])].licence

    @property
    def licences(self) -> dict[str, int]:
        """How many rows are published under each licence, the most frequent first."""
        return self._count("licence")

    @property
    def left_out(self) -> dict[str, int]:
        """How many rows are left out for each reason, the most frequent first."""
        return self._count("reason")

    def _count(self, part: str) -> dict[str, int]:
        rows = np.bincount(self.of_rows, minlength=len(self.verdicts)).tolist()
        counts: Counter[str] = Counter()
        for verdict, number in zip(self.verdicts, rows, strict=True):
            if words := getattr(verdict, part):
                counts[words] += number
        return dict(counts.most_common())


def decide_sharing(dataset: Dataset, own: str | None) -> Sharing:
    """Decide for each row whether it may be published. Reads a few columns, no audio.

    Parameters
    ----------
    dataset : Dataset
    own : str or None
        The licence of the rows that are the user's own: those drawn from the priors. An SPDX expression.

    Raises
    ------
    SpecError
        `own` isn't an SPDX licence, or the dataset has rows that need one and there is none.
    """
    own = None if own is None else require_licence(own)
    stated, of_parents = _stated(dataset)
    is_foreign = _plays_foreign_wavetables(dataset) & (of_parents == NOBODY).all(axis=1)
    kinds, of_rows = np.unique(np.column_stack([of_parents, is_foreign]), axis=0, return_inverse=True)
    verdicts = []
    for kind, (*parents, foreign) in enumerate(kinds.tolist()):
        licences = [stated[parent] for parent in parents if parent != NOBODY]
        if licences:
            verdicts.append(judge(licences))
        elif foreign:
            verdicts.append(FOREIGN)
        else:
            rows = int((of_rows == kind).sum())
            verdicts.append(Verdict(licence=_require_own(own, rows)))
    return Sharing(tuple(verdicts), of_rows)


def _require_own(own: str | None, rows: int) -> str:
    if own is None:
        raise SpecError(
            f"{how_many(rows, 'row')} were drawn from priors, so they are your own: name the licence that you give "
            "them, such as --licence CC0-1.0 or --licence CC-BY-4.0 (https://spdx.org/licenses lists all)"
        )
    return own


def _stated(dataset: Dataset) -> tuple[list[str], NDArray[np.intp]]:
    """What sources state, each text once; and which of them holds for each row's parents: shape (N, 2), or `NOBODY`."""
    presets = sorted(dataset.sources(), key=lambda preset: preset.preset_hash)
    stated = sorted({preset.licence for preset in presets})
    place = {text: number for number, text in enumerate(stated)}
    hashes = np.array([preset.preset_hash for preset in presets], dtype="S64")
    numbers = np.array([place[preset.licence] for preset in presets], dtype=np.intp)
    parents = dataset.column("parents")
    if not len(hashes):
        return stated, np.full(parents.shape, NOBODY, dtype=np.intp)
    found = np.minimum(np.searchsorted(hashes, parents), len(hashes) - 1)
    return stated, np.where(parents == b"", NOBODY, numbers[found])


def _plays_foreign_wavetables(dataset: Dataset) -> NDArray[np.bool_]:
    ours = {*builtin().assets, *init_assets(dataset.registry)}
    is_foreign = np.array([name not in ours for name in dataset.classes.wavetables], dtype=bool)
    found: NDArray[np.bool_] = is_foreign[dataset.column("wavetables")].any(axis=1)
    return found
