"""Finds the parts of a bird in a picture: a heatmap a part, whose peaks are counted. It only measures.

Peaks are counted rather than places taken, because a picture that was generated may hold two heads or none, and the
network must say so. It is therefore trained as "Objects as Points" is (Zhou et al. 2019), whose maps answer every place
by itself, and on pictures put together from two photographs as well (training/locator.py).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, list_of, one_of
from core.model_folder import load_network
from core.precision import at_least_float32
from data.cub_captions import PARTS as CAPTIONED
from data.cub_parts import PARTS
from data.painted_birds.grammar import COLOURS
from vision.backbones import TAPS, Backbone, resized

STRIDE = 4  # side of the picture over side of a heatmap, about: SqueezeNet does not pad
# What is counted: left and right of a bird are one kind, since a picture of its side does not tell them apart well
KIND_OF = tuple(part.removeprefix("left ").removeprefix("right ") for part in PARTS)
KINDS = tuple(dict.fromkeys(KIND_OF))  # K of them
PEAKS = 4  # of a kind that are kept of a picture: nobody asks how many heads there are beyond
APART = 5  # cells: of two peaks in a square of this side the lower is none
# At which kind of part the colour of a part that captions name is read, and in what disc
COLOUR_AT = {part: {"head": "crown", "bill": "beak"}.get(part, part) for part in CAPTIONED}
DISC = 0.03  # radius, shares of the side
PRIOR = 0.01  # what an untrained map answers everywhere; without it the empty places drown the first steps


@dataclass
class PartLocatorConfig:
    """Its architecture, and what was learnt from the training photographs after its weights were."""

    backbone: str = one_of("light", ("light", *TAPS))
    width: int = bounded(64, 8, 512)  # channels in which the backbone's maps meet; a multiple of 8
    size: int = bounded(128, 32, 1024)  # side S at which pictures are read, px; a multiple of 32
    thresholds: list[float] = list_of(
        [0.3] * len(KINDS), len(KINDS), len(KINDS), (0, 1)
    )  # of a peak of each kind
    reach: float = bounded(
        0.2, 0, 2
    )  # parts of one head are at most so far from the next, in shares of the side
    examples: int = bounded(0, 0, 100_000)  # layouts of photographs that it carries, M
    least_likelihood: float = 0.0  # of a bird's layout (metrics/whole_birds.py), natural logarithm

    def __post_init__(self) -> None:
        for name, step in (("width", 8), ("size", 32)):
            value = getattr(self, name)
            if isinstance(value, int) and value % step:
                raise UserError(f"{name}={value}: a multiple of {step} was expected")


class Reading(NamedTuple):
    """What is read in B pictures. peaks (B, K, PEAKS, 3): x, y in shares of the side and height in [0, 1], the highest
    first; visible (B, K): probability that a part of the kind is there at all."""

    peaks: Tensor
    visible: Tensor


class PartLocator(nn.Module):
    """A backbone's maps at a quarter to a 32nd of the side, joined from the coarsest to the finest (Lin et al. 2017).

    Normalised by groups, so that a picture is read alike alone and in a batch, in training and after.
    """

    kind = "part_locator"

    def __init__(self, config: PartLocatorConfig):
        super().__init__()
        self.config, self.size = config, config.size
        w = config.width
        self.backbone = LightBackbone() if config.backbone == "light" else Backbone(config.backbone, STRIDE)
        channels = self.backbone.channels
        self.inward = nn.ModuleList(nn.Conv2d(n, w, 1) for n in channels)
        self.joined = nn.ModuleList(_convolve(w, w) for _ in channels[:-1])
        self.to_heat = nn.Conv2d(w, len(PARTS), 1)
        nn.init.constant_(self.to_heat.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]
        self.to_visible = nn.Linear(2 * w, len(PARTS))
        # learnt from photographs, not by gradients
        self.layouts: Tensor
        self.layouts_seen: Tensor
        self.palette: Tensor
        self.register_buffer(
            "layouts", torch.zeros(config.examples, len(KINDS), 2)
        )  # x, y in shares of the side
        self.register_buffer("layouts_seen", torch.zeros(config.examples, len(KINDS), dtype=torch.bool))
        self.register_buffer("palette", torch.zeros(len(COLOURS), 3))  # of COLOURS, CIELAB
        self.checksum = "untrained"

    @classmethod
    def load(cls, folder: Path | str) -> "PartLocator":
        """A trained locator, in eval mode. Raises UserError as `load_model` does."""
        return load_network(cls, PartLocatorConfig, folder)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> logits of heat (B, P, h, w), h near S / 4, and of being visible (B, P)."""
        maps = self.backbone(resized(images, self.size))
        x = self.inward[-1](maps[-1])
        coarse = x
        for i in reversed(range(len(maps) - 1)):
            side = maps[i].shape[-2:]
            x = self.joined[i](self.inward[i](maps[i]) + F.interpolate(x, side))
        pooled = torch.cat([coarse.mean((2, 3)), x.amax((2, 3))], 1)  # (B, 2 w)
        return at_least_float32(self.to_heat(x)), at_least_float32(self.to_visible(pooled))

    def read(self, images: Tensor) -> Reading:
        """images (B, 3, H, W) in [-1, 1] -> the peaks of every kind, and whether it is visible."""
        heat, visible = self(images)
        return Reading(find_peaks(_by_kind(heat)), _by_kind(visible.sigmoid()))


def find_peaks(heat: Tensor) -> Tensor:
    """heat (B, K, h, w), logits -> peaks (B, K, PEAKS, 3): x, y in shares of the side and height in [0, 1], the highest
    first.

    A peak is a cell that none in the square of side APART about it exceeds; where there are fewer, the others have
    height 0. Of logits, since probabilities near 1 are equal to float32.
    """
    h, w = heat.shape[2:]
    _, highest = F.max_pool2d(
        heat, APART, 1, APART // 2, return_indices=True
    )  # of equal ones in a square the first
    own = torch.arange(h * w, device=heat.device).view(h, w)
    ordered = heat.masked_fill(highest != own, -torch.inf).flatten(2).topk(PEAKS)
    rows, columns = ordered.indices // w, ordered.indices % w
    return torch.stack([(columns + 0.5) / w, (rows + 0.5) / h, ordered.values.sigmoid()], 3)


def _by_kind(values: Tensor) -> Tensor:
    """Values of parts (B, P, ...) -> of kinds (B, K, ...), the larger of left and right."""
    return torch.stack(
        [values[:, [p for p, of in enumerate(KIND_OF) if of == kind]].amax(1) for kind in KINDS], 1
    )


class LightBackbone(nn.Module):
    """Strided convolutions, for a locator from nothing: maps at a quarter to a 32nd of the side, the finest first."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.channels = [2 * width, 4 * width, 4 * width, 8 * width]
        self.first = _convolve(3, width, 2)
        inputs = [width, *self.channels[:-1]]
        self.halves = nn.ModuleList(_convolve(n, m, 2) for n, m in zip(inputs, self.channels, strict=True))

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = self.first(images), []
        for halve in self.halves:
            x = halve(x)
            maps.append(x)
        return maps


def _convolve(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
    kernel = 4 if stride == 2 else 3
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.ReLU(inplace=True),
    )
