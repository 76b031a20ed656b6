"""Which set of birds to use and where it lies; painted birds are made on the way."""

from dataclasses import dataclass
from pathlib import Path

from data.cub import Birds, load_birds


@dataclass
class BirdData:
    root: str = "datasets/painted_birds"  # a folder in the CUB layout
    cache: str = "datasets/painted_birds/cache"  # where decoded pictures are packed
    painted: bool = True  # make the set with data.painted where it is missing
    on_damaged: str = "error"  # error, or skip: leave damaged pictures out and say which


def open_birds(config: BirdData, split: str, size: int) -> Birds:
    """The split's pictures at `size` px. Raises UserError as `load_birds` does."""
    if config.painted:
        from data.prepare import ensure_painted_birds

        root = Path(config.root)
        ensure_painted_birds(root.parent, splits=(split,))
    return load_birds(Path(config.root), split, size, Path(config.cache), config.on_damaged)  # type: ignore[arg-type]
