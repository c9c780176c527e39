"""The work of a run: what is to be rendered, what of it is there already, and what is known of the rest."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from synthcore.base.errors import DatasetError, SynthcoreError
from synthcore.base.places import of_output, require_none
from synthcore.engine.lending import warm_up
from synthcore.estimates.features import FeatureNeeds, needs_of
from synthcore.estimates.pace import SPREAD_OF_SIZES, Pace, Rehearsal, find_shards, pace_of_shards, read_pace, rehearse
from synthcore.pipeline import library
from synthcore.pipeline.continuing import grown, require_continuable
from synthcore.pipeline.shard import ShardPlan, plan_shards, supply
from synthcore.settings.generate import Generate
from synthcore.sources.base import PRESET_SOURCES, SOURCES, Source, Supply
from synthcore.sources.collection import Collection
from synthcore.sources.priors import named_priors
from synthcore.spec import DatasetSpec
from synthcore.storage.collection import read_collection
from synthcore.storage.dataset import Dataset
from synthcore.storage.refs import ShardRef, StoredBytes, stored_bytes
from synthcore.vital.catalog import Catalog, builtin
from synthcore.vital.controls import installed

Paces = Mapping[Source, Pace | None]
SAMPLED = 8  #: assets that are compressed to estimate the others


class Assets(NamedTuple):
    """Bytes of wavetables, shapes and samples."""

    of_shard: int
    of_all: int  # that rows could play


@dataclass(frozen=True)
class Work:
    """A dataset to make, and what of it is there already.

    Attributes
    ----------
    supply : callable
        Gives the source of a plan's candidates.
    there : mapping of int to ShardRef
        Finished shards, by the index of their plan.
    is_merged : bool
        Whether the output is there, with all the rows requested.
    """

    settings: Generate
    spec: DatasetSpec
    plans: Sequence[ShardPlan]
    supply: Callable[[ShardPlan], Supply]
    there: Mapping[int, ShardRef]
    is_merged: bool = False
    _assets: dict[Source, Assets] = field(default_factory=dict)

    @classmethod
    def of(
        cls, settings: Generate, spec: DatasetSpec, plans: Sequence[ShardPlan], supply: Callable[[ShardPlan], Supply]
    ) -> Work:
        """Find out what is there."""
        refreshes = settings.run.refreshes("render")
        there = {} if refreshes else find_shards(plans, settings.data_dir, settings.results_dir)
        is_whole = len(there) == len(plans) and not settings.run.refreshes("merge")
        return cls(settings, spec, plans, supply, there, is_whole and _holds(settings.output_path, spec))

    @cached_property
    def missing(self) -> list[ShardPlan]:
        """The shards to render."""
        return [plan for plan in self.plans if plan.index not in self.there]

    @cached_property
    def sources(self) -> list[Source]:
        """The sources of which something is to be rendered, in order: with importance weights, all of them."""
        rendered = {plan.source for plan in (self.plans if self.settings.weights else self.missing)}
        return [source for source in SOURCES if source in rendered]

    @property
    def rows_requested(self) -> int:
        """Rows of the dataset, if no preset is refused."""
        given = sum(plan.rows for plan in self.plans if plan.source in PRESET_SOURCES)
        return given + self.spec.n_samples + self.spec.variations * self.spec.audio.rows_per_patch

    @cached_property
    def features(self) -> FeatureNeeds:
        """What the features that are requested take."""
        return needs_of(self.settings, self.spec, self.rows_requested)

    def to_render(self, source: Source) -> list[ShardPlan]:
        """The shards of a source that are to be rendered."""
        return [plan for plan in self.missing if plan.source == source]

    def planned(self, source: Source) -> list[ShardPlan]:
        """All shards of a source."""
        return [plan for plan in self.plans if plan.source == source]

    def known_paces(self) -> Paces:
        """The pace of each source, from its finished shards or else from an earlier rehearsal."""
        return {source: self._known(source) for source in self.sources}

    def paces(self) -> Paces:
        """The same, with a rehearsal for each source of which nothing is known."""
        known = self.known_paces()
        unknown = [source for source, pace in known.items() if pace is None]
        rehearsals = []
        for source in unknown:
            plans = self.to_render(source) or self.planned(source)
            rehearsals.append(Rehearsal(plans[0], self.supply(plans[0]), sum(plan.patches for plan in plans)))
        found = rehearse(rehearsals, self.settings.workers, self.settings.data_dir)
        return {**known, **dict(zip(unknown, found, strict=True))}

    def stored(self, source: Source) -> StoredBytes | None:
        """What the finished shards of a source hold: the first is read, the others differ in their audio."""
        refs = [self.there[plan.index] for plan in self.planned(source) if plan.index in self.there]
        first = stored_bytes(self.settings.data_dir / refs[0].name) if refs else None
        if first is None:
            return None
        besides = refs[0].size - first.row * refs[0].rows
        audio = sum(ref.size - besides for ref in refs)
        return StoredBytes(audio / sum(ref.rows for ref in refs), first.assets)

    def assets(self) -> dict[Source, Assets]:
        """What the wavetables and shapes of each source take, compressed; from its shards where there are some."""
        for plan in self.plans:
            if plan.source not in self._assets:
                self._assets[plan.source] = _assets_of(plan, self.supply(plan), self.stored(plan.source))
        return self._assets

    def row_bytes(self, paces: Paces, ratio: float) -> dict[Source, float]:
        """Bytes of a row's audio as measured, or else `ratio` of its size before it is compressed."""
        sources = {plan.source for plan in self.plans}
        known = {source: pace.row_bytes for source, pace in paces.items() if pace}
        from_shards = {source: stored.row for source in sources if (stored := self.stored(source))}
        unknown = dict.fromkeys(sources, ratio * self.spec.render_format.row_bytes)
        return unknown | {source: found for source, found in (known | from_shards).items() if found}

    def bytes_error(self, paces: Paces) -> float:
        """How far sizes may be off, as a share of them: 0 where every shard is there."""
        found = [paces.get(source) for source in {plan.source for plan in self.missing}]
        return max((pace.size_error if pace else SPREAD_OF_SIZES for pace in found), default=0.0)

    def _known(self, source: Source) -> Pace | None:
        plans = self.planned(source)
        refs = [self.there[plan.index] for plan in plans if plan.index in self.there]
        stored, workers = self.stored(source), self.settings.workers
        pace = pace_of_shards(refs, stored.row, workers) if stored else None
        return pace or read_pace(plans[0], workers, self.settings.data_dir)


def looked_at(settings: Generate) -> tuple[Work, tuple[str, ...]]:
    """Plan a run without beginning it: nothing is written, downloaded or ingested.

    Returns
    -------
    Work
    tuple of str
        What couldn't be known.

    Raises
    ------
    SpecError
        The output can't be continued or written.
    DatasetError
        The catalog is not one.
    """
    catalog = Catalog.load(settings.catalog) if settings.catalog else builtin()
    name, priors = named_priors(settings.priors)
    presets, notes = _presets_there(settings)
    counted = settings if presets else settings.model_copy(update={"variations": 0})
    spec = counted.spec_of(catalog.digest, presets.digest if presets else "", name)
    output = settings.output_path
    spec = grown(spec, output, settings.grow_by)
    if output.exists() and (presets or not settings.has_presets):
        require_continuable(output, spec, overwrite=settings.run.overwrite)
    else:
        require_none(of_output(output))
    plans = plan_shards(spec, settings.run.rows_per_shard, presets)
    return Work.of(settings, spec, plans, lambda plan: supply(plan, catalog, presets, priors)), notes


def _presets_there(settings: Generate) -> tuple[Collection | None, tuple[str, ...]]:
    """The presets as they were last read; None if they never were."""
    if not settings.has_presets:
        return None, ()
    folders = settings.community_dir
    if settings.repos:
        folders = (*folders, settings.data_dir / "community")
    read = library.collection_of(folders, settings.factory, settings.approximate, settings.data_dir)
    with contextlib.suppress(DatasetError):
        return read_collection(read), ("presets are counted as they were last ingested",)
    left_out = " and variations" * bool(settings.variations)
    return None, (f"presets{left_out} are counted only when they have been ingested: a run does so first",)


def _holds(output: Path, spec: DatasetSpec) -> bool:
    """Whether an output is there, of this spec and with all its rows."""
    with contextlib.suppress(SynthcoreError), Dataset(output) as dataset:
        return dataset.spec == spec
    return False


def _assets_of(plan: ShardPlan, supply: Supply, stored: StoredBytes | None) -> Assets:
    """Compress a few of the assets that a shard's candidates play."""
    played: dict[str, bytes] = {}
    for index in range(plan.first_patch, plan.first_patch + plan.patches):
        candidate = supply.candidate(index, 0)
        names = filter(None, (*candidate.patch.wavetables, *candidate.patch.extras))
        played |= {name: candidate.assets.get(name) or supply.assets[name] for name in names}
    some = list(played.values())[:SAMPLED]
    share = sum(len(zlib.compress(text, 4)) for text in some) / max(sum(map(len, some)), 1)
    of_shard = stored.assets if stored else round(share * sum(map(len, played.values())))
    return Assets(of_shard, max(of_shard, round(share * sum(map(len, supply.assets.values())))))


def get_ready(settings: Generate, spec: DatasetSpec | None) -> None:
    """Refuse what can't be made here, before the flow does, which leaves a failed run; start renderers if needed.

    Called in a thread of its own, beside something else that takes a while. It imports nothing: of two threads that
    import, each may find what the other has imported half-way.

    Parameters
    ----------
    settings : Generate
    spec : DatasetSpec or None
        None if it is known only when presets have been read.

    Raises
    ------
    EngineMismatch
        The output was made with another synth.
    Accident
        No process can be started.
    """
    installed()
    if spec is None:
        return
    require_continuable(settings.output_path, spec, overwrite=settings.run.overwrite)
    if settings.run.distribute or settings.run.runner != "threads":
        return
    again = settings.run.refreshes("render")
    plans = plan_shards(spec, settings.run.rows_per_shard)
    candidates = sum(plan.patches for plan in plans if again or not (settings.data_dir / plan.name).exists())
    warm_up(spec.render_format, min(settings.workers, candidates), settings.run.render_timeout)
