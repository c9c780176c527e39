"""Room on disk: what a run would write, where, and whether it fits. What certainly won't fit is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore.base.errors import SpecError
from synthcore.base.quantities import ends
from synthcore.estimates.work import Assets, Paces, Work
from synthcore.settings.generate import Generate
from synthcore.sources.base import PRESET_SOURCES, Source

#: Bytes of a file besides audio and assets: its header, and the labels of a row, compressed.
HEADER_BYTES, LABEL_BYTES = 320_000, 600
TYPICAL_RATIO = 0.7  #: to which a row's audio is usually compressed
#: Rows on average hardly ever get smaller than this, of the part of the audio in which the note is held.
LEAST_RATIO = 0.3


class Room(BaseModel):
    """A file system that a run writes to."""

    model_config = ConfigDict(frozen=True)

    what: str  # what goes there
    place: str  # a folder of it
    free: int  # bytes
    needed: int

    @property
    def is_enough(self) -> bool:
        """Whether what is needed fits."""
        return self.needed <= self.free

    def to_text(self) -> str:
        """Say it in one line."""
        return f"{size(self.needed)} of {size(self.free)} that are free in {self.place} ({self.what})"


def rooms(data_dir: Path, data_bytes: int, output: Path, output_bytes: int) -> list[Room]:
    """Find the file systems that shards and output go to: one, with both added up, if they share it."""
    data, file = _existing(data_dir), _existing(output.parent)
    if data.stat().st_dev == file.stat().st_dev:
        needed = data_bytes + output_bytes
        return [Room(what="shards and output", place=str(data), free=free_bytes(data), needed=needed)]
    return [
        Room(what="shards", place=str(data), free=free_bytes(data), needed=data_bytes),
        Room(what="output", place=str(file), free=free_bytes(file), needed=output_bytes),
    ]


class Bytes(BaseModel):
    """What a run writes."""

    model_config = ConfigDict(frozen=True)

    shards: int
    by_copy: int  # of the output
    virtual: int
    features: int = 0  # in the output, besides
    computed: int = 0  # of features, in the data directory

    @classmethod
    def of(cls, work: Work, row_bytes: Mapping[Source, float], paces: Paces, assets: Mapping[Source, Assets]) -> Bytes:
        """Add it up."""
        shards = labels = audio = 0.0
        held: Counter[Source] = Counter()
        for plan in work.plans:
            pace = paces.get(plan.source)
            rows = plan.rows * (pace.acceptance if pace and plan.source in PRESET_SOURCES else 1.0)
            audio += rows * row_bytes[plan.source]
            labels += rows * LABEL_BYTES
            if plan.source in assets:
                held[plan.source] = min(held[plan.source] + assets[plan.source].of_shard, assets[plan.source].of_all)
            if plan.index not in work.there:
                shards += rows * (row_bytes[plan.source] + LABEL_BYTES) + HEADER_BYTES
                shards += assets[plan.source].of_shard if plan.source in assets else 0
        features = work.features
        more = {"shards": round(shards), "features": features.stored, "computed": features.computed}
        if work.is_merged:
            return cls(by_copy=0, virtual=0, **more)
        taken = work.rows_requested / sum(plan.rows for plan in work.plans)
        virtual = taken * labels + HEADER_BYTES + held.total()
        return cls(by_copy=round(virtual + taken * audio), virtual=round(virtual), **more)

    def output(self, mode: str) -> int:
        """Bytes of the output, merged in one of the two ways."""
        return self.virtual if mode == "virtual" else self.by_copy

    def peak(self, settings: Generate, mode: str) -> int:
        """Bytes that are written beside each other where the output goes: features are added to a copy of it."""
        merged = self.output(mode)
        if not self.computed:
            return merged
        return merged + (merged or settings.output_path.stat().st_size) + self.features

    def rooms(self, settings: Generate) -> list[Room]:
        """Where it goes."""
        data, output = self.shards + self.computed, self.peak(settings, settings.run.merge)
        return rooms(settings.data_dir, data, settings.output_path, output)


def may_be_too_large(settings: Generate) -> bool:
    """Whether a closer look is worth it: uncompressed, shards and output might not fit."""
    audio = settings.spec_of("", "").render_format.row_bytes * (settings.grow_by or settings.n_samples)
    return any(room.needed > room.free for room in rooms(settings.data_dir, audio, settings.output_path, audio))


def require_possible(work: Work) -> str:
    """Refuse what certainly won't fit on the disk, from what is known without rendering; say what likely won't.

    Raises
    ------
    SpecError
        It says what is needed, what is free, and what would help.
    """
    paces = work.known_paces()
    audio = work.spec.audio
    least = work.row_bytes({}, LEAST_RATIO * ends(audio.note_seconds)[0] / audio.render_seconds)
    likely = Bytes.of(work, work.row_bytes(paces, TYPICAL_RATIO), paces, {})
    require_fits(work, Bytes.of(work, least, paces, {}), likely)
    return shortage(likely.rooms(work.settings))


def require_fits(work: Work, at_least: Bytes, likely: Bytes) -> None:
    """Refuse a run that won't fit even if it takes only `at_least`; the message says what it `likely` takes.

    Raises
    ------
    SpecError
    """
    if shortage(at_least.rooms(work.settings)):
        short = shortage(likely.rooms(work.settings))
        raise SpecError(f"{short}; {', '.join(_remedies(work, likely))}")


def _remedies(work: Work, needed: Bytes) -> Iterator[str]:
    """What would take less room, with numbers."""
    settings = work.settings
    if settings.run.merge == "copy" and needed.by_copy:
        virtual = size(needed.shards + needed.computed + needed.peak(settings, "virtual"))
        yield f"--merge virtual copies no audio and needs {virtual}"
    half = size((needed.shards + needed.computed + needed.peak(settings, settings.run.merge)) / 2)
    yield f"--sample-rate {settings.audio.sample_rate // 2} or half the seconds about {half}"
    yield "or name a --data-dir or an output (-o) on another disk"


def shortage(places: Sequence[Room]) -> str:
    """Say what doesn't fit; "" if everything does."""
    return "; ".join(
        f"{size(room.needed)} are needed for {room.what}, and {size(room.free)} are free in {room.place}"
        for room in places
        if not room.is_enough
    )


def free_bytes(place: Path) -> int:
    """What this user may still write there."""
    return shutil.disk_usage(place).free


def size(count: float) -> str:
    """Write a number of bytes the way one says it.

    Examples
    --------
    >>> size(512_000), size(9_870_000_000), size(4_200_000)
    ('0.5 MB', '9.9 GB', '4.2 MB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())
