"""Where a decoder looked in a clip for each of its characters."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from visualization.canvas import INK, MARGIN, QUIET, heat, sheet, with_caption
from visualization.text import drawable, font

WIDTH, MOST_HEIGHT = 900, 1400  # px of the weights
LEFT = 60  # px for the characters


def alignment_page(
    weights: np.ndarray, pieces: Sequence[str], seconds: float, caption: str = "", note: str = ""
) -> Image.Image:
    """weights (L, T) of the frames of a clip of `seconds` for each of L characters: a row a character, time to the
    right. Every row runs from 0 to its own largest weight. Raises ValueError where there is no row."""
    if len(pieces) != len(weights) or not len(pieces):
        raise ValueError(f"{len(pieces)} characters and {len(weights)} rows: as many of each, at least one")
    row = min(16, max(MOST_HEIGHT // len(pieces), 2))  # px
    high = row * len(pieces)
    peaks = weights.max(axis=1, keepdims=True)
    scaled = np.divide(weights, peaks, out=np.zeros_like(weights, dtype=np.float32), where=peaks > 0)
    picture = Image.fromarray(heat(scaled).astype(np.uint8)).resize((WIDTH, high), Image.Resampling.NEAREST)
    page, pen = sheet(WIDTH + LEFT + 2 * MARGIN, high + 2 * MARGIN + 12)
    left, top = MARGIN + LEFT, MARGIN
    page.paste(picture, (left, top))
    if row >= 8:  # smaller letters cannot be read
        for i, piece in enumerate(pieces):
            y = top + (i + 0.5) * row
            pen.text((left - 8, y), drawable(piece) or "·", INK, font(row - 3), anchor="rm")
    step = next((s for s in (0.25, 0.5, 1, 2, 5, 10) if seconds / s <= 12), 30)
    for tick in np.arange(0, seconds + 1e-6, step):
        x = left + WIDTH * tick / seconds
        pen.line((x, top + high, x, top + high + 6), QUIET, 1)
        pen.text((x, top + high + 9), f"{tick:g} s", QUIET, font(14), anchor="ma")
    return with_caption(page, caption, note, size=18) if caption else page
