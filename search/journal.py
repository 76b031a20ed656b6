"""Rows that were encoded so far, appended to a file as they come: a build that was stopped goes on where it was."""

from functools import cached_property
from pathlib import Path

import numpy as np

from core.files import writing

TOLERANCE = 1e-3  # of the length of a unit row; a block that never reached the disk is full of zeros


class Rows:
    """Unit rows (n, E) by the key of what each was made of; sizes (n, 2): of pictures, px. A row whose values are not
    numbers says that its picture is damaged, or that its caption has no known word."""

    def __init__(self, keys: np.ndarray, vectors: np.ndarray, sizes: np.ndarray) -> None:
        self.keys, self.vectors, self.sizes = keys, vectors, sizes

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.keys, kind="stable")

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Keys (k,) -> the row of each, -1 for one that is not here."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        at = np.searchsorted(self.keys, keys, sorter=self._order).clip(max=len(self.keys) - 1)
        rows = self._order[at]
        return np.where(self.keys[rows] == keys, rows, -1)


class Journal:
    """A file of rows, open for more."""

    def __init__(self, path: Path, width: int) -> None:
        """Opens the file at `path` and cuts off what is no whole and sound row at its end. width: E."""
        self.path = path
        self.type = np.dtype([("key", "<u8"), ("size", "<i4", 2), ("vector", "<f4", width)])
        with writing(path):
            path.touch()
            with open(path, "r+b") as file:
                file.truncate(self._sound() * self.type.itemsize)

    def _sound(self) -> int:
        """How many rows are sound before the first that is not."""
        count = self.path.stat().st_size // self.type.itemsize
        for start in range(0, count, 65_536):
            lengths = np.linalg.norm(self._map(count)[start : start + 65_536]["vector"], axis=1)
            if (wrong := np.abs(lengths - 1) > TOLERANCE).any():  # false for what is no number
                return start + int(wrong.argmax())
        return count

    def _map(self, count: int) -> np.ndarray:
        return np.memmap(self.path, self.type, "r", shape=count) if count else np.empty(0, self.type)

    def rows(self) -> Rows:
        found = self._map(self.path.stat().st_size // self.type.itemsize)
        return Rows(found["key"], found["vector"], found["size"])

    def append(self, keys: np.ndarray, vectors: np.ndarray, sizes: np.ndarray | None = None) -> None:
        """Raises UserError where the disk is full; what was appended before is kept."""
        block = np.zeros(len(keys), self.type)
        block["key"], block["vector"] = keys, vectors
        if sizes is not None:
            block["size"] = sizes
        with writing(self.path, "what is indexed so far is kept"), open(self.path, "ab") as file:
            file.write(block.tobytes())
