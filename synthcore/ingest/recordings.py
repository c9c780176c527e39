"""Recordings: other people's audio files, found in a folder and read to be compared.

Owns which files are recordings and how they become two channels. Bringing them to another sample rate or length is for
whoever compares.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from synthcore.base.errors import PresetError
from synthcore.ingest.files import walk

#: What libsndfile reads, and people exchange.
AUDIO_ENDINGS = (".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3")
RATES = (1_000, 768_000)  #: Hz; outside of them, a header is wrong
LOUDEST = 1e10  #: at full scale 1; whole numbers of 32 bits stay below it, and the square of a spectrum is finite


@dataclass(frozen=True, slots=True)
class Recording:
    """What was read of an audio file: shape (2, S), float32, and its sample rate in Hz."""

    audio: NDArray[np.float32]
    sample_rate: int
    channels: int


def find_recordings(folder: Path) -> list[str]:
    """List the audio files in a folder and all below it, sorted, as paths from there; of a file, itself.

    Raises
    ------
    PresetError
        The folder holds too many files.
    """
    if not folder.is_dir():
        return [folder.name]
    return sorted(file for file, _, reason in walk(folder, AUDIO_ENDINGS) if not reason)


def read_recording(path: Path, seconds: float) -> Recording:
    """Read the beginning of an audio file. One channel becomes both; of more than two, the first two are taken.

    Raises
    ------
    PresetError
        It can't be read; the message is the reason.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise PresetError("not a regular file")
        with soundfile.SoundFile(path) as file:
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise PresetError(f"its sample rate is {file.samplerate} Hz; {RATES[0]} to {RATES[1]} Hz can be read")
            read: NDArray[np.float32] = file.read(int(seconds * file.samplerate) + 1, "float32", always_2d=True)
            rate, channels = int(file.samplerate), int(file.channels)
    except soundfile.LibsndfileError as error:
        raise PresetError(f"not audio that can be read: {error.error_string.rstrip('.')}") from error
    except OSError as error:
        raise PresetError(f"can't be read: {error.strerror}") from error
    if not len(read):
        raise PresetError("it holds no audio")
    if not np.isfinite(read).all():
        raise PresetError("it holds a sample that isn't finite")
    if (peak := np.abs(read).max()) > LOUDEST:
        raise PresetError(f"it holds a sample of {peak:.3g}, where full scale is 1")
    return Recording(np.repeat(read.T, 2, axis=0) if channels == 1 else read.T[:2].copy(), rate, channels)
