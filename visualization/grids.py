"""What generate.py draws: grids of birds, stages, attention word by word, spectrograms. Pillow and numpy only."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, QUIET, LINE = (251, 250, 247), (34, 38, 43), (107, 114, 123), (214, 211, 203)
DOUBT = (213, 94, 0)  # vermilion of Okabe and Ito's palette, distinct for every kind of colour vision
MARGIN, GAP = 36, 12  # px
TILE = 256  # side of a bird in a grid, px; smaller pictures are enlarged to it
COLUMNS = 4

# nine stops of a map whose lightness rises evenly, so that it reads the same without colour (after magma)
HEAT = ("000004", "1d1147", "51127c", "832681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf")


class Span(NamedTuple):
    """A word between two times, s; `sure` is False where the recogniser was not."""

    text: str
    start: float
    end: float
    sure: bool = True


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own scalable font: no font file needed."""
    return ImageFont.load_default(size)


def to_image(picture: np.ndarray) -> Image.Image:
    """picture (3, H, W) float in [-1, 1] -> RGB image."""
    pixels = ((np.asarray(picture, dtype=np.float32).transpose(1, 2, 0) + 1) * 127.5).round()
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def heat(values: np.ndarray) -> np.ndarray:
    """values (H, W) in [0, 1] -> (H, W, 3) colours in [0, 255], dark to bright."""
    stops = np.array([[int(stop[i : i + 2], 16) for i in (0, 2, 4)] for stop in HEAT], dtype=np.float32)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, at, stops[:, channel]) for channel in range(3)], axis=-1)


def wrap(text: str, size: int, width: int, lines: int = 4) -> list[str]:
    """Break `text` at blanks so that no line in the font `size` is wider than `width` px; the rest is cut with …"""
    measure = font(size).getlength
    rows: list[str] = []
    for word in text.split():
        while measure(word) > width:  # one endless word
            word = word[: max(1, len(word) * 3 // 4)].rstrip("…") + "…"
        if rows and measure(f"{rows[-1]} {word}") <= width:
            rows[-1] += f" {word}"
        elif len(rows) == lines:
            rows[-1] = shorten(f"{rows[-1]} …", size, width)
            break
        else:
            rows.append(word)
    return rows


def balance(text: str, size: int, width: int) -> list[str]:
    """As `wrap`, in as many lines, but of about equal length: no last line of one word."""
    rows = wrap(text, size, width)
    while rows and not rows[-1].endswith("…"):
        narrower = wrap(text, size, width := width - 20)
        if len(narrower) > len(rows) or any(row.endswith("…") for row in narrower):
            break
        rows = narrower
    return rows


def shorten(text: str, size: int, width: int) -> str:
    """`text`, cut with … where it is wider than `width` px in the font `size`."""
    measure = font(size).getlength
    if measure(text) <= width:
        return text
    while text and measure(text.rstrip(" …") + "…") > width:
        text = text.rstrip(" …")[:-1]
    return text.rstrip(" …") + "…"


def sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty sheet of paper and its pen."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def paste(page: Image.Image, picture: Image.Image, x: int, y: int, side: int, radius: int = 12) -> None:
    """Put a picture on the page at `side` px, corners rounded."""
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.new("L", (side * 4, side * 4))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, side * 4 - 1, side * 4 - 1), radius * 4, fill=255)
    page.paste(picture, (x, y), mask.resize((side, side), Image.Resampling.LANCZOS))


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


def grid(pictures: Sequence[np.ndarray], caption: str = "", note: str = "") -> Image.Image:
    """B pictures (3, s, s) in [-1, 1], four a row, with the sentence below unless it is empty."""
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    side = max({1: 512, 2: 384}.get(len(pictures), TILE), pictures[0].shape[-1])
    page, _ = sheet(
        2 * MARGIN + columns * side + (columns - 1) * GAP, 2 * MARGIN + rows * side + (rows - 1) * GAP
    )
    paste_rows(page, pictures, columns, MARGIN, MARGIN, side)
    return with_caption(page, caption, note) if caption else page


def paste_rows(
    page: Image.Image, pictures: Sequence[np.ndarray], columns: int, left: int, top: int, side: int
) -> None:
    """Pictures (3, s, s) in [-1, 1] at `side` px, `columns` a row, from a corner on."""
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        paste(page, to_image(picture), left + column * (side + GAP), top + row * (side + GAP), side)


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


def attention(
    picture: np.ndarray, maps: np.ndarray, words: Sequence[str], caption: str = "", note: str = ""
) -> Image.Image:
    """Where each word was looked at: picture (3, s, s), maps (L, m, m) of its words -> one panel a word.

    Every panel runs from 0 to its own largest weight, which stands under the word, for a softmax over many words
    leaves small weights everywhere.
    """
    side, below, columns = 168, 56, 6
    count = len(words) + 1
    columns = min(columns, count)
    rows = -(-count // columns)
    page, pen = sheet(
        2 * MARGIN + columns * side + (columns - 1) * GAP, MARGIN + rows * (side + below) + MARGIN // 2
    )
    plain = to_image(picture).resize((side, side), Image.Resampling.BICUBIC)
    grey = np.asarray(plain.convert("L"), dtype=np.float32)[..., None] * 0.62 + 10
    for i in range(count):
        row, column = divmod(i, columns)
        x, y = MARGIN + column * (side + GAP), MARGIN + row * (side + below)
        if i == 0:
            paste(page, plain, x, y, side)
            pen.text((x + side / 2, y + side + 8), "the picture", QUIET, font(17), anchor="ma")
            continue
        weights = np.asarray(maps[i - 1], dtype=np.float32)
        peak = float(weights.max())
        small = Image.fromarray(weights / peak if peak > 0 else weights)
        fine = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)
        share = 0.85 * fine[..., None]
        panel = Image.fromarray((grey * (1 - share) + heat(fine) * share).clip(0, 255).astype(np.uint8))
        paste(page, panel, x, y, side)
        pen.text((x + side / 2, y + side + 6), shorten(words[i - 1], 19, side), INK, font(19), anchor="ma")
        pen.text((x + side / 2, y + side + 30), f"up to {peak:.2f}", QUIET, font(13), anchor="ma")
    return with_caption(page, caption, note) if caption else page


def curve(
    points: Sequence[tuple[float, float]],
    ahead: Sequence[tuple[float, float]],
    levels: Sequence[tuple[str, float]],
    titles: tuple[str, str],
    note: str = "",
) -> Image.Image:
    """Measured (x, y) on logarithmic axes, what they would come to `ahead`, and named heights; titles of x and y."""
    width, height, left, below = 860, 420, 70, 60
    page, pen = sheet(width + left + MARGIN, height + below + 2 * MARGIN)
    xs = [x for x, _ in [*points, *ahead]]
    ys = [y for _, y in [*points, *ahead, *levels]]
    (x0, x1), (y0, y1) = (np.log([min(v) * 0.9, max(v) * 1.3]) for v in (xs, ys))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + width * (np.log(x) - x0) / (x1 - x0), MARGIN + height * (y1 - np.log(y)) / (y1 - y0)

    for values, low, high, across in ((_ticks(x0, x1), y0, y1, False), (_ticks(y0, y1), x0, x1, True)):
        for value in values:
            ends = [(np.exp(e), value) if across else (value, np.exp(e)) for e in (low, high)]
            (xa, ya), (xb, yb) = place(*ends[0]), place(*ends[1])
            pen.line((xa, ya, xb, yb), LINE, 1)
            spot, anchor = ((xa - 8, ya), "rm") if across else ((xa, ya + 8), "ma")
            pen.text(spot, f"{value:g}", QUIET, font(14), anchor=anchor)
    for name, y in levels:
        (xa, ya), (xb, _) = place(np.exp(x0), y), place(np.exp(x1), y)
        pen.line((xa, ya, xb, ya), DOUBT, 2)
        pen.text((xb - 6, ya - 4), f"{name}: {y:.3g}", DOUBT, font(14), anchor="rb")
    for (xa, ya), (xb, yb) in pairwise([place(*p) for p in [*points[-1:], *ahead]]):
        for part in np.arange(0, 1, 0.1):  # dashes
            step = part + 0.05
            pen.line(
                (xa + part * (xb - xa), ya + part * (yb - ya), xa + step * (xb - xa), ya + step * (yb - ya)),
                QUIET,
                2,
            )
    spots = [place(*p) for p in points]
    pen.line(spots, INK, 3, joint="curve")
    written = -np.inf
    for (x, y), (_, value) in zip(spots, points, strict=True):
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), INK)
        if x - written > 40:  # else the figure would cover the one before
            pen.text((x, y - 10), f"{value:.3g}", INK, font(15), anchor="mb")
            written = x
    pen.text((left + width / 2, MARGIN + height + 32), titles[0], INK, font(16), anchor="ma")
    pen.text((left, MARGIN - 10), titles[1], INK, font(16), anchor="lb")
    return with_caption(page, "", note) if note else page


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two logarithms."""
    powers = range(int(np.floor(low / np.log(10))), int(np.ceil(high / np.log(10))) + 1)
    every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [value for value in every if low <= np.log(value) <= high]


def spectrogram(mel: np.ndarray, seconds: float, words: Sequence[Span], note: str = "") -> Image.Image:
    """Log-mel energies mel (F, T) over `seconds`, low frequencies at the bottom, words under their times."""
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
