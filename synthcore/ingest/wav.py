"""Wavetables in WAV files, as Serum and other synths exchange them: their frames one after the other, in one channel.

Owns which WAV files are wavetables, and the way from their samples to a wavetable that the synth plays: a keyframe for
each frame, so that `wave_frame` k plays frame k as it is in the file.
"""

from __future__ import annotations

import base64
import io
import re
import struct
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from synthcore.base.counting import how_many
from synthcore.base.errors import PresetError
from synthcore.vital.builtin import SAMPLES
from synthcore.vital.controls import VITAL_VERSION
from synthcore.vital.validation import MAX_FRAMES

#: The forms of samples in which synths write wavetables.
ENCODINGS = {"PCM_16": "16 bit", "PCM_24": "24 bit", "PCM_32": "32 bit", "FLOAT": "32 bit float"}
LEAST_SAMPLES = 16  #: of a frame; a smaller number isn't the size of one
_HEADER = 12  #: bytes in front of a file's chunks
_CHUNK = struct.Struct("<4sI")  #: a chunk's name and size


def read_wavetable(content: bytes, name: str) -> dict[str, Any]:
    """Read a WAV file as a wavetable, in the form of a `.vitaltable`.

    Of several channels the first is taken. Frames of fewer than 2,048 samples are resampled by their spectrum, which
    changes none of their harmonics.

    Raises
    ------
    PresetError
        It can't be read, or isn't 1 to 257 whole frames.
    """
    size = frame_size(content)
    samples = _samples(content, size)
    keyframes = [
        {"position": place, "wave_data": base64.b64encode(frame.astype("<f4").tobytes()).decode()}
        for place, frame in enumerate(_resampled(samples.reshape(-1, size)))
    ]
    source = {"interpolation": 0, "interpolation_style": 1, "keyframes": keyframes, "type": "Wave Source"}
    return {
        "author": "",
        "full_normalize": False,  # as loud as they are in the file
        "groups": [{"components": [source]}],
        "name": name,
        "remove_all_dc": True,
        "version": VITAL_VERSION,
    }


def frame_size(content: bytes) -> int:
    """Read how many samples a frame has from the chunk `clm `, as Serum writes it; 2,048 without one.

    Raises
    ------
    PresetError
        The chunk names no size, or one that the synth has no room for.
    """
    place = _HEADER
    while place + _CHUNK.size <= len(content):
        name, length = _CHUNK.unpack_from(content, place)
        place += _CHUNK.size
        if name == b"clm ":
            size = re.match(rb"<!>\s*(\d{1,9})(?!\d)", content[place : place + length])
            if not size or not LEAST_SAMPLES <= int(size[1]) <= SAMPLES:
                raise PresetError(f"its clm chunk names no frame size from {LEAST_SAMPLES} to {SAMPLES:,} samples")
            return int(size[1])
        place += length + length % 2
    return SAMPLES


def _samples(content: bytes, size: int) -> NDArray[np.float32]:
    """Decode the first channel, having made sure that it is whole frames."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.format not in ("WAV", "WAVEX") or file.subtype not in ENCODINGS:
                raise PresetError(f"not a WAV file of {', '.join(ENCODINGS.values())}")
            _require_frames(file.frames, size)
            audio: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)[:, 0]
    except soundfile.LibsndfileError as error:
        raise PresetError(f"not a WAV file that can be read: {error.error_string.rstrip('.')}") from error
    if not np.isfinite(audio).all():
        raise PresetError("it holds a sample that isn't finite")
    if not audio.any():
        raise PresetError("it is silent")
    return audio


def _require_frames(samples: int, size: int) -> None:
    if not samples or samples % size:
        raise PresetError(
            f"a recording, not a wavetable: {how_many(samples, 'sample')}, not a whole number of frames of {size:,}"
        )
    if samples > MAX_FRAMES * size:
        raise PresetError(f"{samples // size:,} frames of {size:,} samples; a wavetable has at most {MAX_FRAMES}")


def _resampled(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring frames, shape (F, n), to the synth's 2,048 samples, each with the harmonics it has."""
    size = frames.shape[1]
    if size == SAMPLES:
        return frames
    with np.errstate(over="ignore", invalid="ignore"):  # of samples near the largest float32
        spectra = np.fft.rfft(frames)
        if not size % 2:
            spectra[:, -1] /= 2  # the highest harmonic of an even number of samples stands for two
        resampled: NDArray[np.float32] = (np.fft.irfft(spectra, SAMPLES) * (SAMPLES / size)).astype(np.float32)
    if not np.isfinite(resampled).all():
        raise PresetError("its samples are too large to be resampled")
    return resampled
