"""Forms: the sample rate and length that sounds share once they can be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from synthcore.ingest.recordings import read_recording
from synthcore.storage.dataset import Dataset

CHANNELS = {1: ("given a second channel like the first",), 2: ()}  #: what is done to recordings, by their channels
MORE_CHANNELS = ("left with their first two channels",)


class Form(BaseModel):
    """What sounds are brought to before they are compared: the form of the dataset's own rows."""

    model_config = ConfigDict(frozen=True)

    sample_rate: int  # in Hz
    samples: int

    @classmethod
    def of(cls, dataset: Dataset) -> Form:
        """The form of a dataset's rows."""
        fmt = dataset.spec.render_format
        return cls(sample_rate=fmt.sample_rate, samples=fmt.samples)

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    def fit(self, audio: NDArray[np.float32], sample_rate: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Bring a sound to this form, and say what that took.

        Parameters
        ----------
        audio : ndarray, shape (2, S), float32
        sample_rate : int
            Its own, in Hz.

        Returns
        -------
        ndarray, shape (2, samples), float32
        tuple of str
            Of "resampled", "cut" and "padded with silence", what applies.
        """
        changes: list[str] = []
        if sample_rate != self.sample_rate:
            from scipy.signal import resample_poly

            common = np.gcd(sample_rate, self.sample_rate)
            audio = resample_poly(audio, self.sample_rate // common, sample_rate // common, axis=1)
            changes.append("resampled")
        if (excess := audio.shape[1] - self.samples) > 0:
            audio = audio[:, : self.samples]
            changes.append("cut")
        elif excess < 0:
            audio = np.pad(audio, ((0, 0), (0, -excess)))
            changes.append("padded with silence")
        return np.ascontiguousarray(audio, np.float32), tuple(changes)

    def read(self, path: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Read the beginning of an audio file in this form, and say what that took, as `fit` does.

        Raises
        ------
        PresetError
            It can't be read; the message is the reason.
        """
        read = read_recording(path, self.seconds)
        fitted, changes = self.fit(read.audio, read.sample_rate)
        return fitted, (*CHANNELS.get(read.channels, MORE_CHANNELS), *changes)
