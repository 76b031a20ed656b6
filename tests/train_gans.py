"""Several trainings of train_gan.py one after the other: by a test's own process, or by those of one `torchrun`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_map_only

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import train_gan as script
from training import gan as train_gan


def double(x: torch.Tensor) -> torch.Tensor:
    return x.double() if x.is_floating_point() else x


@contextmanager
def in_double() -> Iterator[None]:
    """Train in float64, for tests of gradients.

    In float32 the rounding of a sum can carry a value over the kink of a ReLU, by other instructions of the processor
    or by another order of the sum, and gradients jump by up to 1 %.
    """
    load_condition_encoder, draw = train_gan.load_condition_encoder, train_gan.draw
    torch.set_default_dtype(torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_gan, "load_condition_encoder", lambda path: load_condition_encoder(path).double())
        patch.setattr(train_gan, "draw", lambda *given: tree_map_only(torch.Tensor, double, draw(*given)))
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def train_all(trainings: dict[str, list[str]]) -> None:
    """The words of each by its name, "float32 ..." or "float64 ..."."""
    for name, words in trainings.items():
        with pytest.MonkeyPatch.context() as patch, in_double() if "float64" in name else nullcontext():
            patch.setattr(sys, "argv", ["train_gan.py", *words])
            script.main()


def main() -> None:
    """The processes stay together from the first training to the last: torchrun lets them meet only once."""
    parallel, join = train_gan.parallel, train_gan.parallel.join
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "join", lambda device: device if parallel.processes() > 1 else join(device))
        patch.setattr(parallel, "leave", lambda: None)
        train_all(json.loads(sys.argv[1]))
    parallel.leave()


if __name__ == "__main__":
    main()
