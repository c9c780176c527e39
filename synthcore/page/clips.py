"""Clips: rows to listen to, as compressed audio and a spectrogram, both as data: addresses."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthcore.analysis import spectrogram
from synthcore.analysis.overview import played_in_row
from synthcore.analysis.spectrogram import SHOWN_SECONDS
from synthcore.page.details import Details, describe
from synthcore.storage.dataset import Dataset

#: Every browser plays MP3, at a tenth of the size of 16-bit samples. Sample rates that it lacks become FLAC.
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
WIDTH, HEIGHT = 256, 96  #: of a spectrogram


@dataclass(frozen=True, slots=True)
class Clip:
    """One row to listen to. Its source and name are people's: anything can be in them."""

    row: int
    played: tuple[str, ...]
    source: str
    name: str
    patch: str  # hash
    rms_dbfs: float
    seconds: float
    sound: str  # data: address
    picture: str  # data: address
    details: Details


def make_clip(dataset: Dataset, row: int) -> Clip:
    """Make a row audible and visible."""
    audio, rate = dataset.column("audio", [row])[0], dataset.spec.audio.sample_rate
    picture, sound = picture_and_sound(audio, rate)
    fields = {name: dataset.column(name, [row])[0] for name in ("source", "preset_name", "preset_hash")}
    return Clip(
        row=row,
        played=played_in_row(dataset, row),
        source=fields["source"].decode(),
        name=fields["preset_name"].decode(errors="replace"),
        patch=fields["preset_hash"].decode(),
        rms_dbfs=float(dataset.column("rms_dbfs", [row])[0]),
        seconds=min(audio.shape[1] / rate, SHOWN_SECONDS),
        sound=sound,
        picture=picture,
        details=describe(dataset, row),
    )


def picture_and_sound(audio: NDArray[np.float32], sample_rate: int) -> tuple[str, str]:
    """Make audio, shape (2, S), visible and audible: the data: addresses of its spectrogram and of its beginning."""
    picture = spectrogram.to_png(spectrogram.paint(audio, sample_rate, WIDTH, HEIGHT))
    sound = encode_sound(audio[:, : round(SHOWN_SECONDS * sample_rate)], sample_rate)
    return _address("image/png", picture), sound


def encode_sound(audio: NDArray[np.float32], sample_rate: int) -> str:
    """Compress audio, shape (2, S), for a browser: MP3 of constant bit rate, or FLAC of 16 bits."""
    import soundfile

    written, kind = io.BytesIO(), "MP3" if sample_rate in MP3_RATES else "FLAC"
    subtype, mime = ("MPEG_LAYER_III", "mpeg") if kind == "MP3" else ("PCM_16", "flac")
    soundfile.write(written, audio.T.clip(-1, 1), sample_rate, format=kind, subtype=subtype)
    return _address(f"audio/{mime}", written.getvalue())


def _address(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
