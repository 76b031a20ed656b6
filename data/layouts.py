"""The layouts of captioned pictures that are known. A further one is a file with a `Layout`, and a line below."""

from pathlib import Path

from core.errors import UserError
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
        near = (
            [root.parent, *(part for part in sorted(root.iterdir()) if part.is_dir())]
            if root.is_dir()
            else []
        )
        hint = next((f" (did you mean {p}?)" for p in near if any(layout.fits(p) for layout in LAYOUTS)), "")
    except OSError as error:
        raise UserError(f"cannot read {str(root)[:80]}: {error.strerror}; choose another folder") from error
    names = " or ".join(layout.name.upper() for layout in LAYOUTS)
    expected = "; or ".join(layout.expected for layout in LAYOUTS)
    found = "" if root.is_dir() else ", there is no such folder"
    raise UserError(f"{root} has not the layout of {names}{found}{hint}; expected: {expected}")
