"""Text in a given width: fonts, wrapping, shortening. Every function ends for any text and any width."""

from bisect import bisect_right
from functools import cache

from PIL import ImageFont


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own scalable font: no font file needed."""
    return ImageFont.load_default(size)


def drawable(text: str) -> str:
    """`text` in one line: blanks and control characters become one blank, halves of surrogate pairs a �."""
    text = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def text_width(text: str, size: int) -> float:
    """Width of a line in the font `size`, px."""
    return font(size).getlength(text)


def shorten(text: str, size: int, width: int) -> str:
    """`text`, cut with … where it is wider than `width` px in the font `size`; at least … is left."""
    text = drawable(text)
    if text_width(text, size) <= width:
        return text
    # what is kept is looked for by halving, then letter by letter, for kerning may make a longer text narrower
    kept = bisect_right(range(len(text)), 0, key=lambda n: int(text_width(f"{text[:n]}…", size) > width))
    text = text[:kept].rstrip(" …")
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1].rstrip(" …")
    return f"{text}…"


def wrap(text: str, size: int, width: int, lines: int = 4) -> list[str]:
    """Break `text` at blanks so that no line in the font `size` is wider than `width` px; the rest is cut with …"""
    rows: list[str] = []
    for word in drawable(text).split():
        word = shorten(word, size, width)
        if rows and text_width(f"{rows[-1]} {word}", size) <= width:
            rows[-1] += f" {word}"
        elif len(rows) == lines:
            rows[-1] = shorten(f"{rows[-1]} …", size, width)
            break
        else:
            rows.append(word)
    return rows


def balance(text: str, size: int, width: int, lines: int = 4) -> list[str]:
    """As `wrap`, in as many lines, but of about equal length: no last line of one word."""
    rows = wrap(text, size, width, lines)
    if not rows or rows[-1].endswith("…"):
        return rows
    for narrower in range(width - 20, 0, -20):
        candidate = wrap(text, size, narrower, lines)
        if len(candidate) > len(rows) or any(row.endswith("…") for row in candidate):
            break
        rows = candidate
    return rows
