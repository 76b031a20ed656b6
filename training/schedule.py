"""Learning rates as functions of the step."""

import math

from torch.optim import Optimizer


def warmup_cosine(step: int, steps: int, warmup: int, floor: float = 0.05) -> float:
    """The factor of the base rate at `step`: linear from 0 over `warmup` steps, then a half cosine to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Of every group, times the group's own "scale" where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def linear_end(step: int, steps: int, share: float) -> float:
    """1, then falling to 0 over the last `share` of the steps."""
    return min(1.0, max(0.0, steps - step) / max(share * steps, 1))


def every_epoch(step: int, epoch: int, factor: float) -> float:
    """1, multiplied by `factor` after every `epoch` steps; never for epoch = 0."""
    return factor ** (step // epoch) if epoch else 1.0
