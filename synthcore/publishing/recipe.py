"""Recipes: a dataset without its audio and without what others own, and the way back.

Labels, measurements, hashes and sources stay. Whoever has the presets can render the audio again, and the hashes show
whether it is the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, SpecError
from synthcore.base.shell import command
from synthcore.engine.client import Performances
from synthcore.engine.machine import engine
from synthcore.engine.play import play
from synthcore.engine.rendering import RenderedRow, RenderFormat
from synthcore.engine.stopping import interruptible
from synthcore.ingest.collecting import ingest
from synthcore.ingest.wavetables import discover
from synthcore.sources.collection import Collection
from synthcore.sources.variations import VariationSource
from synthcore.storage import recipe as storage
from synthcore.storage.dataset import Dataset
from synthcore.verification.rerendering import find_damage
from synthcore.vital.catalog import Catalog, builtin
from synthcore.vital.classes import EXTRAS
from synthcore.vital.controls import installed
from synthcore.vital.noises import builtin_samples
from synthcore.vital.patch import init_assets
from synthcore.vital.shapes import are_builtin

#: Rows whose patches are read at a time.
BATCH = 1024
#: Presets that are named where assets are missing.
SHOWN = 5


class RecipeResult(BaseModel):
    """A recipe that was written."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int
    digest: str
    assets_kept: int
    assets_left_out: int

    def to_text(self) -> str:
        """Write it for a terminal."""
        theirs = ("--assets", "FOLDER_OF_PRESETS") if self.assets_left_out else ()
        return (
            f"{self.path}: {how_many(self.rows, 'row')} without audio, digest {self.digest}\n"
            f"  assets    {self.assets_kept} kept, {self.assets_left_out} of other people left out\n"
            f"\nnext:\n  {command('render', Path(self.path), *theirs, '-o', 'again.h5')}\n"
        )


class RenderResult(BaseModel):
    """A dataset made from a recipe."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int
    exact: int
    differing_rows: list[int]
    same_machine_type: bool

    @property
    def holds(self) -> bool:
        return not self.differing_rows

    def to_text(self) -> str:
        """Write it for a terminal."""
        rows, differing = how_many(self.rows, "row"), how_many(len(self.differing_rows), "row")
        text = f"{self.path}: {rows} rendered, {self.exact} of them the recipe's audio bit for bit\n"
        if self.differing_rows:
            where = "" if self.same_machine_type else ", as can be on another type of machine than it was made on"
            text += f"  {differing} of other audio{where}; the first is row {self.differing_rows[0]}\n"
        return text


def write_recipe(dataset: Dataset, output: Path) -> RecipeResult:
    """Write a dataset's recipe.

    It leaves out the audio, and every asset that is neither built in, made of built-in shapes, nor the init preset's.
    """
    ours = own_assets(dataset)
    kept = [name for name in dataset.assets if name in ours]
    storage.write(dataset, {name: dataset.assets[name] for name in kept}, output)
    left_out = len(dataset.assets) - len(kept)
    return RecipeResult(
        path=str(output), rows=len(dataset), digest=dataset.digest, assets_kept=len(kept), assets_left_out=left_out
    )


def own_assets(dataset: Dataset) -> set[str]:
    """The assets that are nobody else's: built in, of the init preset, or made of built-in shapes."""
    drawn = dict(zip(EXTRAS, dataset.classes.extras, strict=True))
    held = [name for name in (*drawn["lfos"], *drawn["curves"]) if name is not None and name in dataset.assets]
    shapes = {name for name in held if are_builtin(dataset.assets[name], dataset.registry)}
    samples = {digest for _, digest, _ in builtin_samples()}
    return {*init_assets(dataset.registry), *builtin().assets, *samples, *shapes}


def render_recipe(recipe: Dataset, folders: Sequence[Path], output: Path, workers: int) -> RenderResult:
    """Make the dataset again from its recipe.

    Parameters
    ----------
    recipe : Dataset
    folders : sequence of Path
        Where the presets and wavetables lie that it was made from; also catalogs that discover-wt made.
    output : Path
    workers : int
        Renders at a time.

    Raises
    ------
    SpecError
        Assets are missing; the error names them, and the presets they belong to.
    EngineMismatch
        The installed vita has other controls.
    """
    installed().require_same(recipe.registry, str(recipe.path))
    if not recipe.is_recipe:
        raise DatasetError(f"{recipe.path} is not a recipe: it has its audio; synthcore verify renders it again")
    if damage := next(find_damage(recipe), None):
        raise DatasetError(f"{recipe.path}: {damage}; it was changed since it was written")
    assets = {**recipe.assets, **_gather(recipe, folders, workers)}
    fmt = recipe.spec.render_format.refusing_nothing()
    with storage.restoring(recipe, assets, output) as restoring:
        for place, row in _render(recipe, assets, fmt, workers):
            restoring.put(place, row)
    return RenderResult(
        path=str(output),
        rows=len(recipe),
        exact=len(recipe) - len(restoring.differing),
        differing_rows=restoring.differing,
        same_machine_type=engine().fingerprint == recipe.engine.fingerprint,
    )


@dataclass(frozen=True, slots=True)
class _PatchRows:
    """Consecutive rows of one patch."""

    first: int
    performances: Performances
    preset: bytes


def _render(
    recipe: Dataset, assets: Mapping[str, bytes], fmt: RenderFormat, workers: int
) -> Iterator[tuple[int, RenderedRow]]:
    def render(rows: _PatchRows) -> list[tuple[int, RenderedRow]]:
        outcome = play(rows.preset, fmt, rows.performances)
        if outcome.fault:
            raise DatasetError(f"row {rows.first} of {recipe.path}: {outcome.fault.reason} when rendered again")
        progress.publish(progress.Progress(rows=len(rows.performances), fault=None))
        return [(rows.first + i, row) for i, row in enumerate(outcome.rows)]

    with ThreadPoolExecutor(workers) as pool, interruptible():
        ahead: deque[Future[list[tuple[int, RenderedRow]]]] = deque()
        for rows in _patches(recipe, assets):
            ahead.append(pool.submit(render, rows))
            if len(ahead) > 2 * workers:  # documents have megabytes: a few at a time
                yield from ahead.popleft().result()
        for rendered in ahead:
            yield from rendered.result()


def _patches(recipe: Dataset, assets: Mapping[str, bytes]) -> Iterator[_PatchRows]:
    for start in range(0, len(recipe), BATCH):
        stop = min(start + BATCH, len(recipe))
        performances = recipe.performances(slice(start, stop))
        sources = recipe.column("source", slice(start, stop)).tolist()
        indices = recipe.column("patch_index", slice(start, stop)).tolist()
        patches = list(recipe.patches(start, stop))
        which = list(zip(sources, indices, strict=True))
        for _, group in groupby(range(stop - start), key=which.__getitem__):
            rows = list(group)
            preset = patches[rows[0]].to_json(recipe.registry, assets).encode()
            yield _PatchRows(start + rows[0], tuple(performances[row] for row in rows), preset)


def _gather(recipe: Dataset, folders: Sequence[Path], workers: int) -> dict[str, bytes]:
    """Find the assets that the recipe lacks, by their hashes."""
    wanted = set(recipe.missing_assets)
    if not wanted:
        return {}
    catalogs = [folder for folder in folders if folder.suffix == ".json"]
    folders = [folder for folder in folders if folder not in catalogs]
    found: dict[str, bytes] = {}
    for catalog in catalogs:
        found.update(Catalog.load(catalog).assets)
    with interruptible():
        collection, _ = ingest(folders, installed(), check=False, workers=workers, approximate=True)
        found.update(collection.assets)
        if wanted - found.keys():
            found.update(discover(folders, workers)[0].assets)
        if wanted - found.keys():
            found.update(_made_for_variations(recipe, collection, wanted - found.keys()))
    missing = sorted(wanted - found.keys())
    if missing:
        where = ", ".join(map(str, (*folders, *catalogs))) or "any folder, as none was named"
        raise SpecError(
            f"{recipe.path} leaves out {how_many(len(wanted), 'asset')}, and {len(missing)} can't be found in {where}; "
            f"needed for {_needed_for(recipe, missing)}; name the presets' folders with --assets "
            "(synthcore inspect lists them)"
        )
    return {name: found[name] for name in wanted}


def _made_for_variations(recipe: Dataset, collection: Collection, wanted: Iterable[str]) -> dict[str, bytes]:
    """Mix again what was mixed for variations; that takes all the presets that they were drawn from."""
    known = {source.preset_hash for source in recipe.sources()}
    presets = tuple(preset for preset in collection.presets if preset.patch.hash in known)
    if len(presets) < len(known):
        return {}
    supply = VariationSource(recipe.spec, recipe.registry, replace(collection, presets=presets))
    is_variation = recipe.column("source") == b"variation"
    indices, attempts = (recipe.column(name)[is_variation].tolist() for name in ("patch_index", "attempt"))
    made: dict[str, bytes] = {}
    for index, attempt in dict.fromkeys(zip(indices, attempts, strict=True)):
        made.update(supply.candidate(index, attempt).assets)
    return {name: made[name] for name in wanted if name in made}


def _needed_for(recipe: Dataset, missing: Sequence[str]) -> str:
    """Name some of the presets that need these assets."""
    files = {source.preset_hash: f"{source.repository} {source.file}".strip() for source in recipe.sources()}
    lacking = set(missing)
    named: dict[str, None] = {}
    for start in range(0, len(recipe), BATCH):
        stop = min(start + BATCH, len(recipe))
        parents = recipe.column("parents", slice(start, stop)).tolist()
        for patch, of in zip(recipe.patches(start, stop), parents, strict=True):
            if lacking & {*patch.wavetables, *patch.extras}:
                named.update(dict.fromkeys(files.get(p.decode(), p.decode()) for p in of if p))
    shown = list(named)[:SHOWN]
    return ", ".join(shown) + (f" and {how_many(len(named) - SHOWN, 'more preset')}" if len(named) > SHOWN else "")
