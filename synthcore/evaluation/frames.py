"""What the metrics of audio have in common: pairs of sounds, frames, spectra, and the libraries of the extra.

A sound is float32, shape (channels, samples), mono or stereo, at full scale 1. Both sounds of a pair have the same
shape: whoever compares recordings brings them to the same length, rate and number of channels first.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.base.errors import SpecError, SynthcoreError

Audio = NDArray[np.floating[Any]]
Sound = NDArray[np.float32]
Pair = tuple[Sound, Sound]  #: target and answer

CHANNELS = (1, 2)
LIBRARIES = ("librosa", "pyloudnorm")  #: of the extra


def library(name: str) -> Any:
    """Import a library of the extra `evaluate`, when it is needed: librosa takes a second or more.

    Raises
    ------
    SpecError
        It isn't installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(name) from error


def require_libraries() -> None:
    """Refuse to begin without the libraries of the extra; looks for them, and imports none.

    Raises
    ------
    SpecError
        One isn't installed.
    """
    for name in LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise _missing(name)


def library_versions() -> list[str]:
    """The versions of the libraries, on which scores depend."""
    return [importlib.metadata.version(name) for name in LIBRARIES]


def _missing(name: str) -> SpecError:
    return SpecError(f"these metrics need {name}: pip install 'synthcore[evaluate]'")


def require_pair(target: Audio, answer: Audio) -> Pair:
    """Both sounds as float32, if they can be compared.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples)

    Raises
    ------
    SynthcoreError
        A sound isn't finite, is neither mono nor stereo or is empty, or the two differ in shape.
    """
    pair = np.asarray(target, dtype=np.float32), np.asarray(answer, dtype=np.float32)
    for role, sound in zip(("target", "answer"), pair, strict=True):
        if sound.ndim != 2 or sound.shape[0] not in CHANNELS or not sound.shape[1]:
            raise SynthcoreError(f"the {role} has shape {sound.shape}; give (channels, samples), mono or stereo")
        if not np.isfinite(sound).all():
            raise SynthcoreError(f"the {role} holds NaN or infinity; it can't be scored")
    if pair[0].shape != pair[1].shape:
        raise SynthcoreError(
            f"can't compare a target of shape {pair[0].shape} with an answer of shape {pair[1].shape}: "
            "make them equally long, both mono or both stereo"
        )
    return pair


def samples(milliseconds: int, sample_rate: int) -> int:
    """How many whole samples a window or hop has."""
    return milliseconds * sample_rate // 1000


def stft_power(
    audio: Sound, window: int, hop: int, *, fft: int | None = None, padding: Any = "constant"
) -> NDArray[np.float32]:
    """Powers of the short-time Fourier transform, with frames centred on every `hop`-th sample.

    Parameters
    ----------
    audio : ndarray, shape (channels, samples), float32
    window, hop, fft : int
        In samples: length of the Hann window (periodic), distance of the frames, and length of the transform, in whose
        middle the window lies; as long as the window if not given.
    padding : str
        What lies before and after the sound, in the words of `numpy.pad`.

    Returns
    -------
    ndarray, shape (channels, frames, fft // 2 + 1), float32
    """
    from scipy.fft import rfft  # four times as fast as numpy's where there are many frames

    fft = fft or window
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    before = (fft - window) // 2
    shape = np.pad(hann, (before, fft - window - before)).astype(np.float32)
    padded = np.pad(audio, ((0, 0), (fft // 2, fft // 2)), mode=padding)
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft, axis=1)[:, ::hop]
    spectrum = rfft(frames * shape, axis=2)
    power: NDArray[np.float32] = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def mel_power(audio: Sound, sample_rate: int, *, window: int, hop: int, bands: int) -> NDArray[np.float32]:
    """Power in mel bands from 0 Hz to half the sample rate: Slaney's scale, each triangle's area 1.

    Returns
    -------
    ndarray, shape (channels, bands, frames), float32
    """
    power = stft_power(audio, window, hop)
    mel = _filters(sample_rate, window, bands) @ power.reshape(-1, power.shape[2]).T
    return np.ascontiguousarray(mel.reshape(bands, len(audio), -1).transpose(1, 0, 2))


@lru_cache(maxsize=16)
def _filters(sample_rate: int, fft: int, bands: int) -> Any:
    """Sparse, because what a BLAS gives depends on how many threads it takes."""
    from scipy.sparse import csr_array

    with warnings.catch_warnings():
        # At low rates a short window has too few frequencies for all bands: the empty ones are equal in both sounds.
        warnings.filterwarnings("ignore", "Empty filters", UserWarning)
        return csr_array(library("librosa").filters.mel(sr=sample_rate, n_fft=fft, n_mels=bands))
