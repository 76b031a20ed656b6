"""A light convolutional image encoder: region features and a global feature in the words' space.

AttnGAN takes Inception-v3 here; this one is small enough to be trained from nothing on two CPU cores.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from t2i.precision import at_least_float32


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )


class LightImageEncoder(nn.Module):
    """Strided 3x3 convolutions to a sixteenth of the input's side, projected to the embedding."""

    def __init__(self, embedding: int = 256, width: int = 32, size: int = 128):
        """embedding: E; width: channels of the first convolution; size: side to which inputs are brought, px."""
        super().__init__()
        self.size = size
        channels = [3, width, 2 * width, 4 * width, 6 * width]
        layers = [_block(i, o, stride=2) for i, o in zip(channels, channels[1:], strict=False)]
        self.trunk = nn.Sequential(*layers, _block(channels[-1], channels[-1], stride=1))
        self.to_regions = nn.Conv2d(channels[-1], embedding, 1, bias=False)
        self.deeper = _block(channels[-1], 8 * width, stride=2)
        self.to_global = nn.Linear(8 * width, embedding)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in [-1, 1] -> regions (B, R, E) with R = (size / 16)^2, and global (B, E)."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        features = self.trunk(images)  # (B, C, size/16, size/16)
        regions = self.to_regions(features).flatten(2).transpose(1, 2)  # (B, R, E)
        pooled = self.deeper(features).mean((2, 3))  # (B, 8 * width)
        return at_least_float32(regions), at_least_float32(self.to_global(pooled))
