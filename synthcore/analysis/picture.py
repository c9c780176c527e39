"""A picture of a dataset: spectrograms of some rows, and how loud all of them are.

Pillow draws it in a tenth of the time that importing a library for charts takes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from synthcore.analysis.axes import Axis
from synthcore.analysis.spectrogram import INK, PAPER, SHOWN_SECONDS, paint, place_of, to_png
from synthcore.storage.dataset import Dataset
from synthcore.storage.refs import DatasetRef

VERSION = 2  #: of how it is drawn
CAPTION = "Spectrograms of rows drawn at random, and the loudness and peaks of all rows"
ROWS, COLUMNS = 3, 5  #: of the sheet
BINS = 60
BAR = 12  #: a histogram's colour, as its place in the palette: a violet of the spectrograms
FAINT = PAPER - 30
KHZ = (0.5, 1.0, 2.0, 5.0, 10.0)

# All in pixels.
SIZE = (900, 720)
LEFT, TOP = 44, 24  #: of the first spectrogram
TILE = (160, 136)
STEP = (TILE[0] + 11, TILE[1] + 24)  #: from one to the next, with room for a title above each
CHARTS = ((LEFT + 16, 536, 440, 672), (520, 536, 884, 672))  #: left, top, right, bottom
TICK = 4
EDGE = 0.02  #: of an axis
FONT = 12


def draw(ref: DatasetRef) -> bytes:
    """Draw a merged dataset as a PNG of some tens of kilobytes: Prefect's server keeps it in its database.

    The rows are chosen by the digest: the same dataset has the same picture.
    """
    with Dataset(ref.path) as dataset:
        return draw_rows(dataset, np.arange(len(dataset)))


def draw_rows(dataset: Dataset, rows: NDArray[np.intp]) -> bytes:
    """Draw some rows of a dataset as `draw` does all: shape (n,)."""
    page = Image.new("L", SIZE, PAPER)
    pen = ImageDraw.Draw(page)
    pen.font = ImageFont.load_default(FONT)
    chance = np.random.default_rng(int(dataset.digest[:16], 16))
    shown = np.sort(rows[chance.permutation(len(rows))[: ROWS * COLUMNS]])
    _draw_sheet(page, pen, dataset, shown)
    _draw_histogram(pen, CHARTS[0], dataset.column("rms_dbfs", rows), "RMS, dB of full scale")
    _draw_histogram(pen, CHARTS[1], dataset.column("peak", rows), "peak, 1 is full scale")
    return to_png(page)


def _draw_sheet(page: Image.Image, pen: ImageDraw.ImageDraw, dataset: Dataset, rows: NDArray[np.intp]) -> None:
    """Draw the spectrograms of rows, row by row of the sheet; the outermost ones have labels."""
    audio, notes, rate = (
        dataset.column("audio", rows),
        dataset.column("midi_note", rows),
        dataset.spec.audio.sample_rate,
    )
    seconds = Axis(0.0, min(audio.shape[2] / rate, SHOWN_SECONDS))
    for place, (row, note, sound) in enumerate(zip(rows.tolist(), notes.tolist(), audio, strict=True)):
        left, top = LEFT + place % COLUMNS * STEP[0], TOP + place // COLUMNS * STEP[1]
        page.paste(paint(sound, rate, *TILE), (left, top))
        pen.text((left + TILE[0] / 2, top - 4), f"row {row}, note {note}", INK, anchor="ms")
        if place % COLUMNS == 0:
            _label_pitches(pen, left, top, rate)
        if place + COLUMNS >= len(rows):
            _label_across(pen, seconds, (left, left + TILE[0]), top + TILE[1], "s")


def _label_pitches(pen: ImageDraw.ImageDraw, left: int, top: int, sample_rate: int) -> None:
    pen.text((left - 8, top - 4), "kHz", INK, anchor="rs")
    for khz in KHZ:
        height = place_of(1000 * khz, sample_rate)
        if height < 0.9:  # the unit is written above
            y = top + round(TILE[1] * (1 - height))
            pen.line((left - TICK, y, left - 1, y), INK)
            pen.text((left - 8, y), f"{khz:g}", INK, anchor="rm")


def _label_across(pen: ImageDraw.ImageDraw, axis: Axis, ends: tuple[int, int], y: int, unit: str = "") -> None:
    """Write the numbers of an axis from left to right, the last with its unit, none beyond its ends."""
    ticks = axis.ticks()
    for tick in ticks:
        place = axis.place(tick)
        x = round(ends[0] + place * (ends[1] - ends[0] - 1))
        side = "l" if place < EDGE else "r" if place > 1 - EDGE else "m"
        pen.line((x, y, x, y + TICK), INK)
        # The font has no minus sign.
        pen.text(
            (x, y + TICK + 2), f"{tick:g} {unit}" if unit and tick == ticks[-1] else f"{tick:g}", INK, anchor=f"{side}t"
        )


def _draw_histogram(
    pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], values: NDArray[np.float32], label: str
) -> None:
    left, top, right, bottom = box
    across = Axis.over(values)
    counts, _ = np.histogram(values, across.edges(BINS))
    up = Axis(0.0, float(max(1, counts.max())))
    heights = [bottom - round(up.place(count) * (bottom - top)) for count in counts.tolist()]
    for tick in (tick for tick in up.ticks() if tick.is_integer()):
        y = bottom - round(up.place(tick) * (bottom - top))
        pen.line((left, y, right, y), FAINT)
        pen.text((left - 6, y), f"{tick:g}", INK, anchor="rm")
    sides = np.linspace(left, right, BINS + 1).round().astype(int).tolist()
    for start, end, height in zip(sides, sides[1:], heights, strict=False):
        if height < bottom:
            pen.rectangle((start, height, end - 1, bottom), BAR)
    pen.line((left, bottom, right, bottom), INK)
    _label_across(pen, across, (left, right), bottom)
    pen.text((left - 6, top - 10), "rows", INK, anchor="rs")
    pen.text(((left + right) / 2, bottom + 24), label, INK, anchor="mt")
