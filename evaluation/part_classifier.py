"""Reads the colours of a bird's parts from a picture, to measure painted birds by; nothing is trained on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.fields import bounded, list_of
from core.model_folder import load_network
from core.precision import at_least_float32


@dataclass
class PartClassifierConfig:
    parts: list[str] = list_of([], 1, 64)  # P names
    colours: list[str] = list_of([], 1, 256)  # K names
    width: int = bounded(32, 1, 512)  # channels of the first convolution, W
    size: int = bounded(64, 16, 1024)  # side S at which pictures are read, px; a multiple of 16

    def __post_init__(self) -> None:
        if isinstance(self.size, int) and self.size % 16:
            raise UserError(
                f"size={self.size}: the classifier halves it four times; a multiple of 16 was expected"
            )


class PartClassifier(nn.Module):
    """Finds each part, then reads its colour there.

    Two maps at a quarter of the side: `details` keeps the colours of a place, `context` knows which place of the bird
    it is. From both, each part gets a softmax over the places; a part's colour is read from the mean of the details
    under that softmax. Nothing but colours teaches it where the parts are.
    """

    kind = "part_classifier"

    def __init__(self, config: PartClassifierConfig):
        super().__init__()
        self.config = config
        self.parts, self.colours, self.size = config.parts, config.colours, config.size
        w = config.width
        self.to_details = nn.Sequential(_halve(3, w), _halve(w, 2 * w))
        self.to_context = nn.Sequential(
            _halve(2 * w, 4 * w), _halve(4 * w, 4 * w), _convolve(4 * w, 2 * w), nn.Upsample(scale_factor=4)
        )
        self.to_places = nn.Sequential(_convolve(4 * w, 2 * w), nn.Conv2d(2 * w, len(config.parts), 1))
        self.to_logits = nn.Linear(2 * w, len(config.colours))
        self.checksum = "untrained"

    @classmethod
    def load(cls, folder: Path | str) -> "PartClassifier":
        """A trained classifier, in eval mode. Raises UserError as `load_model` does."""
        return load_network(cls, PartClassifierConfig, folder)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> details, context, each (B, 2W, S/4, S/4)."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        details = self.to_details(images)
        return details, self.to_context(details)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> the means of both maps over the picture (B, 4W), for FID and KID."""
        return at_least_float32(torch.cat(self.maps(images), 1)).mean((2, 3))

    def places(self, details: Tensor, context: Tensor) -> Tensor:
        """Both maps (B, 2W, S/4, S/4) -> where each part is (B, P, places), summing to one over the places."""
        scores = self.to_places(torch.cat([details, context], 1))
        return at_least_float32(scores).flatten(2).softmax(2)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> logits (B, P, K)."""
        details, context = self.maps(images)
        places = self.places(details, context)
        seen = places @ details.flatten(2).transpose(1, 2).to(places.dtype)  # (B, P, 2W)
        return at_least_float32(self.to_logits(seen))

    def colour_ids(self, parts: Sequence[dict[str, str]]) -> Tensor:
        """Colour names by part of B birds -> (B, P) colour numbers, -1 where a part is not named."""
        number = {colour: index for index, colour in enumerate(self.colours)}
        return torch.tensor([[number[bird[p]] if p in bird else -1 for p in self.parts] for bird in parts])


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs, H, W) -> (B, outputs, H/2, W/2)."""
    return _normalised(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))


def _convolve(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs, H, W) -> (B, outputs, H, W)."""
    return _normalised(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False))


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))
