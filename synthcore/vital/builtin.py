"""The built-in wavetables: made by the functions below, so free of any licence, and available without Vital.

Owns the shapes and their level. Every table has 65 frames but few keyframes: whenever it loads a table, the synth mixes
the frames between keyframes, which takes time.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from synthcore.vital.wavetable import canonical_wavetable

Wave = NDArray[np.float64]  #: one cycle, shape (2048,)
Shape = Callable[[float], Wave]

SAMPLES = 2048  #: of a frame, as the synth has it
LAST_FRAME = 64  #: of a table. With 256, the maximum, loading would take four times as long
#: Highest root mean square and peak of a keyframe: as loud as both allow, which is 3 dB below the init preset's saw,
#: and less only for waves with narrow peaks.
LEVEL, PEAK = 0.4, 1.0
#: Stored samples are multiples of this. NumPy's sines may differ in their last bit from one processor to the next;
#: rounded like this they are equal everywhere, and so is the catalog, bit for bit.
STEP = 2.0**-15

HARMONICS = np.arange(1, 513)
PHASE = np.arange(SAMPLES) / SAMPLES
SINE = np.sin(2 * np.pi * PHASE)
SAW = 1 - 2 * PHASE
SQUARE = np.where(PHASE < 0.5, 1.0, -1.0)
TRIANGLE = 1 - 4 * np.abs((PHASE + 0.25) % 1 - 0.5)

_shapes: list[tuple[str, int, Shape]] = []


def builtin_wavetables() -> list[tuple[str, bytes]]:
    """Make every built-in table: its name and canonical form, in a fixed order."""
    return [(name, _table([shape(t) for t in np.linspace(0, 1, keyframes)])) for name, keyframes, shape in _shapes]


def _builtin(name: str, keyframes: int) -> Callable[[Shape], Shape]:
    """Make a shape a built-in table; the order of the shapes is the catalog's."""

    def add(shape: Shape) -> Shape:
        _shapes.append((name, keyframes, shape))
        return shape

    return add


def _table(waves: Sequence[Wave]) -> bytes:
    positions = np.linspace(0, LAST_FRAME, len(waves)).astype(int).tolist()
    keyframes = [
        {"position": position, "wave_data": base64.b64encode(_level(wave).astype("<f4").tobytes()).decode()}
        for position, wave in zip(positions, waves, strict=True)
    ]
    # Mixed sample by sample (interpolation 0): mixing spectra takes the synth twice as long.
    source = {"interpolation": 0, "interpolation_style": 1, "keyframes": keyframes, "type": "Wave Source"}
    # Our levels are even already; normalising would set them by the loudest frame's peak.
    return canonical_wavetable({"full_normalize": False, "groups": [{"components": [source]}], "remove_all_dc": True})


def _level(wave: Wave) -> Wave:
    wave = wave - wave.mean()
    wave = wave * min(LEVEL / np.sqrt(np.mean(wave**2)), PEAK / np.abs(wave).max())
    return np.round(wave / STEP) * STEP + 0.0  # which turns -0.0 into 0.0: the sign of zero may differ as well


def _sum(amplitudes: Wave, phases: Wave | float = 0.0) -> Wave:
    """Add up sines: amplitudes of `HARMONICS` or the first of them, phases in cycles."""
    spectrum = np.zeros(SAMPLES // 2 + 1, complex)
    spectrum[1 : len(amplitudes) + 1] = -1j * amplitudes * np.exp(2j * np.pi * phases)
    return np.fft.irfft(spectrum, SAMPLES) * SAMPLES / 2


def _spread(amplitudes: Wave) -> Wave:
    """Add up sines whose phases spread (Schroeder 1970), so that their peaks don't coincide."""
    power = amplitudes**2 / np.sum(amplitudes**2)
    return _sum(amplitudes, -np.cumsum(np.cumsum(power)) + np.cumsum(power))


def _only(numbers: Sequence[int], brightness: float) -> Wave:
    """Add up some harmonics, which fall off more slowly the brighter. Each keeps its phase, so mixed frames do too."""
    amplitudes, phases = np.zeros(len(HARMONICS)), np.zeros(len(HARMONICS))
    chosen = np.array(numbers)
    amplitudes[chosen - 1] = chosen ** (-2.0 + 2.0 * np.sqrt(brightness))
    phases[chosen - 1] = -(np.arange(len(chosen)) ** 2) / (2 * len(chosen))
    return _sum(amplitudes, phases)


def _resonance(centre: float, width: float) -> Wave:
    """Give the amplitudes of `HARMONICS` around a formant; centre and width count harmonics."""
    return 1 / (1 + ((HARMONICS - centre) / width) ** 2)


def _noise(seed: int) -> Wave:
    """Draw numbers on [0, 1) for `HARMONICS`: without a logarithm, so the same everywhere."""
    return np.random.default_rng(seed).random(len(HARMONICS))


def _sync(shape: Callable[[Wave], Wave], ratio: float) -> Wave:
    return shape((PHASE * ratio) % 1)


def _fm(ratio: int, index: float, feedback: float = 0.0) -> Wave:
    modulator = np.sin(2 * np.pi * ratio * PHASE + feedback * np.sin(2 * np.pi * ratio * PHASE))
    return np.sin(2 * np.pi * PHASE + index * modulator)


def _saw_of(phase: Wave) -> Wave:
    return 1 - 2 * phase


# --- Shapes: each gives one cycle for a place from 0, the table's first frame, to 1, its last. Add new ones at the end.


@_builtin("Basic Shapes", keyframes=4)
def _basic_shapes(t: float) -> Wave:
    return (SINE, TRIANGLE, SAW, SQUARE)[round(3 * t)]


@_builtin("Rising Saw", keyframes=5)
def _rising_saw(t: float) -> Wave:
    return _sum(np.exp(-(HARMONICS - 1) * 2.5 * (1 - t) ** 3) / HARMONICS)


@_builtin("Rising Square", keyframes=5)
def _rising_square(t: float) -> Wave:
    return _sum(np.exp(-(HARMONICS - 1) * 2.5 * (1 - t) ** 4) / HARMONICS * (HARMONICS % 2))


@_builtin("Saw to Square", keyframes=2)
def _saw_to_square(t: float) -> Wave:
    return (1 - t) * SAW + t * SQUARE


@_builtin("Pulse Width", keyframes=8)
def _pulse_width(t: float) -> Wave:
    return np.where(0.5 - 0.44 * t > PHASE, 1.0, -1.0)


@_builtin("Bent Triangle", keyframes=6)
def _bent_triangle(t: float) -> Wave:
    peak = 0.5 - 0.48 * t
    return np.where(peak > PHASE, 2 * PHASE / peak - 1, 1 - 2 * (PHASE - peak) / (1 - peak))


@_builtin("Bent Saw", keyframes=4)
def _bent_saw(t: float) -> Wave:
    return np.sign(SAW) * np.abs(SAW) ** (0.2 + 5 * t)


@_builtin("Double Saw", keyframes=6)
def _double_saw(t: float) -> Wave:
    return SAW + _saw_of((PHASE + 0.5 * t) % 1)


@_builtin("Rectified Sine", keyframes=3)
def _rectified_sine(t: float) -> Wave:
    return np.maximum(SINE, (2 * t - 1) * SINE) if t > 0 else SINE


@_builtin("Folded Sine", keyframes=8)
def _folded_sine(t: float) -> Wave:
    return np.sin((0.5 + 3.5 * t) * np.pi * SINE)


@_builtin("Folded Triangle", keyframes=8)
def _folded_triangle(t: float) -> Wave:
    driven = TRIANGLE * (1 + 5 * t) + t
    return 1 - np.abs((driven + 1) % 4 - 2)


@_builtin("Driven Sine", keyframes=5)
def _driven_sine(t: float) -> Wave:
    return np.tanh((0.5 + 12 * t**2) * (SINE + 0.4 * t))


@_builtin("Crushed Sine", keyframes=8)
def _crushed_sine(t: float) -> Wave:
    levels = 8.0 ** (1 - t)
    crushed: Wave = np.round(SINE * levels) / levels
    return crushed


@_builtin("Held Saw", keyframes=6)
def _held_saw(t: float) -> Wave:
    steps = (32, 16, 9, 6, 4, 3)[round(5 * t)]
    return 1 - 2 * np.floor(PHASE * steps) / (steps - 1)


@_builtin("Single Partials", keyframes=8)
def _single_partials(t: float) -> Wave:
    return np.sin(2 * np.pi * (1 + round(7 * t)) * PHASE)


@_builtin("Harmonic Sweep", keyframes=8)
def _harmonic_sweep(t: float) -> Wave:
    return _spread(_resonance(2 + 30 * t**1.5, 1.2) + 0.3 * (HARMONICS == 1))


@_builtin("Odd Harmonics", keyframes=3)
def _odd_harmonics(t: float) -> Wave:
    return _only(range(1, 64, 2), t)


@_builtin("Even Harmonics", keyframes=3)
def _even_harmonics(t: float) -> Wave:
    return _only([1, *range(2, 64, 2)], t)


@_builtin("Octaves", keyframes=3)
def _octaves(t: float) -> Wave:
    return _only([1, 2, 4, 8, 16, 32, 64], t)


@_builtin("Primes", keyframes=3)
def _primes(t: float) -> Wave:
    return _only([1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47], t)


@_builtin("Fifths", keyframes=3)
def _fifths(t: float) -> Wave:
    return _only([2, 3, 4, 6, 8, 12, 16, 18, 24, 27, 36, 48, 54], t)


@_builtin("Drawbars", keyframes=6)
def _drawbars(t: float) -> Wave:
    registrations = ("888000000", "808800000", "868686000", "800000888", "008080808", "888888888")
    bars = np.array([int(digit) for digit in registrations[round(5 * t)]]) / 8
    amplitudes = np.zeros(16)
    amplitudes[[0, 2, 1, 3, 5, 7, 9, 11, 15]] = bars  # 16', 5 1/3', 8', 4', 2 2/3', 2', 1 3/5', 1 1/3', 1'
    return _spread(amplitudes)


@_builtin("Pipes", keyframes=3)
def _pipes(t: float) -> Wave:
    flute = 1 / HARMONICS**3.0
    reed = _resonance(5, 3) + 0.5 / HARMONICS
    return _spread((1 - t) * flute + t * reed)


#: First three formants in Hz of a spoken a, e, i, o, u (Peterson and Barney 1952), sung at 110 Hz.
VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))


@_builtin("Vowels", keyframes=5)
def _vowels(t: float) -> Wave:
    formants = VOWELS[round(4 * t)]
    voice = sum(gain * _resonance(hertz / 110, 0.9) for hertz, gain in zip(formants, (1, 0.6, 0.3), strict=True))
    return _spread(np.asarray(voice) / HARMONICS**0.3)


@_builtin("Formant Sweep", keyframes=8)
def _formant_sweep(t: float) -> Wave:
    return _spread((_resonance(1.5 + 24 * t, 1.5) + 0.05) / HARMONICS**0.5)


@_builtin("Crossing Formants", keyframes=7)
def _crossing_formants(t: float) -> Wave:
    return _spread(_resonance(2 + 22 * t, 1.2) + _resonance(24 - 22 * t, 1.2))


@_builtin("FM 1:1", keyframes=6)
def _fm_one(t: float) -> Wave:
    return _fm(1, 5 * t)


@_builtin("FM 1:2", keyframes=6)
def _fm_two(t: float) -> Wave:
    return _fm(2, 5 * t)


@_builtin("FM Bell", keyframes=5)
def _fm_bell(t: float) -> Wave:
    return _fm(7, 3 * t, feedback=0.5)


@_builtin("FM Feedback", keyframes=5)
def _fm_feedback(t: float) -> Wave:
    return _fm(1, 2.5 * t, feedback=2.5 * t)


@_builtin("Sync Saw", keyframes=8)
def _sync_saw(t: float) -> Wave:
    return _sync(_saw_of, 1 + 5 * t)


@_builtin("Sync Sine", keyframes=8)
def _sync_sine(t: float) -> Wave:
    return _sync(lambda phase: np.sin(2 * np.pi * phase), 1 + 7 * t) * (1 - PHASE)


@_builtin("Phase Distortion", keyframes=6)
def _phase_distortion(t: float) -> Wave:
    knee = 0.5 - 0.47 * t
    bent = np.where(knee > PHASE, 0.5 * PHASE / knee, 0.5 + 0.5 * (PHASE - knee) / (1 - knee))
    return -np.cos(2 * np.pi * bent)


@_builtin("Comb", keyframes=7)
def _comb(t: float) -> Wave:
    return _sum(np.abs(np.cos(np.pi * HARMONICS * (0.04 + 0.2 * t))) / HARMONICS)


@_builtin("Plucked String", keyframes=5)
def _plucked_string(t: float) -> Wave:
    place = 0.5 - 0.44 * t
    return _spread(np.abs(np.sin(np.pi * HARMONICS * place)) / HARMONICS ** (1.6 - 0.6 * t))


@_builtin("Bowed String", keyframes=3)
def _bowed_string(t: float) -> Wave:
    body = 0.2 + _resonance(4, 1) + _resonance(9, 1.5) + _resonance(20, 4)
    return _sum(body / HARMONICS ** (1.8 - 1.2 * t))


@_builtin("Brass", keyframes=5)
def _brass(t: float) -> Wave:
    return _spread(np.exp(-(HARMONICS - 1) / (0.5 + 16 * t**2)) * (0.4 + _resonance(6, 3)))


@_builtin("Reed", keyframes=4)
def _reed(t: float) -> Wave:
    return _sum((HARMONICS % 2 + 0.25 * t) * (0.1 + _resonance(1 + 8 * t, 3)) / HARMONICS**0.5)


#: Partials of a bell (hum, prime, tierce, quint, nominal and above) as harmonics of a tone far below.
BELL = (5, 10, 12, 15, 20, 25, 26, 33, 40, 52, 66, 83)


@_builtin("Bell", keyframes=3)
def _bell(t: float) -> Wave:
    return _only(BELL, 0.2 + 0.8 * t)


@_builtin("Gongs", keyframes=4)
def _gongs(t: float) -> Wave:
    return _spread(_noise(11) ** (8 - 7 * t) / HARMONICS ** (1.4 - t))


@_builtin("Noise Colours", keyframes=3)
def _noise_colours(t: float) -> Wave:
    amplitudes = _noise(1) / HARMONICS ** (1.5 - 1.2 * t) * (HARMONICS < 96)
    return _sum(amplitudes, _noise(2))


@_builtin("Noise Bands", keyframes=6)
def _noise_bands(t: float) -> Wave:
    return _sum(_noise(3) * _resonance(3 + 45 * t, 6), _noise(4))


@_builtin("Random Spectra", keyframes=7)
def _random_spectra(t: float) -> Wave:
    return _sum(_noise(20 + round(6 * t)) ** 2 / HARMONICS**0.8, _noise(30))
