"""Metrics of the spectrum: how much energy lies where, and how far it would have to move."""

from __future__ import annotations

import math

import numpy as np

from synthcore.analysis import distances
from synthcore.evaluation.frames import Audio, Sound, library, mel_power, require_pair, samples, stft_power

MSS_SCALES = ((10, 5, 32), (25, 10, 64), (100, 50, 128))  #: window and hop in ms, mel bands

STFT_SCALES = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  #: transform, hop and window in samples
STFT_FLOOR = 1e-8  #: the least power, of a magnitude of 1e-4

SOT_WINDOW, SOT_HOP = 50, 20  #: ms
SOT_LEAST = 1e-6  #: a frame whose magnitudes add up to less isn't brought to a sum of 1


def mss(target: Audio, answer: Audio, sample_rate: int) -> float:
    """Multi-scale spectral distance: mean difference of mel spectra in dB, at three scales.

    Each spectrum is in dB below its own loudest cell (of both channels), no lower than -80; the mean absolute
    difference is taken over channels, bands and frames, and then over the scales:
    mean_s mean |20 log10(T_s / max T_s) - 20 log10(A_s / max A_s)| for amplitudes T_s and A_s. Because each spectrum is
    relative to its own loudest cell, loudness isn't compared, and a silent sound is 0 dB everywhere.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In dB, from 0 to 80.

    Raises
    ------
    SynthcoreError
        See `synthcore.evaluation.frames.require_pair`; so for all metrics.

    Notes
    -----
    Hayes, Saitis and Fazekas, "Audio synthesizer inversion in symmetric parameter spaces with approximately equivariant
    flow matching", ISMIR 2025, arXiv:2506.07199, and their published evaluation: windows of 10, 25 and 100 ms, hops of
    5, 10 and 50 ms, 32, 64 and 128 bands.
    """
    pair = require_pair(target, answer)
    apart = []
    for window, hop, bands in MSS_SCALES:
        of_target, of_answer = (_mel_decibels(sound, sample_rate, window, hop, bands) for sound in pair)
        apart.append(float(np.abs(of_target - of_answer).mean(dtype=np.float64)))
    return math.fsum(apart) / len(apart)


def _mel_decibels(sound: Sound, sample_rate: int, window: int, hop: int, bands: int) -> Sound:
    lengths = {"window": samples(window, sample_rate), "hop": samples(hop, sample_rate)}
    levels: Sound = library("librosa").power_to_db(mel_power(sound, sample_rate, bands=bands, **lengths), ref=np.max)
    return levels


def multi_resolution_stft(target: Audio, answer: Audio, sample_rate: int) -> float:  # noqa: ARG001 - in samples
    """Multi-resolution STFT loss: spectral convergence and difference of log magnitudes, at three resolutions.

    For magnitudes T and A, no smaller than 1e-4: ||T - A|| / ||T||, the norm being the root of the sum of squares over
    frequencies and frames of a channel, and its mean over the channels; plus mean |ln T - ln A|; and the mean of these
    over the resolutions. Transforms have 1024, 2048 and 512 samples, hops 120, 240 and 50, Hann windows 600, 1200 and
    240, at any sample rate; the sound is mirrored at both ends. A channel that is silent in the target alone makes the
    first term very large.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
    sample_rate : int
        Doesn't matter.

    Returns
    -------
    float
        Without a unit, at least 0.

    Notes
    -----
    Yamamoto, Song and Kim, "Parallel WaveGAN", ICASSP 2020, arXiv:1910.11480, with the defaults of auraloss 0.4
    (Steinmetz and Reiss, DMRN+15, 2020).
    """
    pair = require_pair(target, answer)
    losses = []
    for fft, hop, window in STFT_SCALES:
        powers = [np.maximum(stft_power(sound, window, hop, fft=fft, padding="reflect"), STFT_FLOOR) for sound in pair]
        losses.append(_convergence(*powers) + float(np.abs(np.log(powers[0] / powers[1])).mean(dtype=np.float64)) / 2)
    return math.fsum(losses) / len(losses)


def _convergence(target: Sound, answer: Sound) -> float:
    """||T - A|| / ||T||, mean over channels, from powers of shape (channels, frames, frequencies)."""
    apart = np.square(np.sqrt(target) - np.sqrt(answer)).sum(axis=(1, 2), dtype=np.float64)
    return float(np.sqrt(apart / target.sum(axis=(1, 2), dtype=np.float64)).mean())


def distance(target: Audio, answer: Audio, sample_rate: int) -> float:
    """`synthcore.distance`, by which `compare` and importance weights go; a mono sound is in both channels.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In dB, from 0 to 80.
    """
    ours, theirs = (np.broadcast_to(sound, (2, sound.shape[1])) for sound in require_pair(target, answer))
    return distances.distance(ours, theirs, sample_rate)


def sot(target: Audio, answer: Audio, sample_rate: int) -> float:
    """Spectral optimal transport: how far energy has to move along the frequency axis, on average over frames.

    Each frame's magnitudes m, of the mean of the channels, are divided by their sum and seen as a distribution over the
    K frequencies, which are 1 / K apart. The 1-Wasserstein distance of two distributions is the sum over k of
    |T_1 + ... + T_k - A_1 - ... - A_k| / K. A frame that is silent (a sum below 1e-6) has no distribution: against it,
    all energy moves to beyond the highest frequency. Loudness isn't compared.

    Parameters
    ----------
    target, answer : ndarray, shape (channels, samples), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        As a share of half the sample rate, from 0 to 1.

    Notes
    -----
    Cazelles, Robert and Tobar, "The Wasserstein-Fourier distance for stationary time series", IEEE Transactions on
    Signal Processing 69, 2021; Torres, Peeters and Richard, "Unsupervised harmonic parameter estimation using
    differentiable DSP and spectral optimal transport", ICASSP 2024, arXiv:2312.14507; windows of 50 ms every 20 ms as
    Hayes, Saitis and Fazekas (ISMIR 2025) have them.
    """
    shares = []
    for sound in require_pair(target, answer):
        mono = sound.mean(axis=0, keepdims=True)
        power = stft_power(mono, samples(SOT_WINDOW, sample_rate), samples(SOT_HOP, sample_rate))[0]
        magnitudes = np.sqrt(power.astype(np.float64))
        sums = magnitudes.sum(axis=1, keepdims=True)
        shares.append(np.cumsum(magnitudes / np.maximum(sums, SOT_LEAST), axis=1))
    return float(np.abs(shares[0] - shares[1]).mean())
