"""Verifying: rows rendered again from their stored labels and assets alone must be the stored bytes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.base import progress
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError
from synthcore.base.quantities import Span
from synthcore.engine.chunk import deflate, inflate
from synthcore.engine.faults import measure
from synthcore.engine.machine import engine
from synthcore.engine.play import play
from synthcore.engine.rendering import RenderedRow, RenderFormat
from synthcore.engine.stopping import interruptible
from synthcore.storage.dataset import Dataset
from synthcore.storage.dense import to_dense
from synthcore.storage.rounding import rounded
from synthcore.storage.schema import ContentDigest
from synthcore.vital.controls import installed
from synthcore.vital.tempo import bpm_of

if TYPE_CHECKING:
    from synthcore.verification.equivalence_trials import EquivalencesVerdict
    from synthcore.verification.trials import ActivityVerdict

    AnyVerdict = ActivityVerdict | EquivalencesVerdict

#: Rows whose labels are read at a time.
BATCH = 1024


class Verdict(BaseModel):
    """What verifying found."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    file: str
    checked: int
    exact: int
    differing: int
    differing_rows: list[int]
    same_machine_type: bool
    worst_db: float | None  # the largest error found, relative to its row; None when all is exact
    tolerance_db: float
    is_rounded: bool = False  # both to 24 bits, because the file was imported from FLAC
    damage: list[str]  # what the file says about itself that isn't so

    @property
    def holds(self) -> bool:
        return not self.differing and not self.damage

    def to_text(self) -> str:
        """Write it for a terminal."""
        how = (
            "bit for bit"
            if self.same_machine_type
            else f"within {self.tolerance_db:g} dB, as this is another type of machine than it was made on"
        )
        how += ", rounded to 24 bits as the file's audio is" * self.is_rounded
        lines = [f"{self.file}: {how_many(self.checked, 'row')} rendered again and compared {how}"]
        lines.append(f"  exact {self.exact}, differing {self.differing}")
        if self.worst_db is not None:
            lines.append(f"  the largest difference is {self.worst_db:.1f} dB, relative to its row")
        if self.differing_rows:
            lines.append(f"  differing rows: {', '.join(map(str, self.differing_rows))}")
        lines += [f"  {damage}" for damage in self.damage]
        lines.append("verified" if self.holds else "NOT verified")
        return "\n".join(lines) + "\n"


class Unverified(DatasetError):
    """A file that isn't what it says it is.

    Parameters
    ----------
    verdict
        What was found: a `Verdict`, or that of another test.
    """

    def __init__(self, verdict: Verdict | AnyVerdict) -> None:
        super().__init__("; ".join(line.strip() for line in verdict.to_text().splitlines()))
        self.verdict = verdict

    def __reduce__(self) -> tuple[type[Unverified], tuple[Verdict | AnyVerdict]]:
        return type(self), (self.verdict,)


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """One row: whether its bytes are the same, and the error in dB relative to the row where they are not."""

    row: int
    error_db: float | None
    damage: str | None


def verify(dataset: Dataset, rows: int | None, *, tolerance_db: float, workers: int) -> Verdict:
    """Render some or all rows again, and recompute every digest.

    Parameters
    ----------
    dataset : Dataset
    rows : int or None
        How many, chosen at random; None for all.
    tolerance_db : float
        On another type of machine, the largest error that is accepted, relative to its row.
    workers : int
        Renders at a time.

    Raises
    ------
    DatasetError
        The file is a recipe.
    EngineMismatch
        The installed vita has other controls than the dataset's.
    """
    if dataset.is_recipe:
        raise DatasetError(f"{dataset.path} is a recipe, without audio; make it again with synthcore render")
    installed().require_same(dataset.registry, str(dataset.path))
    same_machine_type = engine().fingerprint == dataset.engine.fingerprint
    damage = list(find_damage(dataset))
    patches = _rows_by_patch(dataset, _choose_rows(dataset, rows))
    # A row that would be refused shows as a difference in decibels instead.
    fmt = dataset.spec.render_format.refusing_nothing()
    with ThreadPoolExecutor(workers) as pool, interruptible():
        verdicts = [v for found in pool.map(lambda rows: _render_again(dataset, rows, fmt), patches) for v in found]
    damage += [v.damage for v in verdicts if v.damage]
    errors = [v for v in verdicts if v.error_db is not None]
    allowed = -math.inf if same_machine_type else tolerance_db
    differing = sorted(v.row for v in errors if v.error_db is not None and v.error_db > allowed)
    return Verdict(
        file=str(dataset.path),
        checked=len(verdicts),
        exact=len(verdicts) - len(errors),
        differing=len(differing),
        differing_rows=differing,
        same_machine_type=same_machine_type,
        worst_db=max((v.error_db for v in errors if v.error_db is not None), default=None),
        tolerance_db=tolerance_db,
        is_rounded=dataset.is_rounded,
        damage=damage,
    )


def _choose_rows(dataset: Dataset, rows: int | None) -> NDArray[np.intp]:
    if rows is None or rows >= len(dataset):
        return np.arange(len(dataset))
    # Other rows each time: verifying twice says more than verifying once.
    return np.sort(np.random.default_rng().choice(len(dataset), rows, replace=False))


def _rows_by_patch(dataset: Dataset, rows: NDArray[np.intp]) -> list[list[int]]:
    """Group rows of one patch: it is loaded and settled once for all of them. Its hash may be its neighbour's too."""
    sources, indices = dataset.column("source"), dataset.column("patch_index")
    return [[int(r) for r in group] for _, group in groupby(rows, key=lambda row: (sources[row], indices[row]))]


def _render_again(dataset: Dataset, rows: list[int], fmt: RenderFormat) -> list[RowVerdict]:
    """Render one patch's rows in a fresh child of a fresh process, and compare."""
    try:
        preset = dataset.patch(rows[0]).to_json(dataset.registry, dataset.assets).encode()
    except (DatasetError, LookupError, ValueError):  # a number without a class, an asset that isn't text
        return [RowVerdict(row, math.inf, f"row {row}: its label can't be written as a preset") for row in rows]
    stored = dataset[rows]
    outcome = play(preset, fmt, dataset.performances(rows))
    progress.publish(progress.Progress(rows=len(rows), fault=None))
    if outcome.fault:
        return [RowVerdict(row, math.inf, f"row {row}: {outcome.fault.reason} when rendered again") for row in rows]
    verdicts = []
    for place, (row, rendered) in enumerate(zip(rows, outcome.rows, strict=True)):
        audio, stated = stored["audio"][place], stored["audio_sha256"][place].decode()
        if dataset.is_rounded:
            rendered = _rounded(rendered, audio.shape)
        is_damaged = hashlib.sha256(audio.tobytes()).hexdigest() != stated
        damage = f"row {row}: the audio is not what its audio_sha256 says" if is_damaged else None
        if "modulation_t3" in stored:
            dense = to_dense(stored["modulation_slots"][place], dataset.registry)
            if not np.array_equal(dense, stored["modulation_t3"][place]):
                damage = f"row {row}: modulation_t3 is not what its modulation_slots say"
        is_exact = rendered.audio_sha256 == stated and not is_damaged
        measured = np.array([rendered.rms_dbfs, rendered.peak], dtype=np.float32)
        if is_exact and not np.array_equal(measured, [stored["rms_dbfs"][place], stored["peak"][place]]):
            damage = f"row {row}: rms_dbfs or peak is not what the audio measures"
        verdicts.append(RowVerdict(row, None if is_exact else _error_db(audio, rendered.chunk), damage))
    return verdicts


def _rounded(rendered: RenderedRow, shape: tuple[int, ...]) -> RenderedRow:
    """Round a row as FLAC does; the rest of it follows."""
    audio = rounded(inflate(rendered.chunk, shape))
    rms_dbfs, peak = measure(audio)
    sha256 = hashlib.sha256(audio.tobytes()).hexdigest()
    return replace(rendered, chunk=deflate(audio), audio_sha256=sha256, rms_dbfs=rms_dbfs, peak=peak)


def _error_db(stored: NDArray[np.float32], chunk: bytes) -> float:
    """Energy of the difference relative to the stored row's, in dB."""
    rendered = inflate(chunk, stored.shape)
    error = float(((rendered.astype("f8") - stored) ** 2).sum())
    energy = float((stored.astype("f8") ** 2).sum())
    if not error:
        return -math.inf  # the audio is the same: only what the file says about it differs
    # NaN compares as no difference at all.
    return 10 * math.log10(error / energy) if energy and math.isfinite(error / energy) else math.inf


def find_damage(dataset: Dataset) -> Iterator[str]:
    """Recompute what the file says about itself: the names of assets, the hashes of patches, the content digest."""
    for name, content in dataset.assets.items():
        if hashlib.sha256(content).hexdigest() != name:
            yield f"asset {name} is not what its name says"
    digest, held = ContentDigest(dataset.spec), dataset.spec.audio.note_seconds
    for start in range(0, len(dataset), BATCH):
        stop = min(start + BATCH, len(dataset))
        stated, tempos = (dataset.column(name, slice(start, stop)) for name in ("preset_hash", "bpm"))
        try:
            for row, patch in enumerate(dataset.patches(start, stop), start=start):
                if patch.hash != stated[row - start].decode():
                    yield f"row {row}: the label is not what its preset_hash says"
                if bpm_of(patch, dataset.registry) != tempos[row - start]:
                    yield f"row {row}: bpm is not what the label says"
        except DatasetError as error:
            yield str(error)
        if not isinstance(held, Span) and (dataset.column("note_seconds", slice(start, stop)) != held).any():
            yield "note_seconds is not what the spec says"
        digest.update({f"metadata/{part}": dataset.column(part, slice(start, stop)) for part in digest.parts})
    if digest.hexdigest() != dataset.digest:
        yield "the content digest is not what the rows add up to"
