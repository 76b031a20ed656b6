"""Captioned pictures: one split of a set in any layout (data/layouts.py), cut and reduced once into a packed cache.

A picture has any number of captions. Boxes and classes are optional: without a box a picture is cut to its centre
square, without classes every picture is a class of its own.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from core.errors import UserError, suggest
from data.layouts import find_layout
from data.listing import Entry, Layout, Listing
from data.packed import Packed, fingerprint, open_or_pack, open_sound_items
from data.pictures import VERSION, read_picture, short_side

MOST_SIZE = 2048  # pixels of a side; the largest generators of the field make 1024

# Parts of every set's training split: its last tenth, to choose by while training, and what that leaves. The test split
# is for what is reported at the end.
VALIDATION, WITHOUT_VALIDATION = "validation", "train_without_validation"

log = logging.getLogger(__name__)


class Cut(NamedTuple):
    """The square of S pixels that is taken from a packed picture: its corner in pixels, and whether it is mirrored."""

    top: int
    left: int
    flipped: bool


class CaptionedImages:
    """The pictures of one split with their captions, N of them.

    names: unique in the set, "class/name" where there are classes; class_ids (N,) int64, the class numbers of the set,
    or without classes a number for each picture; captions: one or more raw strings each; damaged: name -> reason of
    those left out.
    """

    def __init__(
        self,
        names: list[str],
        class_ids: np.ndarray,
        captions: list[list[str]],
        size: int,
        pictures: Packed,
        damaged: dict[str, str],
        has_boxes: bool = True,
        has_classes: bool = True,
    ) -> None:
        self.names, self.class_ids, self.captions, self.size = names, class_ids, captions, size
        self.pictures, self.damaged = pictures, damaged
        self.has_boxes, self.has_classes = has_boxes, has_classes

    def __len__(self) -> int:
        return len(self.names)

    def require_classes(self, what: str) -> None:
        """Raises UserError where the set has no classes, which `what` needs."""
        if not self.has_classes:
            raise UserError(
                f"{what} needs the class of every picture, and this set has none; use a set with classes "
                "(class folders or class_info.pickle), or leave it out"
            )

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
        return self.cut(indices, self.cuts(indices, rng, random_crop))

    def cuts(
        self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator | None, random_crop: bool = True
    ) -> list[Cut]:
        """Where `batch` cuts each of these pictures, for what must be cut alike."""
        draws = np.full((len(indices), 3), 0.5) if rng is None else rng.random((len(indices), 3))
        random_crop = random_crop and rng is not None
        cuts = []
        for row, i in enumerate(indices):
            _, H, W = self.pictures.shapes[int(i) % len(self) if i < 0 else int(i)]
            if random_crop:
                top, left = (int(draws[row, k] * (side - self.size + 1)) for k, side in enumerate((H, W)))
            else:
                top, left = (H - self.size) // 2, (W - self.size) // 2
            cuts.append(Cut(top, left, rng is not None and draws[row, 2] < 0.5))
        return cuts

    def cut(self, indices: Sequence[int] | np.ndarray, cuts: Sequence[Cut]) -> torch.Tensor:
        """Pictures (B, 3, S, S) uint8."""
        S = self.size
        batch = np.empty((len(indices), 3, S, S), np.uint8)
        for row, (i, (top, left, flipped)) in enumerate(zip(indices, cuts, strict=True)):
            picture = self.pictures[int(i) % len(self) if i < 0 else int(i)]  # (3, H, W)
            inside = picture[:, top : top + S, left : left + S]
            batch[row] = inside[:, :, ::-1] if flipped else inside
        return torch.from_numpy(batch)


def load_images(
    root: Path | str,
    split: Literal["train", "test"] | str,
    size: int,
    cache: Path | str,
    on_damaged: Literal["error", "skip"] = "error",
    advice: str = "--skip-damaged",
) -> CaptionedImages:
    """Read one split of a set of captioned pictures, in any known layout, for square pictures of `size` pixels (S).

    Beside the splits of the layout there are "validation", the last tenth of the classes of its training split, and
    "train_without_validation", the others.
    Each picture is cut to its box (`crop_box`), or without boxes to its centre square, and its smaller side resized to
    int(S * 76 / 64), as AttnGAN does; the result is kept in `cache`/<split>-<size>.bin and read from there as long as
    neither the pictures nor their boxes change. Pictures and captions that are missing or damaged are collected over
    the whole split; they are a UserError, or with on_damaged="skip" left out and named in a warning. Captions without
    a word in Latin letters, of which no encoder knows any, are left out. `advice` is how the caller's user leaves
    damaged pictures out. Raises UserError too where `root` has no known layout, or a list in it is damaged.
    """
    root, cache = Path(root), Path(cache)
    listing = read_split(root, split)
    if not 1 <= size <= MOST_SIZE:
        bound = f"at least 1{'' if size < 1 else f' and at most {MOST_SIZE}'}"
        raise UserError(f"pictures of {size} pixels: the size must be {bound}")
    entries = listing.entries
    problems = {entry.name: reason for entry in entries if (reason := _problem(entry, listing))}
    sound = [entry for entry in entries if entry.name not in problems]
    skip = on_damaged == "skip"
    pictures, problems = open_sound_items(
        lambda: _packed(sound, cache / f"{split}-{size}", size, split, skip),
        [entry.name for entry in sound],
        problems,
        [entry.name for entry in entries],
        f"{split} pictures in {root}",
        "" if skip else advice,
    )
    if not len(pictures):
        raise UserError(f"no usable picture is left in the {split} split of {root}; restore the set")
    kept = [sound[item] for item in pictures.kept]
    ids = [entry.class_id for entry in kept] if listing.has_classes else range(len(kept))
    return CaptionedImages(
        [entry.name for entry in kept],
        np.array(ids, np.int64),
        [entry.captions for entry in kept],
        size,
        pictures,
        problems,
        listing.has_boxes,
        listing.has_classes,
    )


def read_split(root: Path, split: str) -> Listing:
    """What a set in any known layout lists in a split, with those captions that an encoder can read.

    Raises UserError where `root` has no known layout or no such split, or a list in it is damaged.
    """
    layout = find_layout(root)
    if split not in (splits := [*layout.splits(root), VALIDATION, WITHOUT_VALIDATION]):
        raise UserError(
            f'no split "{split}" in {root}{suggest(split, splits)}: the splits are {", ".join(splits)}'
        )
    try:
        listing = _read(layout, root, split)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror}; restore it") from error
    return listing._replace(entries=_with_known_letters(listing.entries, root, split))


def _read(layout: Layout, root: Path, split: str) -> Listing:
    if split not in (VALIDATION, WITHOUT_VALIDATION):
        return layout.read(root, split)
    whole = layout.read(root, "train")
    ids = [entry.class_id if whole.has_classes else i for i, entry in enumerate(whole.entries)]
    held_out = set(validation_classes(ids))
    kept = [
        entry
        for entry, number in zip(whole.entries, ids, strict=True)
        if (number in held_out) == (split == VALIDATION)
    ]
    if not kept:
        raise UserError(
            f"the training split of {root} has {len(set(ids))} classes, 2 are needed to hold one out for validation"
        )
    return whole._replace(entries=kept)


def validation_classes(class_ids: Sequence[int | None]) -> list[int]:
    """The last tenth, at least one, of the classes (of the pictures, where there are no classes)."""
    classes = sorted({number for number in class_ids if number is not None})
    return classes[-max(1, len(classes) // 10) :]


def _packed(entries: list[Entry], stem: Path, size: int, split: str, keep_going: bool) -> Packed:
    files = [entry.file for entry in entries if entry.file is not None]
    described = [
        (entry.name, file.path.name, file.bytes, file.changed, entry.box)
        for entry, file in zip(entries, files, strict=True)
    ]
    return open_or_pack(
        stem,
        fingerprint("pictures", VERSION, size, described),
        len(entries),
        lambda item: read_picture(files[item].path, entries[item].box, size),
        "uint8",
        f"packing {split} pictures at {size} px",
        "picture",
        keep_going,
        expected_bytes=len(entries) * 3 * short_side(size) ** 2,
    )


def _problem(entry: Entry, listing: Listing) -> str:
    """Why a picture cannot be used, or nothing."""
    if entry.file is None:
        return "no picture"
    if listing.has_boxes and entry.box is None:
        return "no bounding box"
    if entry.problem:
        return entry.problem
    return "" if entry.captions else "no caption with a word in Latin letters"


def _with_known_letters(entries: list[Entry], root: Path, split: str) -> list[Entry]:
    """The pictures without those captions that no encoder can read: a word is of letters from a to z, or digits."""
    result, left_out = [], []
    for entry in entries:
        captions = [text for text in entry.captions if re.search(r"\w", text.lower(), re.ASCII)]
        left_out += [entry.name] * (len(entry.captions) - len(captions))
        result.append(entry._replace(captions=captions))
    if left_out:
        log.warning(
            "%s captions of the %s split of %s have no word in Latin letters (the first is of %s); they are left out",
            len(left_out),
            split,
            root,
            left_out[0],
        )
    return result
