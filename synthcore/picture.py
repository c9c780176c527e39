"""A picture of a dataset: what some of its rows look like, and how loud all of them are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthcore.storage.dataset import Dataset
from synthcore.storage.merge import DatasetRef

VERSION = 1  #: of how it is drawn
CAPTION = "Spectrograms of rows drawn at random, and how loud and how high all rows are"
ROWS, COLUMNS = 3, 5  #: of the sheet
WINDOW = 1024  #: samples
FLOOR_DB = -90.0  #: below the loudest bin of a row, what can't be heard beside it
COLOURS = 48  #: a palette keeps it at a third of the size, and nobody sees the difference
BINS = 60


def draw(ref: DatasetRef) -> bytes:
    """Draw a merged dataset as a PNG of some tens of kilobytes: Prefect's server keeps it in its database.

    The rows are chosen by the digest: the same dataset has the same picture.
    """
    with Dataset(Path(ref.path)) as dataset:
        chance = np.random.default_rng(int(dataset.digest[:16], 16))
        rows = np.sort(chance.permutation(len(dataset))[: ROWS * COLUMNS]).tolist()
        audio, notes = dataset.column("audio", rows), dataset.column("midi_note", rows)
        titles = [f"row {row}, note {note}" for row, note in zip(rows, notes.tolist(), strict=True)]
        loudness, peaks = dataset.column("rms_dbfs"), dataset.column("peak")
        sheet = [spectrogram_db(sound) for sound in audio]
        return _paint(sheet, titles, loudness, peaks, dataset.spec.audio.sample_rate)


def spectrogram_db(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Measure power over frequency and time, both channels together.

    Parameters
    ----------
    audio : ndarray, shape (2, S), float32

    Returns
    -------
    ndarray, shape (WINDOW // 2 + 1, frames), float32
        In dB below the loudest bin, `FLOOR_DB` at least; half a window from frame to frame.
    """
    padded = np.pad(audio, ((0, 0), (0, max(0, WINDOW - audio.shape[1]))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, :: WINDOW // 2]
    power = (np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2).sum(axis=0).T
    loudest = max(float(power.max()), np.finfo(np.float32).tiny)
    below: NDArray[np.float64] = 10 * np.log10(np.maximum(power / loudest, 1e-12))
    return np.maximum(below, FLOOR_DB).astype(np.float32)


def _paint(
    sheet: list[NDArray[np.float32]],
    titles: list[str],
    loudness: NDArray[np.float32],
    peaks: NDArray[np.float32],
    sample_rate: int,
) -> bytes:
    # Half a second to import, for the end of a run alone. No pyplot: it keeps figures, and wants a main thread.
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(10, 8), dpi=90, layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=(3, 1.3))
    above, below = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    grid = above.subplots(ROWS, COLUMNS, sharex=True, sharey=True).ravel()
    for axes, shown, title in zip(grid, sheet, titles, strict=False):
        extent = (0, shown.shape[1] * WINDOW / 2 / sample_rate, 0, sample_rate / 2000)
        axes.imshow(shown, origin="lower", aspect="auto", cmap="magma", vmin=FLOOR_DB, vmax=0, extent=extent)
        axes.set_title(title, fontsize=8)
    for axes in grid[len(sheet) :]:
        axes.set_visible(False)
    above.supxlabel("seconds", fontsize=8)
    above.supylabel("kHz", fontsize=8)
    for axes, values, label in zip(
        below.subplots(1, 2), (loudness, peaks), ("RMS, dB of full scale", "peak, 1 is full scale"), strict=True
    ):
        axes.hist(values, bins=BINS, color="#4c2a85")
        axes.set_xlabel(label, fontsize=8)
        axes.set_ylabel("rows", fontsize=8)
    painted, png = io.BytesIO(), io.BytesIO()
    figure.savefig(painted)
    Image.open(painted).convert("RGB").quantize(COLOURS).save(png, "PNG", optimize=True)
    return png.getvalue()
