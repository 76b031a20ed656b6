"""train_gan.py in float64, for a test of gradients.

In float32 the rounding of a sum can carry a value over the kink of a ReLU, by other instructions of the processor or
by another order of the sum, and gradients jump by up to 1 %.
"""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_map_only

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import gan as train_gan


def double(x: torch.Tensor) -> torch.Tensor:
    return x.double() if x.is_floating_point() else x


def main() -> None:
    load_condition_encoder, draw = train_gan.load_condition_encoder, train_gan.draw
    torch.set_default_dtype(torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_gan, "load_condition_encoder", lambda path: load_condition_encoder(path).double())
        patch.setattr(train_gan, "draw", lambda *given: tree_map_only(torch.Tensor, double, draw(*given)))
        try:
            train_gan.main()
        finally:
            torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    main()
