"""A publication: a folder that holds a dataset for others, and `synthcore.json`, which says what it is.

`synthcore.json` is written last, so a folder that has it is whole. It holds what the columns mean, and what it takes to
make the dataset again from the files: nothing in it comes from the machine or the folders of whoever published it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from synthcore.base.addresses import Place
from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError
from synthcore.storage import AudioCoding, PublishedFormat

MANIFEST = "synthcore.json"
ASSETS, SOURCES, REJECTIONS = (f"assets/{name}.parquet" for name in ("assets", "sources", "rejections"))
VERSION = "1.0"
#: A file that a publication lists is in one of its two folders, and nowhere else.
PublishedPath = Annotated[str, StringConstraints(pattern=r"^(data|assets)/[A-Za-z0-9][A-Za-z0-9._-]*$")]


State = Literal["published", "mended", "there already"]


class PublishedFile(BaseModel):
    """One file of a publication."""

    model_config = ConfigDict(frozen=True)

    path: PublishedPath
    split: str  # of its rows; "" for tables of other things
    rows: int
    bytes: int
    sha256: str


class Publication(BaseModel):
    """What `synthcore.json` holds.

    Attributes
    ----------
    version : str
        Of the form of this file and of the others.
    key : str
        SHA-256 over what was published and how: equal keys, equal files.
    name : str
        Of the dataset's file, without its ending.
    format : {"parquet", "webdataset"}
    audio : {"flac", "wav"} or None
        None is a recipe, without audio.
    audio_error : float
        The largest difference between a sample as it was and as it is here; full scale is 1.
    rows_scaled : int
        Rows with a peak above 1, whose audio is to be multiplied by `audio_scale`: FLAC can't hold it as it is.
    licence : str or None
        The one that whoever published it gives to what is their own.
    rows : int
    left_out : dict of str to int
        Rows of the dataset that aren't here, by reason.
    digest : str
        The content digest of the dataset, with all its rows and the audio as it was.
    schema_version : str
        Of the dataset's file.
    spec, registry, engine, drawing, rules, weights
        What the dataset's header holds, as JSON.
    columns : tuple of str
        Of the dataset, those that rows have here.
    catalog_size : int
        How many classes of wavetables are the catalog's.
    files : tuple of PublishedFile
    """

    model_config = ConfigDict(frozen=True)

    version: str = VERSION
    key: str
    name: str
    format: PublishedFormat
    audio: AudioCoding | None
    audio_error: float
    rows_scaled: int
    licence: str | None
    rows: int
    left_out: dict[str, int]
    digest: str
    schema_version: str
    spec: dict[str, Any]
    registry: dict[str, Any]
    engine: dict[str, Any]
    drawing: dict[str, Any]
    rules: dict[str, Any]
    weights: dict[str, Any] | None = None
    columns: tuple[str, ...]
    catalog_size: int
    files: tuple[PublishedFile, ...] = Field(min_length=1)

    @property
    def row_files(self) -> dict[str, list[PublishedFile]]:
        """The files that hold rows, by split, in order."""
        splits: dict[str, list[PublishedFile]] = {}
        for file in self.files:
            if file.split:
                splits.setdefault(file.split, []).append(file)
        return splits

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.bytes for file in self.files)


class PublishResult(BaseModel):
    """What was published."""

    model_config = ConfigDict(frozen=True)

    folder: str
    state: State
    format: PublishedFormat
    audio: AudioCoding | None
    rows: int
    rows_scaled: int
    left_out: dict[str, int]
    files: int
    bytes: int
    digest: str
    audio_error: float

    @classmethod
    def of(cls, publication: Publication, folder: Place, state: State) -> PublishResult:
        """What became of a publication."""
        same = {name: getattr(publication, name) for name in cls.model_fields.keys() & Publication.model_fields.keys()}
        counts = {"files": len(publication.files), "bytes": publication.bytes}
        return cls(folder=str(folder), state=state, **{**same, **counts})

    def to_text(self) -> str:
        """Write it for a terminal."""
        audio = f"{self.audio.upper()} audio" if self.audio else "no audio, a recipe"
        lines = [
            f"{self.folder}: {how_many(self.rows, 'row')} in {how_many(self.files, 'file')} of {self.format}, {audio}, "
            f"{self.bytes / 1e6:.1f} MB; {self.state}"
        ]
        if self.audio == "flac":
            most = f"{self.audio_error:.1e} of full scale"
            lines.append(f"  rounded to 24 bits, no sample by more than {most}; --audio wav keeps every bit")
        if self.rows_scaled:
            lines.append(f"  {how_many(self.rows_scaled, 'row')} with a peak above 1: multiply by audio_scale")
        lines += [f"  left out: {how_many(rows, 'row')}, {reason}" for reason, rows in self.left_out.items()]
        return "\n".join([*lines, f"  digest    {self.digest}"]) + "\n"


def read_publication(folder: Path) -> Publication:
    """Read what a folder says of itself.

    Raises
    ------
    DatasetError
        It isn't a publication, is incomplete, or one of a later synthcore.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; name one that synthcore publish made")
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise DatasetError(f"{folder} has no {MANIFEST}: it isn't a published dataset, or not a whole one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} can't be read: {error}") from error
    try:
        found = Publication.model_validate_json(text)
    except ValidationError as error:
        first: Mapping[str, Any] = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise DatasetError(f"{path} is damaged or of another synthcore: {place}: {first['msg']}") from error
    if found.version.split(".")[0] != VERSION.split(".")[0]:
        raise DatasetError(f"{path} has version {found.version}, this synthcore reads {VERSION}; use a newer one")
    return found
