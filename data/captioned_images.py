"""Pictures with captions: one split of a set, cropped and reduced once into a packed cache (data/packed.py)."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from core.errors import UserError, suggest
from data.cub import SPLITS, check_layout, find_files, read_all_captions, read_boxes, read_split
from data.packed import DamagedItem, DamagedItems, Packed, damage_line, fingerprint, open_or_pack

CROP_VERSION = 1  # raised when the crop or the resizing changes: caches of the older rule are packed anew

log = logging.getLogger(__name__)


class CaptionedImages:
    """The pictures of one split with their captions, N of them.

    names: "class/name"; class_ids (N,) int64, the class numbers of the set; captions: 10 raw strings each;
    damaged: name -> reason of those left out.
    """

    def __init__(
        self,
        names: list[str],
        class_ids: np.ndarray,
        captions: list[list[str]],
        size: int,
        pictures: Packed,
        damaged: dict[str, str],
    ) -> None:
        self.names, self.class_ids, self.captions, self.size = names, class_ids, captions, size
        self.pictures, self.damaged = pictures, damaged

    def __len__(self) -> int:
        return len(self.names)

    def batch(
        self,
        indices: Sequence[int] | np.ndarray,
        rng: np.random.Generator | None,
        random_crop: bool = True,
    ) -> torch.Tensor:
        """Pictures (B, 3, S, S) uint8. With `rng` a random crop, or the centre, flipped with probability 0.5; without,
        the centre as it is.

        Three numbers are drawn per picture in the order of `indices`, so the result is a function of the
        indices and the generator's state.
        """
        S = self.size
        batch = np.empty((len(indices), 3, S, S), np.uint8)
        draws = np.full((len(indices), 3), 0.5) if rng is None else rng.random((len(indices), 3))
        random_crop = random_crop and rng is not None
        for row, i in enumerate(indices):
            picture = self.pictures[int(i) % len(self) if i < 0 else int(i)]  # (3, H, W)
            _, H, W = picture.shape
            if random_crop:
                top, left = int(draws[row, 0] * (H - S + 1)), int(draws[row, 1] * (W - S + 1))
            else:
                top, left = (H - S) // 2, (W - S) // 2
            cut = picture[:, top : top + S, left : left + S]
            batch[row] = cut[:, :, ::-1] if rng is not None and draws[row, 2] < 0.5 else cut
        return torch.from_numpy(batch)


def load_images(
    root: Path | str,
    split: Literal["train", "test"] | str,
    size: int,
    cache: Path | str,
    on_damaged: Literal["error", "skip"] = "error",
) -> CaptionedImages:
    """Read one split of a set in the CUB layout for square training pictures of `size` pixels (S).

    Each picture is cut to its box (`crop_box`) and its smaller side resized to int(S * 76 / 64), as AttnGAN does;
    the result is kept in `cache`/<split>-<size>.bin and read from there as long as neither the pictures nor their
    boxes change. Pictures and captions that are missing or damaged are collected over the whole split; they are a
    UserError, or with on_damaged="skip" left out and named in a warning. Raises UserError too where `root` has not
    the layout, or a list in it is damaged.
    """
    root, cache = Path(root), Path(cache)
    if split not in SPLITS:
        raise UserError(
            f'no split "{split}" in {root}{suggest(split, SPLITS)}: the splits are train and test'
        )
    if size < 1:
        raise UserError(f"pictures of {size} pixels: the size must be at least 1")
    check_layout(root)
    names, class_ids = read_split(root, split)
    boxes = read_boxes(root)
    files = find_files(root / "CUB_200_2011" / "images", names)
    captions, problems = read_all_captions(root / "text", names)
    for name in names:
        if name not in files:
            problems[name] = "no picture"
        elif name not in boxes:
            problems[name] = "no bounding box"
    sound = [i for i, name in enumerate(names) if name not in problems]

    def decode(item: int) -> np.ndarray:
        name = names[sound[item]]
        return _read_picture(files[name][0], boxes[name], size)

    described = [(names[i], files[names[i]][0].suffix, files[names[i]][1], boxes[names[i]]) for i in sound]
    pictures = None
    try:
        pictures = open_or_pack(
            cache / f"{split}-{size}",
            fingerprint("cub", CROP_VERSION, size, described),
            len(sound),
            decode,
            "uint8",
            f"packing {split} pictures at {size} px",
            "picture",
            keep_going=on_damaged == "skip",
        )
        broken = pictures.damaged
    except DamagedItems as error:
        broken = error.reasons
    problems |= {names[sound[item]]: reason for item, reason in broken.items()}
    problems = {name: problems[name] for name in names if name in problems}
    if problems:
        line = damage_line(root, problems, len(names), f"{split} pictures")
        if on_damaged != "skip" or pictures is None:
            raise UserError(f"{line}; restore them, or leave them out with --skip-damaged")
        log.warning("%s; they are left out", line)
    if pictures is None or not len(pictures):
        raise UserError(f"no usable picture is left in the {split} split of {root}; restore the set")
    kept = [sound[item] for item in pictures.kept]
    return CaptionedImages(
        [names[i] for i in kept],
        np.array([class_ids[i] for i in kept], np.int64),
        [captions[names[i]] for i in kept],
        size,
        pictures,
        problems,
    )


def crop_box(box: Sequence[int], width: int, height: int) -> tuple[int, int, int, int]:
    """StackGAN's and AttnGAN's cut about a bird: (left, top, right, bottom) in pixels.

    box: x, y, w, h. The square of half-side int(0.75 * max(w, h)) about the box's centre, clipped to the picture of
    `width` x `height`, hence not always square.
    """
    x, y, w, h = box
    r = int(max(w, h) * 0.75)
    centre_x, centre_y = int((2 * x + w) / 2), int((2 * y + h) / 2)
    return max(0, centre_x - r), max(0, centre_y - r), min(width, centre_x + r), min(height, centre_y + r)


def _read_picture(path: Path, box: Sequence[int], size: int) -> np.ndarray:
    """Cut and reduced picture (3, H, W) uint8 with min(H, W) = int(S * 76 / 64)."""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # the decoders of damaged files raise nearly anything
        reason = (
            "not an image"
            if isinstance(error, Image.UnidentifiedImageError)
            else " ".join(str(error).split())
        )
        raise DamagedItem(reason[:80] or type(error).__name__) from error
    left, top, right, bottom = crop_box(box, *image.size)
    if right <= left or bottom <= top:
        raise DamagedItem(f"box {tuple(box)} outside the picture of {image.size[0]}x{image.size[1]}")
    short, w, h = int(size * 76 / 64), right - left, bottom - top
    # torchvision.transforms.Resize(short)
    target = (short, int(short * h / w)) if w < h else (int(short * w / h), short)
    image = image.crop((left, top, right, bottom)).resize(target, Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
