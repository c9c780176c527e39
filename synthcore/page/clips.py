"""Clips: rows to listen to, as compressed audio and a spectrogram, both as addresses that hold their content."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthcore.distances import RANGE_DB, log_mel
from synthcore.storage.dataset import Dataset

#: What every browser plays, at a tenth of the size of 16-bit samples; FLAC at the sample rates that MP3 hasn't got.
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
#: More of a long row would make the page heavy.
PLAYED_SECONDS = 10.0
WIDTH, HEIGHT = 256, 96  #: of a spectrogram
MEL_WINDOW_SECONDS = 0.046
#: A palette keeps a picture at a third of the size, and nobody sees the difference.
COLOURS = 48


@dataclass(frozen=True, slots=True)
class Clip:
    """One row to listen to. The texts are people's: anything can be in them."""

    row: int
    note: int
    source: str
    name: str
    patch: str  # its hash
    rms_dbfs: float
    seconds: float
    sound: str  # data: address
    picture: str  # data: address


def make_clip(dataset: Dataset, row: int) -> Clip:
    """Make a row audible and visible."""
    audio, rate = dataset.column("audio", [row])[0], dataset.spec.audio.sample_rate
    said = {name: dataset.column(name, [row])[0] for name in ("midi_note", "source", "preset_name", "preset_hash")}
    return Clip(
        row=row,
        note=int(said["midi_note"]),
        source=said["source"].decode(),
        name=said["preset_name"].decode(errors="replace"),
        patch=said["preset_hash"].decode(),
        rms_dbfs=float(dataset.column("rms_dbfs", [row])[0]),
        seconds=min(audio.shape[1] / rate, PLAYED_SECONDS),
        sound=encode_sound(audio[:, : round(PLAYED_SECONDS * rate)], rate),
        picture=draw_spectrogram(audio[:, : round(PLAYED_SECONDS * rate)], rate),
    )


def encode_sound(audio: NDArray[np.float32], sample_rate: int) -> str:
    """Compress audio, shape (2, S), for a browser: MP3 of constant bit rate, or FLAC of 16 bits."""
    import soundfile

    written, kind = io.BytesIO(), "MP3" if sample_rate in MP3_RATES else "FLAC"
    subtype, mime = ("MPEG_LAYER_III", "mpeg") if kind == "MP3" else ("PCM_16", "flac")
    soundfile.write(written, audio.T.clip(-1, 1), sample_rate, format=kind, subtype=subtype)
    return _address(f"audio/{mime}", written.getvalue())


def draw_spectrogram(audio: NDArray[np.float32], sample_rate: int) -> str:
    """Draw the log-mel spectrum of audio, shape (2, S), both channels together: time to the right, pitch up."""
    from matplotlib import colormaps
    from PIL import Image

    levels = log_mel(audio, sample_rate, MEL_WINDOW_SECONDS, HEIGHT).mean(axis=0)
    depth = np.clip(1 + (levels - levels.max()) / RANGE_DB, 0, 1)
    picture = Image.fromarray(np.rint(depth[::-1] * (COLOURS - 1)).astype(np.uint8))
    picture = picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).convert("P")
    palette = (colormaps["magma"](np.linspace(0, 1, COLOURS))[:, :3] * 255).round().astype(np.uint8)
    picture.putpalette(palette.tobytes())
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return _address("image/png", written.getvalue())


def _address(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
