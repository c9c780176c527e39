"""The summary of a run: what was made, from what, how it went, and what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict

from synthcore.analysis.overview import (
    SHORT,
    accepted,
    clipping_text,
    count_candidates,
    count_clipping,
    pairs_text,
)
from synthcore.base.counting import how_many
from synthcore.base.shell import command, typed
from synthcore.engine.faults import REASONS
from synthcore.pipeline.tally import duration
from synthcore.spec import DatasetSpec
from synthcore.storage.dataset import Dataset
from synthcore.storage.refs import DatasetRef, Gap, ShardRef


@dataclass(frozen=True)
class RunStats:
    """What a run did, besides what its shards and its dataset say.

    Attributes
    ----------
    cached : int
        Shards that were there already.
    rows_rendered : int
        By this run: the others were cached.
    seconds : float
        Wall clock, from the first shard's start to the output's name.
    data_dir : Path
    weights : int
        Rows that importance weights were measured on; 0 if none were asked for.
    features : tuple of str
        The features that were computed, by name.
    presets : mapping of str to int
        Preset files by what became of them, as the report of their ingestion says.
    """

    cached: int
    rows_rendered: int
    seconds: float
    data_dir: Path
    weights: int = 0
    features: tuple[str, ...] = ()
    presets: Mapping[str, int] = field(default_factory=dict)


class Summary(BaseModel):
    """What `generate` made, in numbers."""

    model_config = ConfigDict(frozen=True)

    output: str
    digest: str
    rows: int
    bytes: int
    spec: DatasetSpec
    shards: int
    shards_cached: int
    rows_rendered: int  # by this run: the others were cached
    candidates: int  # in all shards: the last may hold more patches than the file
    faults: dict[str, int]
    file_candidates: int  # of the file alone, as an inspection counts them
    file_faults: dict[str, int]
    clipping_rows: int  # in the file
    gaps: tuple[Gap, ...] = ()  # what the dataset lacks
    seconds: float  # wall clock, from the first shard's start to the output's name
    synth_cpu_seconds: float  # of all renders: kept ones, refused ones, and the silent ones before a first note
    data_dir: str
    weights: int  # rows that the importance weights are of; 0 if none were asked for
    features: tuple[str, ...] = ()  # that were computed, by name
    parts: dict[str, float] = {}  # seconds of the whole run, by what they went into
    presets: dict[str, int] = {}  # files by what became of them, as the report of their ingestion says

    @classmethod
    def of(
        cls,
        spec: DatasetSpec,
        dataset: DatasetRef,
        shards: Sequence[ShardRef],
        gaps: Sequence[Gap],
        stats: RunStats,
    ) -> Summary:
        """Add up a run's shards, cached ones included, and count what is in the file."""
        faults: Counter[str] = Counter()
        for shard in shards:
            faults.update(shard.faults)
        with Dataset(dataset.path) as made:
            (patches, file_faults), clipping = count_candidates(made), count_clipping(made)
        return cls(
            output=dataset.path,
            digest=dataset.digest,
            rows=dataset.rows,
            bytes=dataset.size,
            spec=spec,
            shards=len(shards),
            shards_cached=stats.cached,
            rows_rendered=stats.rows_rendered,
            candidates=sum(s.candidates for s in shards),
            faults=dict(sorted(faults.items())),
            file_candidates=patches + sum(file_faults.values()),
            file_faults=file_faults,
            clipping_rows=clipping,
            gaps=tuple(gaps),
            seconds=round(stats.seconds, 3),
            synth_cpu_seconds=round(sum(s.synth_cpu_seconds for s in shards), 3),
            data_dir=str(stats.data_dir),
            weights=stats.weights,
            features=stats.features,
            presets=dict(stats.presets),
        )

    def ended(self, seconds: float) -> Summary:
        """The same, having taken so many seconds in all: what no part accounts for is the rest."""
        rest = self.parts.get("rest", 0.0) + seconds - sum(self.parts.values())
        return self.model_copy(update={"parts": {**self.parts, "rest": max(rest, 0.0)}})

    @property
    def acceptance(self) -> float:
        """Share of the candidate patches that were kept, in all shards."""
        return 1 - sum(self.faults.values()) / self.candidates

    @property
    def accepted(self) -> str:
        """How many candidates were kept: of the file, and of all shards where that differs."""
        in_shards = f"; in all shards {self.acceptance:.1%} of {self.candidates}"
        return accepted(self.file_candidates, self.file_faults) + in_shards * (self.candidates != self.file_candidates)

    @property
    def clipping(self) -> str:
        """How many rows clip, in words; nothing if none does."""
        return clipping_text(self.clipping_rows, self.rows)

    @property
    def headline(self) -> str:
        lacking = f", without {how_many(len(self.gaps), 'shard')} that failed" if self.gaps else ""
        return f"{how_many(self.rows, 'row')} of tier {self.spec.tier} in {Path(self.output).name}{lacking}"

    @property
    def throughput(self) -> str:
        """How fast this run rendered, and what that is in sound."""
        if not self.rows_rendered:
            return "nothing rendered"
        pace = self.rows_rendered / self.seconds
        sound = duration(self.rows_rendered * self.spec.audio.render_seconds)
        whole = " in whole shards" * (self.rows_rendered > self.rows)
        return f"{pace:.1f} rows/s: {sound} of sound{whole} in {duration(self.seconds)}"

    @property
    def what_was_rendered(self) -> str:
        """How much of the run was there already, in words."""
        if self.shards_cached == self.shards:
            all_of_them = f"all {self.shards} shards were" if self.shards > 1 else "its shard was"
            return f"nothing rendered: {all_of_them} cached"
        rendered = f"{self.shards - self.shards_cached} of {how_many(self.shards, 'shard')} rendered"
        return f"{rendered}, {self.shards_cached} cached"

    def to_text(self) -> str:
        """Say what was made and what to do next, for a terminal."""
        output = Path(self.output)
        known = {
            "file": f"{typed(output)} ({self.bytes / 1e6:.1f} MB)",
            "digest": self.digest,  # whole: it is what two runs are compared by
            "accepted": self.accepted,
            "clips": self.clipping,
            "presets": self._read(),
            "weights": f"measured at {how_many(self.weights, 'row')}" if self.weights else "",
            "features": ", ".join(self.features),
            "missing": f"{how_many(len(self.gaps), 'shard')} failed; the same command again renders just these"
            if self.gaps
            else "",
        }
        lines = [
            "",
            f"{self.headline}: {self.what_was_rendered}, in {self.seconds:.1f} s",
            *pairs_text(known),
            "",
            "next:",
            f"  {command('inspect', output)}",
            f"  {command('verify', output)}",
        ]
        if self.parts:
            lines += ["", self._parts()]
        return "\n".join(lines) + "\n"

    def _read(self) -> str:
        words = {"unknown": "with settings that the synth doesn't know"}
        return ", ".join(f"{count} {words.get(what, what)}" for what, count in self.presets.items() if count)

    def _parts(self) -> str:
        """Say how long it took in all, and what for."""
        spent = {part: seconds for part, seconds in self.parts.items() if seconds >= 0.05}
        listed = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in spent.items())
        return f"{sum(self.parts.values()):.1f} s in all: {listed}"

    def to_markdown(self) -> str:
        """Write the page for Prefect's UI."""
        environment = Environment(
            loader=PackageLoader("synthcore", "pipeline"),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )
        return environment.get_template("summary.md").render(run=self, short=SHORT, meanings=REASONS)
