"""Where the parts of CUB's birds lie: the annotated places in the pictures that models see, cut and mirrored alike.

    <root>/CUB_200_2011/parts/parts.txt            "part name", the fifteen of PARTS
    <root>/CUB_200_2011/parts/part_locs.txt        "picture part x y visible", pixels of the whole photograph

A place is a point: pixel i of a row covers [i, i + 1). CUB's numbers are taken as they are; whether they mean a pixel's
corner or its centre is half a pixel, well within what annotators differ by.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError
from data import cub
from data.captioned_images import CaptionedImages, Cut
from data.files import File
from data.pictures import centre_square, crop_box, dimensions
from data.text_files import read_lines

PARTS = ("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape",
         "right eye", "right leg", "right wing", "tail", "throat")  # fmt: skip
# Left and right are the bird's own. In a mirrored picture the left eye is a right eye:
_EXCHANGED = {"left": "right", "right": "left"}
MIRRORED = tuple(PARTS.index(" ".join(_EXCHANGED.get(word, word) for word in part.split())) for part in PARTS)


class PartLocations(NamedTuple):
    """places (N, P, 2): x, y of every part in px of the packed pictures; visible (N, P) bool. P: those of PARTS."""

    places: np.ndarray
    visible: np.ndarray

    def __len__(self) -> int:
        return len(self.places)


def read_part_locations(root: Path) -> dict[str, np.ndarray]:
    """Picture's name -> (P, 3): x, y in pixels of the whole photograph, and 1 where the part is visible.

    Raises UserError where the lists are missing or damaged.
    """
    folder = cub.lists_folder(root) / "parts"
    if not folder.is_dir():
        raise UserError(
            f"no {folder}: the part locations (parts.txt, part_locs.txt) come with CUB-200-2011; take them from there, "
            "or name a set that has them with data.root"
        )
    listed = tuple(line.split(maxsplit=1)[-1].strip() for _, line in read_lines(folder / "parts.txt"))
    if listed != PARTS:
        raise UserError(
            f"{folder}/parts.txt does not list CUB's {len(PARTS)} parts from back to throat; restore it"
        )
    names, path = cub.listed_names(root), folder / "part_locs.txt"
    found = {name: np.zeros((len(PARTS), 3)) for name in names.values()}
    told = dict.fromkeys(found, 0)
    for number, line in read_lines(path):
        fields = line.split()
        try:
            part, x, y, visible = (float(field) for field in fields[1:])
            row = [x, y, {0.0: 0, 1.0: 1}[visible]]
            if not (part.is_integer() and 1 <= part <= len(PARTS)) or not np.isfinite(row).all():
                raise ValueError
        except (ValueError, KeyError) as error:
            shown = ascii(line[:60])
            raise UserError(f"{path}:{number} is {shown}; expected: picture part x y visible") from error
        if fields[0] in names:
            name = names[fields[0]]
            found[name][int(part) - 1] = row
            told[name] += 1
    if short := next((name for name, count in told.items() if count != len(PARTS)), None):
        raise UserError(f"{path} has {told[short]} lines for {short}, {len(PARTS)} were expected; restore it")
    return found


def part_locations(root: Path | str, birds: CaptionedImages) -> PartLocations:
    """The part locations of a split's pictures, in px of the packed pictures that `birds` cuts its squares from."""
    root = Path(root)
    annotated, boxes = read_part_locations(root), cub.read_boxes(root)
    files: dict[str, File] = cub.picture_files(cub.images_folder(root), birds.names)
    located = np.zeros((len(birds), len(PARTS), 3))
    for i, name in enumerate(birds.names):
        if name not in annotated:
            raise UserError(
                f"{name} is not in {root}'s images.txt, so its parts are not known; restore the list"
            )
        width, height = dimensions(files[name].path)
        box = boxes.get(name) if boxes is not None else None
        left, top, right, bottom = (
            centre_square(width, height) if box is None else crop_box(box, width, height)
        )
        _, H, W = birds.pictures.shapes[i]
        located[i] = annotated[name]
        located[i, :, :2] -= (left, top)
        located[i, :, :2] *= (W / (right - left), H / (bottom - top))
    return PartLocations(located[:, :, :2], located[:, :, 2] > 0)


def located_in(
    parts: PartLocations, indices: Sequence[int] | np.ndarray, cuts: Sequence[Cut], size: int
) -> PartLocations:
    """The part locations in squares of `size` px (S) that were cut from these pictures: (B, P, 2) px, and (B, P) of
    what is visible and inside. In a mirrored square left and right parts are exchanged."""
    places, visible = parts.places[indices].copy(), parts.visible[indices].copy()
    for row, (top, left, flipped) in enumerate(cuts):
        places[row] -= (left, top)
        if flipped:
            places[row, :, 0] = size - places[row, :, 0]
            places[row], visible[row] = places[row, MIRRORED], visible[row, MIRRORED]
    return PartLocations(places, visible & ((places >= 0) & (places < size)).all(2))
