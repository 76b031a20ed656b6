"""Exponential moving average of a model's weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = list[Tensor] | tuple[Tensor, ...]


def averaged(model: nn.Module, decay: float = 0.999) -> AveragedModel:
    """A copy of the model that follows it: average <- decay * average + (1 - decay) * model at every update.

    The decay is warmed up as min(decay, (1 + n) / (10 + n)) after n updates, the first of which copies, so the initial
    weights are soon forgotten. BatchNorm's running statistics are averaged in the same way: those of the live weights
    do not fit the average.
    """

    def follow(averages: Tensors, values: Tensors, updates: Tensor | int) -> None:
        n = int(updates)
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + n) / (10 + n)))
        else:  # BatchNorm's counters
            torch._foreach_copy_(averages, values)

    return AveragedModel(model, multi_avg_fn=follow, use_buffers=True).requires_grad_(False)
