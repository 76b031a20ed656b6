"""Which set of birds to use and where it lies; painted birds are made on the way."""

import csv
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from data.captioned_images import CaptionedImages, load_images
from data.painted_birds.grammar import PARTS


@dataclass
class ImageData:
    root: str = "datasets/painted_birds"  # a folder in the CUB layout
    cache: str = "datasets/painted_birds/cache"  # where decoded pictures are packed
    painted: bool = True  # make the set with data.painted where it is missing
    terms: str = ""  # under which the set is used, for the cards of what learns from it
    on_damaged: str = "error"  # error, or skip: leave damaged pictures out and say which


def open_images(config: ImageData, split: str, size: int) -> CaptionedImages:
    """The split's pictures at `size` px. Raises UserError as `load_images` does."""
    if config.painted:
        from data.painted_birds.build import ensure_painted_birds

        root = Path(config.root)
        if root.name != "painted_birds":
            raise UserError(
                f"data.root={root}: painted birds lie in a folder named painted_birds; or set data.painted=false"
            )
        ensure_painted_birds(root.parent, splits=(split,))
    return load_images(Path(config.root), split, size, Path(config.cache), config.on_damaged)  # type: ignore[arg-type]


def terms_of(config: ImageData) -> str:
    """A paragraph for a model's card, or nothing where the set has no terms."""
    return f"\n\nTerms of the data: {config.terms}; the same goes for this model." if config.terms else ""


def read_parts(root: Path | str) -> dict[str, dict[str, str]]:
    """The true colours of painted birds: picture's name -> {part: colour}. Raises UserError where they are not told."""
    path = Path(root) / "parts.csv"
    if not path.is_file():
        raise UserError(
            f"no {path}: only painted birds know the colours of their parts; use data=painted_birds"
        )
    with open(path, newline="", encoding="utf-8") as file:
        return {row["name"]: {part: row[part] for part in PARTS} for row in csv.DictReader(file)}
