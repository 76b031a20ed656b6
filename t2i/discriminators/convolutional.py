"""Strided convolutions down to 4 x 4, then two heads: the discriminators of StackGAN, StackGAN-v2 and AttnGAN."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from core.precision import at_least_float32
from t2i.layers import UnfoldedConv, tile_spatially


def discriminator_block(
    inputs: int, outputs: int, kernel: int, stride: int, normed: bool = True
) -> list[nn.Module]:
    """A convolution, BatchNorm where it is `normed`, and a leaky ReLU."""
    convolution = UnfoldedConv(inputs, outputs, kernel, stride, 1, bias=not normed)
    return [convolution, *([nn.BatchNorm2d(outputs)] if normed else []), nn.LeakyReLU(0.2)]


def discriminator_backbone(
    width: int, resolution: int, max_channels: int = 0, normed: bool = True
) -> tuple[nn.Sequential, int]:
    """An image (B, 3, s, s) of 64 px or more to features (B, n, 4, 4): the backbone and n, which is 8 times `width`.

    Strided convolutions down to 4 x 4 double their channels, or stop at `max_channels` (0 for none); what is wider than
    n is narrowed there.
    """
    doublings = (resolution // 64).bit_length() - 1  # beyond 64 px
    widths = [min(width * 2**i, max_channels or 2**30) for i in range(4 + doublings)]  # of the strided ones
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for inputs, outputs in pairwise(widths):
        layers += discriminator_block(inputs, outputs, 4, 2, normed)
    for inputs, outputs in pairwise(widths[:2:-1]):
        layers += discriminator_block(inputs, outputs, 3, 1, normed)
    return nn.Sequential(*layers), widths[3]


class ConvolutionalDiscriminator(nn.Module):
    """Of images of one side: whether they are real and fit their condition and, with a second head, are real at all.

    The condition is the sentence (AttnGAN, section 3.1) or the mean of its conditioning augmentation (StackGAN).
    """

    def __init__(
        self,
        width: int,
        condition: int,
        resolution: int,
        unconditional: bool = True,
        condition_first: bool = False,
        max_channels: int = 0,
        normed: bool = True,
    ):
        """width: d, channels of the first convolution; condition: C; resolution: s, px; unconditional: whether there is
        the second head; condition_first: it comes before the image's features, as in StackGAN-v2, or after them."""
        super().__init__()
        self.condition_first = condition_first
        self.backbone, n = discriminator_backbone(width, resolution, max_channels, normed)
        self.unconditional = nn.Conv2d(n, 1, 4) if unconditional else None
        self.joint = nn.Sequential(*discriminator_block(n + condition, n, 3, 1, normed))
        self.conditional = nn.Conv2d(n, 1, 4)

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, s, s) -> (B, 8d, 4, 4)."""
        return self.backbone(images)

    def unconditional_logits(self, features: Tensor) -> Tensor:
        """(B, 8d, 4, 4) -> logits (B,) of being a real image; only where there is a head for it."""
        assert self.unconditional is not None
        return at_least_float32(self.unconditional(features).flatten())

    def conditional_logits(self, features: Tensor, condition: Tensor) -> Tensor:
        """(B, 8d, 4, 4) and the condition (B, C) -> logits (B,) of being a real image of it."""
        both = [features, tile_spatially(condition, features)]
        joint = self.joint(torch.cat(both[::-1] if self.condition_first else both, dim=1))
        return at_least_float32(self.conditional(joint).flatten())
