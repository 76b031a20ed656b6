"""Exponential moving average of a model's weights."""

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, step: int, decay: float = 0.999) -> None:
    """average <- decay * average + (1 - decay) * model, in place.

    The decay is warmed up as min(decay, (1 + step) / (10 + step)), so the initial weights are soon forgotten.
    BatchNorm's running statistics are averaged in the same way: those of the live weights do not fit the average.
    """
    decay = min(decay, (1 + step) / (10 + step))
    pairs = zip(average.state_dict().values(), model.state_dict().values(), strict=True)
    floats, sources = [], []
    for mine, theirs in pairs:
        if mine.is_floating_point():
            floats.append(mine)
            sources.append(theirs)
        else:
            mine.copy_(theirs)
    torch._foreach_lerp_(floats, sources, 1 - decay)
