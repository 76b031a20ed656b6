"""Which set of captioned pictures to use and where it lies; painted birds are made on the way."""

import csv
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from data import cub
from data.captioned_images import VALIDATION, WITHOUT_VALIDATION, CaptionedImages, load_images
from data.packed import cache_folder
from data.painted_birds.grammar import PARTS
from data.text_files import read_lines


@dataclass
class ImageData:
    root: str = "datasets/painted_birds"  # a folder in one of the layouts of data/layouts.py
    cache: str = ""  # where decoded pictures are packed; by default cache/ in the set
    painted: bool = True  # make the set with data.painted where it is missing
    terms: str = (
        ""  # under which the set is used, for the cards of what learns from it; those of CUB are known
    )
    on_damaged: str = "error"  # error, or skip: leave damaged pictures out and say which
    hold_out: bool = False  # keep the validation split, the last tenth of its classes, out of training


def open_images(config: ImageData, split: str, size: int) -> CaptionedImages:
    """The split's pictures at `size` px, of "train" without those held out. Raises UserError as `load_images` does."""
    if config.painted:
        from data.painted_birds.build import ensure_painted_birds

        root = Path(config.root)
        if root.name != "painted_birds":
            raise UserError(
                f"data.root={root}: painted birds lie in a folder named painted_birds; or set data.painted=false"
            )
        ensure_painted_birds(root.parent, splits=("train" if split == VALIDATION else split,))
    if split == "train" and config.hold_out:
        split = WITHOUT_VALIDATION
    cache = cache_folder(config.root, config.cache)
    advice = "data.on_damaged=skip"
    return load_images(config.root, split, size, cache, config.on_damaged, advice)  # type: ignore[arg-type]


def terms_of(config: ImageData) -> str:
    """A paragraph for a model's card, or nothing where the set has no terms."""
    terms = config.terms or (cub.TERMS if cub.has_terms(Path(config.root)) else "")
    return f"\n\nTerms of the data: {terms}; the same goes for this model." if terms else ""


def read_parts(root: Path | str) -> dict[str, dict[str, str]]:
    """The true colours of painted birds: picture's name -> {part: colour}. Raises UserError where they are not told."""
    path = Path(root) / "parts.csv"
    if not path.is_file():
        raise UserError(
            f"no {path}: only painted birds know the colours of their parts; use data=painted_birds"
        )
    rows = list(csv.DictReader(line for _, line in read_lines(path)))
    if not rows or not all(row.get(key) for row in rows for key in ("name", *PARTS)):
        raise UserError(f"{path} is damaged; expected the columns name, {', '.join(PARTS)}; restore it")
    return {row["name"]: {part: row[part] for part in PARTS} for row in rows}
