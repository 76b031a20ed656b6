"""Grids of pictures: seeds, models side by side, stages, tables and captioned columns."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from visualization.canvas import GAP, INK, MARGIN, QUIET, paste, paste_rows, sheet, to_image, with_caption
from visualization.text import font, shorten, wrap

TILE = 256  # side of a picture in a grid, px; smaller ones are enlarged to it
COLUMNS = 4


def grid(pictures: Sequence[np.ndarray], caption: str = "", note: str = "") -> Image.Image:
    """B pictures (3, s, s) in [-1, 1], at most four a row, with the sentence below unless it is empty."""
    rows = -(-len(pictures) // COLUMNS)
    columns = -(-len(pictures) // rows)  # rows of about equal length: six pictures are two rows of three
    side = max({1: 512, 2: 384}.get(len(pictures), TILE), pictures[0].shape[-1])
    page, _ = sheet(
        2 * MARGIN + columns * side + (columns - 1) * GAP, 2 * MARGIN + rows * side + (rows - 1) * GAP
    )
    paste_rows(page, pictures, columns, MARGIN, MARGIN, side)
    return with_caption(page, caption, note) if caption else page


def side_by_side(
    panels: Sequence[Sequence[np.ndarray]], titles: Sequence[str], caption: str = "", note: str = ""
) -> Image.Image:
    """As `grid`, for one panel a painter: B pictures each, from left to right, a title above."""
    columns = min(COLUMNS, len(panels[0]))
    rows = -(-len(panels[0]) // columns)
    side, above = 192, 34
    wide = columns * side + (columns - 1) * GAP
    page, pen = sheet(
        len(panels) * (wide + MARGIN) + MARGIN, 2 * MARGIN + above + rows * side + (rows - 1) * GAP
    )
    for at, (pictures, title) in enumerate(zip(panels, titles, strict=True)):
        left = MARGIN + at * (wide + MARGIN)
        pen.text((left + wide / 2, MARGIN - 8), shorten(title, 19, wide), QUIET, font(19), anchor="ma")
        paste_rows(page, pictures, columns, left, MARGIN + above, side)
    return with_caption(page, caption, note) if caption else page


def table(
    rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], columns: Sequence[str] = (), note: str = ""
) -> Image.Image:
    """Rows of pictures (3, s, s) in [-1, 1], a label above each row and one above each column."""
    side, above = 136, 30
    head = above if columns else 0
    most = max(len(row) for row in rows)
    page, pen = sheet(
        2 * MARGIN + most * side + (most - 1) * GAP,
        2 * MARGIN + head + len(rows) * (side + above + GAP) - GAP,
    )
    for column, name in enumerate(columns):
        pen.text((MARGIN + column * (side + GAP) + side / 2, MARGIN - 8), name, QUIET, font(17), anchor="ma")
    for row, (pictures, label) in enumerate(zip(rows, labels, strict=True)):
        y = MARGIN + head + row * (side + above + GAP)
        pen.text((MARGIN, y), shorten(label, 18, page.width - 2 * MARGIN), INK, font(18))
        for column, picture in enumerate(pictures):
            paste(page, to_image(picture), MARGIN + column * (side + GAP), y + above, side)
    return with_caption(page, "", note) if note else page


def captioned(
    stacks: Sequence[Sequence[np.ndarray]], captions: Sequence[str], note: str = "", columns: int = 8
) -> Image.Image:
    """A column of one or more pictures (3, s, s) in [-1, 1] for every caption, the caption below it."""
    side = 160
    texts = [wrap(caption, 13, side, lines=8) for caption in captions]
    below = 20 + 18 * max(len(text) for text in texts)
    tall = len(stacks[0])
    rows = -(-len(stacks) // columns)
    high = tall * (side + 4) + below
    page, pen = sheet(2 * MARGIN + columns * side + (columns - 1) * GAP, 2 * MARGIN + rows * high - GAP)
    for i, (stack, lines) in enumerate(zip(stacks, texts, strict=True)):
        row, column = divmod(i, columns)
        x, y = MARGIN + column * (side + GAP), MARGIN + row * high
        for level, picture in enumerate(stack):
            paste(page, to_image(picture), x, y + level * (side + 4), side)
        for line, text in enumerate(lines):
            pen.text((x + side / 2, y + tall * (side + 4) + 4 + 18 * line), text, INK, font(13), anchor="ma")
    return with_caption(page, "", note) if note else page


def stages(
    images: Sequence[np.ndarray], seeds: Sequence[int], caption: str = "", note: str = ""
) -> Image.Image:
    """Every stage's pictures, images[i] (B, 3, s_i, s_i): a row a stage at its own sharpness, a column a seed."""
    side, label = 192, 76
    columns = images[0].shape[0]
    page, pen = sheet(
        2 * MARGIN + label + columns * side + (columns - 1) * GAP,
        2 * MARGIN + 28 + len(images) * side + (len(images) - 1) * GAP,
    )
    for column in range(columns):
        x = MARGIN + label + column * (side + GAP)
        pen.text((x + side / 2, MARGIN - 4), f"seed {seeds[column]}", QUIET, font(15), anchor="ma")
        for row, stage in enumerate(images):
            picture = to_image(stage[column])
            if picture.width < side:  # whole pixels stay visible: that is what a stage adds
                whole = -(-side // picture.width) * picture.width
                picture = picture.resize((whole, whole), Image.Resampling.NEAREST)
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
            paste(page, picture, x, MARGIN + 28 + row * (side + GAP), side)
    for row, stage in enumerate(images):
        y = MARGIN + 28 + row * (side + GAP) + side / 2
        pen.text((MARGIN, y), f"{stage.shape[-1]} px", INK, font(19), anchor="lm")
    return with_caption(page, caption, note) if caption else page
