"""Coding: a row's audio as the bytes of an audio file, and back."""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from synthcore.base.errors import DatasetError
from synthcore.storage import AudioCoding
from synthcore.storage.rounding import BITS, scale_of, to_audio, to_integers

#: FLAC's level 4 of 8: as few bytes as the usual level 5 makes of synth sounds, in nine tenths of its time.
_LEVEL = 0.5
_UNUSED = 32 - BITS  #: bits of the whole numbers that libsndfile takes and gives, which begin with the highest


@dataclass(frozen=True, slots=True)
class CodedAudio:
    """The audio of one row as a file.

    Attributes
    ----------
    content : bytes
        FLAC or WAV.
    scale : float
        What the decoded samples are multiplied by to be the row's: 1, or a power of two where the peak is above 1 and
        the file is FLAC.
    error : float
        The largest difference between a sample of the row and what the file gives back; full scale is 1.
    sha256 : str
        Of a FLAC that was just written, in hex; empty otherwise.
    """

    content: bytes
    scale: float = 1.0
    error: float = 0.0
    sha256: str = ""


def encode(audio: NDArray[np.float32], sample_rate: int, coding: AudioCoding) -> CodedAudio:
    """Write audio as a file: WAV with the very samples, or FLAC with samples rounded to 24 bits.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32
        Full scale is 1.
    sample_rate : int
        In Hz.
    coding : {"flac", "wav"}
    """
    file = io.BytesIO()
    if coding == "wav":
        wavfile.write(file, sample_rate, audio.T)
        return CodedAudio(file.getvalue())
    import soundfile

    scale = scale_of(audio)
    integers = to_integers(audio, scale)
    soundfile.write(
        file, integers.T << _UNUSED, sample_rate, subtype=f"PCM_{BITS}", format="FLAC", compression_level=_LEVEL
    )
    error = float(np.abs(audio - to_audio(integers, scale)).max())
    content = file.getvalue()
    return CodedAudio(content, scale, error, hashlib.sha256(content).hexdigest())


def decode(coded: CodedAudio, coding: AudioCoding, shape: tuple[int, ...] | None = None) -> NDArray[np.float32]:
    """Read what `encode` wrote.

    Parameters
    ----------
    coded : CodedAudio
    coding : {"flac", "wav"}
    shape : tuple of int, optional
        Of the audio: (2, S). By default whatever it has.

    Raises
    ------
    DatasetError
        It isn't such a file, or is of another length.
    """
    try:
        audio = _samples(coded, coding)
    except (ValueError, RuntimeError, EOFError, struct.error) as error:  # soundfile's own is a RuntimeError
        raise DatasetError(f"audio that should be {coding.upper()} can't be read: {error}") from error
    if audio.dtype != np.float32 or audio.shape != (shape or audio.shape):
        wanted = f"float32 of {shape}" if shape else "float32"
        raise DatasetError(f"audio has {audio.dtype} of shape {audio.shape}, and should have {wanted}")
    return audio


def _samples(coded: CodedAudio, coding: AudioCoding) -> NDArray[np.float32]:
    if coding == "wav":
        audio: NDArray[np.float32] = wavfile.read(io.BytesIO(coded.content))[1].T
        return audio
    import soundfile

    integers, _ = soundfile.read(io.BytesIO(coded.content), dtype="int32", always_2d=True)
    return to_audio(integers.T >> _UNUSED, coded.scale)
