"""What a file of predictions holds when it answers sounds instead of a dataset's rows: which ones, and what is played.

Sounds have neither form nor assets, so both are those of the dataset that the model learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from synthcore.base.counting import how_many
from synthcore.base.errors import DatasetError, EngineMismatch, SpecError
from synthcore.base.hashing import content_hash
from synthcore.spec import AudioSpec
from synthcore.storage import schema
from synthcore.storage.dataset import Dataset
from synthcore.vital.controls import installed

NAMES, CHECKSUMS, AUDIO = "schema/sounds", "schema/sound_checksums", "audio"


def digest_of(sounds: Mapping[str, str]) -> str:
    """SHA-256 in hex over the names of sounds and their checksums."""
    return content_hash(["answered sounds", list(sounds.items())])


def write(file: h5py.File, dataset: Dataset, sounds: Mapping[str, str]) -> None:
    """Write down which sounds are answered, in which form, and all that answers may play.

    Raises
    ------
    DatasetError
        The dataset is a recipe, and lacks some of that.
    """
    if dataset.missing_assets:
        raise DatasetError(f"{dataset.path} is a recipe, and lacks what answers play; make it with synthcore render")
    file.create_dataset(NAMES, data=list(sounds), dtype=h5py.string_dtype())
    file[CHECKSUMS] = np.array([checksum.encode() for checksum in sounds.values()], "S64")
    file["schema"].attrs[AUDIO] = dataset.spec.audio.model_dump_json()
    schema.write_assets(file, dataset.assets)


def read_sounds(file: h5py.File) -> dict[str, str]:
    """The sounds that are answered, with their checksums; none if a dataset's rows are."""
    if NAMES not in file:
        return {}
    checksums = [checksum.decode() for checksum in file[CHECKSUMS][:].tolist()]
    return dict(zip(file[NAMES].asstr()[:].tolist(), checksums, strict=True))


def read_audio(file: h5py.File) -> AudioSpec:
    """The form in which answers to sounds are rendered."""
    return AudioSpec.model_validate_json(file["schema"].attrs[AUDIO])


def require_installed(path: Path, registry: str) -> None:
    """Refuse answers that were made for another synth than the installed one.

    Raises
    ------
    EngineMismatch
    """
    if registry != installed().fingerprint:
        raise EngineMismatch(f"{path} answers with the controls of another synth than the installed one; predict again")


def require_rows(path: Path, own: Mapping[str, str], dataset: Dataset) -> None:
    """Refuse answers to sounds, where a dataset's rows are meant.

    Raises
    ------
    SpecError
    """
    if own:
        raise SpecError(f"{path} answers sounds, not the rows of {dataset.path}; name their folder")


def require_same(path: Path, own: Mapping[str, str], found: Mapping[str, str], folder: Path) -> None:
    """Refuse sounds that are not the answered ones.

    Raises
    ------
    SpecError
    """
    if not own:
        raise SpecError(f"{path} answers the rows of a dataset, not the sounds in {folder}; name the dataset")
    if list(own.items()) == list(found.items()):
        return
    gone, new = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    changed = [name for name in own if name in found and own[name] != found[name]]
    of_each = (("gone", gone), ("new", new), ("changed", changed))
    what = "; ".join(f"{how_many(len(names), 'sound')} {how} ({names[0]})" for how, names in of_each if names)
    raise SpecError(f"{path} answers other sounds than those in {folder}: {what}; predict again")
