"""Batches on their way: collected, kept for the next metric, or for the next command."""

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

IN_MEMORY = 2**30  # bytes of generated images; more are kept in a temporary file


class ImageStore:
    """Images (N, 3, S, S) float32 as they come, in memory or, where they are many, in a temporary file."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        import numpy as np

        self.sizes: list[int] = []
        if 4 * int(np.prod(shape)) <= IN_MEMORY:
            self.values = np.empty(shape, np.float32)
        else:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the images
            self.values = np.memmap(self.file, np.float32, "w+", shape=shape)

    def add(self, images: "Tensor") -> None:
        start = sum(self.sizes)
        self.values[start : start + len(images)] = images.float().cpu().numpy()
        self.sizes.append(len(images))

    def batches(self, device: "torch.device") -> Iterator["Tensor"]:
        import torch

        start = 0
        for size in self.sizes:
            yield torch.from_numpy(self.values[start : start + size]).to(device)
            start += size


def collect(function: "Callable[[Any], Tensor]", batches: Iterable[Any]) -> "np.ndarray":
    """function(batch) (B, ...) of every batch -> (N, ...), float64."""
    import numpy as np

    return np.concatenate([function(batch).double().cpu().numpy() for batch in batches])


def keep_features(path: Path, found: "np.ndarray") -> None:
    """Write features for the next command; where that fails they are read again, which takes time and is right."""
    import numpy as np

    def write(beside: Path) -> None:
        with open(beside, "wb") as file:
            np.save(file, found)

    try:
        write_atomically(path, write)
    except UserError as error:
        print(f"warning: {error}; the features are not kept", file=sys.stderr)


def progress(starts: range, what: str, total: int, batch: int) -> Iterator[int]:
    """The starts, with a bar on standard error."""
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit="", dynamic_ncols=True, file=sys.stderr) as bar:
        for start in starts:
            yield start
            bar.update(min(batch, total - start))
