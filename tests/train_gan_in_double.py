"""train_gan.py in float64, for a test of gradients.

In float32 the rounding of a sum can carry a value over the kink of a ReLU, by other instructions of the processor or
by another order of the sum, and gradients jump by up to 1 %.
"""

import sys
from pathlib import Path

import torch
from torch.utils._pytree import tree_map_only

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import gan as train_gan

torch.set_default_dtype(torch.float64)
open_encoder, draw = train_gan.open_encoder, train_gan.draw


def double(x: torch.Tensor) -> torch.Tensor:
    return x.double() if x.is_floating_point() else x


train_gan.open_encoder = lambda path: open_encoder(path).double()
train_gan.draw = lambda *arguments: tree_map_only(torch.Tensor, double, draw(*arguments))
train_gan.main()
