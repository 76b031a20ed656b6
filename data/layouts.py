"""The layouts of captioned pictures that are known. A further one is a file with a `Layout`, and a line below."""

from pathlib import Path

from core.errors import UserError, suggest
from data import coco, cub
from data.listing import Layout

LAYOUTS: list[Layout] = [
    cub.LAYOUT,
    coco.LAYOUT,
]


def find_layout(root: Path) -> Layout:
    """The layout of a set, by what lies there. Raises UserError where none fits."""
    try:
        for layout in LAYOUTS:
            if layout.fits(root):
                return layout
        hint = next((f" (did you mean {p}?)" for p in sets_near(root)), "")
    except OSError as error:
        raise UserError(f"cannot read {str(root)[:80]}: {error.strerror}; choose another folder") from error
    names = " or ".join(layout.name.upper() for layout in LAYOUTS)
    expected = "; or ".join(layout.expected for layout in LAYOUTS)
    found = "" if root.is_dir() else ", there is no such folder"
    raise UserError(f"{root} has not the layout of {names}{found}{hint}; expected: {expected}")


def sets_near(root: Path) -> list[Path]:
    """The folder above and those in `root` that have a known layout. Raises OSError."""
    near = [root.parent, *sorted(part for part in root.iterdir() if part.is_dir())] if root.is_dir() else []
    return [path for path in near if any(layout.fits(path) for layout in LAYOUTS)]


def locate_set(given: str, root: Path, option: str, made_here: str) -> Path:
    """A folder, or the name of one under `root`; made_here: the name of a set that could be made there.

    Raises UserError where neither is there.
    """
    for folder in (Path(given), root / given):
        if folder.is_dir():
            return folder
    there = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    known = sorted({made_here, *there})
    raise UserError(
        f"no set {given}{suggest(given, known)}: {option} takes a folder, or one of {', '.join(known)}"
    )
