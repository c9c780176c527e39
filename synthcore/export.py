"""Export: rows of a dataset as files that other programs open. A `.wav` of the audio, and a `.vital` that plays it.

The preset is the document that was rendered, with what Vital writes besides and vita doesn't know. It says that Vital
1.0 wrote it, because its numbers mean what they mean there; a later Vital brings them to its own. It was compared with
real presets key by key, and read again; it was never tried in Vital itself.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from scipy.io import wavfile

from synthcore.classes import EXTRAS
from synthcore.controls import Registry
from synthcore.errors import DatasetError
from synthcore.patch import OSCILLATORS, Patch
from synthcore.storage.continuing import require_new
from synthcore.storage.dataset import Dataset
from synthcore.storage.writer import whole_file


class ExportedRow(BaseModel):
    """The files of one row."""

    model_config = ConfigDict(frozen=True)

    row: int
    wav: str
    preset: str
    preset_hash: str  # of the patch; ingesting the preset gives it again


class Exported(BaseModel):
    """What was exported."""

    model_config = ConfigDict(frozen=True)

    rows: list[ExportedRow]

    def to_text(self) -> str:
        """Say it, for a terminal."""
        lines = [f"row {row.row}:\n  {row.wav}\n  {row.preset}" for row in self.rows]
        return "\n".join([*lines, "the presets were not tried in Vital itself"]) + "\n"


def export_rows(dataset: Dataset, rows: Sequence[int], folder: Path) -> Exported:
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
            _write(dataset, row, *(written.enter_context(whole_file(Path(p))) for p in (row.wav, row.preset)))
    return Exported(rows=exported)


def document(patch: Patch, registry: Registry, assets: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """The preset of a patch, with all that Vital 1.0 writes, and nothing that only a later one knows.

    Returns
    -------
    dict
        As JSON. What vita doesn't know of it, it passes over: the sound is the patch's.
    """
    preset: dict[str, Any] = json.loads(patch.to_json(registry, assets, name))
    settings = preset["settings"]
    sample = patch.extras[EXTRAS.index("sample")]
    settings["sample"] = registry.init["sample"] if sample is None else json.loads(assets[sample])
    curves = [slot["line_mapping"] for slot in settings["modulations"] if "line_mapping" in slot]
    for part in (settings["sample"], *settings["lfos"], *curves):
        part.setdefault("name", "")  # a label leaves out names
    settings |= {
        "view_spectrogram": 0.0,
        **{f"osc_{number}_view_2d": 1.0 for number in range(1, OSCILLATORS + 1)},
    }
    return preset


def _place(dataset: Dataset, row: int) -> int:
    if not -len(dataset) <= row < len(dataset):
        raise DatasetError(f"row {row} is out of range: {dataset.path} has rows 0 to {len(dataset) - 1}")
    return row % len(dataset)


def _files_of(dataset: Dataset, row: int, folder: Path) -> ExportedRow:
    stem = f"{dataset.path.stem}-row-{row}"
    wav, preset = (str(folder / f"{stem}.{kind}") for kind in ("wav", "vital"))
    return ExportedRow(row=row, wav=wav, preset=preset, preset_hash=dataset.patch(row).hash)


def _write(dataset: Dataset, row: ExportedRow, wav: Path, preset: Path) -> None:
    name = f"{dataset.path.stem} row {row.row}"
    made = document(dataset.patch(row.row), dataset.registry, dataset.assets, name)
    wavfile.write(wav, dataset.spec.audio.sample_rate, dataset.column("audio", [row.row])[0].T)
    preset.write_text(json.dumps(made, sort_keys=True, separators=(",", ":"), allow_nan=False))
