"""Metrics of timbre: mel-frequency cepstral coefficients, which describe the spectrum's envelope."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthcore.evaluation.frames import Audio, Sound, library, mel_power, require_pair, samples

COEFFICIENTS = 20
WINDOW, HOP, BANDS = 50, 10, 128  #: ms, ms, mel bands


def wmfcc(target: Audio, answer: Audio, sample_rate: int) -> float:
    """MFCCs compared after dynamic time warping, so that the same sounds at other times are near.

    The cost of two frames is the mean absolute difference of their coefficients, over channels too. A path leads from
    the first frames to the last, forward in one sound (the cost counts once) or in both (twice); the cheapest path's
    cost is divided by the number of frames of both sounds.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In dB of the mel spectrum, at least 0.

    Notes
    -----
    Hayes, Saitis and Fazekas, ISMIR 2025, arXiv:2506.07199, and their published evaluation; the steps and the division
    are "symmetric2" of Sakoe and Chiba, IEEE Transactions on Acoustics, Speech and Signal Processing 26, 1978.
    """
    from scipy.spatial.distance import cdist

    of_target, of_answer = (_mfcc(sound, sample_rate) for sound in require_pair(target, answer))
    costs = cdist(of_target, of_answer, "cityblock") / of_target.shape[1]
    paths = library("librosa").sequence.dtw(C=costs, weights_mul=np.array([2.0, 1.0, 1.0]), backtrack=False)
    return float(paths[-1, -1] / sum(costs.shape))


def mfcc(target: Audio, answer: Audio, sample_rate: int) -> float:
    """Mean absolute difference of MFCCs, frame by frame, over channels and coefficients.

    Unlike `wmfcc` it counts what happens at another time.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In dB of the mel spectrum, at least 0.

    Notes
    -----
    As in Yee-King, Fedden and d'Inverno, "Automatic programming of VST sound synthesizers using deep networks and other
    techniques", IEEE Transactions on Emerging Topics in Computational Intelligence 2, 2018, and Le Vaillant, Dutoit and
    Dekeyser, "Improving synthesizer programming from variational autoencoders latent space", DAFx 2021; with the
    windows and coefficients of `wmfcc`.
    """
    of_target, of_answer = (_mfcc(sound, sample_rate) for sound in require_pair(target, answer))
    return float(np.abs(of_target - of_answer).mean())


def _mfcc(sound: Sound, sample_rate: int) -> NDArray[np.float64]:
    """Coefficients of each frame, shape (frames, channels * 20), of mel spectra in dB of full scale.

    No cell of a spectrum is lower than 80 dB below its loudest (of both channels), nor below -100 dB.
    """
    librosa = library("librosa")
    power = mel_power(
        sound, sample_rate, window=samples(WINDOW, sample_rate), hop=samples(HOP, sample_rate), bands=BANDS
    )
    coefficients: NDArray[Any] = librosa.feature.mfcc(S=librosa.power_to_db(power), n_mfcc=COEFFICIENTS)
    return coefficients.reshape(-1, coefficients.shape[-1]).T.astype(np.float64)
