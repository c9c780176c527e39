"""The report of a comparison with other sounds: how near they are, the farthest of them by name, what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rich.table import Table

from synthcore.analysis.inspection import new_table, text_of
from synthcore.analysis.nearness import WORST, Figures, Spread, figures, find_nearest
from synthcore.analysis.telling import COMPONENTS, FOLDS
from synthcore.base import shell
from synthcore.base.counting import how_many
from synthcore.base.errors import SpecError
from synthcore.pipeline.sketching import StoredSketches
from synthcore.pipeline.sounds import NamedSound

#: Raise it when the same sketches give other figures.
VERSION = 1
DISTANCE = "mean absolute difference of log-mel spectra averaged over quarters of the time, in dB"
CLASSIFIER = f"ridge regression on {COMPONENTS} principal components and their squares, {FOLDS} folds"
SHOWN = 5  #: reasons for leaving sounds out that the text names
Kind = Literal["dataset", "presets", "recordings"]


class Pair(BaseModel):
    """A sound and its nearest on the other side."""

    model_config = ConfigDict(frozen=True)

    sound: NamedSound
    nearest: NamedSound
    apart_db: float  # with loudness matched


class LeftOut(BaseModel):
    """A sound that could not be compared."""

    model_config = ConfigDict(frozen=True)

    name: str
    reason: str


class Compared(BaseModel):
    """What is compared with what."""

    model_config = ConfigDict(frozen=True)

    file: str
    other: str
    kind: Kind  # of the other
    refused: tuple[LeftOut, ...] = ()  # presets that could not be read
    remarks: tuple[str, ...] = ()


class Nearness(BaseModel):
    """How near a dataset comes to other sounds."""

    model_config = ConfigDict(frozen=True)

    file: str
    other: str
    kind: Kind
    rows: int  # of the dataset, compared
    sounds: int  # of the other, compared
    distance: str = DISTANCE
    classifier: str = CLASSIFIER
    matched: Figures  # each sound brought to the same RMS level first
    as_it_is: Figures
    worst: tuple[Pair, ...]  # other sounds far from every row, the farthest first
    far: tuple[Pair, ...]  # rows far from every other sound
    left_out: tuple[LeftOut, ...]
    remarks: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The most important figures, in a sentence."""
        told = self.matched.told_apart
        area = f", told apart with an AUC of {told.auc:.2f}" if told else ""
        return f"nearest rows at {self.matched.to_rows.median_db:.1f} dB (median){area}"

    def to_text(self) -> str:
        """Describe it for a terminal."""
        head = [
            f"{shell.typed(Path(self.file))}: {how_many(self.rows, 'row')}",
            f"{shell.typed(Path(self.other))}: {how_many(self.sounds, 'sound')} ({self.kind})",
            f"distance: {self.distance}",
            *(f"- {remark}" for remark in (*self.remarks, *self._left_out())),
        ]
        far = "farthest from every row"
        tables = [self._table(), _listed(far, self.worst), _listed("rows farthest from all of them", self.far)]
        return "\n".join(head) + "\n\n" + text_of(tables) + "".join(self._commands())

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """The figures in words: what, with loudness matched, as it is."""
        directions = {
            "nearest row of a sound": (self.matched.to_rows, self.as_it_is.to_rows),
            "nearest sound of a row": (self.matched.to_others, self.as_it_is.to_others),
        }
        lines: list[tuple[str, str, str]] = []
        for what, (one, other) in directions.items():
            lines.append((f"{what}: median", f"{one.median_db:.2f} dB", f"{other.median_db:.2f} dB"))
            lines.append(("  5 to 95 %", _range(one), _range(other)))
            lines += [(f"  within {db} dB", f"{one.within[db]:.1%}", f"{other.within[db]:.1%}") for db in one.within]
        lines.append(("told apart (AUC; 0.5 is not at all)", _told(self.matched), _told(self.as_it_is)))
        return lines

    def _table(self) -> Table:
        table = new_table("how near they come", "", "loudness matched", "as it is")
        for line in self.lines:
            table.add_row(*line)
        return table

    def _left_out(self) -> Iterator[str]:
        reasons = Counter(one.reason for one in self.left_out)
        for reason, count in reasons.most_common(SHOWN):
            first = next(one.name for one in self.left_out if one.reason == reason)
            yield f"left out: {count} ({first}{', ...' * (count > 1)}): {reason}"
        if len(reasons) > SHOWN:
            yield f"left out for {how_many(len(reasons) - SHOWN, 'other reason')}: --json names all"

    def _commands(self) -> Iterator[str]:
        """How to listen to the farthest sound and to its nearest row."""
        for pair in self.worst[:1]:
            yield f"\nto listen to the first:\n  {pair.sound.listen}\n  {pair.nearest.listen}\n"


def report(compared: Compared, ours: StoredSketches, theirs: StoredSketches, workers: int) -> Nearness:
    """Compare the sketches of both sides.

    Raises
    ------
    SpecError
        Nothing could be sketched on one side; the message says why.
    Interrupted
        Someone asked to stop.
    """
    left_out = (*compared.refused, *_lacking(ours), *_lacking(theirs))
    for side, name in ((ours, compared.file), (theirs, compared.other)):
        if not len(side.places):
            first = f": {left_out[0].name}: {left_out[0].reason}" if left_out else ""
            raise SpecError(f"nothing of {name} can be compared{first}; name other sounds")
    others = theirs.whole()
    matched = find_nearest(ours, others, matched=True, workers=workers)
    as_it_is = find_nearest(ours, others, matched=False, workers=workers)
    few = f"too few patches to be told apart: {FOLDS} are needed on each side"
    summed = figures(matched, ours, others, matched=True)
    return Nearness(
        **compared.model_dump(include={"file", "other", "kind"}),
        rows=len(ours.places),
        sounds=len(others),
        matched=summed,
        as_it_is=figures(as_it_is, ours, others, matched=False),
        worst=tuple(_pairs(theirs, ours, matched.row, matched.row_db)),
        far=tuple(_pairs(ours, theirs, matched.other, matched.other_db)),
        left_out=left_out,
        remarks=(*compared.remarks, *_changes(theirs), *([] if summed.told_apart else [few])),
    )


def _pairs(
    sounds: StoredSketches, others: StoredSketches, nearest: NDArray[np.intp], apart_db: NDArray[np.float64]
) -> Iterator[Pair]:
    """Name the farthest sounds beside their nearest."""
    for sketch in np.argsort(-apart_db, kind="stable")[:WORST].tolist():
        yield Pair(
            sound=sounds.named(sketch),
            nearest=others.named(int(nearest[sketch])),
            apart_db=round(float(apart_db[sketch]), 3),
        )


def _lacking(side: StoredSketches) -> Iterator[LeftOut]:
    for sound, reason in side.left_out.items():
        yield LeftOut(name=side.name_of(sound).to_text(), reason=reason)


def _changes(side: StoredSketches) -> Iterator[str]:
    """Say what was done to sounds before they could be compared, and to how many."""
    counts = Counter(change for changes in side.changes for change in changes.split(", ") if change)
    for change, count in sorted(counts.items()):
        yield f"{change} to be compared: {count} of {how_many(len(side.changes), 'sound')}"


def _listed(title: str, pairs: Sequence[Pair]) -> Table:
    table = new_table(title, "dB", "sound", "its nearest")
    for pair in pairs:
        table.add_row(f"{pair.apart_db:.2f}", pair.sound.to_text(), pair.nearest.to_text())
    return table


def _range(spread: Spread) -> str:
    return f"{spread.quantiles_db['5%']:.2f} to {spread.quantiles_db['95%']:.2f} dB"


def _told(figures: Figures) -> str:
    return figures.told_apart.to_text() if figures.told_apart else "too few"
