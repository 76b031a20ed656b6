"""Where a generator looked for each word of a sentence."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from visualization.canvas import GAP, INK, MARGIN, QUIET, heat, paste, sheet, to_image, with_caption
from visualization.text import font, shorten

MOST_COLUMNS = 7


def attention_grid(
    picture: np.ndarray, maps: np.ndarray, words: Sequence[str], caption: str = "", note: str = ""
) -> Image.Image:
    """Where each word was looked at: picture (3, s, s), maps (L, m, m) of its words -> one panel a word.

    Every panel runs from 0 to its own largest weight, which stands under the word, for a softmax over many words
    leaves small weights everywhere.
    """
    side, below = 168, 56
    count = len(words) + 1
    rows = -(-count // MOST_COLUMNS)
    columns = -(-count // rows)  # rows of about equal length: no last one of a single panel
    page, pen = sheet(
        2 * MARGIN + columns * side + (columns - 1) * GAP, MARGIN + rows * (side + below) + MARGIN // 2
    )
    plain = to_image(picture).resize((side, side), Image.Resampling.BICUBIC)
    for i in range(count):
        row, column = divmod(i, columns)
        x, y = MARGIN + column * (side + GAP), MARGIN + row * (side + below)
        if i == 0:
            paste(page, plain, x, y, side)
            pen.text((x + side / 2, y + side + 8), "the picture", QUIET, font(17), anchor="ma")
            continue
        peak = float(np.max(maps[i - 1]))
        panel = overlay(plain, maps[i - 1])
        paste(page, panel, x, y, side)
        pen.text((x + side / 2, y + side + 6), shorten(words[i - 1], 19, side), INK, font(19), anchor="ma")
        pen.text((x + side / 2, y + side + 30), f"peak {peak:.2f}", QUIET, font(13), anchor="ma")
    return with_caption(page, caption, note) if caption else page


def overlay(picture: Image.Image, weights: np.ndarray) -> Image.Image:
    """A picture in grey under the attention (m, m) that one word got at each place, from 0 to its largest weight."""
    weights = np.asarray(weights, dtype=np.float32)
    peak = float(weights.max())
    small = Image.fromarray(weights / peak if peak > 0 else weights)
    fine = np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC)).clip(0, 1)
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None] * 0.62 + 10
    share = 0.85 * fine[..., None]
    return Image.fromarray((grey * (1 - share) + heat(fine) * share).clip(0, 255).astype(np.uint8))
