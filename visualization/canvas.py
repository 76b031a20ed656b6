"""What every page is made of: paper, colours, rounded pictures, a sentence below. Pillow and numpy only."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from core.errors import UserError
from visualization.text import balance, font, shorten

PAPER, INK, QUIET, LINE = (251, 250, 247), (34, 38, 43), (107, 114, 123), (214, 211, 203)
DOUBT = (213, 94, 0)  # vermilion of Okabe and Ito's palette, distinct for every kind of colour vision
MARGIN, GAP = 36, 12  # px

# Nine stops of matplotlib's magma, whose lightness rises evenly: it reads the same without colour. The stops stand
# here because importing matplotlib takes longer than drawing the page.
HEAT = ("000004", "1d1147", "51127c", "832681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf")


def to_image(picture: np.ndarray) -> Image.Image:
    """picture (3, H, W) float in [-1, 1] -> RGB image. Raises UserError where a value is not a number."""
    pixels = np.asarray(picture, dtype=np.float32).transpose(1, 2, 0)
    if np.isnan(pixels).any():  # a cast to uint8 would make it black, which looks like a picture
        raise UserError(
            "a generated picture holds values that are not numbers (NaN): its model is damaged, or its training "
            "diverged; restore the model or train it again"
        )
    return Image.fromarray(((pixels + 1) * 127.5).round().clip(0, 255).astype(np.uint8))


def heat(values: np.ndarray) -> np.ndarray:
    """values (H, W) in [0, 1] -> (H, W, 3) colours in [0, 255], dark to bright."""
    stops = np.array([[int(stop[i : i + 2], 16) for i in (0, 2, 4)] for stop in HEAT], dtype=np.float32)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, at, stops[:, channel]) for channel in range(3)], axis=-1)


def sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty sheet of paper and its pen."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def paste(page: Image.Image, picture: Image.Image, x: int, y: int, side: int, radius: int = 12) -> None:
    """Put a picture on the page at `side` px, corners rounded."""
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    page.paste(picture, (x, y), rounded(side, radius))


@lru_cache(maxsize=8)
def rounded(side: int, radius: int) -> Image.Image:
    """A mask of `side` px with smooth round corners, drawn four times as large."""
    mask = Image.new("L", (side * 4, side * 4))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, side * 4 - 1, side * 4 - 1), radius * 4, fill=255)
    return mask.resize((side, side), Image.Resampling.LANCZOS)


def paste_rows(
    page: Image.Image, pictures: Sequence[np.ndarray], columns: int, left: int, top: int, side: int
) -> None:
    """Pictures (3, s, s) in [-1, 1] at `side` px, `columns` a row, from a corner on."""
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        paste(page, to_image(picture), left + column * (side + GAP), top + row * (side + GAP), side)


def stack(pages: Sequence[Image.Image]) -> Image.Image:
    """Pages of any size, one below the other."""
    whole, _ = sheet(max(page.width for page in pages), sum(page.height for page in pages))
    top = 0
    for page in pages:
        whole.paste(page, (0, top))
        top += page.height
    return whole


def with_caption(body: Image.Image, caption: str, note: str, size: int = 26) -> Image.Image:
    """`body` with a sentence and a small note below it."""
    width = body.width - 2 * MARGIN
    rows = balance(caption, size, width)
    height = body.height + len(rows) * int(size * 1.4) + (30 if note else 0) + MARGIN // 2
    page, pen = sheet(body.width, height)
    page.paste(body, (0, 0))
    y = body.height - GAP
    for row in rows:
        pen.text((body.width / 2, y), row, INK, font(size), anchor="ma")
        y += int(size * 1.4)
    if note:
        pen.text((body.width / 2, y + 6), shorten(note, 15, width), QUIET, font(15), anchor="ma")
    return page
