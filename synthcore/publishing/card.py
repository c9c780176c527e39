"""The card of a publication: README.md as people and the Hugging Face hub read it, its picture, and croissant.json.

Whatever strangers wrote, such as the names of authors, is shown as text: it can't become Markdown, HTML or YAML.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from synthcore.analysis.inspection import Inspection, inspect
from synthcore.analysis.picture import draw_rows
from synthcore.base.atomic import atomic_path
from synthcore.base.counting import how_many
from synthcore.engine.faults import REASONS
from synthcore.publishing.columns import AUDIO, TEXT, PublishedColumn, published_columns
from synthcore.publishing.croissant import croissant
from synthcore.publishing.licences import TEXT as LICENCE_TEXT
from synthcore.publishing.licences import Verdict, ids_of, judge, licences
from synthcore.publishing.publication import Publication
from synthcore.publishing.sharing import Sharing, decide_sharing
from synthcore.storage.dataset import Dataset
from synthcore.storage.opening import damage_named
from synthcore.vital.panel import plain as number

CARD, CROISSANT, PICTURE = "README.md", "croissant.json", "images/overview.png"
OF_CARD = frozenset({CARD, CROISSANT, PICTURE})
#: What hubs sort datasets by: the first number of rows that is too many for each.
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
LARGER = "n>10M"
#: What Markdown or HTML could take for more than text.
_SPECIAL = re.compile(r"[^\w .,:;/()%+'-]|_")


@dataclass(frozen=True)
class Terms:
    """What one place of presets states, and what that allows."""

    where: str
    licence: str
    allows: str
    authors: str
    presets: int
    rows: int


@dataclass(frozen=True)
class Card:
    """What the card says. The template reads it.

    Attributes
    ----------
    publication : Publication
    found : Inspection
        Of the whole dataset, rows that were left out included.
    sharing : Sharing
    columns : list of PublishedColumn
    """

    publication: Publication
    found: Inspection
    sharing: Sharing
    columns: list[PublishedColumn]

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        what = "sounds" if self.publication.audio else "patches"
        return (
            f"{self.publication.name}: {self.publication.rows:,} {what} of the synthesizer Vital, with their parameters"
        )

    @property
    def description(self) -> str:
        """What it is, in a sentence or two."""
        rows = how_many(self.publication.rows, "row")
        sound = "its sound" if self.publication.audio else "the hash of its sound"
        return (
            f"{rows} for inverse synthesis: each holds a patch of the synthesizer Vital, every control of it, how it "
            f"is played, and {sound}, rendered with vita {self.found.engine['vita']}. Made with synthcore."
        )

    @property
    def synthcore(self) -> str:
        """The version of this package."""
        return importlib.metadata.version("synthcore")

    @property
    def year(self) -> int:
        return datetime.datetime.now(datetime.UTC).year

    @property
    def size_category(self) -> str:
        """How the hub calls this many rows."""
        return next((name for limit, name in SIZES.items() if self.publication.rows < limit), LARGER)

    @property
    def tags(self) -> list[str]:
        kind = "webdataset" if self.publication.format == "webdataset" else "parquet"
        return ["audio", "synthesizer", "inverse-synthesis", "sound-matching", "vital", "synthcore", kind]

    @property
    def citation(self) -> str:
        """An entry for BibTeX, which has no word for who publishes it."""
        key = re.sub(r"[^a-zA-Z0-9-]", "", self.publication.name).lower() or "dataset"
        title = re.sub(r"[^\w .,:()+-]", "-", self.title).replace("_", r"\_")
        return (
            f"@misc{{{key}-{self.year},\n  title = {{{title}}},\n  year = {{{self.year}}},\n"
            f"  note = {{Made with synthcore {self.synthcore}; content digest {self.publication.digest}}},\n}}"
        )

    @cached_property
    def licences(self) -> dict[str, int]:
        """How many rows are under each licence; those of a recipe that are under none count as ""."""
        rows = dict(self.sharing.licences)
        lacking = self.publication.rows - sum(rows.values())
        return rows | ({"": lacking} if lacking else {})

    @property
    def licence_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for licence in self.licences if licence for name in ids_of(licence)))

    @property
    def hub_licence(self) -> dict[str, str]:
        """What the head says of the licence: one, or that each row has its own."""
        (first, *others) = self.licence_ids or ("",)
        known = licences().hub.get(first, "")
        if known and not others and "" not in self.licences and len(self.licences) == 1:
            return {"license": known}
        if others or "" in self.licences:
            return {"license": "other", "license_name": "by-row", "license_link": CARD}
        return {"license": "other", "license_name": first.lower(), "license_link": LICENCE_TEXT.format(id=first)}

    @property
    def terms(self) -> list[Terms]:
        """What each place that presets are from allows."""
        return [
            Terms(
                where=place.repository or place.source,
                licence=place.licence or "none stated",
                allows=self._terms_of(judge([place.licence])),
                authors=", ".join(place.authors),
                presets=place.presets,
                rows=place.rows,
            )
            for place in self.found.presets
        ]

    @property
    def features(self) -> list[dict[str, Any]]:
        """The columns as the head of a card lists them."""
        rate = self.publication.spec["audio"]["sample_rate"]
        return [{"name": column.name, **_feature(column, rate)} for column in self.columns]

    @property
    def splits(self) -> list[dict[str, Any]]:
        """Splits, with their rows and the bytes of their files."""
        return [
            {"name": split, "rows": sum(file.rows for file in files), "bytes": sum(file.bytes for file in files)}
            for split, files in self.publication.row_files.items()
        ]

    @property
    def ending(self) -> str:
        """Of the names of files with rows."""
        return "tar" if self.publication.format == "webdataset" else "parquet"

    @property
    def audio_text(self) -> str:
        """How the audio is kept, in words."""
        audio = self.publication.spec["audio"]
        kept = {
            "flac": "FLAC of 24 bits",
            "wav": "WAV of 32-bit floats",
            None: "none, this is a recipe: rendered it has",
        }
        return (
            f"{kept[self.publication.audio]}, 2 channels, {audio['render_seconds']:g} s at {audio['sample_rate']:,} Hz"
        )

    @property
    def first_files(self) -> str:
        """The files of the first split, as WebDataset has them named."""
        split, files = next(iter(self.publication.row_files.items()))
        return f"data/{split}-{{{0:05d}..{len(files) - 1:05d}}}-of-{len(files):05d}.{self.ending}"

    @property
    def spec(self) -> str:
        """The spec as JSON."""
        return json.dumps(self.publication.spec, indent=2)

    def allows(self, licence: str) -> str:
        """What a licence of rows allows, in words."""
        known = licences().of
        words = [known[name].text if name in known else f"what {name} says" for name in ids_of(licence)]
        return "; ".join(dict.fromkeys(words))

    def _terms_of(self, verdict: Verdict) -> str:
        if not verdict.reason:
            return self.allows(verdict.licence)
        return f"{'left out' if self.publication.audio else 'labels alone'}: {verdict.reason}"

    def percent(self, share: float) -> str:
        """Write a share."""
        return f"{share:.1%}"

    def meaning(self, reason: str) -> str:
        """Why candidates are refused for a reason."""
        return REASONS[reason]

    def to_markdown(self) -> str:
        """Write the card."""
        environment = Environment(
            loader=PackageLoader("synthcore", "publishing"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters["plain"] = as_plain_text
        environment.filters["number"] = number
        environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
        environment.filters["link"] = lambda licence: LICENCE_TEXT.format(id=licence)
        return environment.get_template("card.md").render(card=self, publication=self.publication, found=self.found)


def write_card(publication: Publication, file: Path, folder: Path) -> list[str]:
    """Write the card of a publication, its picture and its description for machines, each if it isn't there.

    What is there may have been edited by whoever publishes it, so it is kept.

    Parameters
    ----------
    publication : Publication
    file : Path
        The dataset that is published.
    folder : Path
        Where the files of the publication are.

    Returns
    -------
    list of str
        The files that were written.

    Raises
    ------
    DatasetError
        The dataset is damaged.
    DiskError
        The disk is full.
    """
    wanted = [CARD, CROISSANT, *([PICTURE] if publication.audio else [])]
    missing = [name for name in wanted if not (folder / name).exists()]
    if not missing:
        return []
    with damage_named(file), Dataset(file) as dataset:
        sharing = decide_sharing(dataset, publication.licence)
        card = Card(publication, inspect(dataset), sharing, published_columns(dataset, publication.audio))
        for name in missing:
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(_content(name, card, dataset))
    return missing


def as_plain_text(text: str) -> str:
    """Write a stranger's text so that it is only ever text, in Markdown, in its tables and in HTML."""
    line = " ".join(text.split())
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", line)


def _content(name: str, card: Card, dataset: Dataset) -> bytes:
    if name == PICTURE:
        return draw_rows(dataset, np.flatnonzero(card.sharing.is_shared))
    if name == CARD:
        return card.to_markdown().encode()
    stated = [licence for licence in card.licences if licence]
    return croissant(card.publication, card.columns, stated, card.description, card.citation).encode()


def _feature(column: PublishedColumn, sample_rate: int) -> dict[str, Any]:
    """The type of a column, as the hub's library writes it in a card."""
    if column.dtype == AUDIO:
        return {"dtype": {"audio": {"sampling_rate": sample_rate}}}
    kind: Mapping[str, Any] | str = TEXT if column.dtype == TEXT else column.dtype
    if not column.shape:
        return {"dtype": kind}
    for length in reversed(column.shape):
        kind = {"sequence": kind, "length": length}
    assert isinstance(kind, dict)
    return kind
