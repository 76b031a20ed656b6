"""Pictures: decoded within bounds, turned upright, laid on white, cut and reduced."""

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from data.packed import DamagedItem

VERSION = 2  # raised when what is read from a file changes: caches of the older rule are packed anew
FORMATS = ("JPEG", "PNG")  # Pillow knows dozens more, one of which starts Ghostscript
MOST_PIXELS = 50_000_000  # of a file: 0.2 GB decoded, and a few times that while it is converted
MOST_ASPECT = 8  # of what is cut out: a longer one would be reduced to a picture of its length times that
LARGE = 8_000_000  # pixels; larger files are decoded one at a time

_one_large = threading.Lock()
_UPRIGHT = {  # EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def crop_box(box: Sequence[int], width: int, height: int) -> tuple[int, int, int, int]:
    """StackGAN's and AttnGAN's cut about a bird: (left, top, right, bottom) in pixels.

    box: x, y, w, h. The square of half-side int(0.75 * max(w, h)) about the box's centre, clipped to the picture of
    `width` x `height`, hence not always square.
    """
    x, y, w, h = box
    r = int(max(w, h) * 0.75)
    centre_x, centre_y = int((2 * x + w) / 2), int((2 * y + h) / 2)
    return max(0, centre_x - r), max(0, centre_y - r), min(width, centre_x + r), min(height, centre_y + r)


def centre_square(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest square about the centre, for pictures without a box: (left, top, right, bottom) in pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def short_side(size: int) -> int:
    """The smaller side of a packed picture, from which random crops of `size` are taken: AttnGAN's 76 for 64."""
    return int(size * 76 / 64)


def read_picture(path: Path | BinaryIO, box: Sequence[int] | None, size: int) -> np.ndarray:
    """Cut and reduced picture (3, H, W) uint8 with min(H, W) = int(S * 76 / 64).

    Upright as EXIF says, of which `box` is a part; transparent pixels are white; without a box the centre square.
    Raises DamagedItem where the file is damaged, too large, or the box lies outside or is too long.
    """
    try:
        with Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:
                raise DamagedItem(
                    f"{file.width}x{file.height} pixels, at most {MOST_PIXELS // 10**6} million are read"
                )
            with _one_large if file.width * file.height > LARGE else contextlib.nullcontext():
                return _cut(_upright(file), box, size)
    except (MemoryError, DamagedItem):
        raise
    except Exception as error:  # the decoders of damaged files raise nearly anything
        reason = (
            "not an image (JPEG or PNG)"
            if isinstance(error, Image.UnidentifiedImageError)
            else " ".join(str(error).split())
        )
        raise DamagedItem(reason[:80] or type(error).__name__) from error


def read_square(path: Path | BinaryIO, box: Sequence[int] | None, size: int) -> np.ndarray:
    """The centre (3, S, S) uint8 of `read_picture`, as models see pictures outside of training. Raises DamagedItem."""
    picture = read_picture(path, box, size)
    top, left = ((side - size) // 2 for side in picture.shape[1:])
    return picture[:, top : top + size, left : left + size]


def dimensions(path: Path) -> tuple[int, int]:
    """Width and height of a picture as its file says, px; (0, 0) of what is none."""
    try:
        with Image.open(path, formats=FORMATS) as file:
            return file.size
    except Exception:  # the decoders of damaged files raise nearly anything
        return 0, 0


def _upright(file: Image.Image) -> Image.Image:
    file.load()
    try:
        turn = _UPRIGHT.get(file.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF beside a whole picture
        turn = None
    return file if turn is None else file.transpose(turn)


def _cut(image: Image.Image, box: Sequence[int] | None, size: int) -> np.ndarray:
    left, top, right, bottom = centre_square(*image.size) if box is None else crop_box(box, *image.size)
    w, h = right - left, bottom - top
    if w <= 0 or h <= 0:
        raise DamagedItem(f"box {tuple(box or ())} outside the picture of {image.width}x{image.height}")
    if max(w, h) > MOST_ASPECT * min(w, h):
        raise DamagedItem(f"its part of {w}x{h} pixels is over {MOST_ASPECT} times as long as wide")
    short = short_side(size)
    # torchvision.transforms.Resize(short)
    target = (short, int(short * h / w)) if w < h else (int(short * w / h), short)
    cut = _rgb(image.crop((left, top, right, bottom))).resize(target, Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(cut).transpose(2, 0, 1))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 8
        values = np.asarray(image).astype(np.int64).clip(0, 65535) >> 8
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
