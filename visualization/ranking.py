"""What a search found as one page: the query above, below it every picture with its rank, score and caption."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from visualization.canvas import GAP, INK, LINE, MARGIN, QUIET, paste, sheet, to_image
from visualization.text import balance, font, shorten, wrap

SIDE, COLUMNS = 216, 5
APART = 24  # rows, px
CAPTION, SMALL, LINES = 15, 13, 4


class Ranked(NamedTuple):
    """picture: (3, s, s) in [-1, 1], None where it cannot be read any more."""

    picture: np.ndarray | None
    score: float
    caption: str
    source: str


def ranking(found: Sequence[Ranked], title: str, note: str, query: np.ndarray | None = None) -> Image.Image:
    """The best first. title: the sentence, or what was looked for; query: the picture (3, s, s) in [-1, 1] that was."""
    rows = -(-len(found) // COLUMNS)
    columns = -(-len(found) // max(rows, 1))  # rows of about equal length: six pictures are two rows of three
    # a title has room for a line of fifty letters, however few pictures there are
    width = 2 * MARGIN + max(columns, 3) * (SIDE + GAP) - GAP
    captions = [wrap(one.caption, CAPTION, SIDE, LINES) for one in found]
    texts = [max(map(len, captions[row * columns : (row + 1) * columns])) * 20 + 24 for row in range(rows)]
    aside = 0 if query is None else 128 + MARGIN // 2
    head = balance(title, 26, width - 2 * MARGIN - aside, 3)
    notes = wrap(note, 15, width - 2 * MARGIN - aside, 2)
    above = max(36 * len(head) + 20 * len(notes) + 20, 128 + MARGIN if aside else 0)
    height = MARGIN + above + sum(SIDE + 34 + text + APART for text in texts)
    page, pen = sheet(width, height)
    if query is not None:
        paste(page, to_image(query), MARGIN, MARGIN - 8, 128)
    for i, line in enumerate(head):
        pen.text((MARGIN + aside, MARGIN - 8 + 36 * i), line, INK, font(26))
    for i, line in enumerate(notes):
        pen.text((MARGIN + aside, MARGIN - 8 + 36 * len(head) + 20 * i), line, QUIET, font(15))
    y = MARGIN + above
    for row in range(rows):
        for column, one in enumerate(found[row * columns : (row + 1) * columns]):
            at, x = row * columns + column, MARGIN + column * (SIDE + GAP)
            if one.picture is None:
                pen.rounded_rectangle((x, y, x + SIDE - 1, y + SIDE - 1), 12, outline=LINE)
                pen.text((x + SIDE / 2, y + SIDE / 2), "not there", QUIET, font(CAPTION), anchor="mm")
            else:
                paste(page, to_image(one.picture), x, y, SIDE)
            pen.text((x, y + SIDE + 8), f"{at + 1}", INK, font(18))
            pen.text((x + SIDE, y + SIDE + 10), f"{one.score:.3f}", QUIET, font(16), anchor="ra")
            below = y + SIDE + 36
            for line in captions[at]:
                pen.text((x, below), line, INK, font(CAPTION))
                below += 20
            pen.text((x, below + 2), shorten(one.source, SMALL, SIDE), QUIET, font(SMALL))
        y += SIDE + 34 + texts[row] + APART
    return page
