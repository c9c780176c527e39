"""What a dataset will take, before it is made: rows, shards, bytes, time, and room on disk.

How fast this machine renders is up to `synthcore.estimates.pace`. All else follows from the plan of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore.analysis.overview import wrapped
from synthcore.base.counting import how_many, largest_first, listed
from synthcore.estimates.room import TYPICAL_RATIO, Bytes, Room, require_fits, require_possible, size
from synthcore.estimates.times import Times
from synthcore.estimates.work import Assets, Paces, Work, looked_at
from synthcore.pipeline.tally import duration
from synthcore.settings.generate import Generate
from synthcore.sources.base import Source

LONG_SECONDS = 60.0  #: a longer run is worth three lines


class Estimate(BaseModel):
    """What a run will take, in numbers. Times are those of this machine, or None where none could be measured."""

    model_config = ConfigDict(frozen=True)

    rows: int  # requested
    rows_to_render: int
    rows_extra: int  # that whole shards hold beyond those requested
    patches: int
    shards: int
    shards_there: int
    shards_to_render: int
    shard_bytes: int  # to be written
    output_bytes: int  # merged as requested
    output_bytes_by_copy: int
    output_bytes_virtual: int
    features_bytes: int  # in the output, besides
    features_bytes_computed: int  # of those, what is missing; it goes to the data directory as well
    bytes_error: float  # how far these may be off, as a share of them
    rooms: tuple[Room, ...]
    seconds: float | None
    seconds_low: float | None
    seconds_alone: float | None  # if nothing else used the machine; None where nothing seems to
    seconds_high: float | None
    render_seconds: float | None
    merge_seconds: float
    weights_seconds: float | None
    features_seconds: float
    rows_per_second: float | None
    row_bytes: float
    acceptance: float | None
    faults: dict[str, int]
    measured: str  # from what the times were measured
    workers: int
    output: str
    steps: tuple[str, ...]  # what would be done
    notes: tuple[str, ...]

    @classmethod
    def of(cls, work: Work, paces: Paces, assets: Mapping[Source, Assets], notes: tuple[str, ...] = ()) -> Estimate:
        """Add up what a dataset takes, from what was measured."""
        settings = work.settings
        row_bytes = work.row_bytes(paces, TYPICAL_RATIO)
        needed = Bytes.of(work, row_bytes, paces, assets)
        times = Times(work, paces, needed)
        candidates, faults = times.verdicts()
        rendered = sum(plan.rows for plan in work.missing)
        return cls(
            rows=work.rows_requested,
            rows_to_render=rendered,
            rows_extra=sum(plan.rows for plan in work.plans) - work.rows_requested,
            patches=-(-work.rows_requested // work.spec.audio.rows_per_patch),
            shards=len(work.plans),
            shards_there=len(work.there),
            shards_to_render=len(work.missing),
            shard_bytes=needed.shards,
            output_bytes=needed.output(settings.run.merge),
            output_bytes_by_copy=needed.by_copy,
            output_bytes_virtual=needed.virtual,
            features_bytes=needed.features,
            features_bytes_computed=needed.computed,
            bytes_error=work.bytes_error(paces),
            rooms=tuple(needed.rooms(settings)),
            seconds=times.total(1.0),
            seconds_low=times.least,
            seconds_alone=times.alone,
            seconds_high=times.total(1.0 + times.error),
            render_seconds=times.render,
            merge_seconds=times.merge,
            weights_seconds=times.weights,
            features_seconds=times.features,
            rows_per_second=rendered / times.render if times.render else None,
            row_bytes=sum(row_bytes.values()) / len(row_bytes),
            acceptance=1 - faults.total() / candidates if candidates else None,
            faults=dict(faults),
            measured=times.measured(),
            workers=settings.workers,
            output=str(settings.output_path),
            steps=tuple(_steps(work)),
            notes=(*notes, *_notes(work, times)),
        )

    @property
    def needed(self) -> Bytes:
        """What it writes."""
        return Bytes(
            shards=self.shard_bytes,
            by_copy=self.output_bytes_by_copy,
            virtual=self.output_bytes_virtual,
            features=self.features_bytes,
            computed=self.features_bytes_computed,
        )

    @property
    def is_long(self) -> bool:
        """Whether the run is worth an estimate."""
        return self.seconds is None or self.seconds > LONG_SECONDS

    @property
    def headline(self) -> str:
        """What is to be made, in a line."""
        extra = f" and {self.rows_extra:,} that whole shards add" * bool(self.rows_extra)
        there = f", {self.shards_there:,} of them there already" * bool(self.shards_there)
        return f"{how_many(self.rows, 'row')}{extra} in {how_many(self.shards, 'shard')}{there}"

    @property
    def time(self) -> str:
        """How long it will take here, and how sure that is."""
        if self.seconds is None or self.seconds_low is None or self.seconds_high is None:
            return "isn't known"
        if not self.shards_to_render:
            return f"about {duration(self.seconds)}: nothing is left to render"
        low, high = duration(self.seconds_low), duration(self.seconds_high)
        pace = (
            f"{self.rows_per_second:.1f} rows/s with {how_many(self.workers, 'worker')}" if self.rows_per_second else ""
        )
        return f"about {duration(self.seconds)} ({low} to {high}) on this machine: {pace}, {self.measured}"

    @property
    def space(self) -> str:
        """What it writes, and how much room there is."""
        shards, output = size(self.shard_bytes), size(self.output_bytes)
        free = " and ".join(f"{size(room.free)} free in {room.place}" for room in self.rooms)
        features = f" and {size(self.features_bytes)} of features in it" * bool(self.features_bytes)
        return f"about {shards} of shards, {output} in {Path(self.output).name}{features}{self._margin}; {free}"

    @property
    def _margin(self) -> str:
        """How sure sizes are."""
        return f", give or take {self.bytes_error:.0%}" * bool(self.bytes_error)

    @property
    def _features(self) -> str:
        """What features take, if there are any."""
        if not self.features_bytes_computed:
            return f"{size(self.features_bytes)} are there" * bool(self.features_bytes)
        new = f"{size(self.features_bytes_computed)} to be computed in about {duration(self.features_seconds)}"
        return f"{size(self.features_bytes)} in the output; {new}, and kept in the data directory as well"

    def lines(self) -> Iterator[str]:
        """Say it at the start of a run, in three lines."""
        yield self.headline
        yield self.time
        yield self.space

    def to_text(self) -> str:
        """Say it for a terminal."""
        extra = f", {self.rows_extra:,} more in whole shards" * bool(self.rows_extra)
        kept = f"{self.acceptance:.0%} of the candidates" if self.acceptance is not None else ""
        output = f"{size(self.output_bytes_by_copy)}{self._margin}"
        lines = [
            ("rows", f"{self.rows:,} asked for, of {how_many(self.patches, 'patch', 'es')}{extra}"),
            ("shards", f"{self.shards:,}: {self.shards_there:,} are there, {self.shards_to_render:,} to be rendered"),
            ("time", self.time),
            ("accepted", kept + (f"; refused: {listed(largest_first(self.faults))}" if self.faults else "")),
            ("shards", f"{size(self.shard_bytes)} to be written{self._margin}"),
            ("output", f"{output}; with --merge virtual {size(self.output_bytes_virtual)}"),
            ("features", self._features),
            *(("disk", room.to_text()) for room in self.rooms),
            *(("note", note) for note in self.notes),
        ]
        hanging = " " * 12
        figures = "".join(f"{line}\n" for name, text in lines if text for line in wrapped(f"{name:9} {text}", hanging))
        steps = "".join(f"{line}\n" for step in self.steps for line in wrapped(step, "    "))
        return f"{self.output}\n{figures}\nwithout --dry-run:\n{steps}"


def estimate(settings: Generate, say: Callable[[str], object] = lambda _: None) -> Estimate:
    """Estimate what a run would take. Renders for some seconds where nothing is known, and writes only that down.

    Parameters
    ----------
    settings : Generate
    say : callable, optional
        Takes a line before the rendering begins.

    Raises
    ------
    SpecError
        It doesn't fit on the disk, or the output can't be continued.
    DatasetError
        The catalog is not one.
    Accident
        Nothing could be rendered.
    """
    work, notes = looked_at(settings)
    require_possible(work)
    if None in work.known_paces().values():
        say("rehearsing: a few patches are rendered, to measure how fast this machine is")
    found = Estimate.of(work, work.paces(), work.assets(), notes)
    require_fits(work, found.needed, found.needed)
    return found


def forecast(work: Work, paces: Paces) -> Iterator[str]:
    """Say what a run that has begun will take: three lines for a long one, one line for another."""
    found = Estimate.of(work, paces, {})
    if found.is_long:
        yield from Estimate.of(work, paces, work.assets()).lines()
    else:
        yield f"{found.headline}; {found.time}"


def _steps(work: Work) -> Iterator[str]:
    """What the run would do."""
    settings = work.settings
    if settings.repos:
        yield "download presets of the known repositories, or find them here"
    if settings.has_presets:
        yield "ingest presets, where files changed"
    if work.missing:
        where = f" by workers of {settings.run.distribute}" if settings.run.distribute else ""
        yield f"render {how_many(len(work.missing), 'shard')}{where}"
    if not work.is_merged:
        how = "by copy" if settings.run.merge == "copy" else "as a view of them"
        yield f"merge {how_many(len(work.plans), 'shard')} into {settings.output_path}, {how}"
    if settings.weights:
        yield f"measure importance weights at {how_many(settings.weights, 'row')}"
    if settings.with_features:
        yield f"compute features, where rows are new: {', '.join(settings.with_features)}"
    if settings.html:
        yield f"write the page {settings.html}"
    if work.is_merged and not (settings.weights or settings.with_features or settings.html):
        yield "nothing: all of it is there"


def _notes(work: Work, times: Times) -> Iterator[str]:
    """What a reader has to know besides the figures."""
    candidates, faults = times.verdicts()
    if work.settings.run.distribute or work.settings.run.runner != "threads":
        yield "how fast other workers are isn't known: the time is what this machine alone would take"
    if times.alone:
        yield f"something else used this machine when that was measured; alone, it takes about {duration(times.alone)}"
    if candidates and faults.total() == candidates:
        why = listed(largest_first(faults))
        yield f"none of {how_many(candidates, 'candidate')} was accepted ({why}): the run would give up"
    elif times.render is None:
        yield "too few candidates were finished in some seconds to tell how long it takes, or how many are kept"
