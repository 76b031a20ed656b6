"""What a layout of captioned pictures says of a set; its reader is a `Layout`, registered in data/layouts.py."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from data.files import File, find_files

Box = tuple[int, int, int, int]  # x, y, width, height in pixels

SUFFIXES = (".jpg", ".jpeg", ".png")  # in order of preference


class Entry(NamedTuple):
    """One picture as its set lists it, whether it is there or not."""

    name: str  # unique in the set
    file: File | None  # None where it is missing
    captions: list[str]  # any number
    box: Box | None = None
    class_id: int | None = None
    problem: str = ""  # why the picture cannot be used, for what only the layout knows


class Listing(NamedTuple):
    entries: list[Entry]
    has_boxes: bool  # pictures without a box are damaged; where no picture has one, False
    has_classes: bool


class Layout(NamedTuple):
    """How captioned pictures lie in a folder. `read` and `splits` may raise UserError."""

    name: str
    expected: str  # the files of such a folder, for the line that says what was expected
    fits: Callable[[Path], bool]  # by what lies in the folder
    splits: Callable[[Path], list[str]]
    read: Callable[[Path, str], Listing]


def find_pictures(folder: Path, names: Iterable[str]) -> dict[str, File]:
    """The pictures that exist by their names ("class/name" or "name", without a suffix), from one listing a folder."""
    return {
        f"{inside}/{stem}" if inside else stem: file
        for inside in sorted({os.path.dirname(name) for name in names})
        for stem, file in find_files(folder / inside, SUFFIXES).items()
    }


def without_suffix(name: str) -> str:
    """A picture's name without .jpg, .jpeg or .png."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name
