"""How two datasets differ, row by row and in what they say of themselves: for people who make one again.

What is compared is what the files state. `synthcore verify` proves that a file holds what it states.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict

from synthcore.analysis.inspection import new_table, text_of
from synthcore.analysis.overview import SHORT
from synthcore.analysis.shared_rows import RowNumbers, SharedRows, count_moved_families, moved_splits, share_rows
from synthcore.base.addresses import Place, place_of
from synthcore.base.counting import how_many, listed
from synthcore.base.hashing import content_hash
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named

LETTERS = ("A", "B")
NAMED = 10  #: rows of each sort that are named
LONG = 4  #: a text of more words, such as the features of a CPU, is shown by those that differ
HASH = re.compile(r"[0-9a-f]{64}")
Changes = dict[str, tuple[Any, Any]]  #: by name: what the first says, and the second; None where one says nothing


class RowChanges(BaseModel):
    """What became of the rows of two datasets, A and B; pairs are of both."""

    model_config = ConfigDict(frozen=True)

    total: tuple[int, int]
    same: int  # the same label, played the same way, and the same audio
    other_audio: int  # the same label, played the same way
    other_label: int  # the same audio
    alone: tuple[int, int]  # neither this label nor this audio is in the other
    beginning: int  # the same rows as the other's, number by number, from row 0 on
    in_order: bool  # the same rows follow each other alike
    splits: dict[str, int]  # rows with the same label in another split, as `train to test`
    families: int  # rows with the same label in another family
    first: dict[str, list[tuple[int | None, int | None]]]  # by sort, the numbers of the first such rows

    @property
    def are_same(self) -> bool:
        """Whether both hold the same rows in the same order."""
        return self.beginning == self.total[0] == self.total[1]


class Difference(BaseModel):
    """What two datasets, A and B, have in common, and all that differs.

    Attributes
    ----------
    files : tuple of str and str
    rows : RowChanges
    spec, header, beside : dict
        What differs, by name: what A says, and what B says. `spec` has fields of the spec; `header` says how a file was
        made, such as versions and the engine; `beside` is what a file holds besides rows, such as features.
    """

    model_config = ConfigDict(frozen=True)

    files: tuple[str, str]
    rows: RowChanges
    spec: Changes
    header: Changes
    beside: Changes

    @property
    def is_same(self) -> bool:
        """Whether both hold the same: rows, splits, spec, and what lies beside. How they were made may differ."""
        moved = self.rows.splits or self.rows.families
        return self.rows.are_same and not (self.spec or self.beside or moved)

    @property
    def headline(self) -> str:
        """The one sentence."""
        rows = self.rows
        ours, theirs = rows.total
        if rows.are_same:
            return self._same_rows()
        if rows.same == ours == theirs:
            return f"The same {how_many(ours, 'row')}, in another order."
        if self.rows.other_audio == ours == theirs:
            return f"The same patches, played the same way, with other audio: {self._why_other_audio()}."
        for one, other, mine, yours in (("A", "B", ours, theirs), ("B", "A", theirs, ours)):
            if 0 < rows.same == mine:
                where = "after them" if rows.beginning == mine else "besides"
                return f"{other} holds {_all(mine)} of {one}, and {yours - mine:,} more {where}."
        if rows.same:
            begins = f"; both begin with the same {how_many(rows.beginning, 'row')}" if rows.beginning else ""
            shares = f"{rows.same / ours:.1%} of A and {rows.same / theirs:.1%} of B"
            return f"They share {how_many(rows.same, 'row')}, {shares}{begins}."
        if rows.other_audio:
            return f"They share {how_many(rows.other_audio, 'label')} and no audio: {self._why_other_audio()}."
        return "They have no row in common."

    def to_text(self) -> str:
        """Describe it for a terminal."""
        names = "".join(f"{letter}  {file}\n" for letter, file in zip(LETTERS, self.files, strict=True))
        lines = "".join(f"- {line}\n" for line in self._lines())
        table = new_table("what differs", "", *LETTERS)
        for name, both in {**self.spec, **self.beside, **self.header}.items():
            table.add_row(name, *in_words(*both))
        text = text_of([table])
        return f"{names}\n{self.headline}\n{lines}" + f"\n{text}" * bool(text)

    def _same_rows(self) -> str:
        number = how_many(self.rows.total[0], "row")
        if self.is_same:
            otherwise = f", made otherwise: {', '.join(self.header)} differ" if self.header else ""
            return f"The same dataset: {number}, with the same labels and audio in the same order{otherwise}."
        moved = {"splits": self.rows.splits, "families": self.rows.families}
        other = [*self.spec, *self.beside, *(name for name, rows in moved.items() if rows)]
        return f"The same {number} in the same order. What differs beside them: {', '.join(other)}."

    def _why_other_audio(self) -> str:
        recorded = [
            f"{name} ({' and '.join(in_words(*both))})" for name, both in self.spec.items() if name in RECORDING
        ]
        engine = [name.removeprefix(ENGINE) for name in self.header if name.startswith(ENGINE)]
        reasons = [f"they were recorded otherwise, {', '.join(recorded)}"] * bool(recorded)
        if "rounded" in str(self.beside.get(AUDIO)):
            reasons.append("one was imported from FLAC, which rounds to 24 bits")
        if engine:
            reasons.append(f"they were rendered on machines or by versions that differ in {', '.join(engine)}")
        return "; ".join(reasons) or (
            "although both say that they were recorded and rendered alike, so one is not what it says; "
            "synthcore verify --all tells which"
        )

    def _lines(self) -> Iterator[str]:
        rows = self.rows
        counted = {
            "same": (rows.same, "with the same label and audio" + ", in another order" * (not rows.in_order)),
            "other_audio": (rows.other_audio, "with the same label and other audio"),
            "other_label": (rows.other_label, "with the same audio under another label"),
            "only_a": (rows.alone[0], "only in A"),
            "only_b": (rows.alone[1], "only in B"),
        }
        for sort, (count, what) in counted.items():
            if count and not rows.are_same:
                named = ", ".join(_pair(*pair) for pair in rows.first.get(sort, []))
                more = ", ..." * (count > NAMED)
                yield f"{how_many(count, 'row')} {what}" + f": {named}{more}" * bool(named)
        if 0 < rows.other_audio < max(rows.total):
            yield f"why other audio: {self._why_other_audio()}"
        if rows.splits:
            yield f"rows in another split: {listed(rows.splits)}"
        if rows.families:
            yield f"rows in another family: {rows.families:,}"


#: Fields of the spec that decide what is recorded of a patch that is played the same way.
RECORDING = ("audio.sample_rate", "audio.render_seconds")
AUDIO = "audio"  #: the name of what a file holds of it
ENGINE = "engine "  #: before the names of what differs between two engines


def diff(first: str | Place, second: str | Place) -> Difference:
    """Say what two datasets have in common and how they differ. Reads labels and hashes, no audio.

    Parameters
    ----------
    first, second : str, Path or Address
        Datasets, shards or recipes, or their addresses.

    Returns
    -------
    Difference
        `is_same`, `headline`, the rows, and all that differs; `to_text()` is what `synthcore diff` prints.

    Raises
    ------
    DatasetError
        One isn't a dataset, or is damaged.
    FileUnavailable
        Another program is writing one, or it may not be read.
    """
    ours, theirs = place_of(first), place_of(second)
    with damage_named(ours), Dataset(ours) as one, damage_named(theirs), Dataset(theirs) as other:
        return Difference(
            files=(str(one.path), str(other.path)),
            rows=_row_changes(RowNumbers.of(one), RowNumbers.of(other)),
            spec=spec_changes(one, other),
            header=_changes(_header(one), _header(other)),
            beside=_changes(_beside(one), _beside(other)) | _feature_specs(one, other),
        )


def spec_changes(first: Dataset, second: Dataset) -> Changes:
    """The fields of the specs that differ, those of groups as `audio.notes`."""
    return _changes(*(dict(_fields(dataset.spec.model_dump(mode="json"))) for dataset in (first, second)))


def _row_changes(ours: RowNumbers, theirs: RowNumbers) -> RowChanges:
    shared = share_rows(ours, theirs)
    alike = [shared.same, shared.other_audio]
    splits = [moved_splits(ours, theirs, pairs) for pairs in alike]
    return RowChanges(
        total=(len(ours), len(theirs)),
        same=len(shared.same),
        other_audio=len(shared.other_audio),
        other_label=len(shared.other_label),
        alone=(len(shared.alone[0]), len(shared.alone[1])),
        beginning=shared.same.beginning(),
        in_order=shared.same.in_order,
        splits={name: sum(counts.get(name, 0) for counts in splits) for name in {**splits[0], **splits[1]}},
        families=sum(count_moved_families(ours, theirs, pairs) for pairs in alike),
        first=_first(shared),
    )


def _first(shared: SharedRows) -> dict[str, list[tuple[int | None, int | None]]]:
    """The numbers of the first rows of each sort that differs."""
    found: dict[str, list[tuple[int | None, int | None]]] = {}
    for sort, pairs in (("other_audio", shared.other_audio), ("other_label", shared.other_label)):
        found[sort] = sorted(zip(pairs.ours.tolist(), pairs.theirs.tolist(), strict=True))[:NAMED]
    found["only_a"] = [(row, None) for row in shared.alone[0][:NAMED].tolist()]
    found["only_b"] = [(None, row) for row in shared.alone[1][:NAMED].tolist()]
    return found


def _header(dataset: Dataset) -> dict[str, Any]:
    """How a dataset was made, and by which rules its columns were."""
    drawing = dataset.drawing
    return {
        "digest": dataset.digest,
        "schema": dataset.version,
        **{f"{ENGINE}{name}": value for name, value in asdict(dataset.engine).items()},
        "priors' digest": drawing.drawn_from.digest,
        **{f"drawn with {name}": version for name, version in drawing.drawn_with.items()},
        "registry": dataset.registry.fingerprint,
    }


def _beside(dataset: Dataset) -> dict[str, Any]:
    """What a dataset holds besides rows."""
    refused = Counter(reason.decode() for reason in dataset.rejections()["reason"].tolist())
    presets = dataset.sources()
    return {
        AUDIO: "left out: a recipe" if dataset.is_recipe else "rounded to 24 bits" if dataset.is_rounded else "there",
        "gaps": sum(gap["patches"] for gap in dataset.gaps) or None,
        "refused": listed(dict(sorted(refused.items()))) or None,
        "presets": len(presets) or None,
        "origins of presets": content_hash([asdict(preset) for preset in presets]) if presets else None,
        "licences": ", ".join(sorted({preset.licence or "none stated" for preset in presets})) or None,
        **dataset.rules,
        "weights": _weights(dataset),
        **{f"feature {name}": feature.text for name, feature in dataset.features.items()},
    }


def _weights(dataset: Dataset) -> str | None:
    """What there is of weights: status, rows measured, and a hash of their values."""
    if (weights := dataset.weights) is None:
        return None
    values = hashlib.sha256(b"".join(array.tobytes() for array in weights.arrays.values())).hexdigest()
    return f"{weights.status}, of {weights.method.get('n_base', 'unknown')} rows, {values[:SHORT]}"


def _feature_specs(ours: Dataset, theirs: Dataset) -> Changes:
    """How features that both have are computed, where that differs."""
    found: Changes = {}
    for name in ours.features.keys() & theirs.features.keys():
        specs = [dict(_fields(dataset.features[name].spec, f"feature {name}.")) for dataset in (ours, theirs)]
        found |= _changes(*specs)
    return found


def _changes(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Changes:
    names = dict.fromkeys((*ours, *theirs))
    return {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}


def _fields(spec: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """List the fields of a spec, those of its groups as `audio.notes`."""
    for name, value in spec.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{group}{name}.")
        else:
            yield f"{group}{name}", value


def in_words(one: Any, other: Any) -> tuple[str, str]:
    """Write two values that differ as people read them: hashes by their beginning, lists of words by what differs."""
    if isinstance(one, str) and isinstance(other, str) and one.count(" ") > LONG < other.count(" "):
        words = (one.split(), other.split())
        return _only(words[0], words[1]), _only(words[1], words[0])
    return _in_words(one), _in_words(other)


def _only(words: list[str], others: list[str]) -> str:
    return " ".join(word for word in words if word not in others) or "without these"


def _in_words(value: Any) -> str:
    if value in (None, ""):
        return "none"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return value[:SHORT] if isinstance(value, str) and HASH.fullmatch(value) else str(value)


def _pair(ours: int | None, theirs: int | None) -> str:
    """Name a row, by one number where both have it at the same place."""
    numbers = [number for number in (ours, theirs) if number is not None]
    return str(numbers[0]) if len(set(numbers)) == 1 else f"{ours} (in B {theirs})"


def _all(rows: int) -> str:
    return f"all {how_many(rows, 'row')}" if rows > 1 else "the only row"
