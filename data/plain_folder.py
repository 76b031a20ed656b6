"""A folder of pictures without captions, boxes, classes or splits: what people have."""

import os
from pathlib import Path

from core.errors import UserError
from data.files import File
from data.layouts import find_layout, sets_near
from data.listing import SUFFIXES, Entry, Listing


def is_plain(root: Path, leave_out: Path) -> bool:
    """Whether `root` has no known layout but a picture in it or in its subfolders, but for those of `leave_out`.

    Raises UserError, as `find_layout` does, where neither is so, or where a set of a known layout is near: it was
    probably meant.
    """
    try:
        find_layout(root)
        return False
    except UserError:
        if sets_near(root) or next(_pictures(root, leave_out), None) is None:
            raise
        return True


def read_plain(root: Path, leave_out: Path) -> Listing:
    """Every JPEG and PNG in a folder and its subfolders, in alphabetical order; its name is its path there."""
    found = sorted(_pictures(root, leave_out))
    return Listing(
        [Entry(name, file, []) for name, file in found],
        has_boxes=False,
        has_classes=False,
    )


def _pictures(root: Path, leave_out: Path):
    left_out = leave_out.resolve()
    for folder, inside, files in os.walk(root):
        inside[:] = [
            name for name in inside if name[0] != "." and (Path(folder) / name).resolve() != left_out
        ]
        for name in files:
            path = Path(folder) / name
            if name[0] != "." and path.suffix.lower() in SUFFIXES:
                try:
                    status = path.stat()
                except OSError:  # a broken link
                    continue
                yield path.relative_to(root).as_posix(), File(path, status.st_size, status.st_mtime_ns)
