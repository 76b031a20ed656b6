"""An index on disk: one file of arrays that is memory-mapped, in the format of safetensors, whose tools read it too.

    lines         (N + 1,) int64: where each picture's line starts in `text`
    picture_keys  (N,) uint64: of what a picture's row was made of, see search/sources.py
    caption_keys  (M,) uint64
    pictures      (N, E) float32, unit rows: the image features
    captions      (M, E) float32, unit rows: the sentence features; zeros for a caption without a known word
    sizes         (N, 2) int32: width and height of each picture, px
    picture_of    (M,) int32: the picture of each caption; the captions of a picture stand together
    text          (bytes,) uint8: a line of JSON a picture: name, source, box, captions

Its header, under `__metadata__`, says which encoder and which pictures it was made of.
"""

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.errors import UserError
from core.files import write_atomically
from data.packed import UNREADABLE, probe

FORMAT = "saybird-index-1"
TYPES = {"F32": np.float32, "I32": np.int32, "I64": np.int64, "U64": np.uint64, "U8": np.uint8}
ARRAYS = {  # the widest first, for alignment
    "lines": "I64",
    "picture_keys": "U64",
    "caption_keys": "U64",
    "pictures": "F32",
    "captions": "F32",
    "sizes": "I32",
    "picture_of": "I32",
    "text": "U8",
}
ABOUT = {
    "version",
    "encoder",
    "set",
    "split",
    "mark",
    "left_out",
}  # what the header says, see search/build.py
BEGINNING = b'{"__metadata__": {"format": "saybird-index-'  # of a header
LONGEST_HEADER = 2**26  # bytes


class Picture(NamedTuple):
    """What the index holds of a picture. source: its path, in the set where it is not absolute; box: x, y, width,
    height; all in px."""

    name: str
    source: str
    width: int
    height: int
    box: tuple[int, int, int, int] | None
    captions: list[str]

    def line(self) -> bytes:
        told = {"name": self.name, "source": self.source, "box": self.box, "captions": self.captions}
        return json.dumps(told).encode() + b"\n"


class Index:
    """An index that is open: `about` is its header, the arrays are as the module says."""

    def __init__(self, path: Path, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.path, self.about, self.arrays = path, about, arrays
        self.pictures, self.captions, self.picture_of = (
            arrays[name] for name in ("pictures", "captions", "picture_of")
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def picture(self, i: int) -> Picture:
        """Raises UserError where the file was damaged between the blocks that reading it looks at."""
        start, end = self.arrays["lines"][i : i + 2]
        width, height = map(int, self.arrays["sizes"][i])
        try:
            line = json.loads(self.arrays["text"][start:end].tobytes())
            box = tuple(line["box"]) if line["box"] else None
            return Picture(line["name"], line["source"], width, height, box, line["captions"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{self.path} is damaged; remove it, and the next search makes it again"
            ) from error

    def captions_of(self, i: int) -> slice:
        """The rows of `captions` that are the i-th picture's."""
        start, end = np.searchsorted(self.picture_of, [i, i + 1])
        return slice(int(start), int(end))

    def caption(self, row: int) -> tuple[str, Picture]:
        """The text of a row of `captions`, and its picture."""
        i = int(self.picture_of[row])
        picture = self.picture(i)
        return picture.captions[row - self.captions_of(i).start], picture


class Column(NamedTuple):
    """An array that is written block by block."""

    shape: tuple[int, ...]
    blocks: Iterable[np.ndarray]


def whole(values: np.ndarray) -> Column:
    return Column(values.shape, [values])


def write_index(path: Path, about: dict[str, Any], columns: dict[str, Column]) -> None:
    """Write the file beside `path` and rename it into place. Raises UserError as `write_atomically` does."""

    def header(mark: int) -> bytes:
        start, entries = 0, {}
        for name, dtype in ARRAYS.items():
            shape = columns[name].shape
            end = start + math.prod(shape) * np.dtype(TYPES[dtype]).itemsize
            entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
            start = end
        told = {"format": FORMAT, "index": json.dumps(about), "probe": f"{mark:08x}"}
        text = json.dumps({"__metadata__": told, **entries}).encode()
        return text + b" " * (
            (56 - len(text)) % 64
        )  # with the eight bytes of its length, whole lines of the cache

    def write(beside: Path) -> None:
        blank = header(0)
        with open(beside, "wb") as file:
            file.write(struct.pack("<Q", len(blank)) + blank)
            for name, dtype in ARRAYS.items():
                for block in columns[name].blocks:
                    file.write(np.ascontiguousarray(block, TYPES[dtype]).tobytes())
            file.flush()
            file.seek(8)
            file.write(header(probe(beside, start=8 + len(blank))))  # of the same length

    write_atomically(path, write)


def is_index(path: Path) -> bool:
    """Whether a file begins as an index of any version does, whole or not, or is empty: one that may be replaced."""
    try:
        with open(path, "rb") as file:
            start = file.read(8 + len(BEGINNING))
    except OSError:
        return False
    return not start or start[8:] == BEGINNING


def read_index(path: Path) -> Index | None:
    """The index at `path`; None where there is none, or one that is not whole."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LONGEST_HEADER:
                return None
            entries = json.loads(file.read(length))
        told = entries.pop("__metadata__")
        if told["format"] != FORMAT or {name: entry["dtype"] for name, entry in entries.items()} != ARRAYS:
            return None
        start = 8 + length
        end = start + max(entry["data_offsets"][1] for entry in entries.values())
        if path.stat().st_size != end or int(told["probe"], 16) != probe(path, start=start):
            return None
        arrays = {name: _mapped(path, start, entry) for name, entry in entries.items()}
        index = Index(path, json.loads(told["index"]), arrays)
        return index if _fits(index) else None
    except (*UNREADABLE, struct.error):
        return None  # absent, cut short, edited, or no index at all


def _mapped(path: Path, start: int, entry: dict[str, Any]) -> np.ndarray:
    first, end = entry["data_offsets"]
    shape, dtype = tuple(entry["shape"]), TYPES[entry["dtype"]]
    if end - first != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError("an array of another size")
    if not math.prod(shape):
        return np.empty(shape, dtype)
    # copy on write: torch wants writable memory, and nothing here writes
    return np.memmap(path, dtype, "c", start + first, shape)


def _fits(index: Index) -> bool:
    """Whether the header says all that it should, and the arrays belong together."""
    return (
        index.about.keys() >= ABOUT
        and isinstance(index.about["encoder"], dict)
        and {"name", "sha256"} <= index.about["encoder"].keys()
        and index.pictures.ndim == index.captions.ndim == 2
        and index.pictures.shape[1] == index.captions.shape[1] > 0
        and index.picture_of.shape == index.arrays["caption_keys"].shape == (len(index.captions),)
        and index.arrays["picture_keys"].shape == (len(index),)
        and index.arrays["sizes"].shape == (len(index), 2)
        and index.arrays["lines"].shape == (len(index) + 1,)
        and int(index.arrays["lines"][-1]) == len(index.arrays["text"])
    )
