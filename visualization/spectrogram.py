"""A clip's spectrogram with its words below."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from visualization.canvas import DOUBT, INK, LINE, MARGIN, PAPER, QUIET, heat, sheet
from visualization.text import font, shorten


class Span(NamedTuple):
    """A word between two times, s; `sure` is False where the recogniser was not."""

    text: str
    start: float
    end: float
    sure: bool = True


def spectrogram_page(
    mel: np.ndarray,
    seconds: float,
    words: Sequence[Span],
    note: str = "",
    band: tuple[float, float] | None = None,
) -> Image.Image:
    """Log-mel energies mel (F, T) over `seconds`, low frequencies at the bottom, words under their times.

    band: the lowest and the highest frequency of the mel filters, Hz, for an axis; Slaney's scale.
    """
    width, height = 1060, 240
    low, high = np.percentile(mel, (5, 99.7)) if mel.size else (0.0, 1.0)
    scaled = ((mel - low) / max(float(high - low), 1e-6)).clip(0, 1)[::-1]
    image = Image.fromarray(heat(scaled).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    rows = _rows(words, seconds, width)
    text_height = 30 * (max(rows, default=0) + 1) + 14
    page, pen = sheet(
        width + 2 * MARGIN, MARGIN + height + text_height + 34 + (26 if note else 0) + MARGIN // 2
    )
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, width - 1, height - 1), 12, fill=255)
    page.paste(image, (MARGIN, MARGIN), mask)
    lowest, highest = band or (0.0, 0.0)
    for hertz in (500, 1000, 2000, 4000):
        if not lowest < hertz < highest:
            continue
        low, high, at = slaney_mel(lowest), slaney_mel(highest), slaney_mel(hertz)
        y = MARGIN + height * (1 - (at - low) / (high - low))
        pen.line((MARGIN, y, MARGIN + 6, y), PAPER, 1)
        pen.text((MARGIN + 10, y), f"{hertz / 1000:g} kHz", PAPER, font(12), anchor="lm")
    top = MARGIN + height
    for word, row in zip(words, rows, strict=True):
        left, right = (MARGIN + width * min(t / seconds, 1.0) for t in (word.start, word.end))
        pen.line((left + 1, top + 8, max(right - 1, left + 2), top + 8), INK if word.sure else DOUBT, 3)
        x, y = _word_x(word, seconds, width), top + 14 + 30 * row
        if row:
            pen.line(((left + right) / 2, top + 8, (left + right) / 2, y + 4), LINE, 1)
        pen.text((MARGIN + x, y), word.text, INK if word.sure else DOUBT, font(20), anchor="ma")
    axis = top + text_height
    step = next((s for s in (0.25, 0.5, 1, 2, 5, 10) if seconds / s <= 12), 30)
    for tick in np.arange(0, seconds + 1e-6, step):
        x = MARGIN + width * tick / seconds
        pen.line((x, axis, x, axis + 6), QUIET, 1)
        pen.text((x, axis + 9), f"{tick:g} s", QUIET, font(14), anchor="ma")
    if note:
        pen.text((page.width / 2, axis + 36), shorten(note, 15, width), QUIET, font(15), anchor="ma")
    return page


def slaney_mel(hertz: float) -> float:
    """Mel of Slaney's Auditory Toolbox: linear below 1 kHz, logarithmic above."""
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def _word_x(word: Span, seconds: float, width: int) -> float:
    """Centre of a word's text, px from the left edge of the spectrogram, kept inside it."""
    half = font(20).getlength(word.text) / 2
    centre = width * (word.start + word.end) / 2 / seconds
    return min(max(centre, half), max(width - half, half))


def _rows(words: Sequence[Span], seconds: float, width: int) -> list[int]:
    """The line on which each word is written, so that neighbours do not overlap."""
    ends: list[float] = []
    rows = []
    for word in words:
        half = font(20).getlength(word.text) / 2
        x = _word_x(word, seconds, width)
        row = next((i for i, end in enumerate(ends) if x - half > end + 8), len(ends))
        ends[row : row + 1] = [x + half]
        rows.append(row)
    return rows
