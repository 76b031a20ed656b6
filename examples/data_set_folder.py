"""A layout of captioned pictures: a folder of pictures, each with a text file of its captions beside it.

    <root>/<name>.jpg, <root>/<name>.txt        one caption a line

To use it, move this file to data/folder.py and add its LAYOUT to the list in data/layouts.py. Every command then reads
such folders: `python -m data.prepare folder --source FOLDER`, `train_encoder.py data=cub data.root=FOLDER`,
`evaluate.py --data FOLDER`.
"""

from pathlib import Path

from data.cub import read_captions
from data.listing import Entry, Layout, Listing, find_pictures


def fits(root: Path) -> bool:
    return any(path.with_suffix(".txt").is_file() for path in root.glob("*.jpg"))


def splits(root: Path) -> list[str]:
    return ["train", "test"]


def read(root: Path, split: str) -> Listing:
    """Every fourth picture in alphabetical order is for testing. There are no boxes and no classes."""
    files = find_pictures(root, ["any"])
    names = [name for i, name in enumerate(sorted(files)) if (i % 4 == 3) == (split == "test")]
    entries = []
    for name in names:
        try:
            entries.append(Entry(name, files[name], read_captions(root / f"{name}.txt")))
        except (OSError, ValueError) as error:
            entries.append(Entry(name, files[name], [], problem=f"no captions in {name}.txt: {error}"))
    return Listing(entries, has_boxes=False, has_classes=False)


LAYOUT = Layout("folder", "<name>.jpg and <name>.txt", fits, splits, read)
