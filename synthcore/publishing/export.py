"""Export: rows of a dataset as files that other programs open. A `.wav` of the audio, and a `.vital` that plays it.

`Patch.to_preset` says what a preset holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from scipy.io import wavfile

from synthcore.analysis.overview import played_in_row
from synthcore.base.atomic import atomic_path
from synthcore.base.errors import DatasetError
from synthcore.base.hashing import canonical_json
from synthcore.pipeline.continuing import require_new
from synthcore.storage.dataset import Dataset
from synthcore.vital.versions import versions


class ExportedRow(BaseModel):
    """The files of one row."""

    model_config = ConfigDict(frozen=True)

    row: int
    wav: str
    preset: str
    preset_hash: str  # of the patch; ingesting the preset gives it again
    otherwise: tuple[str, ...]  # what Vital plays differently from the audio


class ExportResult(BaseModel):
    """What was exported."""

    model_config = ConfigDict(frozen=True)

    rows: list[ExportedRow]

    def to_text(self) -> str:
        """Write it for a terminal."""
        lines = []
        for row in self.rows:
            lines += [f"row {row.row}:", f"  {row.wav}", f"  {row.preset}"]
            lines += [f"  Vital plays it differently: {', '.join(row.otherwise)}"] * bool(row.otherwise)
        return "\n".join([*lines, "the presets were not tried in Vital itself"]) + "\n"


def export_rows(dataset: Dataset, rows: Sequence[int], folder: Path) -> ExportResult:
    """Write the audio and the preset of some rows into a folder, all of them or none.

    The audio is 32-bit float, the very samples of the row.

    Raises
    ------
    DatasetError
        There is no such row, or the file is a recipe, without audio.
    SpecError
        A file that would be written is there already, or the folder can't be written.
    """
    if dataset.is_recipe:
        raise DatasetError(f"{dataset.path} is a recipe, without audio; make it again with synthcore render")
    places = [_place(dataset, row) for row in dict.fromkeys(rows)]
    exported = [_files_of(dataset, place, folder) for place in places]
    for row in exported:
        require_new(Path(row.wav))
        require_new(Path(row.preset))
    with contextlib.ExitStack() as written:  # each gets its name only when all have been written
        for row in exported:
            _write(dataset, row, *(written.enter_context(atomic_path(Path(p))) for p in (row.wav, row.preset)))
    return ExportResult(rows=exported)


def _place(dataset: Dataset, row: int) -> int:
    if not -len(dataset) <= row < len(dataset):
        raise DatasetError(f"row {row} is out of range: {dataset.path} has rows 0 to {len(dataset) - 1}")
    return row % len(dataset)


def _files_of(dataset: Dataset, row: int, folder: Path) -> ExportedRow:
    played = "".join(f"-{part.replace(' ', '-')}" for part in _played(dataset, row))
    stem = f"{dataset.path.stem}-row-{row}{played}"
    wav, preset = (str(folder / f"{stem}.{kind}") for kind in ("wav", "vital"))
    patch = dataset.patch(row)
    otherwise = versions(dataset.registry).otherwise(patch)
    return ExportedRow(row=row, wav=wav, preset=preset, preset_hash=patch.hash, otherwise=otherwise)


def _played(dataset: Dataset, row: int) -> tuple[str, ...]:
    """How a row was played, for its names; nothing where all patches are played in the same way."""
    parts = played_in_row(dataset, row)
    return parts if len(parts) > 1 else ()


def _write(dataset: Dataset, row: ExportedRow, wav: Path, preset: Path) -> None:
    name = ", ".join((f"{dataset.path.stem} row {row.row}", *_played(dataset, row.row)))
    wavfile.write(wav, dataset.spec.audio.sample_rate, dataset.column("audio", [row.row])[0].T)
    patch = dataset.patch(row.row)
    preset.write_text(canonical_json(patch.to_preset(dataset.registry, dataset.assets_of(patch), name)))
